"""Bidirectional and TimeDistributed, as Keras has them.

Source of the semantics: `keras/src/layers/rnn/bidirectional.py` and `time_distributed.py`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from framecast.nn.convlstm.argument_checks import to_data_format
from framecast.nn.convlstm.keras_methods import Shape, as_tensor, to_name
from framecast.nn.convlstm.layer import LAYERS, ConvLSTM

_MERGES: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "concat": lambda y, back, axis: torch.cat([y, back], axis),
    "sum": lambda y, back, axis: y + back,
    "ave": lambda y, back, axis: (y + back) / 2,
    "mul": lambda y, back, axis: y * back,
}


class Bidirectional(nn.Module):
    """Two ConvLSTM layers over the same sequence, one from each end, their outputs merged.

    `layer` runs forwards; `backward_layer` backwards, None makes one with the same arguments and
    weights of its own. `merge_mode` is "concat" (over the channels), "sum", "ave", "mul", or None
    for both outputs side by side; `weights` are initial ones for both layers, as `get_weights`
    gives them. Outputs of all steps are in the order of time. As in Keras, masked steps give zeros
    where `return_sequences` is set. Differences to Keras: with channels_first "concat" joins
    channels, where Keras joins the last axis, the width; outputs of unequal sizes are refused,
    where Keras merges those that broadcast.

    ValueError for other modes, layers of the same direction, layers that differ in rank,
    `stateful`, `return_sequences`, `return_state` or `data_format`, and outputs that do not merge.
    """

    def __init__(
        self,
        layer: ConvLSTM,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: ConvLSTM | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__()
        for argument, given in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(given, ConvLSTM):
                raise ValueError(
                    f"{argument} must be a ConvLSTM layer; received {given!r:.80}; give it e.g. "
                    "ConvLSTM2D(8, 3)"
                )
        if merge_mode is not None and merge_mode not in _MERGES:
            raise ValueError(
                f"merge_mode must be one of {', '.join(_MERGES)}, or None; received {merge_mode!r}"
            )
        self.merge_mode = merge_mode
        self.name = to_name(name, type(self).__name__)
        self.forward_layer = layer
        self.backward_layer = _reversed(layer) if backward_layer is None else backward_layer
        self._check_pair()
        for wrapped in (self.forward_layer, self.backward_layer):
            # A masked step must not repeat an output from the other side of the sequence.
            wrapped.zero_output_for_mask = wrapped.return_sequences
        if weights is not None:
            self.set_weights(weights)

    def _check_pair(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "one of the layers must go backwards; received go_backwards="
                f"{forward.go_backwards} in both"
            )
        for attribute in ("rank", "stateful", "return_sequences", "return_state", "data_format"):
            values = getattr(forward, attribute), getattr(backward, attribute)
            if values[0] != values[1]:
                raise ValueError(
                    f"both layers must have the same {attribute}; received {values[0]!r} in the "
                    f"forward and {values[1]!r} in the backward layer"
                )

    def forward(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Run both layers; arguments are those of the layers.

        `initial_state` is h and c of the forward, then of the backward layer. Returns the merged
        output, or both with `merge_mode` None; with `return_state` followed by those four states.
        """
        # Keras passes all states in one list.
        states: list[Sequence[Tensor] | None] = [None, None]
        if initial_state is not None:
            if len(initial_state) != 4:
                raise ValueError(
                    "initial_state must be h and c of the forward and of the backward layer, 4 "
                    f"tensors; received {len(initial_state)}"
                )
            states = [initial_state[:2], initial_state[2:]]
        found = [
            layer(sequences, state, mask, training)
            for layer, state in zip((self.forward_layer, self.backward_layer), states, strict=True)
        ]
        if self.forward_layer.return_state:
            (y, *last), (back, *back_last) = found
        else:
            (y, back), last, back_last = found, [], []
        if self.forward_layer.return_sequences:
            back = back.flip(1)  # the layer gives its outputs in the order in which it ran
        if self.merge_mode is None:
            return (y, back, *last, *back_last)
        self._merged_shape(tuple(y.shape), tuple(back.shape))
        output = _MERGES[self.merge_mode](y, back, self._channel_axis(y.ndim))
        return (output, *last, *back_last) if last else output

    def _channel_axis(self, axes: int) -> int:
        last = self.forward_layer.data_format == "channels_last"
        return axes - 1 if last else axes - self.forward_layer.rank - 1

    def _merged_shape(self, forward: Shape, backward: Shape) -> Shape:
        """Shape of the merged output; ValueError for outputs that do not merge."""
        axis, merged = self._channel_axis(len(forward)), forward
        if self.merge_mode == "concat":  # only the channels may differ
            channels = forward[axis] + backward[axis]
            merged = (*forward[:axis], channels, *forward[axis + 1 :])
            backward = (*backward[:axis], forward[axis], *backward[axis + 1 :])
        if forward != backward:
            raise ValueError(
                f"merge_mode {self.merge_mode!r} takes outputs of one size; received {forward} of "
                f"the forward and {backward} of the backward layer; give both the same filters, "
                "kernel_size, strides and padding, or use merge_mode=None"
            )
        return merged

    @property
    def trainable(self) -> bool:
        """Whether any weight is trained; set it to freeze all of them, or to free them."""
        return self.forward_layer.trainable or self.backward_layer.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.forward_layer.trainable = self.backward_layer.trainable = value

    def get_weights(self) -> list[Any]:
        """Weights of the forward layer, then of the backward layer, in Keras' layout."""
        return [*self.forward_layer.get_weights(), *self.backward_layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy weights in, in the order of `get_weights`; makes those not made yet.

        ValueError for another number of arrays or other shapes; then nothing has changed.
        """
        layers = self.forward_layer, self.backward_layer
        first, second = (len(list(layer.parameters())) for layer in layers)
        if len(weights) != first + second:
            raise ValueError(
                f"Bidirectional has {first} weights of the forward and {second} of the backward "
                f"layer; received {len(weights)}"
            )
        pairs = list(zip(layers, (weights[:first], weights[first:]), strict=True))
        for layer, given in pairs:
            layer.check_weights(given)
        for layer, given in pairs:
            layer.set_weights(given)

    def count_params(self) -> int:
        """Number of weights of both layers."""
        return self.forward_layer.count_params() + self.backward_layer.count_params()

    def build(self, shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape, of which only the channels must be known."""
        self.forward_layer.build(shape)
        self.backward_layer.build(shape)

    def reset_state(self) -> None:
        """Forget the states that stateful layers carry."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def compute_mask(self, mask: Tensor | None) -> Any:
        """Mask for the next layer: the same for a sequence, None for a last output.

        With `merge_mode` None one for each of the two outputs.
        """
        found = self.forward_layer.compute_mask(mask)
        return (found, found) if self.merge_mode is None else found

    def compute_output_shape(self, sequences_shape: Shape) -> Any:
        """Shape of the result for inputs of that shape; a tuple of shapes where it is a tuple."""
        found = [
            layer.compute_output_shape(sequences_shape)
            for layer in (self.forward_layer, self.backward_layer)
        ]
        if self.forward_layer.return_state:
            (output, *last), (back, *back_last) = found
        else:
            (output, back), last, back_last = found, [], []
        if self.merge_mode is None:
            return (output, back, *last, *back_last)
        output = self._merged_shape(output, back)
        return (output, *last, *back_last) if last else output

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this wrapper again, as Keras' own takes them, too."""
        config = {
            argument: {
                "module": "keras.layers",
                "class_name": type(layer).__name__,
                "config": layer.get_config(),
                "registered_name": None,
            }
            for argument, layer in (
                ("layer", self.forward_layer),
                ("backward_layer", self.backward_layer),
            )
        }
        own = {"name": self.name, "trainable": self.trainable, "merge_mode": self.merge_mode}
        return {**own, **config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Bidirectional:
        """Make a wrapper from what `get_config` gave, here or in Keras."""
        layers = {
            argument: LAYERS[config[argument]["class_name"]].from_config(config[argument]["config"])
            for argument in ("layer", "backward_layer")
            if config.get(argument) is not None
        }
        own = {key: config[key] for key in ("name", "merge_mode") if key in config}
        both = cls(**layers, **own)
        if not config.get("trainable", True):  # which in Keras freezes layers that are not frozen
            both.trainable = False
        return both


def _reversed(layer: ConvLSTM) -> ConvLSTM:
    """A layer with the same arguments, the other direction and its own weights."""
    # Not through get_config, which leaves out where the weights are.
    backward = copy.deepcopy(layer)
    backward.go_backwards = True
    backward.name = f"backward_{layer.name.removeprefix('forward_')}"
    backward.reset_parameters()
    backward.reset_state()
    return backward


class TimeDistributed(nn.Module):
    """Applies any module to every step of a sequence: (B,T,...) to (B,T,...).

    The steps go through the module in one call, as a batch of B T samples. PyTorch's convolutions
    and pools take channels first; with `data_format="channels_last"` the last axis becomes their
    channel axis and back. `mask` (B,T) and `training` reach modules whose `forward` takes them.
    Where a module returns several tensors, each of them gets the time axis back.
    ValueError for inputs of fewer than three axes.
    """

    def __init__(
        self, layer: nn.Module, data_format: str = "channels_first", *, name: str | None = None
    ) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise ValueError(
                f"layer must be a module of PyTorch; received {layer!r:.80}; give it e.g. "
                "torch.nn.Conv2d(3, 8, 3)"
            )
        self.layer, self.data_format = layer, to_data_format(data_format)
        self.name = to_name(name, type(self).__name__)

    def forward(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Any:
        """Apply the module to `inputs` (B,T,...); ValueError for shapes that do not fit."""
        # An array gets the dtype of the module's weights; a module may have none.
        parameter = next(self.layer.parameters(), torch.empty(0))
        inputs = as_tensor(inputs, parameter)
        if inputs.ndim < 3:
            raise ValueError(
                "TimeDistributed takes (batch, time, ...), at least 3 axes; received shape "
                f"{tuple(inputs.shape)}"
            )
        options: dict[str, Any] = {}
        taken = inspect.signature(self.layer.forward).parameters
        if mask is not None:
            mask = torch.as_tensor(mask, device=inputs.device)
            if mask.shape[:2] != inputs.shape[:2]:
                raise ValueError(
                    f"mask must be (batch, time) = {tuple(inputs.shape[:2])}; received "
                    f"{tuple(mask.shape)}"
                )
            options["mask"] = mask.flatten(0, 1)
        if training is not None:
            options["training"] = training
        options = {name: value for name, value in options.items() if name in taken}
        # Time joins the batch: a module sees B T frames, each on its own.
        steps = inputs.flatten(0, 1)
        if self.data_format == "channels_last":
            # PyTorch's older ONNX exporter does not move axes counted from the end.
            steps = steps.movedim(steps.ndim - 1, 1)
        output = self.layer(steps, **options)
        return self._with_time(output, inputs.shape[:2])

    def _with_time(self, output: Any, batch_and_time: Sequence[int]) -> Any:
        if isinstance(output, (tuple, list)):  # as of a layer with return_state
            return tuple(self._with_time(each, batch_and_time) for each in output)
        if self.data_format == "channels_last":
            output = output.movedim(1, output.ndim - 1)
        return output.unflatten(0, batch_and_time)
