"""Series cut into pieces, put together again, and learnt from."""

import math

import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM1D
from framecast.nn.convlstm.subsequences import subsequences

B, N, C = 2, 24, 3


def series(samples=N):
    return torch.arange(B * samples * C, dtype=torch.float32).reshape(B, samples, C)


def test_pieces_without_overlap_are_a_reshape_and_flatten_is_the_inverse():
    pieces = subsequences(series(), 4)
    assert torch.equal(pieces, series().reshape(B, 6, 4, C))
    assert torch.equal(pieces.flatten(1, 2), series())


def test_numpy_arrays_are_taken_as_by_the_layers():
    pieces = subsequences(series().double().numpy()[:, ::-1], 4)
    assert torch.equal(pieces, series().flip(1).reshape(B, 6, 4, C))


@pytest.mark.parametrize(("length", "stride"), [(6, 3), (5, 1), (8, 4), (4, 5), (24, 7), (7, 17)])
def test_piece_t_starts_at_t_strides(length, stride):
    pieces = subsequences(series(), length, stride)
    assert pieces.shape == (B, (N - length) // stride + 1, length, C)
    for t in range(pieces.shape[1]):
        assert torch.equal(pieces[:, t], series()[:, t * stride : t * stride + length])
    if stride <= length:
        whole = torch.cat((pieces[:, :, :stride].flatten(1, 2), pieces[:, -1, stride:]), 1)
        assert torch.equal(whole, series())


def test_one_series_is_a_batch_of_one_and_nothing_is_copied():
    one = series()[1]
    pieces = subsequences(one, 6, 2)
    assert torch.equal(pieces, subsequences(series(), 6, 2)[1:])
    assert pieces.untyped_storage().data_ptr() == one.untyped_storage().data_ptr()


def test_pieces_fit_the_layer_in_both_data_formats():
    pieces = subsequences(series(), 6)
    last = ConvLSTM1D(5, 2, in_channels=C)
    first = ConvLSTM1D(5, 2, in_channels=C, data_format="channels_first")
    first.load_state_dict(last.state_dict())
    assert last(pieces).shape == (B, 5, 5)
    torch.testing.assert_close(first(pieces.movedim(-1, 2)).movedim(1, -1), last(pieces))


@pytest.mark.parametrize(
    ("shape", "arguments", "says"),
    [
        (
            (B, N, C),
            (5,),
            "pieces of length 5 every 5 must end with the series; received 24 samples, which "
            "leave 4 over; leave out the oldest with series[..., 4:, :]",
        ),
        ((B, N, C), (6, 5), "received 24 samples, which leave 3 over"),
        ((B, N, C), (25,), "received 24 samples; use a length of 24 or less"),
        ((B, N, C), (0,), "length must be an integer of 1 or more; received 0"),
        ((B, N, C), (2.0,), "length must be an integer of 1 or more; received 2.0"),
        ((B, N, C), (4, -1), "stride must be an integer of 1 or more; received -1"),
        ((N,), (4,), "received shape (24,); add the axis of variables with unsqueeze(-1)"),
        ((B, 2, N, C), (4,), "a series has the axes (batch, samples, variables) or (samples, "),
    ],
)
def test_what_cannot_be_cut_is_refused_with_what_to_do(shape, arguments, says):
    with pytest.raises(ValueError) as caught:
        subsequences(torch.zeros(shape), *arguments)
    assert says in str(caught.value)


def test_the_remedy_for_samples_left_over_works():
    assert subsequences(series()[..., 4:, :], 5).shape == (B, 4, 5, C)
    assert subsequences(series()[0][..., 4:, :], 5).shape == (1, 4, 5, C)


def test_a_convlstm1d_learns_a_periodic_series_that_persistence_cannot_follow():
    """Forecasts the sample after 4 pieces of 6, on a part of the series it was not trained on."""
    torch.manual_seed(0)
    t = torch.arange(600.0)
    wave = torch.sin(2 * math.pi * t / 17) + 0.5 * torch.sin(2 * math.pi * t / 5)
    context, target = wave.unfold(0, 25, 1).split((24, 1), dim=1)
    pieces = subsequences(context.unsqueeze(-1), 6)
    layer, head = ConvLSTM1D(8, 3, in_channels=1), torch.nn.Linear(4 * 8, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    for _ in range(120):
        loss = (head(layer(pieces[:450]).flatten(1)) - target[:450]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        forecast = head(layer(pieces[480:]).flatten(1))
    error = (forecast - target[480:]).square().mean()
    persistence = (context[480:, -1:] - target[480:]).square().mean()
    assert error < 0.05 * persistence
