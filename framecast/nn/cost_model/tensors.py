"""What a traced network consists of: named axes, calls with their shapes and costs, their sums.

Everything is a plain integer and counts float32 numbers: no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from framecast.nn.shapes import FLOAT_BYTES

Axes = tuple[tuple[str, int], ...]
"""Named axes of a tensor in the order the network has them, channels first."""


@dataclass(frozen=True)
class Row:
    """One call on the way: a module by its path in the network, or a function by its name.

    `takes` and `gives` are the shapes of its input and output, of which it gives `tensors` (a
    ConvLSTM2D layer: h and c). It is called `calls` times in one forecast, `macs` multiplications
    and additions of convolutions each time. `padding` is what is added at the top, bottom, left and
    right. `kept` counts the numbers that all its calls together keep for the backward pass, `alive`
    those that exist at most while it runs once without one.
    """

    phase: Literal["encode", "step"]
    name: str
    operation: str
    takes: Axes
    gives: Axes
    tensors: int = 1
    calls: int = 1
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    macs: int = 0
    kept: int = 0
    alive: int = 0

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for _, shape in self.parameters)

    @property
    def bytes(self) -> int:
        """Bytes of what one call gives, in float32."""
        return FLOAT_BYTES * self.tensors * size(self.gives)


@dataclass(frozen=True)
class Totals:
    """Sums over a trace, in float32: `macs` of one forecast, all lead times of the whole batch.

    `training_bytes` is what autograd keeps between forward and backward, without weights, batch
    and optimizer; `prediction_bytes` the most that exists at once without gradients, context
    included, weights not.
    """

    parameters: int
    weight_bytes: int
    macs: int
    training_bytes: int
    prediction_bytes: int

    @property
    def optimizer_bytes(self) -> int:
        """Weights, their gradients, two moments of AdamW, and the running average that is saved."""
        return 5 * self.weight_bytes


def size(axes: Axes) -> int:
    """Numbers in a tensor with these axes."""
    return math.prod(length for _, length in axes)


def channels_last(axes: Axes) -> Axes:
    """The same tensor with its channels behind rows and columns, as Keras and files have it."""
    if axes[-2:][0][0] != "H":  # vectors have neither
        return axes
    return (*axes[:-3], *axes[-2:], axes[-3])


def totals(rows: Sequence[Row]) -> Totals:
    """Sum up a trace; weights used in both phases count once."""
    weights = {(row.name, name): shape for row in rows for name, shape in row.parameters}
    parameters = sum(math.prod(shape) for shape in weights.values())
    return Totals(
        parameters,
        FLOAT_BYTES * parameters,
        sum(row.calls * row.macs for row in rows),
        FLOAT_BYTES * sum(row.kept for row in rows),
        FLOAT_BYTES * max(row.alive for row in rows),
    )
