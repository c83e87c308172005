"""The forecasting networks: where they start, what they hold to, and that all of each learns."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow.constants import LEADS
from framecast.nn.forecasters.layers import Stem, ToPixels, pad_to_grid
from framecast.nn.forecasters.registry import FORECASTERS, build_forecaster
from tests.support.textures import translating

B, T, C, H, W, FILTERS, HORIZON = 2, 5, 3, 7, 8, 6, 4
NAMES = ("flow-convlstm", "convlstm")
both = pytest.mark.parametrize("name", NAMES)


def build(name, channels=C, *, patch=4, filters=(FILTERS, 5), kernel_size=3, seed=0, std=0.0):
    """A network as training starts it; with `std`, every weight drawn, so that no part is idle."""
    torch.manual_seed(seed)
    network = build_forecaster(ModelConfig(name, filters, kernel_size, patch), channels, (H, W))
    if std:
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=std)
    return network.eval()


def clip(batch=B, frames=T, channels=C, height=H, width=W, seed=0):
    shape = (batch, frames, channels, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def predicted(network, context_BTCHW, horizon=HORIZON):
    with torch.no_grad():
        return network(context_BTCHW, horizon)


def tensors(state):
    """All tensors of a nested state; anything but tuples, tensors and integers fails."""
    if isinstance(state, torch.Tensor | int):
        return [state] if isinstance(state, torch.Tensor) else []
    assert isinstance(state, tuple)
    return list(itertools.chain.from_iterable(tensors(part) for part in state))


def test_a_convlstm_reads_its_own_frames_and_adds_to_the_last():
    network, context = build("convlstm"), 0.5 * clip()
    torch.nn.init.constant_(network.paint.bias, 0.0625)
    frames = predicted(network, context)
    for k in range(HORIZON):
        torch.testing.assert_close(frames[:, k], context[:, -1] + 0.0625 * (k + 1))


def test_a_frame_convlstm_is_its_layers_written_out():
    network, context = build("frame-convlstm", std=0.2), clip()
    layers, seen, frames = [None, None], context, []
    for t in range(T + 2):
        cells = network.stem(seen[:, t])
        for number, layer in enumerate(network.stack.layers):
            layers[number] = layer.step(cells, layers[number])
            cells = layers[number][0]
        frames.append(torch.sigmoid(network.paint(cells, (H, W))))
        if t >= T - 1:
            seen = torch.cat((seen, frames[-1].unsqueeze(1)), dim=1)
    written_out = torch.stack(frames, dim=1)
    assert torch.allclose(predicted(network, context, 3), written_out[:, T - 1 :], atol=1e-6)
    assert written_out.std() > 0.05
    trained_on = predicted(network.train(), context, 3)
    assert trained_on.shape == (B, T - 1 + 3, C, H, W)
    assert torch.allclose(trained_on, written_out, atol=1e-6)
    assert predicted(network, context[:, :1], 3).shape == (B, 3, C, H, W)


def test_a_frame_convlstm_starts_from_the_mean_brightness():
    network = build("frame-convlstm")
    network.calibrate([(clip(), torch.full((1, 2, C, H, W), value)) for value in (0.1, 0.3)])
    assert predicted(network, clip()).sub(0.2).abs().max() < 1e-6


@given(
    name=st.sampled_from(NAMES),
    patch=st.sampled_from([1, 2, 4, 8, 16]),
    filters=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    kernel_size=st.sampled_from([1, 3, 5]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 3])),
    frame=st.tuples(st.integers(1, 37), st.integers(1, 37)),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_context_length_and_frame_size_gives_frames_of_that_size_in_0_to_1(
    name, patch, filters, kernel_size, sizes, frame
):
    batch, length, channels = sizes
    network = build(name, channels, patch=patch, filters=filters, kernel_size=kernel_size, std=0.5)
    frames = predicted(network, clip(batch, length, channels, *frame), 3)
    assert frames.shape == (batch, 3, channels, *frame)
    assert frames.dtype == torch.float32
    assert ((frames >= 0) & (frames <= 1)).all()


@pytest.mark.parametrize("name", FORECASTERS)
def test_networks_are_float32_whatever_the_default_is(name):
    context, network = clip(), build(name)
    expected = predicted(network, context)
    torch.set_default_dtype(torch.float64)
    try:
        again = build(name)
        again.load_state_dict(network.state_dict())
        found = predicted(again, context)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@both
@pytest.mark.parametrize("frame", [(1, 1), (1, 33), (5, 3), (16, 17)])
def test_the_smallest_frames_work(name, frame):
    frames = predicted(build(name, patch=8, std=0.3), clip(B, 1, C, *frame), 2)
    assert frames.shape == (B, 2, C, *frame)
    assert torch.isfinite(frames).all()


@both
def test_in_training_frames_are_not_clipped(name):
    network, context = build(name, std=0.2), clip()
    for bias in (-90.0, 90.0):
        torch.nn.init.constant_(network.paint.bias, bias)
        free = network.train()(context, 1)
        assert ((free < 0) if bias < 0 else (free > 1)).all()
        torch.testing.assert_close(predicted(network.eval(), context, 1), free.clamp(0, 1))


@both
def test_a_clips_forecast_does_not_depend_on_the_others_in_its_batch(name):
    network, context = build(name, std=0.05), clip(batch=3, height=21, width=18)
    together = predicted(network, context)
    for b in range(3):
        alone = predicted(network, context[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=2e-5, rtol=0)


@both
def test_a_frame_does_not_depend_on_how_many_follow(name):
    network, context = build(name, std=0.2), clip()
    far = predicted(network, context, 6)
    for horizon in (1, 3):
        torch.testing.assert_close(predicted(network, context, horizon), far[:, :horizon])
    assert not torch.equal(far[:, 0], far[:, 1])


@both
def test_stepping_leaves_the_state_it_started_from_as_it_was(name):
    network, context = build(name, std=0.2), clip()
    given_, kept = context.clone(), []
    with torch.no_grad():
        state = network.encode(context)
        kept = [tensor.clone() for tensor in tensors(state)]
        frame, after = network.step(state)
        again, _ = network.step(state)
    assert torch.equal(frame, again)
    assert torch.equal(context, given_)
    assert all(torch.equal(one, two) for one, two in zip(tensors(state), kept, strict=True))
    changed = [not torch.equal(a, b) for a, b in zip(tensors(state), tensors(after), strict=True)]
    assert any(changed)


@both
def test_the_state_is_tensors_in_tuples_that_keep_their_shapes(name):
    network = build(name, std=0.2)
    with torch.no_grad():
        state = network.encode(clip())
        _, after = network.step(state)
    assert [t.shape for t in tensors(state)] == [t.shape for t in tensors(after)]
    assert [t.dtype for t in tensors(state)] == [t.dtype for t in tensors(after)]
    assert all(len(tensor) == B for tensor in tensors(state))


@both
@pytest.mark.parametrize("place", range(T))
def test_the_layers_read_every_context_frame(name, place, monkeypatch):
    """Where the estimated motion, which all frames enter, gives nothing away."""

    def at_rest(frames_BTHW, windows, withheld):
        batch, _, *sizes = frames_BTHW.shape
        return torch.zeros(len(windows), len(withheld), batch, 2, *sizes)

    monkeypatch.setattr("framecast.nn.forecasters.flow.scene.lucas_kanade", at_rest)
    network, context = build(name, std=0.3), clip()
    other = context.clone()
    other[:, place] = 1 - other[:, place]
    with torch.no_grad():
        one, two = (network.step(network.encode(c))[1].layers for c in (context, other))
    for mine, others in zip(tensors(one), tensors(two), strict=True):
        assert (mine - others).abs().max() > 1e-6


@both
def test_gradients_reach_every_single_weight(name):
    network = build(name, std=0.3).train()
    horizon = LEADS if name == "flow-convlstm" else 3
    frames = network(clip(frames=3, height=19, width=22), horizon)
    F.mse_loss(frames, clip(frames=horizon, height=19, width=22, seed=1)).backward()
    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert (weight.grad != 0).all(), weight_name


@both
def test_at_the_start_gradients_reach_what_paints(name):
    """All else follows once these have left zero."""
    network = build(name).train()
    F.mse_loss(network(clip(), 2), clip(frames=2, seed=1)).backward()
    assert (network.paint.weight.grad != 0).any()
    if name == "flow-convlstm":
        assert (network.turn.weight.grad.flatten(1) != 0).any(dim=1).all()


@both
def test_gradients_are_the_numerical_ones(name, monkeypatch):
    """In float64, where the flow forecaster's float() for half precision must not cut in, and with
    the gradients that it leaves out on purpose.
    """
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    network = build(name, 1, patch=2, filters=(2,), std=0.3).double().train()
    context = translating(2, 6, 7, (0.7, 0.4))[None, :, None].double()
    names, weights = zip(*network.named_parameters(), strict=True)

    def forward(*values):
        named = dict(zip(names, values, strict=True))
        with monkeypatch.context() as whole:
            whole.setattr(torch.Tensor, "detach", lambda tensor: tensor)
            return torch.func.functional_call(network, named, (context, 2))

    assert torch.autograd.gradcheck(forward, weights, fast_mode=True, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_equal_cells_are_painted_without_edges(patch):
    """Inside the frame the patches fade into each other as bilinear interpolation does."""
    paint = ToPixels(1, 1, patch)
    assert not paint(torch.rand(1, 1, 3, 4), (3 * patch, 4 * patch)).any()
    torch.nn.init.ones_(paint.weight)
    cells = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        painted = paint(cells, (5 * patch, 6 * patch))
    smooth = F.interpolate(cells, scale_factor=patch, mode="bilinear")
    inside = (..., slice(patch // 2, -patch // 2), slice(patch // 2, -patch // 2))
    torch.testing.assert_close(painted[inside], smooth[inside])


def test_painting_crops_what_the_grid_added():
    paint = ToPixels(FILTERS, C, 4)
    torch.nn.init.normal_(paint.weight)
    cells = clip(B, 1, FILTERS, 2, 2)[:, 0]
    whole, cropped = paint(cells, (8, 8)), paint(cells, (H, 5))
    torch.testing.assert_close(cropped, whole[..., :H, :5])


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
def test_the_stem_makes_whole_cells_of_repeated_borders(patch):
    frames = clip(B, 1, C, 19, 22)[:, 0]
    padded = pad_to_grid(frames, patch)
    rows, columns = -(-19 // patch), -(-22 // patch)
    assert padded.shape == (B, C, rows * patch, columns * patch)
    expected = np.pad(
        frames, ((0, 0), (0, 0), (0, rows * patch - 19), (0, columns * patch - 22)), mode="edge"
    )
    np.testing.assert_array_equal(padded, expected)
    assert Stem(C, patch, FILTERS)(frames).shape == (B, FILTERS, rows, columns)


def test_far_lead_times_stay_finite():
    frames = predicted(build("flow-convlstm", std=0.3), clip(), 200)
    assert torch.isfinite(frames).all()
