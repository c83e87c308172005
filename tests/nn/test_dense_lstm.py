"""A ConvLSTM2D is a fully connected LSTM in which most weights are 0 and the others repeat."""

import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.recurrence.equations import convolve
from framecast.nn.shapes import ConvGeometry


def as_matrix(kernel, channels, size):
    """The matrix (4F H W, C H W) of a convolution that keeps the size, a column for each input."""
    each = torch.eye(channels * size[0] * size[1]).unflatten(1, (channels, *size))
    geometry = ConvGeometry.parse(2, kernel_size=kernel.shape[-1])
    return convolve(each, kernel, None, geometry).flatten(1).T


@torch.no_grad()
def written_out(filters, kernel_size, channels, size):
    """A ConvLSTM2D and the torch.nn.LSTM over all cells of a frame that has its weights."""
    layer = ConvLSTM2D(
        filters,
        kernel_size,
        padding="same",
        data_format="channels_first",
        in_channels=channels,
        return_sequences=True,
    )
    torch.nn.init.normal_(layer.bias)
    cells = size[0] * size[1]
    lstm = torch.nn.LSTM(channels * cells, filters * cells, batch_first=True)
    lstm.weight_ih_l0.copy_(as_matrix(layer.kernel, channels, size))
    lstm.weight_hh_l0.copy_(as_matrix(layer.recurrent_kernel, filters, size))
    lstm.bias_ih_l0.copy_(layer.bias.repeat_interleave(cells))
    lstm.bias_hh_l0.zero_()
    return layer, lstm


def covered(length, kernel):
    """Pairs of cells in one direction that a kernel connects, the zeros around the frame apart."""
    before = (kernel - 1) // 2
    return sum(0 <= at + step - before < length for at in range(length) for step in range(kernel))


@pytest.mark.parametrize(
    ("filters", "kernel", "channels", "size"),
    [(6, 3, 3, (7, 8)), (2, 5, 4, (7, 8)), (3, 4, 1, (7, 8)), (6, 1, 7, (1, 1))],
)
@torch.no_grad()
def test_both_compute_the_same(filters, kernel, channels, size):
    layer, lstm = written_out(filters, kernel, channels, size)
    x_BTCHW = torch.randn(2, 5, channels, *size)
    h_BTFHW, (h_BTD, _) = layer(x_BTCHW), lstm(x_BTCHW.flatten(2))
    torch.testing.assert_close(h_BTFHW.flatten(2), h_BTD, atol=1e-5, rtol=0)
    _, _, used = counts(layer, lstm)
    (rows, columns), inputs = size, channels + filters
    pairs = covered(rows, kernel) * covered(columns, kernel)
    assert used == 4 * filters * (inputs * pairs + rows * columns)


def counts(layer, lstm):
    """The layer's weights, the entries of the LSTM's matrices and bias, and those that are used."""
    entries = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0]
    return (
        sum(weight.numel() for weight in layer.parameters()),
        sum(entry.numel() for entry in entries),
        sum(int(entry.count_nonzero()) for entry in entries),
    )


def test_the_numbers_of_the_readme():
    """16 filters of 3x3 on 12x12 cells of 8 channels; nothing is left out of a single cell."""
    assert counts(*written_out(16, 3, 8, (12, 12))) == (13_888, 31_859_712, 1_784_832)
    assert counts(*written_out(6, 1, 7, (1, 1))) == (336, 336, 336)
