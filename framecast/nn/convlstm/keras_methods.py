"""Keras' methods of layers other than the call: configurations, weights, shapes, names.

Source: `keras/src/layers/layer.py` and `keras/src/layers/rnn/conv_lstm.py`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from framecast.nn.convlstm.activations import ACTIVATIONS
from framecast.nn.convlstm.argument_checks import check_fits, check_shape
from framecast.nn.convlstm.constraints import CONSTRAINTS
from framecast.nn.convlstm.initializers import INITIALIZERS
from framecast.nn.convlstm.keras_identifiers import identify, to_snake_case
from framecast.nn.convlstm.regularizers import REGULARIZERS
from framecast.nn.convlstm.weights import (
    GateWeights,
    channels_of,
    from_keras_layout,
    to_keras_layout,
)
from framecast.runtime.text import counted

Shape = tuple[int | None, ...]
_Layer = TypeVar("_Layer", bound="KerasMethods")

_REGISTRIES = {
    "activation": ACTIVATIONS,
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
}
# Arguments of this project alone; a configuration holds them only where they change something.
OWN_ARGUMENTS = ("recurrent_kernel_size", "peephole", "layer_norm", "recompute")
_NOT_CONFIGURED = ("self", "in_channels", "input_shape", "device", "name", "trainable", "dtype")
# Keras 2 wrote these, which change no result, or stand in its configurations of whole models.
_FORMER_ARGUMENTS = ("batch_input_shape", "implementation", "time_major", "build_config")
_names_used: Counter[str] = Counter()


def to_name(name: str | None, class_name: str) -> str:
    """The name given, or the next of its class: conv_lstm2d, conv_lstm2d_1, ... as in Keras."""
    if name is not None:
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"name must be a text without '/'; received {name!r}")
        return name
    base = to_snake_case(class_name)
    # The first of a class has no number.
    _names_used[base] += 1
    return base if _names_used[base] == 1 else f"{base}_{_names_used[base] - 1}"


def to_dtype(value: object) -> torch.dtype | None:
    """A dtype from PyTorch's, NumPy's or Keras' way to write it; None stays None.

    Of a mixed policy such as "mixed_bfloat16" that of the weights, float32: mixing is autocast's.
    """
    if value is None or isinstance(value, torch.dtype):
        return value
    if isinstance(value, Mapping):  # a DTypePolicy in a configuration
        value = (value.get("config") or {}).get("name")
    name = str(getattr(value, "name", value))
    found = getattr(torch, "float32" if name.startswith("mixed_") else name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(
            f"dtype must be a floating-point type; received {value!r}; use e.g. torch.float32 or "
            '"float32"'
        )
    return found


def as_tensor(values: Any, like: Tensor) -> Tensor:
    """Tensors as they are; NumPy arrays and lists of numbers with the device and dtype of `like`.

    Arrays of integers keep their type. ValueError for what holds no numbers.
    """
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"expected a tensor, or an array of numbers; received {type(values).__name__} of "
            f"{array.dtype}; convert it with torch.as_tensor or numpy.asarray"
        )
    # A copy: PyTorch takes no negative strides and no foreign byte order, and warns of arrays that
    # are not writable, such as those of a file.
    native = np.array(array, array.dtype.newbyteorder("="), order="C")
    tensor = torch.from_numpy(native).to(like.device)
    # NumPy's floats are float64 by default, which the weights seldom are.
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor


def _keras_shape(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[2:], shape[1], shape[0]) if len(shape) > 1 else tuple(shape)


class KerasMethods(GateWeights):
    """Keras' methods for a layer or a cell whose constructor has Keras' arguments.

    `name` is Keras', for configurations and files; `trainable` freezes and frees all weights.
    """

    rank: ClassVar[int]
    # Axes of the input between the batch and those of one frame: 1 for a layer, 0 for a cell.
    time_axes: ClassVar[int]
    name: str

    @property
    def trainable(self) -> bool:
        """Whether any weight is trained; set it to freeze all of them, or to free them."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value not in (True, False):
            rule = "trainable must be True or False"
            raise ValueError(f"{rule}; received {value!r}; use trainable=False to freeze weights")
        for parameter in self.parameters():
            # Not requires_grad_(), which weights that are not made yet refuse.
            parameter.requires_grad = bool(value)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again, without its weights, as Keras' `get_config` does.

        Keras' own class takes them too, unless this layer uses arguments or callables that Keras
        does not have. Callables stand in it as they are.
        """
        # Read off the attributes, so that a configuration is of the layer as it is now.
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": str(self.recurrent_kernel.dtype).removeprefix("torch."),
        }
        for argument in inspect.signature(type(self)).parameters:
            if argument in _NOT_CONFIGURED:
                continue
            value, kind = self._held(argument), argument.rpartition("_")[2]
            if kind in _REGISTRIES:
                value = identify(kind, value, _REGISTRIES[kind])
            if value or argument not in OWN_ARGUMENTS:
                config[argument] = value
        return config

    def _held(self, argument: str) -> Any:
        """What a constructor's argument was resolved to."""
        if argument == "peephole":
            return self.peephole is not None
        if argument == "recurrent_kernel_size":
            size = self.state_geometry.kernel_size
            return None if size == self.geometry.kernel_size else size
        if hasattr(self.geometry, argument):  # kernel_size, strides, padding, dilation_rate
            return getattr(self.geometry, argument)
        weight, _, kind = argument.rpartition("_")
        # Keras calls the rules of recurrent_kernel recurrent_initializer and so on.
        name = "recurrent_kernel" if weight == "recurrent" else weight
        if name in self.rules and kind in ("initializer", "regularizer", "constraint"):
            return getattr(self.rules[name], kind)
        return getattr(self, argument)

    @classmethod
    def from_config(cls: type[_Layer], config: Mapping[str, Any]) -> _Layer:
        """Make a layer from what `get_config` gave, here or in Keras 2 or 3."""
        return cls(**{k: v for k, v in config.items() if k not in _FORMER_ARGUMENTS})

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights in Keras' order and layout: kernels are (rows, columns, in, out).

        An empty list before the channels of the input are known.
        """
        if self.in_channels is None:
            return []
        weights = [to_keras_layout(weight.detach().cpu()) for weight in self.parameters()]
        # NumPy has no bfloat16.
        known = [w.float() if w.dtype == torch.bfloat16 else w for w in weights]
        return [w.numpy().copy() for w in known]  # a copy, else it would change with the weight

    def check_weights(self, weights: Sequence[Any]) -> list[Tensor]:
        """Weights for `set_weights` as tensors in PyTorch's layout; ValueError unless all fit."""
        own = dict(self.named_parameters())
        given = [from_keras_layout(as_tensor(weight, self.recurrent_kernel)) for weight in weights]
        if len(given) != len(own):
            raise ValueError(
                f"{type(self).__name__} has {counted(len(own), 'weight')} ({', '.join(own)}); "
                f"received {len(given)}"
            )
        size = self.geometry.kernel_size
        # Only the kernel may be missing, and only its input channels be open.
        channels = self.in_channels or channels_of(given[0])
        own_shapes = [(4 * self.filters, channels, *size)]
        own_shapes += [tuple(weight.shape) for weight in list(own.values())[1:]]
        for name, shape, new in zip(own, own_shapes, given, strict=True):
            if tuple(new.shape) != shape:
                raise ValueError(
                    f"{name} must be {_keras_shape(shape)}; received {_keras_shape(new.shape)}; "
                    "kernels are (rows, columns, in, out) as in Keras"
                )
        return given

    @torch.no_grad()
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy weights in, in the order and layout of `get_weights`; makes those not made yet.

        ValueError for another number of arrays or other shapes; then nothing has changed.
        """
        given = self.check_weights(weights)
        self._infer_channels(channels_of(given[0]))
        for weight, new in zip(self.parameters(), given, strict=True):
            weight.copy_(new)

    def count_params(self) -> int:
        """Number of weights. ValueError before the channels of the input are known."""
        if self.in_channels is None:
            raise ValueError(
                f"{self.name} has no weights yet; call it or build(shape) first, or make it with "
                "in_channels"
            )
        return sum(parameter.numel() for parameter in self.parameters())

    def build(self, shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape, of which only the channels must be known."""
        check_shape(type(self).__name__, shape, self.data_format, self.rank, self.time_axes)
        self._infer_channels(shape[self._channel_axis(shape)])

    def _channel_axis(self, shape: Sequence[int | None]) -> int:
        return len(shape) - 1 if self.data_format == "channels_last" else 1 + self.time_axes

    def _output_shape(self, shape: Sequence[int | None]) -> Shape:
        """(B, axes of one output) for inputs of `shape`, in the order of `data_format`."""
        check_shape(type(self).__name__, shape, self.data_format, self.rank, self.time_axes)
        self._check_channels(shape[self._channel_axis(shape)])
        first = 1 + self.time_axes
        if self.data_format == "channels_first":
            first += 1
        sizes = shape[first : first + self.rank]
        if None not in sizes:
            check_fits(sizes, self.geometry)
        # Axis by axis, so that an unknown one leaves the others known.
        found = [
            None if size is None else self.geometry.output_sizes([size] * self.rank)[axis]
            for axis, size in enumerate(sizes)
        ]
        if self.data_format == "channels_last":
            return (shape[0], *found, self.filters)
        return (shape[0], self.filters, *found)
