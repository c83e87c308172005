"""ConvLSTM layers on top of each other, each with its own settings.

Axes: B batch, T time, C channels, F filters of a layer, H rows, W columns (HW stands for one or
three spatial axes as well).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from framecast.nn.convlstm.argument_checks import check_inputs
from framecast.nn.convlstm.dropout import NO_DROPOUT, DropoutMasks
from framecast.nn.convlstm.keras_methods import as_tensor
from framecast.nn.convlstm.layer import LAYERS, ConvLSTM
from framecast.nn.recurrence.equations import State
from framecast.runtime.text import counted

_KINDS = {kind.rank: kind for kind in LAYERS.values()}

_ARGUMENTS = tuple(inspect.signature(ConvLSTM).parameters)
_EXAMPLE = '{"filters": 8, "kernel_size": 3}'

States = tuple[State, ...]
"""h and c of every layer, the first layer's first."""


class ConvLSTMStack(nn.Module):
    """ConvLSTM2D (or 1D, 3D) layers, each fed with the outputs of the one below.

    `layers` are layers, or mappings of their arguments, such as `{"filters": 8, "kernel_size": 3}`,
    to which the stack adds what follows from their place: `in_channels`; below the last layer
    `return_sequences=True`; with `return_state` also `return_state=True`. Mappings make ConvLSTM2D
    layers, or with `rank` 1 or 3 ConvLSTM1D or 3D. The last layer's `return_sequences` decides what
    comes out. `in_channels` is that of the first layer, inferred at first use when None. With
    `return_all` the outputs of all layers are returned, with `return_state` the states of all.

    ValueError, with the layer's number from 1 on, for invalid settings and for neighbours that do
    not fit: a layer below the last with `return_sequences=False`, another `data_format`,
    other channels, another rank; a layer that stands in the stack twice.
    """

    def __init__(
        self,
        layers: Sequence[ConvLSTM | Mapping[str, Any]],
        *,
        in_channels: int | None = None,
        rank: int = 2,
        return_all: bool = False,
        return_state: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(layers, (Mapping, nn.Module)) or not layers:
            rule = "a stack takes a list of layers or of their settings, at least one"
            raise ValueError(f"{rule}; received {layers!r:.80}; write e.g. [{_EXAMPLE}]")
        if rank not in _KINDS:
            raise ValueError(f"rank must be 1, 2 or 3 spatial axes; received {rank!r}")
        self.return_all, self.return_state = return_all, return_state
        built: list[ConvLSTM] = []
        for number, given in enumerate(layers, start=1):
            # A layer's input channels are the filters of the one below.
            channels = built[-1].filters if built else in_channels
            placed: dict[str, Any] = {"in_channels": channels}
            if number < len(layers):  # the next layer needs every step
                placed["return_sequences"] = True
            if return_state:
                placed["return_state"] = True
            built.append(_to_layer(number, given, _KINDS[rank], placed))
            self._check_layer(number, built[-1], channels)
        self.layers: Sequence[ConvLSTM] = nn.ModuleList(built)
        self._check_neighbours()

    def _check_layer(self, number: int, layer: ConvLSTM, channels: int | None) -> None:
        if channels is not None and layer.in_channels not in (None, channels):
            raise ValueError(
                f"layer {number} gets {counted(channels, 'channel')}; received in_channels="
                f"{layer.in_channels}; leave it out, or give it {channels}"
            )
        if self.return_state and not layer.return_state:
            raise ValueError(
                "a stack with return_state=True returns the states of all layers; received "
                f"return_state=False in layer {number}; leave it out, or make it True"
            )

    def _check_neighbours(self) -> None:
        # By identity: equal layers may stand next to each other, one layer may not.
        if len(set(map(id, self.layers))) < len(self.layers):
            rule = "a layer can stand in a stack only once, since each keeps a state of its own"
            raise ValueError(f"{rule}; received one twice; make another layer")
        for number, (layer, above) in enumerate(pairwise(self.layers), start=1):
            if not layer.return_sequences:
                raise ValueError(
                    f"layer {number} gives {layer.rank + 2} axes, its last step only, and layer "
                    f"{number + 1} takes {layer.rank + 3} (batch, time, ...); received "
                    f"return_sequences=False; give layer {number} return_sequences=True"
                )
            for name in ("rank", "data_format"):
                one, other = getattr(layer, name), getattr(above, name)
                if one != other:
                    raise ValueError(
                        f"layers of a stack have one {name}; received {one!r} in layer {number} "
                        f"and {other!r} in layer {number + 1}; make them agree"
                    )

    def forward(
        self,
        inputs: Tensor,
        initial_states: Sequence[Sequence[Tensor] | None] | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor | tuple[Any, ...]:
        """Run all layers over a sequence.

        `inputs` (B,T,H,W,C), or (B,T,C,H,W) with channels_first; `initial_states` holds h and c of
        each layer, in the layers' data_format, or None for a layer that starts as it would alone;
        `mask` (B,T) and `training` are those of ConvLSTM2D; the mask applies to every layer.
        Returns the last layer's output; with `return_all` a tuple of every layer's; with
        `return_state` (that, states), `states` being (h, c) of each layer, which `initial_states`
        takes again.
        ValueError for shapes that do not fit, with the number of the layer.
        """
        first = self.layers[0]
        inputs = as_tensor(inputs, first.recurrent_kernel)
        check_inputs(type(self).__name__, inputs, first.data_format, first.rank)
        initial_states = self._one_each(initial_states, "initial_states")
        outputs, states = [], []
        output = inputs
        for number, (layer, state) in enumerate(
            zip(self.layers, initial_states, strict=True), start=1
        ):
            try:
                result = layer(output, state, mask, training)
            except ValueError as error:
                raise ValueError(f"layer {number}: {error}") from error
            output, *last = result if layer.return_state else (result,)
            mask = layer.compute_mask(mask)  # None after a layer that gives its last step only
            outputs.append(output)
            states.append(tuple(last))
        result = tuple(outputs) if self.return_all else output
        return (result, tuple(states)) if self.return_state else result

    def step(
        self,
        x_BCHW: Tensor,
        states: States | None = None,
        masks: Sequence[DropoutMasks] | None = None,
    ) -> tuple[Tensor, States]:
        """Advance all layers by one step, channels first; returns the last h and all states.

        `x_BCHW` (B,C,H,W), `states` h and c (B,F,H',W') of each layer, None is zeros; `masks` are
        those of each layer's `sample_dropout`, none drops nothing.
        """
        after = []
        for layer, state, drop in zip(
            self.layers,
            self._one_each(states, "states"),
            self._one_each(masks, "masks"),
            strict=True,
        ):
            h_BFHW, c_BFHW = layer.step(x_BCHW, state, NO_DROPOUT if drop is None else drop)
            after.append((h_BFHW, c_BFHW))
            x_BCHW = h_BFHW
        return x_BCHW, tuple(after)

    def _one_each(self, given: Sequence[Any] | None, name: str) -> Sequence[Any]:
        if given is None:
            return (None,) * len(self.layers)
        if len(given) != len(self.layers):
            rule = f"{name} has one entry for each of the {len(self.layers)} layers"
            raise ValueError(f"{rule}; received {len(given)}; write None for a layer without")
        return given

    def zero_state(self, x_BCHW: Tensor) -> States:
        """Zeros for h and c of every layer, for a `step` that takes `x_BCHW`."""
        batch, _, *sizes = x_BCHW.shape
        states = []
        for layer in self.layers:
            states.append(layer.zero_state(batch, *sizes, x_BCHW))
            sizes = layer.geometry.output_sizes(sizes)
        return tuple(states)

    def reset_state(self) -> None:
        """Forget what stateful layers carry from call to call."""
        for layer in self.layers:
            layer.reset_state()


def _to_layer(
    number: int, given: object, kind: type[ConvLSTM], placed: Mapping[str, Any]
) -> ConvLSTM:
    """Make a layer of its settings, which win over those that follow from its place."""
    if isinstance(given, ConvLSTM):
        return given
    if not isinstance(given, Mapping):
        rule = "a layer of a stack is a ConvLSTM layer or a mapping of its arguments"
        raise ValueError(f"{rule}; received {given!r:.80} as layer {number}; write {_EXAMPLE}")
    # Before the layer refuses it: Python would name the class' constructor, not the layer.
    unknown = [name for name in given if name not in _ARGUMENTS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _ARGUMENTS, 1, 0.5)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(_ARGUMENTS)}"
        raise ValueError(f"layer {number}: {unknown[0]} is not an argument of the layer; {remedy}")
    missing = [name for name in ("filters", "kernel_size") if name not in given]
    if missing:
        raise ValueError(f"layer {number}: {missing[0]} is missing; write e.g. {_EXAMPLE}")
    try:
        return kind(**{**placed, **given})
    except ValueError as error:
        raise ValueError(f"layer {number}: {error}") from error
