"""ConvLSTM1D, 2D and 3D with the names, defaults and semantics of Keras 3.

The equations and the legend of the axes stand in `recurrence/equations.py`.
Source of the semantics: `keras/src/layers/rnn/conv_lstm.py` and `rnn.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from framecast.nn.convlstm.argument_checks import (
    check_fits,
    check_inputs,
    check_mask,
    check_state,
)
from framecast.nn.convlstm.cell import ConvLSTMCell, state_dtype
from framecast.nn.convlstm.dropout import NO_DROPOUT, DropoutMasks
from framecast.nn.convlstm.keras_identifiers import resolve
from framecast.nn.convlstm.keras_methods import Shape, as_tensor
from framecast.nn.convlstm.regularizers import REGULARIZERS
from framecast.nn.recurrence.chunks import SequenceSettings
from framecast.nn.recurrence.equations import State, recur
from framecast.nn.recurrence.fused import fused_recurrence

_CELL_ARGUMENTS = tuple(inspect.signature(ConvLSTMCell).parameters)


def _is_exporting() -> bool:
    """Whether a layer is being traced or exported; PyTorch 2.6 does not tell of strict export."""
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
    # Not is_exporting(), which some versions of PyTorch say to be true in torch.compile.
    return torch.jit.is_tracing() or getattr(torch.compiler, "_is_exporting_flag", compiling)


class ConvLSTM(ConvLSTMCell):
    """ConvLSTM layer over `rank` spatial axes; use ConvLSTM1D, ConvLSTM2D or ConvLSTM3D.

    Keras' arguments, with Keras' defaults and meaning. The input's convolution takes `strides`,
    `padding` ("valid" or "same") and `dilation_rate`; the state's keeps the size. Even kernels pad
    one more at the bottom and right. With `unit_forget_bias` the bias of the forget gate starts at
    1. `dropout` and `recurrent_dropout` draw four masks per call, shared by all steps; `seed` fixes
    them. A `stateful` layer carries its state from call to call until `reset_state()`; it cannot be
    exported. `go_backwards` gives the outputs in reversed order. A step that `mask` leaves out
    keeps the state and repeats the last output, or gives zeros with `zero_output_for_mask`.
    `data_format` None is "channels_last". `input_shape`, without the batch, tells the channels
    early.

    Arguments beyond Keras: `in_channels` (inferred at first use when None),
    `recurrent_kernel_size` (that of the state's convolution, None is `kernel_size`), `peephole` and
    `layer_norm` (see `recurrence/equations.py`), `device` and `dtype` of the weights, and
    `recompute`, which saves two fifths as much for the backward pass and computes the gates a
    second time in it.

    Where it is faster on a CPU, both convolutions of a sequence use Winograd's minimal filtering
    (`recurrence/winograd.py`), which rounds a little more than direct ones. It then saves no more
    of large sequences' gates than `recompute` does.

    Differences to Keras: a dropout rate of 1 is refused, where Keras drops nothing;
    `reset_state()` lets a stateful layer take another batch size; the spatial size may change
    between calls; "softmax" always goes over the channels; callables given as activations see
    (batch, channels, ...), all others see Keras' layouts; `unroll` is accepted and changes nothing,
    since the loop over time is always a Python loop.

    Weights: `kernel` (4F,C,h,w), `recurrent_kernel` (4F,F,h,w), `bias` (4F), gates i, f, c, o;
    `peephole` (3F), gates i, f, o; `input_gain`, `recurrent_gain` (4F), `cell_gain`,
    `cell_shift` (F). ValueError for invalid arguments.
    """

    time_axes = 1

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
        input_shape: Sequence[int | None] | None = None,
        recurrent_kernel_size: int | Iterable[int] | None = None,
        peephole: bool = False,
        layer_norm: bool = False,
        recompute: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        # Read before anything else is local: a layer hands the cell what both of them take.
        given = locals()
        super().__init__(**{name: given[name] for name in _CELL_ARGUMENTS})
        self.activity_regularizer = resolve(
            "activity_regularizer", activity_regularizer, REGULARIZERS
        )
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask, self.recompute = zero_output_for_mask, recompute
        # Buffers follow the layer to a device; not persistent, so a checkpoint has weights alone.
        self.register_buffer("_carried_h_BFHW", None, persistent=False)
        self.register_buffer("_carried_c_BFHW", None, persistent=False)
        self._activity_loss: Tensor | None = None
        if input_shape is not None:
            self.build((None, *input_shape))

    def forward(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Run the layer over a sequence.

        `sequences` are (B,T,H,W,C), or (B,T,C,H,W) with channels_first, tensors or NumPy arrays;
        `initial_state` is h and c with their axes in the same order; `mask` (B,T) is not 0 where a
        step counts; `training` switches dropout, None follows train() and eval(). Returns the
        output of the last step, of all steps with `return_sequences`, and with `return_state`
        (output, h, c). ValueError for shapes that do not fit.
        """
        if self.stateful and _is_exporting():
            raise ValueError(
                "a stateful layer cannot be exported or traced, since the file would not carry its "
                "state from call to call; use stateful=False with return_state=True, and give each "
                "call the last states as initial_state"
            )
        sequences = as_tensor(sequences, self.recurrent_kernel)
        check_inputs(type(self).__name__, sequences, self.data_format, self.rank)
        x_BTCHW = self._to_channels_first(sequences)
        masks = self.sample_dropout(x_BTCHW[:, 0], training)
        use_BT = None
        if mask is not None:
            mask = torch.as_tensor(mask, device=x_BTCHW.device)
            use_BT = check_mask(mask, *x_BTCHW.shape[:2])
        self._infer_channels(x_BTCHW.shape[2])
        check_fits(x_BTCHW.shape[3:], self.geometry)
        state = self._first_state(initial_state, x_BTCHW)
        if use_BT is None and masks == NO_DROPOUT and self._can_fuse(x_BTCHW, state):
            output, h_BFHW, c_BFHW = self._fused(x_BTCHW, state)
        else:
            output, h_BFHW, c_BFHW = self._loop(x_BTCHW, state, masks, use_BT)
        if self.stateful:  # detached: gradients end at the call, as in Keras
            # Copies, since what is returned may be changed in place, as by nn.ReLU(inplace=True)
            self._carried_h_BFHW = h_BFHW.detach().clone()
            self._carried_c_BFHW = c_BFHW.detach().clone()
        if self.return_state and not self.return_sequences:  # else it would be h itself
            output = output.clone()
        results = (output, h_BFHW, c_BFHW) if self.return_state else (output,)
        output, *states = map(self._from_channels_first, results)
        if self.activity_regularizer is not None:
            # Of every tensor returned, per sample, as in Keras
            penalties = [
                self.activity_regularizer(result) / max(1, len(result))
                for result in (output, *states)
            ]
            self._activity_loss = torch.stack(penalties).sum()
        return (output, *states) if self.return_state else output

    def _loop(
        self, x_BTCHW: Tensor, state: State | None, masks: DropoutMasks, use_BT: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every option, with autograd's own operations: the fused path is tested against it."""
        if self.go_backwards:  # the outputs stay in this order, too
            x_BTCHW = x_BTCHW.flip(1)
            use_BT = None if use_BT is None else use_BT.flip(1)
        z_BTGHW = self._convolve_inputs(x_BTCHW, masks)  # all steps at once: they need no state
        h_BFHW, c_BFHW = state or self._zeros(x_BTCHW.shape[0], z_BTGHW.shape[3:], x_BTCHW)
        return recur(
            lambda z_BGHW, h, c: self._step(z_BGHW, h, c, masks),
            z_BTGHW,
            h_BFHW,
            c_BFHW,
            use_BT=use_BT,
            zero_output_for_mask=self.zero_output_for_mask,
            return_sequences=self.return_sequences,
        )

    def _fused(self, x_BTCHW: Tensor, state: State | None) -> tuple[Tensor, Tensor, Tensor]:
        settings = SequenceSettings(
            self.geometry,
            self.state_geometry,
            self.go_backwards,
            self.return_sequences,
            self.recompute,
        )
        return fused_recurrence(x_BTCHW, state, self._weights(), settings)

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
            state = carried, self._carried_c_BFHW
            if carried.is_inference() and not torch.is_inference_mode_enabled():
                # Autograd takes no tensors made in inference mode, but it takes their copies.
                state = carried.clone(), self._carried_c_BFHW.clone()
            return state[0].to(state_dtype(x_BTCHW)), state[1].to(state_dtype(x_BTCHW))
        last = self.data_format == "channels_last"
        check_state(given, (batch, *sizes, filters) if last else shape)
        return self._as_state(given, x_BTCHW)

    def reset_state(self) -> None:
        """Forget the state that a stateful layer carries; the next call starts from zeros."""
        self._carried_h_BFHW = self._carried_c_BFHW = None

    def regularization_losses(self) -> dict[str, Tensor]:
        """Penalties to add to the loss, by weight, and "activity" for the outputs of the last call.

        That of the outputs is divided by the batch size, those of the weights are not.
        """
        losses = super().regularization_losses()
        if self._activity_loss is not None:
            losses["activity"] = self._activity_loss
        return losses

    def compute_mask(self, mask: Tensor | None) -> Tensor | None:
        """Mask for the next layer: the same for a sequence, None for a last output."""
        return mask if self.return_sequences else None

    def compute_output_shape(self, sequences_shape: Shape) -> Shape | tuple[Shape, Shape, Shape]:
        """Shape of the output for inputs of that shape, with `return_state` also of h and c.

        None stands for an unknown size, here and there. ValueError for shapes that do not fit.
        """
        state = self._output_shape(sequences_shape)
        output = (state[0], sequences_shape[1], *state[1:]) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last call's penalty: its graph can neither be copied nor pickled."""
        return {**self.__dict__, "_activity_loss": None}


class ConvLSTM1D(ConvLSTM):
    """ConvLSTM over series of vectors: (B,T,L,C), or (B,T,C,L) with channels_first.

    Arguments, differences to Keras and errors are those of `ConvLSTM`.
    """

    rank: ClassVar[int] = 1

    def zero_state(self, batch: int, length: int, like: Tensor) -> State:
        """Zeros for h and c, each (B,F,L'), for inputs of `length` such as `like`."""
        return self._zeros(batch, self.geometry.output_sizes((length,)), like)


class ConvLSTM2D(ConvLSTM):
    """ConvLSTM over sequences of images: (B,T,H,W,C), or (B,T,C,H,W) with channels_first.

    Arguments, differences to Keras and errors are those of `ConvLSTM`.
    """

    rank: ClassVar[int] = 2

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> State:
        """Zeros for h and c, each (B,F,H',W'), for inputs of that size such as `like`."""
        return self._zeros(batch, self.geometry.output_sizes((height, width)), like)


class ConvLSTM3D(ConvLSTM):
    """ConvLSTM over sequences of volumes: (B,T,D,H,W,C), or (B,T,C,D,H,W) with channels_first.

    Arguments, differences to Keras and errors are those of `ConvLSTM`.
    """

    rank: ClassVar[int] = 3

    def zero_state(self, batch: int, depth: int, height: int, width: int, like: Tensor) -> State:
        """Zeros for h and c, each (B,F,D',H',W'), for inputs of that size such as `like`."""
        return self._zeros(batch, self.geometry.output_sizes((depth, height, width)), like)


# The layers by Keras' names
LAYERS: dict[str, type[ConvLSTM]] = {
    kind.__name__: kind for kind in (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)
}
