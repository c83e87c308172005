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
from framecast.nn.cost_model.tensors import Axes, LayerRecord, size
from framecast.nn.forecasters.grid import grid_size, paint_side, patch_of, stem_widths
from framecast.nn.recurrence.cost import block_of, live_elements, saved_elements, tiles_of
from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry


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
        # The grid covers the frame; what lies beyond it is padding
        patch = patch_of(model)
        self.grid = grid_size(*frame, patch)
        self.padded = (self.grid[0] * patch, self.grid[1] * patch)
        self.phase = "encode"
        self.records: list[LayerRecord] = []
        self.held = size(self.context)

    @property
    def context(self) -> Axes:
        return (("B", self.B), ("T", self.T), *self.image()[1:])

    def image(self, *, padded: bool = False, frames: int = 0) -> Axes:
        """Axes of pixels, of the batch or of N `frames`."""
        height, width = self.padded if padded else self.frame
        first = ("N", frames) if frames else ("B", self.B)
        return (first, ("C", self.C), ("H", height), ("W", width))

    def cells(self, letter: str, channels: int, *, steps: int = 0) -> Axes:
        """Axes of the grid's cells, of one step or of a sequence."""
        time = (("T", steps),) if steps else ()
        return (("B", self.B), *time, (letter, channels), ("H", self.grid[0]), ("W", self.grid[1]))

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
        """Pad images to whole cells."""
        bottom, right = (full - side for full, side in zip(self.padded, self.frame, strict=True))
        operation = "repeat the last row and column" if bottom or right else "nothing to pad"
        output = (*x[:2], ("H", self.padded[0]), ("W", self.padded[1]))
        return self.add("pad_to_grid", operation, x, output, padding=(0, bottom, 0, right))

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
        before, pad = x[1][1], kernel // 2
        rows, columns = (-(-length // stride) for _, length in x[2:])
        output = (x[0], (letter, channels), ("H", rows), ("W", columns))
        return self.add(
            name,
            f"Conv2d {kernel}x{kernel}" + (f", stride {stride}" if kernel > 1 else ""),
            x,
            output,
            parameters=(("weight", (channels, before, kernel, kernel)), ("bias", (channels,))),
            padding=(pad, pad, pad, pad),
            macs=size(output) * before * kernel**2,
        )

    def dense(self, name: str, x: Axes, elements: int, *, saved: int | None = None) -> Axes:
        """A Linear layer on (B, U)."""
        units, output = x[1][1], (x[0], ("D", elements))
        parameters = (("weight", (elements, units)), ("bias", (elements,)))
        macs = size(output) * units
        return self.add(name, "Linear", x, output, parameters=parameters, macs=macs, saved=saved)

    def convlstm(self, path: str, x: Axes, filters: Sequence[int]) -> Axes:
        """ConvLSTM2D layers, each fed by the one before, with the last of the model's kernels."""
        model, skipped = self.model, len(self.model.kernel_sizes) - len(filters)
        kernels, recurrent = model.kernel_sizes[skipped:], model.recurrent_kernel_sizes[skipped:]
        layers = zip(filters, kernels, recurrent, strict=True)
        for number, (width, kernel, own) in enumerate(layers):
            output = self.convlstm_layer(f"{path}.{number}", x, width, kernel, recurrent=own)
            # A sequence's caller holds its input; of a step only the new h and c stay
            self.held += size(x) if self.phase == "encode" else 2 * size(output)
            x = output
        return x

    def convlstm_layer(
        self,
        name: str,
        x: Axes,
        filters: int,
        kernel: int,
        *,
        recurrent: int = 0,
        stride: int = 1,
        reads_input: bool = True,
    ) -> Axes:
        """One step on cells (B, C, H, W), or a fused sequence (B, T, C, H, W) in `encode`.

        `recurrent` is the side of the state's kernel, 0: as `kernel`. Without `reads_input` the
        layer is driven by its own state alone, of the shape of `x`.
        """
        recurrent = recurrent or kernel
        is_sequence, traits = self.phase == "encode", self.model.traits
        steps, (_, channels) = dict(x).get("T", 1), x[-3]
        inputs = channels if reads_input else 0
        geometry = ConvGeometry.parse(2, kernel_size=kernel, strides=stride)
        frame = [length for _, length in x[-2:]]
        rows, columns = geometry.output_sizes(frame)
        # An LSTM is a ConvLSTM with a 1x1 kernel on one cell: its channels are units
        letter = "U" if traits.tied_to_size else "F"
        output = (*x[:-3], (letter, filters), ("H", rows), ("W", columns))
        state = self.B * filters * rows * columns
        if is_sequence:
            returned = "h of every step, c of the last"
            saved, workspace = fused_memory(self.B, steps, channels, frame, filters, geometry)
        else:
            # Saved: i, f, the candidate, o, tanh(c), h and c. Workspace: what both convolutions
            # return; without gradients the gates are computed in place.
            returned, saved, workspace = "h and c", 7 * state, 8 * state
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
            f"{'' if reads_input else ' without input'}, {filters} filters: {returned}",
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
        side, output = paint_side(self.model.patch), self.image()
        weight = (x[1][1], self.C, side, side)
        return self.add(
            "paint",
            f"ConvTranspose2d {side}x{side}, stride {self.model.patch}, padding cropped off",
            x,
            output,
            parameters=(("weight", weight), ("bias", (self.C,))),
            macs=size(x) * math.prod(weight[1:]),
            saved=math.prod(weight),  # tapered; the pixels are only added to others
        )


def fused_memory(
    batch: int,
    steps: int,
    channels: int,
    frame: Sequence[int],
    filters: int,
    geometry: ConvGeometry,
    *,
    recompute: bool = False,
) -> tuple[int, int]:
    """Elements that a fused sequence saves, and those of its workspace; an estimate.

    h of every step is among what is saved, the input is not.
    """
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
