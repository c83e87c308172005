"""The vocabulary in which a network describes its own cost: a stem, ConvLSTM2D layers, pixels.

Axes: B batch, T time, N = B T (all frames in one call), C channels, E embedding, F filters, H rows,
W columns (of pixels, or of cells on the network's grid), D the elements of a frame in a row, U the
units of an LSTM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.tensors import Axes, LayerRecord, axes, lengths, size
from framecast.nn.forecasters.flow.constants import working_scale
from framecast.nn.forecasters.grid import padding_unit, paint_side, patch_of, stem_widths
from framecast.nn.recurrence.cost import block_of, live_elements, saved_elements, tiles_of
from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry
from framecast.runtime.text import counted


class CostBuilder:
    """Records the calls of one forecast, first those of `encode`, then those of each `step`.

    Each method takes the axes of its input, adds a record for each module and returns the axes of
    the output; names are the modules' paths in the network, which a test compares call by call.
    Functions without a module (warping, blending) are one `add` with an estimated workspace.
    `held` counts the elements that are alive whatever is called.
    """

    def __init__(
        self, model: ModelConfig, B: int, T: int, Th: int, C: int, frame: tuple[int, int]
    ) -> None:
        self.model, self.B, self.T, self.Th, self.C, self.frame = model, B, T, Th, C, frame
        # Pixels of a frame, along each side, that are one at the size the network works at
        self.scale = working_scale(*frame) if model.traits.halves_grid else 1
        unit = padding_unit(model, *frame)
        # Whole cells of the coarsest grid cover the frame; what lies beyond it is padding
        self.padded = tuple(-(-side // unit) * unit for side in frame)
        self.phase = "encode"
        self.records: list[LayerRecord] = []
        self.context = axes("BTCHW", B, T, C, *frame)
        self.images, self.image = axes("NCHW", B * T, C, *frame), axes("BCHW", B, C, *frame)
        self.pixels = axes("BCHW", B, C, *self.padded)
        self.held = size(self.context)

    def maps(
        self, letter: str, channels: int, cell: int | None = None, *, N: int = 0, T: int = 0
    ) -> Axes:
        """Axes of a grid whose cells have sides of `cell` pixels at working size; None: its own.

        They are those of the batch, of N frames, or of sequences of T steps.
        """
        pixels = (cell or patch_of(self.model)) * self.scale
        first = axes("N", N) if N else axes("BT", self.B, T) if T else axes("B", self.B)
        return (*first, *axes(f"{letter}HW", channels, *(side // pixels for side in self.padded)))

    def begin_steps(self) -> None:
        """From here on calls are those of `step`: context, newest frame, h and c are held."""
        model, self.phase = self.model, "step"
        # Networks tied to their size carry vectors; coarser grids of further layers are ignored
        vectors = axes("BU", self.B, sum(model.units))
        state = vectors if model.traits.tied_to_size else self.maps("F", sum(model.filters))
        self.held = size(self.context) + size(self.image) + 2 * size(state)

    def add(
        self,
        name: str,
        operation: str,
        x: Axes,
        output: Axes,
        *,
        saved: int | None = None,
        workspace: int = 0,
        **fields: Any,
    ) -> Axes:
        """Append a record with more `fields` of it; returns `output`.

        `workspace` counts the elements alive in addition to `x`, output and `held`. Every call's
        output is saved for the backward pass, unless `saved` gives the elements that a call saves.
        """
        calls = 1 if self.phase == "encode" else self.Th
        record = LayerRecord(self.phase, name, operation, x, output, calls=calls, **fields)
        returned = record.tensors * size(output)
        each = returned if saved is None else saved
        live = self.held + workspace + size(x) + returned
        self.records.append(replace(record, saved=calls * each, live=live))
        return output

    def pad_to_grid(self, x: Axes) -> Axes:
        """Pad frames to whole cells."""
        bottom, right = (full - side for full, side in zip(self.padded, self.frame, strict=True))
        operation = "repeat the last row and column" if bottom or right else "nothing to pad"
        output = (*x[:-2], *axes("HW", *self.padded))
        return self.add("pad_to_grid", operation, x, output, padding=(0, bottom, 0, right))

    def flatten(self, x: Axes) -> Axes:
        """Frames or a grid as the channels of a single cell, as an LSTM reads them; a view."""
        row = (*x[:-3], *axes("DHW", size(x[-3:]), 1, 1))
        return self.add("flatten", "channels, rows and columns in a row", x, row, saved=0)

    def add_change(self) -> None:
        self.add("frame", "last frame + change", self.image, self.image)

    def stem(self, x: Axes) -> Axes:
        """Pad images (N, C, H, W) and embed them: (N, E, H, W) on the grid."""
        # Each convolution halves the resolution; patch 1 keeps it
        x, stride = self.pad_to_grid(x), min(self.model.patch, 2)
        widths = stem_widths(self.model.patch, self.model.filters[0])
        for number, width in enumerate(widths):
            x = self.conv(f"stem.{2 * number}", x, "E", width, kernel=3, stride=stride)
            self.add(f"stem.{2 * number + 1}", "LeakyReLU", x, x)
        return x

    def conv(
        self, name: str, x: Axes, letter: str, channels: int, *, kernel: int, stride: int = 1
    ) -> Axes:
        """A Conv2d with bias and an odd kernel that pads (kernel - 1) / 2 on each side."""
        _, before, *sides = lengths(x)
        output = (x[0], *axes(f"{letter}HW", channels, *(-(-side // stride) for side in sides)))
        return self.add(
            name,
            f"Conv2d {kernel}x{kernel}" + (f", stride {stride}" if kernel > 1 else ""),
            x,
            output,
            parameters=(("weight", (channels, before, kernel, kernel)), ("bias", (channels,))),
            padding=(kernel // 2,) * 4,
            macs=size(output) * before * kernel**2,
        )

    def dense(self, name: str, x: Axes, elements: int, saved: int | None = None) -> Axes:
        """A Linear layer on (B, U)."""
        weight, output = (elements, x[1][1]), (x[0], ("D", elements))
        parameters = (("weight", weight), ("bias", (elements,)))
        macs = self.B * math.prod(weight)
        return self.add(name, "Linear", x, output, parameters=parameters, macs=macs, saved=saved)

    def convlstm(self, path: str, x: Axes, filters: Sequence[int], first: str = "") -> Axes:
        """ConvLSTM2D layers, each fed by the one before; `first` names one without an input.

        That one is driven by its own state alone, of the shape of `x`; the others are in `path`.
        """
        for number, width in enumerate(filters):
            name = first if first and not number else f"{path}.{number - bool(first)}"
            output = self._layer(name, number, x, width, reads_input=name != first)
            # A sequence's caller holds its input
            self.held += size(x) if self.phase == "encode" else 0
            x = output
        return x

    def _layer(self, name: str, number: int, x: Axes, filters: int, *, reads_input: bool) -> Axes:
        """One step on cells (B, C, H, W), or a fused sequence (B, T, C, H, W) in `encode`."""
        model, is_sequence = self.model, self.phase == "encode"
        traits, recurrent = model.traits, model.recurrent_kernel_sizes[number]
        kernel = model.kernel_sizes[number] if reads_input else recurrent
        stride = 2 if number and traits.halves_grid else 1
        steps, (channels, *frame) = dict(x).get("T", 1), lengths(x[-3:])
        inputs = channels if reads_input else 0
        geometry = ConvGeometry.parse(2, kernel_size=kernel, strides=stride)
        # An LSTM is a ConvLSTM with a 1x1 kernel on one cell: its channels are units
        letter = "U" if traits.tied_to_size else "F"
        output = (*x[:-3], *axes(f"{letter}HW", filters, *geometry.output_sizes(frame)))
        state = size(output) // steps
        if is_sequence:
            saved, workspace = fused_memory(lengths(x), filters, geometry)
        else:
            # Saved: i, f, the candidate, o, tanh(c), h and c. Workspace: what both convolutions
            # return; without gradients the gates are computed in place.
            saved, workspace = 7 * state, 8 * state
        # All four gates side by side; a sequence starts from zeros, which are not convolved
        gates, later = 4 * filters, steps - 1 if is_sequence else 1
        parameters = {
            "kernel": (gates, inputs, kernel, kernel) if reads_input else None,
            "recurrent_kernel": (gates, filters, recurrent, recurrent),
            "bias": (gates,),
            "peephole": (3 * filters,) if traits.peephole else None,
        }
        (top, bottom), (left, right) = geometry.pads(frame)
        return self.add(
            name,
            f"ConvLSTM2D {kernel}x{kernel}{f', stride {stride}' if stride > 1 else ''}"
            f"{'' if reads_input else ' without input'}, {counted(filters, 'filter')}: "
            f"{'h of every step, c of the last' if is_sequence else 'h and c'}",
            x,
            output,
            tensors=1 if is_sequence else 2,
            parameters=tuple((name, shape) for name, shape in parameters.items() if shape),
            padding=(top, bottom, left, right),
            macs=4 * state * (steps * inputs * kernel**2 + later * filters * recurrent**2),
            saved=saved,
            workspace=workspace,
        )

    def paint(self, x: Axes) -> Axes:
        """From cells to pixels in overlapping patches, the padding cropped off."""
        # Patches of twice a cell's side overlap, so that no edges show
        side = paint_side(self.model.patch)
        weight = (x[1][1], self.C, side, side)
        return self.add(
            "paint",
            f"ConvTranspose2d {side}x{side}, stride {self.model.patch}, padding cropped off",
            x,
            self.image,
            parameters=(("weight", weight), ("bias", (self.C,))),
            macs=size(x) * math.prod(weight[1:]),
            saved=math.prod(weight),  # tapered; the pixels are only added to others
        )


def fused_memory(
    shape: Sequence[int], filters: int, geometry: ConvGeometry, *, recompute: bool = False
) -> tuple[int, int]:
    """Elements that a fused sequence saves, and those of its workspace; an estimate.

    `shape` is (B, T, C, *sides) of the input. h of every step is among what is saved, the input is
    not.
    """
    batch, steps, channels, *frame = shape
    state = batch * filters * math.prod(geometry.output_sizes(frame))
    recurrent = ConvGeometry.parse(len(frame), kernel_size=geometry.kernel_size)
    # Which convolution a sequence takes is decided by the same integers as in `recurrence/fused.py`
    tiles = tiles_of(geometry, recurrent, frame, channels, filters, batch=batch, steps=steps)
    if tiles:  # Winograd's convolutions
        saved = steps * state + saved_elements(tiles, filters, steps, recompute=recompute)
        return saved, state + live_elements(tiles, channels, filters, steps)
    samples, together = block_of(batch, steps, 4 * FLOAT_BYTES * state // batch)
    # Pre-activations of a block, what a step's state adds to them, and the block's input
    sums = 4 * (together + 1) * samples * state // batch
    # Padding that differs by side is made by a copy
    copies = 2 if any(before != after for before, after in geometry.pads(frame)) else 1
    block = copies * channels * math.prod(frame) * samples * together
    # h, c and, unless they are computed again, i, f and o
    return (2 if recompute else 5) * steps * state, state + sums + block
