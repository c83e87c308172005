"""ConvLSTMCell1D, 2D and 3D: one step, with the names, defaults and semantics of Keras 3.

The equations and the legend of the axes stand in `recurrence/equations.py`.
Source of the semantics: `keras/src/layers/rnn/conv_lstm.py: ConvLSTMCell`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from framecast.nn import shapes
from framecast.nn.autocast import autocast_type
from framecast.nn.convlstm.activations import get_activation
from framecast.nn.convlstm.argument_checks import (
    check_fits,
    check_inputs,
    check_state,
    to_data_format,
    to_layer_norm,
    to_rate,
    to_seed,
)
from framecast.nn.convlstm.dropout import NO_DROPOUT, DropoutMasks, sample_mask
from framecast.nn.convlstm.keras_methods import KerasMethods, Shape, as_tensor, to_dtype, to_name
from framecast.nn.convlstm.weights import WeightRules
from framecast.nn.recurrence.chunks import SequenceSettings, Weights, cell_dtype
from framecast.nn.recurrence.equations import State, convolve, gates, normalize_channels
from framecast.nn.recurrence.fused import can_fuse, fused_recurrence


def state_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a state for inputs `x`: theirs, but under autocast no less than float32."""
    return x.dtype if autocast_type(x.device) is None else cell_dtype(x)


class ConvLSTMCell(KerasMethods):
    """One step of a ConvLSTM over `rank` spatial axes; use ConvLSTMCell1D, 2D or 3D.

    Called with the frames of one step and the states h and c, it returns h and [h, c], as Keras'
    cell does. Arguments, weights, errors and differences to Keras are those of `ConvLSTM`.
    """

    time_axes = 0

    def __init__(
        self,
        filters: int,
        kernel_size: int | Iterable[int],
        strides: int | Iterable[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Iterable[int] = 1,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: object = None,
        recurrent_regularizer: object = None,
        bias_regularizer: object = None,
        kernel_constraint: object = None,
        recurrent_constraint: object = None,
        bias_constraint: object = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        in_channels: int | None = None,
        recurrent_kernel_size: int | Iterable[int] | None = None,
        peephole: bool = False,
        layer_norm: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.filters = shapes.to_count(filters, "filters")
        self.geometry = shapes.ConvGeometry.parse(
            self.rank,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
        )
        # The state's convolution keeps the size, whatever the input's does.
        self.state_geometry = shapes.ConvGeometry.parse(
            self.rank,
            kernel_size=self.geometry.kernel_size
            if recurrent_kernel_size is None
            else recurrent_kernel_size,
        )
        self.data_format = to_data_format(data_format)
        self.activation = get_activation(activation, "activation")
        self.recurrent_activation = get_activation(recurrent_activation, "recurrent_activation")
        self.use_bias, self.unit_forget_bias = use_bias, unit_forget_bias
        parse = WeightRules.parse
        self.rules = {
            "kernel": parse("kernel", kernel_initializer, kernel_regularizer, kernel_constraint),
            "recurrent_kernel": parse(
                "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
            ),
            "bias": parse("bias", bias_initializer, bias_regularizer, bias_constraint),
        }
        self.dropout = to_rate(dropout, "dropout")
        self.recurrent_dropout = to_rate(recurrent_dropout, "recurrent_dropout")
        self.seed = to_seed(seed)
        self._mask_seeds = None if seed is None else random.Random(seed)
        self.layer_norm = to_layer_norm(layer_norm, self.filters)
        self.name = to_name(name, type(self).__name__)
        factory = {"device": device, "dtype": to_dtype(dtype)}
        # Last, since the weights' shapes and first values follow from everything above.
        self._make_tensors(in_channels, peephole, layer_norm, factory)
        self.trainable = trainable

    def forward(
        self,
        inputs: Tensor,
        states: Sequence[Tensor] | None = None,
        training: bool | None = None,
        masks: DropoutMasks | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Advance by one step: `inputs` (B,H,W,C) and h, c, all in the order of `data_format`.

        `states` None is zeros; `training` switches dropout, None follows train() and eval();
        `masks` are those of `sample_dropout` for steps that share them, None draws new ones.
        Returns h and [h, c]. ValueError for shapes that do not fit.
        """
        inputs = as_tensor(inputs, self.recurrent_kernel)
        check_inputs(type(self).__name__, inputs, self.data_format, self.rank, time_axes=0)
        x_BCHW = self._to_channels_first(inputs)
        state = None
        if states is not None:
            check_state(states, self.compute_output_shape(inputs.shape)[0])
            state = self._as_state(states, x_BCHW)
        if masks is None:
            masks = self.sample_dropout(x_BCHW, training)
        h, c = map(self._from_channels_first, self.step(x_BCHW, state, masks))
        return h, [h, c]

    def step(
        self, x_BCHW: Tensor, state: State | None = None, masks: DropoutMasks = NO_DROPOUT
    ) -> State:
        """Advance by one step, channels first: (B,C,H,W) and h, c (B,F,H',W') give new h and c.

        `state` None is zeros. Dropout applies through `masks` only, drawn once per sequence with
        `sample_dropout`. A stateful layer's own state is neither read nor written.
        """
        self._infer_channels(x_BCHW.shape[1])
        check_fits(x_BCHW.shape[2:], self.geometry)
        x_B1CHW = x_BCHW.unsqueeze(1)  # a sequence of one step
        if not torch.is_grad_enabled() and masks == NO_DROPOUT and self._can_fuse(x_B1CHW, state):
            settings = SequenceSettings(self.geometry, self.state_geometry, return_sequences=False)
            _, h_BFHW, c_BFHW = fused_recurrence(x_B1CHW, state, self._weights(), settings)
            return h_BFHW, c_BFHW
        z_BGHW = self._convolve_inputs(x_B1CHW, masks)[:, 0]
        h_BFHW, c_BFHW = state or self._zeros(x_BCHW.shape[0], z_BGHW.shape[2:], x_BCHW)
        return self._step(z_BGHW, h_BFHW, c_BFHW, masks)

    def _can_fuse(self, x_BTCHW: Tensor, state: State | None) -> bool:
        # Its backward pass has the derivatives of these two written out.
        usual = self.activation is torch.tanh and self.recurrent_activation is torch.sigmoid
        tensors = (x_BTCHW, *(state or ()), *self.parameters(recurse=False))
        return usual and not self.layer_norm and can_fuse(tensors)

    def _weights(self) -> Weights:
        return Weights(self.kernel, self.recurrent_kernel, self.bias, self.peephole)

    def _convolve_inputs(self, x_BTCHW: Tensor, masks: DropoutMasks) -> Tensor:
        """W_x * X + b of all steps in one convolution: (B,T,G,H',W')."""
        batch_and_time, dropout = x_BTCHW.shape[:2], masks.inputs_4BCHW
        if dropout is not None:
            # One mask per gate and sequence, shared by all steps: (4,B,C,H,W) to (4,N,C,H,W).
            dropout = dropout.unsqueeze(2).expand(4, *x_BTCHW.shape).flatten(1, 2)
        # Normalising subtracts the mean, so the bias is added after it, as its shift.
        bias = None if self.layer_norm else self.bias
        z_NGHW = convolve(x_BTCHW.flatten(0, 1), self.kernel, bias, self.geometry, dropout)
        if self.layer_norm:
            z_NGHW = normalize_channels(z_NGHW, 4, self.input_gain, self.bias)
        return z_NGHW.unflatten(0, batch_and_time)

    def _step(self, z_BGHW: Tensor, h_BFHW: Tensor, c_BFHW: Tensor, masks: DropoutMasks) -> State:
        """One step from the input's share of the pre-activations to the next h and c."""
        recurrent_BGHW = convolve(
            h_BFHW, self.recurrent_kernel, None, self.state_geometry, masks.state_4BFHW
        )
        normalize_c = None
        if self.layer_norm:
            recurrent_BGHW = normalize_channels(recurrent_BGHW, 4, self.recurrent_gain)
            normalize_c = partial(
                normalize_channels, groups=1, gain=self.cell_gain, shift=self.cell_shift
            )
        return gates(
            z_BGHW + recurrent_BGHW,
            c_BFHW,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            peephole=self.peephole,
            normalize_c=normalize_c,
        )

    def sample_dropout(self, x_BCHW: Tensor, training: bool | None = None) -> DropoutMasks:
        """Draw the masks of one sequence of steps like `x_BCHW`; None where nothing is dropped.

        `training` None follows train() and eval().
        """
        if not (self.training if training is None else training):
            return NO_DROPOUT
        batch, _, *sizes = x_BCHW.shape
        state_shape = (batch, self.filters, *self.geometry.output_sizes(sizes))
        return DropoutMasks(
            sample_mask(self.dropout, x_BCHW.shape, x_BCHW, self._next_seed()),
            sample_mask(self.recurrent_dropout, state_shape, x_BCHW, self._next_seed()),
        )

    def _next_seed(self) -> int | None:
        # A stream of seeds, so that layers with seeds 1, 2, ... do not share masks.
        return None if self._mask_seeds is None else self._mask_seeds.getrandbits(63)

    def _zeros(self, batch: int, sizes: Sequence[int], like: Tensor) -> State:
        shape = (batch, self.filters, *sizes)
        return like.new_zeros(shape), like.new_zeros(shape, dtype=state_dtype(like))

    def _as_state(self, given: Sequence[Tensor], like: Tensor) -> State:
        """h and c in the order of `data_format` as a state for inputs such as `like`."""
        dtype = state_dtype(like)
        h, c = (self._to_channels_first(as_tensor(tensor, like).to(dtype)) for tensor in given)
        return h, c

    def compute_output_shape(self, inputs_shape: Shape) -> tuple[Shape, list[Shape]]:
        """Shapes of h and of [h, c] for inputs of that shape; None for an unknown size."""
        shape = self._output_shape(inputs_shape)
        return shape, [shape, shape]

    # PyTorch's older ONNX exporter does not move axes counted from the end.
    def _to_channels_first(self, tensor: Tensor) -> Tensor:
        first, last = self.data_format == "channels_first", tensor.ndim - 1
        return tensor if first else tensor.movedim(last, last - self.rank)

    def _from_channels_first(self, tensor: Tensor) -> Tensor:
        first, last = self.data_format == "channels_first", tensor.ndim - 1
        return tensor if first else tensor.movedim(last - self.rank, last)

    def regularization_losses(self) -> dict[str, Tensor]:
        """Penalties to add to the loss, by weight."""
        losses = {
            name: self.rules[name].penalty(parameter)
            for name, parameter in self.named_parameters(recurse=False)
            if name in self.rules
        }
        return {name: loss for name, loss in losses.items() if loss is not None}

    def __prepare_scriptable__(self) -> None:
        # torch.jit.script calls this first; its own error would name a line inside framecast.
        raise RuntimeError(
            f"{type(self).__name__} cannot be compiled by torch.jit.script; use "
            "torch.export.export or torch.jit.trace with an example input"
        )

    def extra_repr(self) -> str:
        """The arguments that repr() shows."""
        channels = f"in_channels={self.in_channels}, filters={self.filters}"
        return f"{channels}, {self.geometry}, data_format={self.data_format!r}"


class ConvLSTMCell1D(ConvLSTMCell):
    """One step of a ConvLSTM1D: (B,L,C), or (B,C,L) with channels_first; see `ConvLSTMCell`."""

    rank: ClassVar[int] = 1


class ConvLSTMCell2D(ConvLSTMCell):
    """One step of a ConvLSTM2D: (B,H,W,C), or (B,C,H,W) with channels_first; see `ConvLSTMCell`."""

    rank: ClassVar[int] = 2


class ConvLSTMCell3D(ConvLSTMCell):
    """One step of a ConvLSTM3D: (B,D,H,W,C), or (B,C,D,H,W) with channels_first."""

    rank: ClassVar[int] = 3
