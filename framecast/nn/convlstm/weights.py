"""Weights of a layer: their two layouts, Keras' rules for them, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from framecast.nn.convlstm.constraints import CONSTRAINTS, Constraint
from framecast.nn.convlstm.initializers import Initializer, get_initializer
from framecast.nn.convlstm.keras_identifiers import resolve
from framecast.nn.convlstm.regularizers import REGULARIZERS, Regularizer
from framecast.nn.shapes import ConvGeometry, to_count
from framecast.runtime.text import counted

_GAINS = ("input_gain", "recurrent_gain", "cell_gain")


def from_keras_layout(weight: Tensor) -> Tensor:
    """Kernel (rows, columns, in, out) as (out, in, rows, columns); a bias stays as it is."""
    # Any number of spatial axes: only the last two are named.
    return weight.movedim((-1, -2), (0, 1)) if weight.ndim > 1 else weight


def to_keras_layout(weight: Tensor) -> Tensor:
    """Kernel (out, in, rows, columns) as (rows, columns, in, out); a bias stays as it is."""
    return weight.movedim((0, 1), (-1, -2)) if weight.ndim > 1 else weight


def channels_of(kernel: Tensor) -> int:
    """Input channels of a kernel (out, in, ...); of what is no kernel any number."""
    return kernel.shape[1] if kernel.ndim > 1 else 1


@dataclass(frozen=True)
class WeightRules:
    """How a weight starts, what it adds to the loss, and where it is projected after a step.

    All three see the weight in Keras' layout, on which fans, axes and callables depend.
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
            resolve(f"{name}_regularizer", regularizer, REGULARIZERS),
            resolve(f"{name}_constraint", constraint, CONSTRAINTS),
        )

    @torch.no_grad()
    def initialize(self, parameter: nn.Parameter) -> None:
        """Draw the weight in place; nothing is drawn for a parameter on the meta device."""
        if parameter.is_meta:
            return
        shape = tuple(to_keras_layout(parameter).shape)
        # A callable may answer with a NumPy array or with a tensor of Keras' backend.
        drawn = torch.as_tensor(self.initializer(shape, dtype=parameter.dtype))
        parameter.copy_(from_keras_layout(drawn))

    def penalty(self, parameter: nn.Parameter) -> Tensor | None:
        """What the weight adds to the loss; None without a regularizer."""
        return None if self.regularizer is None else self.regularizer(to_keras_layout(parameter))

    @torch.no_grad()
    def project(self, parameter: nn.Parameter) -> None:
        """Move the weight in place to where its constraint wants it."""
        if self.constraint is not None:
            projected = torch.as_tensor(self.constraint(to_keras_layout(parameter)))
            parameter.copy_(from_keras_layout(projected))


class GateWeights(nn.Module):
    """The weights of a ConvLSTM; those of its input are made as soon as its channels are known.

    A layer sets `filters`, both geometries, `rules`, `use_bias`, `unit_forget_bias` and
    `data_format` before it calls `_make_tensors`.
    """

    filters: int
    geometry: ConvGeometry
    state_geometry: ConvGeometry
    rules: dict[str, WeightRules]
    use_bias: bool
    unit_forget_bias: bool
    data_format: str

    def _make_tensors(
        self, in_channels: int | None, peephole: bool, layer_norm: bool, factory: dict[str, Any]
    ) -> None:
        gate_channels = 4 * self.filters
        # Made when the channels are known, like torch.nn.LazyConv2d's.
        self.kernel: nn.Parameter = UninitializedParameter(**factory)
        self.recurrent_kernel = nn.Parameter(
            torch.empty((gate_channels, self.filters, *self.state_geometry.kernel_size), **factory)
        )
        optional = {
            "bias": gate_channels if self.use_bias else None,
            "peephole": 3 * self.filters if peephole else None,
            "input_gain": gate_channels if layer_norm else None,
            "recurrent_gain": gate_channels if layer_norm else None,
            "cell_gain": self.filters if layer_norm else None,
            "cell_shift": self.filters if layer_norm else None,
        }
        for name, size in optional.items():
            parameter = None if size is None else nn.Parameter(torch.empty(size, **factory))
            self.register_parameter(name, parameter)
        if in_channels is not None:
            in_channels = to_count(in_channels, "in_channels")
            self.kernel.materialize((gate_channels, in_channels, *self.geometry.kernel_size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights again; peepholes and shifts start at 0, gains at 1."""
        for name, parameter in self.named_parameters(recurse=False):
            if isinstance(parameter, UninitializedParameter):
                continue
            if name in self.rules:
                self.rules[name].initialize(parameter)
            else:
                parameter.fill_(1.0 if name in _GAINS else 0.0)
        if self.bias is not None and self.unit_forget_bias:
            # Gate order i, f, c, o: the second quarter. Forgetting starts almost switched off.
            self.bias[self.filters : 2 * self.filters] = 1.0

    @property
    def in_channels(self) -> int | None:
        """Channels of the input; None until they are given, loaded or seen."""
        return None if isinstance(self.kernel, UninitializedParameter) else self.kernel.shape[1]

    def _infer_channels(self, found: int) -> None:
        if self.in_channels is None:
            # A layer made outside of inference mode and first used in it can be trained later:
            # tensors made in inference mode cannot, nor can they be changed outside of it.
            with torch.inference_mode(self.recurrent_kernel.is_inference()):
                self.kernel.materialize((4 * self.filters, found, *self.geometry.kernel_size))
                self.rules["kernel"].initialize(self.kernel)
        self._check_channels(found)

    def _check_channels(self, found: int | None) -> None:
        if self.in_channels is not None and found not in (None, self.in_channels):
            raise ValueError(
                f"{type(self).__name__} was made for {counted(self.in_channels, 'input channel')}; "
                f"received {found}; check the order of the axes (data_format is "
                f"{self.data_format!r}, step() takes channels first)"
            )

    def _save_to_state_dict(self, *arguments: Any) -> None:
        # As torch.nn.LazyConv2d: an unbuilt weight stands in the dictionary as it is.
        kind = nn.Module if self.in_channels is not None else LazyModuleMixin
        kind._save_to_state_dict(self, *arguments)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: object) -> None:
        kernel = state_dict.get(f"{prefix}kernel")
        unbuilt = isinstance(kernel, UninitializedParameter)
        if unbuilt and self.in_channels is not None:
            raise ValueError(
                "the state to be loaded is that of a layer without input weights; received it for "
                f"one with {counted(self.in_channels, 'input channel')}; save after the first call"
            )
        if kernel is not None and not unbuilt and self.in_channels is None:
            # Only the input channels are open: PyTorch refuses a kernel of another size itself.
            self._infer_channels(channels_of(kernel))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def apply_constraints(self) -> None:
        """Project the weights in place to where their constraints want them, after each step."""
        for name, parameter in self.named_parameters(recurse=False):
            if name in self.rules:
                self.rules[name].project(parameter)
