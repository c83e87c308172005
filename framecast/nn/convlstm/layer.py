"""ConvLSTM2D and ConvLSTM1D with the names, defaults and semantics of Keras 3.

The equations and the legend of the axes stand in `recurrence.py`, beside the arithmetic.
Source of the semantics: `keras/src/layers/rnn/conv_lstm.py` and `rnn.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from framecast.nn import shapes
from framecast.nn.convlstm.activations import get_activation
from framecast.nn.convlstm.argument_checks import (
    check_fits,
    check_inputs,
    check_mask,
    check_state,
    to_data_format,
    to_layer_norm,
    to_rate,
)
from framecast.nn.convlstm.dropout import NO_DROPOUT, DropoutMasks, sample_mask
from framecast.nn.convlstm.regularizers import get_regularizer
from framecast.nn.convlstm.weights import GateWeights, WeightRules
from framecast.nn.recurrence.equations import State, convolve, gates, normalize_channels, recur
from framecast.nn.recurrence.fused import Plan, Weights, can_scan, scan


class ConvLSTM(GateWeights):
    """ConvLSTM layer over `rank` spatial axes; use ConvLSTM2D or ConvLSTM1D.

    Keras' arguments, with Keras' defaults and meaning: the convolution of the input takes
    `strides`, `padding` ("valid" or "same") and `dilation_rate`, that of the state keeps the
    size; even kernels pad one more at the bottom and right; the bias of the forget gate starts
    at 1 with `unit_forget_bias`; `dropout` and `recurrent_dropout` draw four masks per call,
    shared by all steps; `seed` fixes them; a `stateful` layer carries its state from call to
    call until `reset_state()`; `go_backwards` gives the outputs in reversed order; a step that
    `mask` leaves out holds the state and repeats the last output, or gives zeros with
    `zero_output_for_mask`. `data_format` None is "channels_last".

    Arguments beyond Keras: `in_channels` (inferred at first use when None), `peephole` and
    `layer_norm` (see `recurrence.py`), `device` and `dtype` of the weights, and `recompute`, which
    keeps two fifths as much for the backward pass and computes the gates a second time in it.

    Where that is faster on a CPU, both convolutions of a sequence are computed by Winograd's
    minimal filtering (`scan_winograd.py`), which rounds a little more than direct ones do, and
    keeps large sequences' gates no more than `recompute` does.

    Differences to Keras: a dropout rate of 1 is refused, where Keras drops nothing;
    `reset_state()` lets a stateful layer take another batch size; the spatial size may change
    between calls; "softmax" always goes over the channels; callables given as activations see
    (batch, channels, ...), all others see Keras' layouts; `unroll` is taken and changes nothing,
    the loop over time is always a Python loop.

    Weights: `kernel` (4F,C,h,w), `recurrent_kernel` (4F,F,h,w), `bias` (4F), gates i, f, c, o;
    `peephole` (3F), gates i, f, o; `input_gain`, `recurrent_gain` (4F), `cell_gain`,
    `cell_shift` (F). ValueError for arguments that mean nothing.
    """

    rank: ClassVar[int]

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
        activity_regularizer: object = None,
        kernel_constraint: object = None,
        recurrent_constraint: object = None,
        bias_constraint: object = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        in_channels: int | None = None,
        peephole: bool = False,
        layer_norm: bool = False,
        recompute: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        (self.filters,) = shapes.to_sizes(filters, 1, "filters")
        self.geometry = shapes.ConvGeometry.parse(
            self.rank,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
        )
        self._state_geometry = shapes.ConvGeometry.parse(self.rank, kernel_size=kernel_size)
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
        self.activity_regularizer = get_regularizer(activity_regularizer, "activity_regularizer")
        self.dropout = to_rate(dropout, "dropout")
        self.recurrent_dropout = to_rate(recurrent_dropout, "recurrent_dropout")
        self.seed = seed
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask, self.recompute = zero_output_for_mask, recompute
        self.register_buffer("_carried_h_BFHW", None, persistent=False)
        self.register_buffer("_carried_c_BFHW", None, persistent=False)
        self._activity_loss: Tensor | None = None
        self._masks_drawn = 0
        self.layer_norm = to_layer_norm(layer_norm, self.filters)
        self._make_tensors(in_channels, peephole, layer_norm, {"device": device, "dtype": dtype})

    def forward(
        self,
        inputs: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Run the layer over a sequence.

        `inputs` are (B,T,H,W,C), or (B,T,C,H,W) with channels_first; `initial_state` is h and c
        with their axes in the same order; `mask` (B,T) is not 0 where a step counts; `training`
        switches dropout, None follows train() and eval(). Returns the output of the last step, of
        all steps with `return_sequences`, and with `return_state` (output, h, c). ValueError for
        shapes that do not fit.
        """
        check_inputs(type(self).__name__, inputs, self.data_format, self.rank)
        x_BTCHW = self._to_channels_first(inputs)
        masks = self.sample_dropout(x_BTCHW[:, 0], training)
        use_BT = None if mask is None else check_mask(mask, *x_BTCHW.shape[:2])
        self._infer_channels(x_BTCHW.shape[2])
        check_fits(x_BTCHW.shape[3:], self.geometry)
        state = self._first_state(initial_state, x_BTCHW)
        if use_BT is None and masks == NO_DROPOUT and self._can_scan(x_BTCHW, state):
            output, h_BFHW, c_BFHW = self._scan(x_BTCHW, state)
        else:
            output, h_BFHW, c_BFHW = self._loop(x_BTCHW, state, masks, use_BT)
        if self.stateful:
            self._carried_h_BFHW, self._carried_c_BFHW = h_BFHW.detach(), c_BFHW.detach()
        results = (output, h_BFHW, c_BFHW) if self.return_state else (output,)
        output, *states = map(self._from_channels_first, results)
        if self.activity_regularizer is not None:
            penalties = [self.activity_regularizer(r) / r.shape[0] for r in (output, *states)]
            self._activity_loss = torch.stack(penalties).sum()
        return (output, *states) if self.return_state else output

    def step(
        self, x_BCHW: Tensor, state: State | None = None, masks: DropoutMasks = NO_DROPOUT
    ) -> State:
        """Advance by one step, channels first: (B,C,H,W) and h, c (B,F,H',W') give new h and c.

        `state` None is zeros. Dropout applies through `masks` only, drawn once per sequence with
        `sample_dropout`. A stateful layer's own state is neither read nor written.
        """
        self._infer_channels(x_BCHW.shape[1])
        check_fits(x_BCHW.shape[2:], self.geometry)
        z_BGHW = self._convolve_inputs(x_BCHW.unsqueeze(1), masks)[:, 0]
        h_BFHW, c_BFHW = state or self._zeros(x_BCHW.shape[0], z_BGHW.shape[2:], x_BCHW)
        return self._advance(z_BGHW, h_BFHW, c_BFHW, masks)

    def _loop(
        self, x_BTCHW: Tensor, state: State | None, masks: DropoutMasks, use_BT: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every option, with autograd's own operations: what `scan` is proved equal to."""
        if self.go_backwards:
            x_BTCHW = x_BTCHW.flip(1)
            use_BT = None if use_BT is None else use_BT.flip(1)
        z_BTGHW = self._convolve_inputs(x_BTCHW, masks)
        h_BFHW, c_BFHW = state or self._zeros(x_BTCHW.shape[0], z_BTGHW.shape[3:], x_BTCHW)
        return recur(
            lambda z_BGHW, h, c: self._advance(z_BGHW, h, c, masks),
            z_BTGHW,
            h_BFHW,
            c_BFHW,
            use_BT=use_BT,
            zero_output_for_mask=self.zero_output_for_mask,
            return_sequences=self.return_sequences,
        )

    def _scan(self, x_BTCHW: Tensor, state: State | None) -> tuple[Tensor, Tensor, Tensor]:
        weights = Weights(self.kernel, self.recurrent_kernel, self.bias, self.peephole)
        plan = Plan(
            self.geometry,
            self._state_geometry,
            self.go_backwards,
            self.return_sequences,
            self.recompute,
        )
        return scan(x_BTCHW, state, weights, plan)

    def _can_scan(self, x_BTCHW: Tensor, state: State | None) -> bool:
        usual = self.activation is torch.tanh and self.recurrent_activation is torch.sigmoid
        tensors = (x_BTCHW, *(state or ()), *self.parameters(recurse=False))
        return usual and not self.layer_norm and can_scan(tensors)

    def _convolve_inputs(self, x_BTCHW: Tensor, masks: DropoutMasks) -> Tensor:
        """W_x * X + b of all steps in one convolution: (B,T,G,H',W')."""
        batch_and_time, dropout = x_BTCHW.shape[:2], masks.inputs_4BCHW
        if dropout is not None:
            dropout = dropout.unsqueeze(2).expand(4, *x_BTCHW.shape).flatten(1, 2)
        bias = None if self.layer_norm else self.bias
        z_NGHW = convolve(x_BTCHW.flatten(0, 1), self.kernel, bias, self.geometry, dropout)
        if self.layer_norm:
            z_NGHW = normalize_channels(z_NGHW, 4, self.input_gain, self.bias)
        return z_NGHW.unflatten(0, batch_and_time)

    def _advance(
        self, z_BGHW: Tensor, h_BFHW: Tensor, c_BFHW: Tensor, masks: DropoutMasks
    ) -> State:
        """One step from the inputs' share of the four sums to the next h and c."""
        recurrent_BGHW = convolve(
            h_BFHW, self.recurrent_kernel, None, self._state_geometry, masks.state_4BFHW
        )
        show = None
        if self.layer_norm:
            recurrent_BGHW = normalize_channels(recurrent_BGHW, 4, self.recurrent_gain)
            show = partial(normalize_channels, groups=1, gain=self.cell_gain, shift=self.cell_shift)
        return gates(
            z_BGHW + recurrent_BGHW,
            c_BFHW,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            peephole=self.peephole,
            show=show,
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
        self._masks_drawn += 1
        # The hash of integers is the same everywhere, and keeps layers with seeds 1, 2, ... apart.
        return None if self.seed is None else hash((self.seed, self._masks_drawn)) % 2**32

    def _zeros(self, batch: int, sizes: Sequence[int], like: Tensor) -> State:
        shape = (batch, self.filters, *sizes)
        return like.new_zeros(shape), like.new_zeros(shape)

    def _first_state(self, given: Sequence[Tensor] | None, x_BTCHW: Tensor) -> State | None:
        """State that a sequence starts from: the given one, the carried one, or None for zeros."""
        carried = self._carried_h_BFHW
        if given is None and carried is None:
            return None
        batch, filters, *sizes = shape = (
            x_BTCHW.shape[0],
            self.filters,
            *self.geometry.output_sizes(x_BTCHW.shape[3:]),
        )
        if carried is not None and carried.shape != shape:
            raise ValueError(
                "a stateful layer keeps its batch and frame size from call to call; it holds "
                f"{tuple(carried.shape)}; received inputs that need {shape}; call reset_state() "
                "first"
            )
        if given is None:
            return carried, self._carried_c_BFHW
        last = self.data_format == "channels_last"
        check_state(given, (batch, *sizes, filters) if last else shape)
        h_BFHW, c_BFHW = (self._to_channels_first(t.to(x_BTCHW.dtype)) for t in given)
        return h_BFHW, c_BFHW

    def reset_state(self) -> None:
        """Forget the state that a stateful layer carries; the next call starts from zeros."""
        self._carried_h_BFHW = self._carried_c_BFHW = None

    def regularization_losses(self) -> dict[str, Tensor]:
        """Penalties to add to the loss, by weight, and "activity" for the outputs of the last call.

        That of the outputs is divided by the batch size, those of the weights are not.
        """
        losses = {
            name: self.rules[name].penalty(parameter)
            for name, parameter in self.named_parameters(recurse=False)
            if name in self.rules
        }
        losses["activity"] = self._activity_loss
        return {name: loss for name, loss in losses.items() if loss is not None}

    def compute_mask(self, mask: Tensor | None) -> Tensor | None:
        """Mask for the layer behind this one: the same for a sequence, None for a last output."""
        return mask if self.return_sequences else None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last call's penalty: its graph can neither be copied nor pickled."""
        return {**self.__dict__, "_activity_loss": None}

    def _to_channels_first(self, tensor: Tensor) -> Tensor:
        first = self.data_format == "channels_first"
        return tensor if first else tensor.movedim(-1, -1 - self.rank)

    def _from_channels_first(self, tensor: Tensor) -> Tensor:
        first = self.data_format == "channels_first"
        return tensor if first else tensor.movedim(-1 - self.rank, -1)

    def extra_repr(self) -> str:
        """Say what tells one layer from another."""
        channels = f"in_channels={self.in_channels}, filters={self.filters}"
        return f"{channels}, {self.geometry}, data_format={self.data_format!r}"


class ConvLSTM1D(ConvLSTM):
    """ConvLSTM over series of vectors: (B,T,L,C), or (B,T,C,L) with channels_first.

    Arguments, differences to Keras and errors are those of `ConvLSTM`.
    """

    rank = 1

    def zero_state(self, batch: int, length: int, like: Tensor) -> State:
        """Zeros for h and c, each (B,F,L'), for inputs of `length`, of `like`'s dtype, device."""
        return self._zeros(batch, self.geometry.output_sizes((length,)), like)


class ConvLSTM2D(ConvLSTM):
    """ConvLSTM over sequences of images: (B,T,H,W,C), or (B,T,C,H,W) with channels_first.

    Arguments, differences to Keras and errors are those of `ConvLSTM`.
    """

    rank = 2

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> State:
        """Zeros for h and c, each (B,F,H',W'), for inputs of that size, like `like` in dtype."""
        return self._zeros(batch, self.geometry.output_sizes((height, width)), like)
