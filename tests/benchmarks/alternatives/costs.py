"""What each network costs as the frame grows: the project's own arithmetic, nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass

from framecast.config.schema import DataConfig, ModelConfig
from framecast.nn.cost_model.network import trace_network
from framecast.nn.cost_model.tensors import Row, totals

NETWORKS = ("convlstm", "frame-convlstm", "shi2015", "flow-convlstm", "cnn-lstm", "fc-lstm")
"""In the order of tables and pictures: those with places in their state first."""

SIDES = (32, 64, 128, 256, 512)
HORIZON = 12


@dataclass(frozen=True)
class Cost:
    """One network with default settings on grey frames of side x side pixels.

    `memory_bytes` is what training on one window takes: weights, gradients, the optimizer's and the
    averaged weights, and what is kept for the backward pass.
    """

    network: str
    side: int
    parameters: int
    memory_bytes: int


def cost(network: str, side: int) -> Cost:
    sums = totals(_trace(network, side))
    return Cost(network, side, sums.parameters, sums.optimizer_bytes + sums.training_bytes)


def transforms(network: str, side: int) -> tuple[str, str]:
    """What the first recurrent layer does to its input x and to its state h, read off its weights.

    "3x3 convolution, 64 to 4 x 64 maps" or "dense, 256 to 4 x 256 numbers", for the four gates.
    """
    row = next(row for row in _trace(network, side) if "recurrent_kernel" in dict(row.parameters))
    weights = dict(row.parameters)
    dense = all(length == 1 for _, length in row.takes[-2:])
    return _in_words(weights["kernel"], dense), _in_words(weights["recurrent_kernel"], dense)


def _in_words(shape: tuple[int, ...], dense: bool) -> str:
    gates, takes, height, width = shape
    sizes = f"{takes:,} to 4 x {gates // 4:,}"
    return f"dense, {sizes} numbers" if dense else f"{height}x{width} convolution, {sizes} maps"


def _trace(network: str, side: int) -> tuple[Row, ...]:
    return trace_network(
        ModelConfig(network),
        batch=1,
        context_length=DataConfig().context_length,
        horizon=HORIZON,
        channels=1,
        height=side,
        width=side,
    )
