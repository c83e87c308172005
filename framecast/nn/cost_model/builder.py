"""The vocabulary in which a network describes its own cost: a stem, ConvLSTM2D layers, pixels.

Axes: B batch, T time, N = B T (all frames in one call), C channels, E embedding, F filters, H rows,
W columns (of pixels, or of cells on the network's grid), D the elements of a frame in a row, U the
units of an LSTM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.tensors import Axes, LayerRecord, size
from framecast.nn.forecasters.grid import grid_size, paint_side, patch_of, stem_widths
from framecast.nn.recurrence.cost import block_of, numbers_beside, numbers_kept, tiles_of
from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry

Parameters = tuple[tuple[str, tuple[int, ...]], ...]


class CostBuilder:
    """Records the calls of one forecast, first those of `encode`, then those of each `step`.

    A network describes itself by two functions, listed under its name in `network.NETWORK_COSTS`.
    Each method takes the axes of its input, adds one record per module and returns the axes of the
    output; names are the modules' paths in the network, which a test compares call by call:

        def encode(build: CostBuilder) -> None:
            build.held = size(build.context)      # elements alive whatever is called
            build.stem(build.image(build.C, frames=build.B * build.T))
            build.convlstm("stack.layers", build.cells("E", 64, steps=build.T), (64, 64), (3, 3),
                           from_zeros=True)

        def step(build: CostBuilder) -> None:     # recorded once, counted for each lead time
            frame = build.image(build.C)
            build.paint(build.convlstm("stack.layers", build.stem(frame), (64, 64), (3, 3)))
            build.add("frame", "last frame + change", frame, frame)

    What has no module of its own (warping, blending) is one `add` with its estimated workspace.
    """

    def __init__(
        self, model: ModelConfig, B: int, T: int, Th: int, C: int, frame: tuple[int, int]
    ) -> None:
        self.model, self.B, self.T, self.Th, self.C, self.frame = model, B, T, Th, C, frame
        # The grid covers the frame; what lies beyond it is padding
        patch = patch_of(model)
        self.grid = grid_size(*frame, patch)
        self.padded = (self.grid[0] * patch, self.grid[1] * patch)
        self.phase: Literal["encode", "step"] = "encode"
        self.held = 0
        self.records: list[LayerRecord] = []

    @property
    def context(self) -> Axes:
        return (("B", self.B), ("T", self.T), *self.image(self.C)[1:])

    @property
    def calls(self) -> int:
        """How often a forecast makes a call of this phase."""
        return 1 if self.phase == "encode" else self.Th

    @property
    def peephole(self) -> bool:
        """Whether the layers have peepholes, as in the networks of Shi et al., 2015."""
        return self.model.traits.peephole

    def image(self, channels: int, *, padded: bool = False, frames: int = 0) -> Axes:
        """Axes of pixels, of the batch or of N `frames`."""
        # (N, ...) is all frames of a batch in one call, as `over_time` makes them
        height, width = self.padded if padded else self.frame
        first = ("N", frames) if frames else ("B", self.B)
        return (first, ("C", channels), ("H", height), ("W", width))

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
        tensors: int = 1,
        parameters: Parameters = (),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        macs: int = 0,
        saved: int | None = None,
        workspace: int = 0,
    ) -> Axes:
        """Append a record; `workspace` counts the elements alive besides `x`, output and `held`.

        Every call's output is saved for the backward pass, unless `saved` gives the elements that
        one call saves.
        """
        # A ConvLSTM2D step returns h and c, everything else one tensor
        returned = tensors * size(output)
        each = returned if saved is None else saved
        # The peak of a call: what is held, what it reads and returns, and its own scratch
        live = self.held + workspace + size(x) + returned
        self.records.append(
            LayerRecord(
                phase=self.phase,
                name=name,
                operation=operation,
                input=x,
                output=output,
                tensors=tensors,
                calls=self.calls,
                parameters=parameters,
                padding=padding,
                macs=macs,
                saved=self.calls * each,
                live=live,
            )
        )
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
        # ceil(L / stride), with (kernel - 1) / 2 zeros on each side
        rows, columns = (-(-length // stride) for _, length in x[2:])
        output = (x[0], (letter, channels), ("H", rows), ("W", columns))
        weight = (channels, before, kernel, kernel)
        return self.add(
            name,
            f"Conv2d {kernel}x{kernel}" + (f", stride {stride}" if kernel > 1 else ""),
            x,
            output,
            parameters=(("weight", weight), ("bias", (channels,))),
            padding=(pad, pad, pad, pad),
            macs=size(output) * before * kernel**2,
        )

    def dense(self, name: str, x: Axes, elements: int, *, saved: int | None = None) -> Axes:
        """A Linear layer on (B, U)."""
        units, output = x[1][1], (x[0], ("D", elements))
        return self.add(
            name,
            "Linear",
            x,
            output,
            parameters=(("weight", (elements, units)), ("bias", (elements,))),
            macs=size(output) * units,
            saved=saved,
        )

    def convlstm(
        self,
        path: str,
        x: Axes,
        filters: Sequence[int],
        kernels: Sequence[int],
        *,
        recurrent_kernels: Sequence[int] | None = None,
        from_zeros: bool = False,
    ) -> Axes:
        """ConvLSTM2D layers, each fed by the one before; see `convlstm_layer`."""
        sides = zip(filters, kernels, recurrent_kernels or kernels, strict=True)
        for number, (width, kernel, recurrent) in enumerate(sides):
            output = self.convlstm_layer(
                f"{path}.{number}",
                x,
                width,
                kernel,
                recurrent_kernel=recurrent,
                from_zeros=from_zeros,
            )
            # A sequence's caller holds its input; of a step only the new h and c stay
            self.held += size(x) if "T" in dict(x) else 2 * size(output)
            x = output
        return x

    def convlstm_layer(
        self,
        name: str,
        x: Axes,
        filters: int,
        kernel: int,
        *,
        recurrent_kernel: int | None = None,
        stride: int = 1,
        from_zeros: bool = False,
        reads_input: bool = True,
    ) -> Axes:
        """One step on cells (B, C, H, W), or a fused sequence on (B, T, C, H, W).

        A sequence that starts `from_zeros` skips the first recurrent convolution. Without
        `reads_input` the layer is driven by its own state alone, of the shape of `x`.
        """
        # Rows of Shi et al. 2015, table 1, have 9x9 state kernels with 1x1 inputs
        recurrent = recurrent_kernel or kernel
        # A time axis tells a fused sequence from a single step
        sequence = dict(x).get("T")
        steps, (_, channels) = sequence or 1, x[-3]
        inputs = channels if reads_input else 0
        cells = (x[0], *x[-3:])
        # An LSTM is a ConvLSTM with a 1x1 kernel on one cell: its channels are units
        letter = "U" if self.model.traits.tied_to_size else "F"
        geometry = ConvGeometry.parse(2, kernel_size=kernel, strides=stride)
        frame = [length for _, length in x[-2:]]
        rows, columns = geometry.output_sizes(frame)
        state = (x[0], (letter, filters), ("H", rows), ("W", columns))
        output = (*x[:-3], *state[1:])
        (top, bottom), (left, right) = geometry.pads(frame)
        if sequence:
            returned = "h of every step, c of the last"
            saved, workspace = fused_memory(cells, filters, geometry, steps)
        else:
            # Saved: i, f, the candidate, o, tanh(c), h and c. Workspace: what both convolutions
            # return; without gradients the gates are computed in place.
            returned, saved, workspace = "h and c", 7 * size(state), 8 * size(state)
        return self.add(
            name,
            f"ConvLSTM2D {kernel}x{kernel}{f', stride {stride}' if stride > 1 else ''}"
            f"{'' if reads_input else ' without input'}, {filters} filters: {returned}",
            x,
            output,
            tensors=1 if sequence else 2,
            parameters=(
                *((("kernel", (4 * filters, inputs, kernel, kernel)),) if reads_input else ()),
                ("recurrent_kernel", (4 * filters, filters, recurrent, recurrent)),
                ("bias", (4 * filters,)),
                *((("peephole", (3 * filters,)),) if self.peephole else ()),
            ),
            padding=(top, bottom, left, right),
            macs=4
            * size(state)
            * (steps * inputs * kernel**2 + (steps - from_zeros) * filters * recurrent**2),
            saved=saved,
            workspace=workspace,
        )

    def paint(self, x: Axes) -> Axes:
        """From cells to pixels in overlapping patches, the padding cropped off."""
        # Patches of twice a cell's side overlap, so that no edges show
        side, output = paint_side(self.model.patch), self.image(self.C)
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
    x: Axes, filters: int, geometry: ConvGeometry, steps: int, *, recompute: bool = False
) -> tuple[int, int]:
    """Elements that a fused sequence saves, and those of its workspace; an estimate.

    `x` are the axes of one step's input (B, C, H, W); h of every step is among what is saved, the
    input is not.
    """
    (_, batch), (_, channels), *sizes = x
    frame = [length for _, length in sizes]
    grid = geometry.output_sizes(frame)
    state = batch * filters * math.prod(grid)
    recurrent = ConvGeometry.parse(len(frame), kernel_size=geometry.kernel_size)
    # Which convolution a sequence takes is decided by the same integers as in `recurrence/fused.py`
    tiles = tiles_of(geometry, recurrent, frame, channels, filters, batch=batch, steps=steps)
    if tiles:  # Winograd's convolutions
        saved = steps * state + numbers_kept(tiles, filters, steps, recompute=recompute)
        return saved, state + numbers_beside(tiles, channels, filters, steps)
    samples, together = block_of(batch, steps, 4 * FLOAT_BYTES * state // batch)
    # Pre-activations of a block, what a step's state adds to them, and the block's input
    sums = 4 * (together + 1) * samples * state // batch
    # Padding that differs by side is made by a copy
    copies = 1 + any(before != after for before, after in geometry.pads(frame))
    block = copies * size(x) * samples * together // batch
    # h, c and, unless they are computed again, i, f and o
    return (2 if recompute else 5) * steps * state, state + sums + block
