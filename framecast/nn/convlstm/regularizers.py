"""Penalties on weights and outputs by Keras' names, summed into the loss by whoever trains.

Source: `keras/src/regularizers/regularizers.py`. Keras' OrthogonalRegularizer takes matrices only
and so refuses every weight of a convolution; it has no name here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from framecast.nn.convlstm.argument_checks import to_factor

Regularizer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class L1L2:
    """`l1 sum|x| + l2 sum(x^2)`; ValueError for a factor that is negative or not finite."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            object.__setattr__(self, name, to_factor(getattr(self, name), name))

    def __call__(self, x: Tensor) -> Tensor:
        # Sums, not means: the penalty grows with the number of weights, as in Keras.
        return self.l1 * x.abs().sum() + self.l2 * x.square().sum()


class L1(L1L2):
    """`l1 sum|x|`."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """`l2 sum(x^2)`."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


REGULARIZERS: Mapping[str, type[L1L2]] = {"l1": L1, "l2": L2, "l1l2": L1L2}
