"""Projections of weights after an optimizer step, by Keras' names, on weights in Keras' layout.

Source: `keras/src/constraints/constraints.py`. `axis` names the axes that a norm is taken over,
`(0, 1, 2)` for each filter of a kernel (rows, columns, in, out); Keras' default is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Constraint = Callable[[Tensor], Tensor]
Axes = int | Sequence[int]
# Keras' backend.epsilon(), which keeps a norm of zero from dividing by zero.
_EPSILON = 1e-7


@dataclass(frozen=True)
class NonNeg:
    """Negative weights become 0."""

    def __call__(self, weight: Tensor) -> Tensor:
        return weight.clamp_min(0)


@dataclass(frozen=True)
class MinMaxNorm:
    """Norms move into `[min_value, max_value]`, all the way at `rate` 1, part of it below."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axes = 0

    def __call__(self, weight: Tensor) -> Tensor:
        # Keras, constraints.py: MinMaxNorm; rate 1 projects onto the nearest allowed norm.
        norms = _norms(weight, self.axis)
        wanted = self.rate * norms.clamp(self.min_value, self.max_value) + (1 - self.rate) * norms
        return weight * (wanted / (_EPSILON + norms))


@dataclass(frozen=True)
class MaxNorm:
    """Norms above `max_value` shrink to it."""

    max_value: float = 2.0
    axis: Axes = 0

    def __call__(self, weight: Tensor) -> Tensor:
        # A minimum of 0 leaves smaller norms as they are.
        return MinMaxNorm(0.0, self.max_value, 1.0, self.axis)(weight)


@dataclass(frozen=True)
class UnitNorm:
    """Norms become 1."""

    axis: Axes = 0

    def __call__(self, weight: Tensor) -> Tensor:
        return weight / (_EPSILON + _norms(weight, self.axis))


def _norms(weight: Tensor, axis: Axes) -> Tensor:
    return torch.sqrt(weight.square().sum(dim=axis, keepdim=True))


CONSTRAINTS: Mapping[str, type] = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}
