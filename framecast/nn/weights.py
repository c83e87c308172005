"""One weight of a convolution: its two layouts, and the rules Keras lets one set for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from framecast.nn.constraints import Constraint, get_constraint
from framecast.nn.initializers import Initializer, get_initializer
from framecast.nn.regularizers import Regularizer, get_regularizer


def from_keras_layout(weight: Tensor) -> Tensor:
    """Kernel (rows, columns, in, out) as (out, in, rows, columns); a bias stays as it is."""
    return weight.movedim((-1, -2), (0, 1)) if weight.ndim > 1 else weight


def to_keras_layout(weight: Tensor) -> Tensor:
    """Kernel (out, in, rows, columns) as (rows, columns, in, out); a bias stays as it is."""
    return weight.movedim((0, 1), (-1, -2)) if weight.ndim > 1 else weight


@dataclass(frozen=True)
class WeightRules:
    """How a weight starts, what it adds to the loss, and where it is projected after a step.

    All three see the weight in Keras' layout, since fans, axes and callables count on it.
    """

    initializer: Initializer
    regularizer: Regularizer | None
    constraint: Constraint | None

    @classmethod
    def parse(
        cls, name: str, initializer: object, regularizer: object, constraint: object
    ) -> WeightRules:
        """Resolve the arguments `<name>_initializer` and so on; ValueError names the wrong one."""
        return cls(
            get_initializer(initializer, f"{name}_initializer"),
            get_regularizer(regularizer, f"{name}_regularizer"),
            get_constraint(constraint, f"{name}_constraint"),
        )

    @torch.no_grad()
    def initialize(self, parameter: nn.Parameter) -> None:
        """Draw the weight in place; nothing is drawn for a parameter on the meta device."""
        if parameter.is_meta:
            return
        shape = tuple(to_keras_layout(parameter).shape)
        parameter.copy_(from_keras_layout(self.initializer(shape, dtype=parameter.dtype)))

    def penalty(self, parameter: nn.Parameter) -> Tensor | None:
        """What the weight adds to the loss; None without a regularizer."""
        return None if self.regularizer is None else self.regularizer(to_keras_layout(parameter))

    @torch.no_grad()
    def project(self, parameter: nn.Parameter) -> None:
        """Move the weight in place to where its constraint wants it."""
        if self.constraint is not None:
            parameter.copy_(from_keras_layout(self.constraint(to_keras_layout(parameter))))
