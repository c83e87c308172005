"""The layer benchmark: its ratios, and the plain loop that it is timed against."""

import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM2D
from tests.benchmarks.layer import ratios, table
from tests.benchmarks.shared.layers import PlainLoop


def test_ratios_take_the_fastest_peer_and_leave_ours_out():
    row = {
        "framecast": 4.0,
        "framecast, recompute": 1.0,
        "plain loop": 9.0,
        "ndrplz": 6.0,
        "bare convolutions": 2.0,
    }
    assert ratios(row) == (1.5, 2.0)
    other = row | {"framecast": 1.0}
    assert table("x", [(1,), (2,)], [row, other]).endswith("| 3.00 | 1.00 |")


def test_plain_loop_is_a_convlstm():
    loop = PlainLoop(3, 6, 3)
    layer = ConvLSTM2D(
        6, 3, padding="same", data_format="channels_first", in_channels=3, return_sequences=True
    )
    with torch.no_grad():
        layer.kernel.copy_(loop.conv.weight[:, :3])
        layer.recurrent_kernel.copy_(loop.conv.weight[:, 3:])
        layer.bias.copy_(loop.conv.bias)
        x = torch.rand(2, 5, 3, 7, 8)
        assert layer(x).numpy() == pytest.approx(loop(x).numpy(), abs=1e-6)
