"""Activations by Keras' names, acting on tensors (batch, channels, ...)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from framecast.nn.convlstm.keras_identifiers import resolve
from framecast.nn.recurrence.equations import Activation


def linear(x: Tensor) -> Tensor:
    """Leave the tensor as it is."""
    return x


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    """max(0, min(1, 0.2 x + 0.5)): the recurrent activation of ConvLSTM2D before Keras 3.

    Keras 3 calls another line "hard_sigmoid", x / 6 + 0.5; files written by Keras 2 mean this one.
    """
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


def leaky_relu(x: Tensor) -> Tensor:
    """x where positive, 0.2 x elsewhere: Keras' slope, not PyTorch's 0.01."""
    return functional.leaky_relu(x, negative_slope=0.2)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the channels, on whichever axis the data format puts them."""
    return torch.softmax(x, dim=1)


def log_softmax(x: Tensor) -> Tensor:
    """Logarithm of the softmax over the channels."""
    return torch.log_softmax(x, dim=1)


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, (x + 1)^2 / 4 up to 1, x beyond."""
    # The clamp keeps the parabola's gradient finite where the other branch is taken.
    return torch.where(x < 1, (x.clamp(-1.0, 1.0) + 1) ** 2 / 4, x)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """(x + 1) / 2, limited to [0, 1]."""
    return ((x + 1) / 2).clamp(0.0, 1.0)


def squareplus(x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + 4)) / 2."""
    return (x + torch.sqrt(x**2 + 4)) / 2


# Aliases such as swish come after the name that a configuration is written with.
ACTIVATIONS: Mapping[str, Activation] = {
    "celu": functional.celu,
    "elu": functional.elu,
    "exponential": torch.exp,
    "gelu": functional.gelu,
    "hard_shrink": functional.hardshrink,
    "hard_sigmoid": functional.hardsigmoid,  # x / 6 + 0.5, as in Keras 3
    "hard_sigmoid_keras2": hard_sigmoid_keras2,
    "hard_silu": functional.hardswish,
    "hard_swish": functional.hardswish,
    "hard_tanh": functional.hardtanh,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "log_sigmoid": functional.logsigmoid,
    "log_softmax": log_softmax,
    "mish": functional.mish,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "soft_shrink": functional.softshrink,
    "softmax": softmax,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "squareplus": squareplus,
    "swish": functional.silu,
    "tanh": torch.tanh,
    "tanh_shrink": functional.tanhshrink,
}


def get_activation(identifier: object, argument: str) -> Activation:
    """Activation for a name, a configuration or a callable; None is `linear`, as in Keras.

    A callable gets tensors (batch, channels, ...) whatever the data format. Raises ValueError,
    naming the `argument`, for what is none of these.
    """
    return resolve(argument, identifier, ACTIVATIONS) or linear
