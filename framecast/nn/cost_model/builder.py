"""Rows of a traced network under way, and the parts that several networks have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.tensors import Axes, Row, size
from framecast.nn.forecasters.grid import grid_size, paint_side, patch_of, stem_widths
from framecast.nn.recurrence.cost import Tiles, block_of, numbers_beside, numbers_kept, tiles_of
from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry


class Way:
    """Rows under way, and the numbers that stay alive from one row to the next (`held`).

    A state `carried` from step to step has so many numbers, `renewed` of them new in each.
    """

    def __init__(
        self, model: ModelConfig, B: int, T: int, Th: int, C: int, frame: tuple[int, int]
    ) -> None:
        self.model, self.B, self.T, self.Th, self.C, self.frame = model, B, T, Th, C, frame
        patch = patch_of(model)
        self.grid = grid_size(*frame, patch)
        self.padded = (self.grid[0] * patch, self.grid[1] * patch)
        self.rows: list[Row] = []
        self.phase: Literal["encode", "step"] = "encode"
        self.held = self.carried = self.renewed = 0

    @property
    def context(self) -> Axes:
        return (("B", self.B), ("T", self.T), *self.image(self.C)[1:])

    def image(self, channels: int, *, padded: bool = False, frames: int = 0) -> Axes:
        """Axes of pixels, of the batch or of N `frames`."""
        height, width = self.padded if padded else self.frame
        first = ("N", frames) if frames else ("B", self.B)
        return (first, ("C", channels), ("H", height), ("W", width))

    def cells(self, letter: str, channels: int) -> Axes:
        return (("B", self.B), (letter, channels), ("H", self.grid[0]), ("W", self.grid[1]))

    @property
    def peephole(self) -> bool:
        """Whether the layers have peepholes, as in the networks of 2015."""
        return self.model.traits.peephole

    @property
    def state(self) -> int:
        """Numbers in h and c of all layers."""
        if self.model.traits.tied_to_size:
            return 2 * self.B * sum(self.model.units)
        return 2 * size(self.cells("F", sum(self.model.filters)))

    def begin_step(self, renewed: int, constant: int = 0) -> None:
        """Hold the context and a state, part of which stays what it is from step to step."""
        self.carried, self.renewed = renewed + constant, renewed
        self.held = size(self.context) + self.carried

    def add(
        self,
        name: str,
        operation: str,
        takes: Axes,
        gives: Axes,
        *,
        beside: int = 0,
        tensors: int = 1,
        calls: int | None = None,
        parameters: tuple[tuple[str, tuple[int, ...]], ...] = (),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        macs: int = 0,
        kept: int = 0,
    ) -> None:
        """Append a row; `beside` counts what is alive next to its input, output and `held`."""
        if calls is None:
            calls = 1 if self.phase == "encode" else self.Th
        alive = self.held + beside + size(takes) + tensors * size(gives)
        self.rows.append(
            Row(
                self.phase,
                name,
                operation,
                takes,
                gives,
                tensors,
                calls,
                parameters,
                padding,
                macs,
                kept,
                alive,
            )
        )

    def add_padding(self, channels: int, frames: int, *, beside: int, kept: int) -> Axes:
        """Pad images to whole cells; `beside` is the input's size where it is not `held`."""
        takes = self.image(channels, frames=frames)
        gives = self.image(channels, padded=True, frames=frames)
        bottom, right = (full - side for full, side in zip(self.padded, self.frame, strict=True))
        padding = (0, bottom, 0, right)
        operation = "repeat the last row and column" if bottom or right else "nothing to pad"
        more = beside - size(takes)
        self.add("pad_to_grid", operation, takes, gives, beside=more, padding=padding, kept=kept)
        return gives

    def add_stem(
        self, channels: int, frames: int, *, beside: int, learnt_inputs: int, keeps_output: bool
    ) -> None:
        """Pad and embed; `learnt_inputs` of the calls have an input that gradients flow into.

        `beside` is the size of the input where it is not among what is `held`.
        """
        calls = 1 if self.phase == "encode" else self.Th
        takes = self.image(channels, frames=frames)
        padded = size(self.image(channels, padded=True, frames=frames))
        kept = learnt_inputs * size(takes) + calls * padded
        gives = self.add_padding(channels, frames, beside=beside, kept=kept)
        stride = min(self.model.patch, 2)
        widths = stem_widths(self.model.patch, self.model.filters[0])
        for number, after in enumerate(widths):
            last = number == len(widths) - 1
            takes, before = gives, gives[1][1]
            rows, columns = (-(-length // stride) for _, length in takes[2:])
            gives = (takes[0], ("E", after), ("H", rows), ("W", columns))
            weight = (after, before, 3, 3)
            self.add(
                f"stem.{2 * number}",
                f"Conv2d 3x3, stride {stride}",
                takes,
                gives,
                beside=beside,
                parameters=(("weight", weight), ("bias", (after,))),
                padding=(1, 1, 1, 1),
                macs=size(gives) * math.prod(weight[1:]),
                kept=calls * size(gives),
            )
            kept = 0 if last and not keeps_output else calls * size(gives)
            self.add(f"stem.{2 * number + 1}", "LeakyReLU", gives, gives, beside=beside, kept=kept)

    def add_layers(
        self,
        path: str,
        takes: Axes,
        filters: Sequence[int],
        kernels: Sequence[int],
        *,
        calls: int,
        keeps_input: bool = False,
        keeps_output: bool = True,
        held_input: bool = False,
        newer: int = 0,
    ) -> None:
        """Step through ConvLSTM2D layers, one above the other, on cells that look like `takes`.

        The first layer's input is kept for the backward pass by its giver, or else here
        (`keeps_input`); it is new, or a view of what is held (`held_input`). The last layer's last
        h is kept where what reads it needs it (`keeps_output`). `newer` counts the new h and c of
        layers below.
        """
        for number, (width, kernel) in enumerate(zip(filters, kernels, strict=True)):
            (top, bottom), (left, right) = self.pads(kernel, takes)
            gives, before = self._layer_output(takes, width), takes[1][1]
            kept = calls * size(takes) if number == 0 and keeps_input else 0
            read = keeps_output or number < len(filters) - 1
            self.add(
                f"{path}.{number}",
                f"ConvLSTM2D {kernel}x{kernel}, {width} filters: h and c",
                takes,
                gives,
                # three sets of sums for 4 gates; behind the first layer x is a newer h
                beside=12 * size(gives)
                + self._gates(gives)
                + newer
                - (size(takes) if number or held_input else 0),
                tensors=2,
                calls=calls,
                parameters=(
                    ("kernel", (4 * width, before, kernel, kernel)),
                    *self._recurrent(width, kernel),
                ),
                padding=(top, bottom, left, right),
                macs=4 * size(gives) * (before + width) * kernel**2,
                kept=kept + self._kept_by_layer(gives, calls, read),
            )
            takes = gives
            newer += 2 * size(gives)

    def add_sequence(
        self,
        path: str,
        takes: Axes,
        filters: Sequence[int],
        kernels: Sequence[int],
        steps: int,
        *,
        passes: int = 1,
        first: bool = True,
        keeps_input: bool = False,
        held_input: bool = False,
    ) -> None:
        """Run ConvLSTM2D layers over `steps` of cells that look like `takes`, in one call.

        They start from zeros at the `first` of so many `passes`. The first layer's input is kept
        for the backward pass by its giver, or else here (`keeps_input`); it is new, or a view of
        what is held (`held_input`).
        """
        for number, (width, kernel) in enumerate(zip(filters, kernels, strict=True)):
            (top, bottom), (left, right) = self.pads(kernel, takes)
            gives, before = self._layer_output(takes, width), takes[1][1]
            state, read, new = size(gives), steps * size(takes), not (number or held_input)
            # The state that a later pass starts from, and the input
            kept = self._kept_by_sequence(takes, width, kernel, passes * steps)
            kept += (0 if first else 2 * state) + passes * read * (number == 0 and keeps_input)
            self.add(
                f"{path}.{number}",
                f"ConvLSTM2D {kernel}x{kernel}, {width} filters: h of every step, c of the last",
                _over_time(takes, steps),
                _over_time(gives, steps),
                beside=state
                + self._beside_sequence(takes, width, kernel, steps, first=first)
                - (0 if new else read),
                parameters=(
                    ("kernel", (4 * width, before, kernel, kernel)),
                    *self._recurrent(width, kernel),
                ),
                padding=(top, bottom, left, right),
                macs=4 * state * kernel**2 * (steps * before + (steps - first) * width),
                kept=kept,
            )
            # Behind a single step the output is the last h.
            self.held += read * new + (steps + 1 + (steps > 1)) * state
            takes = gives

    def add_state_only(self, name: str, takes: Axes, kernel: int, *, keeps_output: bool) -> None:
        """Step a layer that has no input but its own h, of the shape of `takes`."""
        width, calls = takes[1][1], self.Th
        (top, bottom), (left, right) = self.pads(kernel, takes)
        self.add(
            name,
            f"ConvLSTM2D {kernel}x{kernel} without input, {width} filters: h and c",
            takes,
            takes,
            # one set of sums for 4 gates; its h is held
            beside=4 * size(takes) + self._gates(takes) - size(takes),
            tensors=2,
            calls=calls,
            parameters=self._recurrent(width, kernel),
            padding=(top, bottom, left, right),
            macs=4 * size(takes) * width * kernel**2,
            kept=self._kept_by_layer(takes, calls, keeps_output),
        )

    def pads(self, kernel: int, cells: Axes) -> tuple[tuple[int, int], ...]:
        rows, columns = (length for _, length in cells[-2:])
        return ConvGeometry.parse(2, kernel_size=kernel).pads((rows, columns))

    def _layer_output(self, takes: Axes, width: int) -> Axes:
        letter = "U" if self.model.traits.tied_to_size else "F"
        return (takes[0], (letter, width), *takes[2:])

    def _recurrent(self, width: int, kernel: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """A layer's weights beside the input's kernel."""
        peephole = (("peephole", (3 * width,)),) if self.peephole else ()
        return (
            ("recurrent_kernel", (4 * width, width, kernel, kernel)),
            ("bias", (4 * width,)),
            *peephole,
        )

    def _gates(self, gives: Axes) -> int:
        """Alive at once beside the sums of convolutions and what a layer gives."""
        return (5 if self.peephole else 2) * size(gives)

    def _kept_by_layer(self, gives: Axes, calls: int, read: bool) -> int:
        """i, f, the candidate, o and tanh(c) of every step, and the h and c it starts from.

        At the end the last h where it is `read`, and the last c, which a peephole has seen.
        """
        last = (read + self.peephole) * size(gives) if self.phase == "step" else 0
        return 7 * calls * size(gives) + last

    def _kept_by_sequence(self, takes: Axes, filters: int, kernel: int, steps: int) -> int:
        """h, c and three gates of every step, unless the gates are computed again."""
        state = size(self._layer_output(takes, filters))
        tiles = _tiles(takes, filters, kernel, steps)
        return steps * state + (numbers_kept(tiles, filters, steps) if tiles else 4 * steps * state)

    def _beside_sequence(
        self, takes: Axes, filters: int, kernel: int, steps: int, *, first: bool
    ) -> int:
        """Numbers alive beside the input and what the layer gives."""
        tiles, state = (
            _tiles(takes, filters, kernel, steps),
            size(self._layer_output(takes, filters)),
        )
        if tiles:
            return numbers_beside(tiles, takes[1][1], filters, steps)
        samples, together = block_of(self.B, steps, 4 * FLOAT_BYTES * state // self.B)
        # Gates of a block, and what a step's state adds to them; the block's input, if copied
        sums = 4 * (together + (steps > first)) * samples * state // self.B
        copied = samples > 1 and steps > 1
        return sums + copied * size(takes) * samples * together // self.B

    def add_head(self, filters: int, maps: int, *, kept: int = 0) -> Axes:
        takes, gives = self.cells("F", filters), self.cells("C", maps)
        weight = (maps, filters, 1, 1)
        self.add(
            "head",
            "Conv2d 1x1",
            takes,
            gives,
            parameters=(("weight", weight), ("bias", weight[:1])),
            macs=size(gives) * filters,
            kept=kept,
        )
        return gives

    def add_dense(self, name: str, numbers: int, *, kept: int = 0) -> None:
        """A fully connected layer on the last LSTM's h."""
        units = self.model.units[-1]
        gives = (("B", self.B), ("D", numbers))
        self.add(
            name,
            "Linear",
            (("B", self.B), ("U", units)),
            gives,
            parameters=(("weight", (numbers, units)), ("bias", (numbers,))),
            macs=size(gives) * units,
            kept=kept,
        )

    def add_paint(self, passes: int) -> None:
        """From cells to pixels, in overlapping patches; the padding is cropped off.

        In training all lead times take so many `passes`, each of which keeps the patches' weights.
        """
        takes, gives = self.cells("F", self.model.filters[-1]), self.image(self.C)
        side = paint_side(self.model.patch)
        weight = (takes[1][1], self.C, side, side)
        tapered = math.prod(weight)
        self.add(
            "paint",
            f"ConvTranspose2d {side}x{side}, stride {self.model.patch}, padding cropped off",
            takes,
            gives,
            beside=size(self.image(self.C, padded=True)) - size(gives) + tapered,
            parameters=(("weight", weight), ("bias", (self.C,))),
            macs=size(takes) * math.prod(weight[1:]),
            kept=passes * tapered,
        )


def _over_time(cells: Axes, steps: int) -> Axes:
    return (cells[0], ("T", steps), *cells[1:])


def _tiles(takes: Axes, filters: int, kernel: int, steps: int) -> Tiles | None:
    """How a layer cuts its cells for Winograd's convolutions, None where it convolves directly."""
    looks = ConvGeometry.parse(2, kernel_size=kernel)
    (_, batch), (_, channels), *sizes = takes
    frame = [length for _, length in sizes]
    return tiles_of(looks, looks, frame, channels, filters, batch=batch, steps=steps)
