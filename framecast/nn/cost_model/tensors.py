"""The cost of a network: calls with their named axes and costs, and the sums of a forecast.

Plain integers that count float32 elements. Does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from framecast.nn.shapes import FLOAT_BYTES

Axes = tuple[tuple[str, int], ...]
"""Named axes of a tensor in the order the network has them, channels first."""


@dataclass(frozen=True)
class LayerRecord:
    """One call in a forecast: a module by its path in the network, or a function by its name.

    `phase` is "encode" or "step", or "" for frames outside the network. The call returns `tensors`
    of shape `output` (a ConvLSTM2D step: h and c), `calls` times in one forecast, with `macs`
    multiply-adds each time. `padding` is added at the top, bottom, left and right. Estimates:
    `saved` counts the elements that all its calls save for the backward pass, `live` those alive
    while it runs without one.
    """

    phase: str
    name: str
    operation: str
    input: Axes
    output: Axes
    dtype: str = "float32"
    tensors: int = 1
    calls: int = 1
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    macs: int = 0
    saved: int = 0
    live: int = 0

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for _, shape in self.parameters)


@dataclass(frozen=True)
class Totals:
    """Sums over a forecast of the whole batch, all lead times, in float32.

    Parameters and `macs` are exact. Estimates within 30 %: `training_bytes` saved between forward
    and backward pass, without weights, batch and optimizer; `prediction_bytes`, the most alive at
    once without gradients, the context included, weights not.
    """

    parameters: int
    macs: int
    training_bytes: int
    prediction_bytes: int

    @property
    def weight_bytes(self) -> int:
        return FLOAT_BYTES * self.parameters

    @property
    def optimizer_bytes(self) -> int:
        """Weights, their gradients, two moments of AdamW, and the running average that is saved."""
        return 5 * self.weight_bytes


def axes(letters: str, *lengths: int) -> Axes:
    """Axes named by a letter each: `axes("BCHW", 2, 3, 37, 22)`."""
    return tuple(zip(letters, lengths, strict=True))


def lengths(axes: Axes) -> tuple[int, ...]:
    return tuple(length for _, length in axes)


def size(axes: Axes) -> int:
    """Elements of a tensor with these axes."""
    return math.prod(lengths(axes))


def channels_last(axes: Axes) -> Axes:
    """The same tensor with its channels after rows and columns, as in Keras and in files."""
    if axes[-2:][0][0] != "H":  # vectors have neither
        return axes
    return (*axes[:-3], *axes[-2:], axes[-3])


def totals(records: Sequence[LayerRecord]) -> Totals:
    """Sum up a forecast; weights used in both phases count once."""
    weights = {
        (record.name, name): shape for record in records for name, shape in record.parameters
    }
    return Totals(
        sum(math.prod(shape) for shape in weights.values()),
        sum(record.calls * record.macs for record in records),
        FLOAT_BYTES * sum(record.saved for record in records),
        FLOAT_BYTES * max(record.live for record in records),
    )
