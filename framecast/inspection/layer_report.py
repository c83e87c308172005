"""ConvLSTM2D layers in a row, worked out from numbers alone: shapes, costs, and what is wrong.

Integers only, no torch. Axes: B batch, T time, C channels, F filters, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framecast.errors import UsageError
from framecast.inspection.layer_arguments import (
    EXAMPLE_INPUT,
    LayerSettings,
    parse_input,
    parse_layers,
)
from framecast.inspection.layer_memory import numbers_alive
from framecast.inspection.tensor_table import show_axes, show_bytes, show_padding
from framecast.nn.cost_model.tensors import Axes, channels_last, size
from framecast.nn.shapes import FLOAT_BYTES

FEW_CHANNELS = 4
"""Frames have at most this many channels: grey, grey and alpha, RGB, RGB and alpha."""


@dataclass(frozen=True)
class LayerReport:
    """One layer; axes channels first, `padding` top, bottom, left, right, bytes in float32.

    `states` are the axes of h and of c where return_state gives them too, else none.

    `training_bytes` is what autograd keeps for the backward pass, the input included;
    `prediction_bytes` the most that exists at once without gradients, weights apart. `sees` is how
    many rows and columns of the input's newest frame an output depends on, `reaches` how many
    more for each frame further back.
    """

    takes: Axes
    gives: Axes
    states: Axes
    padding: tuple[int, int, int, int]
    formulas: tuple[str, str]
    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    macs: int
    training_bytes: int
    prediction_bytes: int
    sees: tuple[int, int]
    reaches: tuple[int, int]

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for _, shape in self.parameters)

    @property
    def _tensors(self) -> dict[str, Axes]:
        states = {"h and c": self.states} if self.states else {}
        return {"input": self.takes, "output": self.gives, **states}

    @property
    def lines(self) -> tuple[str, ...]:
        """The layer as text, a line a figure."""
        weights = ", ".join(
            f"{name} {'x'.join(map(str, shape))} = {math.prod(shape):,}"
            for name, shape in self.parameters
        )
        return (
            *(
                f"{name:7} channels_last {show_axes(channels_last(axes))}, "
                f"channels_first {show_axes(axes)}"
                for name, axes in self._tensors.items()
            ),
            f"padding {show_padding(self.padding) or 'none'}",
            f"size    {'; '.join(self.formulas)}",
            f"weights {weights}; sum {self.parameter_count:,}",
            f"cost    {self.macs:,} multiply-adds; {show_bytes(self.training_bytes)} kept for the "
            f"backward pass, {show_bytes(self.prediction_bytes)} at most while predicting",
            f"sees    {self.sees[0]} x {self.sees[1]} of the newest frame, "
            f"{self.reaches[0]} rows and {self.reaches[1]} columns more for each frame back",
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            **{
                name: {"channels_last": dict(channels_last(axes)), "channels_first": dict(axes)}
                for name, axes in self._tensors.items()
            },
            "padding": dict(zip(("top", "bottom", "left", "right"), self.padding, strict=True)),
            "formulas": list(self.formulas),
            "parameters": {name: list(shape) for name, shape in self.parameters},
            "parameter_count": self.parameter_count,
            "macs": self.macs,
            "training_bytes": self.training_bytes,
            "prediction_bytes": self.prediction_bytes,
            "receptive_field": {"newest_frame": list(self.sees), "per_frame": list(self.reaches)},
        }


@dataclass(frozen=True)
class StackReport:
    """Layers up to the first that gives nothing, and what is wrong, each with what mends it."""

    layers: tuple[LayerReport, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON holds."""
        return {
            "layers": [layer.to_dict() for layer in self.layers],
            "parameter_count": sum(layer.parameter_count for layer in self.layers),
            "macs": sum(layer.macs for layer in self.layers),
            "warnings": list(self.warnings),
        }


def inspect_layers(
    input_sizes: str | None, layers: Sequence[str], samples: int | None = None
) -> StackReport:
    """Walk an input ("8,10,64,64,1") through layers ("filters=64 kernel=5"), one after another.

    `samples` is the size of the data set that stateful layers are fed from, in batches. The input's
    axes are those of the first layer's data_format. UsageError for text that means nothing.
    """
    if input_sizes is None or not layers:
        missing = "--input" if input_sizes is None else "--layer"
        example = EXAMPLE_INPUT if input_sizes is None else '--layer "filters=64 kernel=5"'
        raise UsageError(f"{missing} is missing", remedy=f"add e.g. {example}")
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples}: expected an integer of 1 or more")
    sizes, stack = parse_input(input_sizes), parse_layers(layers)
    takes = _named(sizes, stack[0].data_format)
    warnings = _input_warnings(sizes, stack, samples)
    reports: list[LayerReport] = []
    view = _View()
    for number, layer in enumerate(stack):
        warnings += _layer_warnings(number, stack, takes)
        report, view = _walk(layer, takes, view)
        reports.append(report)
        if not size(report.gives):
            break
        takes = (*takes[:2], ("C", layer.filters), *report.gives[-2:])
    return StackReport(tuple(reports), tuple(warnings))


def _named(sizes: Sequence[int], data_format: str) -> Axes:
    last = data_format == "channels_last"
    named = dict(zip("BTHWC" if last else "BTCHW", sizes, strict=True))
    return tuple((letter, named[letter]) for letter in "BTCHW")


@dataclass(frozen=True)
class _View:
    """What an output depends on, and how far apart neighbours lie, in samples of the input."""

    sees: tuple[int, int] = (1, 1)
    reaches: tuple[int, int] = (0, 0)
    apart: tuple[int, int] = (1, 1)


def _walk(layer: LayerSettings, takes: Axes, view: _View) -> tuple[LayerReport, _View]:
    geometry, frame = layer.geometry, tuple(length for _, length in takes[-2:])
    B, T, C, F = takes[0][1], takes[1][1], takes[2][1], layer.filters
    steps = takes[:2] if layer.return_sequences else takes[:1]
    rows, columns = geometry.output_sizes(frame)
    gives = (*steps, ("F", F), ("H", rows), ("W", columns))
    (top, bottom), (left, right) = geometry.pads(frame)
    kernel = geometry.kernel_size
    gains = (("input_gain", 4 * F), ("recurrent_gain", 4 * F), ("cell_gain", F), ("cell_shift", F))
    vectors = (
        (("bias", 4 * F),) * layer.use_bias
        + (("peephole", 3 * F),) * layer.peephole
        + gains * layer.layer_norm
    )
    optional = tuple((name, (count,)) for name, count in vectors)
    training, prediction = numbers_alive(layer, takes, B * F * rows * columns)
    sees, reaches, apart = zip(
        *(
            (seen + (span - 1) * step, max(reach, (side - 1) * step * stride), step * stride)
            for seen, reach, step, span, side, stride in zip(
                view.sees,
                view.reaches,
                view.apart,
                geometry.spans,
                kernel,
                geometry.strides,
                strict=True,
            )
        ),
        strict=True,
    )
    report = LayerReport(
        takes,
        gives,
        (takes[0], *gives[-3:]) if layer.return_state else (),
        (top, bottom, left, right),
        tuple(_formula(layer, axis, takes, gives) for axis in (0, 1)),
        (("kernel", (4 * F, C, *kernel)), ("recurrent_kernel", (4 * F, F, *kernel)), *optional),
        B * 4 * F * rows * columns * (T * C + (T - layer.scanned) * F) * math.prod(kernel),
        FLOAT_BYTES * training,
        FLOAT_BYTES * prediction,
        sees,
        reaches,
    )
    return report, _View(sees, reaches, apart)


def _formula(layer: LayerSettings, axis: int, takes: Axes, gives: Axes) -> str:
    geometry, (letter, length) = layer.geometry, takes[axis - 2]
    stride, kernel = geometry.strides[axis], geometry.kernel_size[axis]
    if geometry.padding == "same":
        return f"{letter}: ceil({length} / {stride}) = {gives[axis - 2][1]}"
    less = f"{geometry.dilation_rate[axis]}*({kernel}-1)"
    computed = -((geometry.spans[axis] - 1 - length) // stride)
    nothing = ", so nothing is left" if computed < 1 else ""
    return f"{letter}: ceil(({length} - {less}) / {stride}) = {computed}{nothing}"


def _input_warnings(
    sizes: Sequence[int], stack: Sequence[LayerSettings], samples: int | None
) -> list[str]:
    found, first = [], stack[0].data_format
    other = "channels_first" if first == "channels_last" else "channels_last"
    as_read, as_other = (dict(_named(sizes, name))["C"] for name in (first, other))
    if as_read > FEW_CHANNELS >= as_other:
        found.append(
            f"--input {','.join(map(str, sizes))} looks {other}: read as {first} its frames have "
            f"{as_read} channels, the other way {as_other}; set data_format={other} or reorder it"
        )
    batch = sizes[0]
    stateful = [str(number) for number, layer in enumerate(stack, start=1) if layer.stateful]
    if stateful and samples is not None and samples % batch:
        fits = max(count for count in range(1, batch + 1) if samples % count == 0)
        found.append(
            f"layer {', '.join(stateful)} is stateful and keeps its batch of {batch}, but "
            f"{samples} samples leave a last batch of {samples % batch}; use a batch of {fits}, "
            + (f"{samples - samples % batch} samples, " if samples > batch else "")
            + "or stateful=false"
        )
    return found


def _layer_warnings(number: int, stack: Sequence[LayerSettings], takes: Axes) -> list[str]:
    found, layer, name = [], stack[number], f"layer {number + 1}"
    if number and not stack[number - 1].return_sequences:
        found.append(
            f"{name} wants 5 axes (batch, time, ...) and layer {number} gives 4, its last step "
            f"only; set return_sequences=true in layer {number} (assumed below)"
        )
    if number and stack[number - 1].return_state:
        found.append(
            f"layer {number} gives 3 tensors, its output, h and c, and {name} wants the output "
            f"alone; set return_state=false in layer {number} (the output is taken below)"
        )
    before = stack[number - 1].data_format if number else layer.data_format
    if before != layer.data_format:
        found.append(
            f"{name} reads {layer.data_format} and layer {number} gives {before}; set "
            f"data_format={before} in {name} (assumed below)"
        )
    geometry = layer.geometry
    frame = tuple(length for _, length in takes[-2:])
    if not all(geometry.output_sizes(frame)):
        smallest = " x ".join(map(str, _smallest(stack[: number + 1])))
        found.append(
            f"{name} collapses to nothing: its kernel covers {geometry.spans[0]} x "
            f"{geometry.spans[1]} and its input is {frame[0]} x {frame[1]}; use an --input of "
            f"{smallest} or more, padding=same or a smaller kernel"
        )
    elif geometry.padding == "valid":
        axes = zip(("rows", "columns"), frame, geometry.spans, geometry.strides, strict=True)
        for side, length, span, stride in axes:
            unseen = (length - span) % stride
            if unseen:
                found.append(
                    f"{name} never sees the last {unseen} of {length} {side}: kernels of {span} "
                    f"every {stride} end before them; pad {side} by {stride - unseen}, crop them "
                    f"by {unseen}, or set padding=same"
                )
    return found


def _smallest(stack: Sequence[LayerSettings]) -> tuple[int, ...]:
    """Rows and columns of the input from which on every layer gives something."""
    needed = [1, 1]
    for layer in reversed(stack):
        geometry = layer.geometry
        spans = geometry.spans if geometry.padding == "valid" else (1, 1)
        axes = zip(needed, geometry.strides, spans, strict=True)
        needed = [(count - 1) * stride + span for count, stride, span in axes]
    return tuple(needed)
