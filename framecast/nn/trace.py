"""A batch's way through the networks, call by call, in plain integers: no torch, no forward pass.

The networks take their widths from here; `trace_network` walks them with sizes for tensors.

Axes as in `forecaster.py`: B batch, T time, N = B T (all frames of a batch in one call), C
channels, E embedding, F filters, H rows, W columns; on the network's grid, of cells.
"""

from __future__ import annotations

import math
from typing import Literal

from framecast.config import ModelConfig
from framecast.nn.rows import Axes, Row, size
from framecast.nn.shapes import ConvGeometry

FLOW_HINTS = 4
"""Grid channels beside the flow forecaster's embedding: velocity x, y, lead time, coverage."""

FLOW_MAPS = 4
"""Per-cell outputs of the flow forecaster's head: velocity correction x, y, blend logit, gain."""

PYRAMID_SIGMA, WINDOW_SIGMA = 0.7, 5.0
"""Widths in pixels of two Gaussians: the blur between two levels of the motion pyramid, and the
window that a velocity is estimated over, at every level."""

COARSEST_SIDE = 16
"""The pyramid stops before a side would fall below half of this many pixels."""

LEVELS, ITERATIONS = 5, 3


def stem_widths(patch: int, embedding: int) -> tuple[int, ...]:
    """Output channels of the stem's convolutions: doubling from 16, the embedding last.

    One convolution for every halving of the resolution; one at full resolution when patch is 1.
    """
    halvings = max(patch.bit_length() - 1, 1)
    return (*(min(16 * 2**i, embedding) for i in range(halvings - 1)), embedding)


def paint_side(patch: int) -> int:
    """Side of the patch that a cell paints: twice its own, so that neighbours overlap."""
    return 1 if patch == 1 else 2 * patch


def grid_size(height: int, width: int, patch: int) -> tuple[int, int]:
    """Rows and columns of cells that cover a frame."""
    return -(-height // patch), -(-width // patch)


def blur_radius(sigma: float) -> int:
    """Pixels that a Gaussian blur looks at on each side."""
    return int(3 * sigma + 0.5)


def trace_network(
    model: ModelConfig,
    *,
    batch: int,
    context_length: int,
    horizon: int,
    channels: int,
    height: int,
    width: int,
) -> tuple[Row, ...]:
    """Walk one forecast: encode a context (B, T, C, H, W), step to `horizon` frames (B, C, H, W).

    Rows come in the order of the calls; those of "step" stand for each lead time. All sizes are at
    least 1.
    """
    way = _Way(model, batch, context_length, horizon, channels, (height, width))
    if model.name == "flow-convlstm":
        _encode_flow(way)
        _step_flow(way)
    else:
        _encode_plain(way)
        _step_plain(way)
    return tuple(way.rows)


class _Way:
    """Rows under way, and the numbers that stay alive from one row to the next (`held`)."""

    def __init__(
        self, model: ModelConfig, B: int, T: int, Th: int, C: int, frame: tuple[int, int]
    ) -> None:
        self.model, self.B, self.T, self.Th, self.C, self.frame = model, B, T, Th, C, frame
        self.grid = grid_size(*frame, model.patch)
        self.padded = (self.grid[0] * model.patch, self.grid[1] * model.patch)
        self.rows: list[Row] = []
        self.phase: Literal["encode", "step"] = "encode"
        self.held = 0

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
    def state(self) -> int:
        """Numbers in h and c of all layers."""
        return 2 * size(self.cells("F", sum(self.model.filters)))

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

    def add_stem(
        self, channels: int, frames: int, *, beside: int, learnt_inputs: int, keeps_output: bool
    ) -> None:
        """Pad and embed; `learnt_inputs` of the calls have an input that gradients flow into.

        `beside` is the size of the input where it is not among what is `held`.
        """
        calls = 1 if self.phase == "encode" else self.Th
        takes = self.image(channels, frames=frames)
        gives = self.image(channels, padded=True, frames=frames)
        bottom, right = (full - side for full, side in zip(self.padded, self.frame, strict=True))
        kept = learnt_inputs * size(takes) + calls * size(gives)
        padding = (0, bottom, 0, right)
        operation = "repeat the last row and column" if bottom or right else "nothing to pad"
        more = beside - size(takes)
        self.add("pad_to_grid", operation, takes, gives, beside=more, padding=padding, kept=kept)
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

    def add_layers(self, letter: str, channels: int, *, calls: int, keeps_input: bool) -> None:
        """Step through the ConvLSTM2D layers; the first one's input may be kept by its giver."""
        kernel = self.model.kernel_size
        (top, bottom), (left, right) = ConvGeometry.parse(2, kernel_size=kernel).pads(self.grid)
        takes, newer = self.cells(letter, channels), 0
        for number, filters in enumerate(self.model.filters):
            gives, before = self.cells("F", filters), takes[1][1]
            # i, f, the candidate, o and tanh(c) of every step, and the h and c it starts from
            kept = 7 * calls * size(gives)
            kept += calls * size(takes) if number == 0 and keeps_input else 0
            kept += size(gives) if self.phase == "step" else 0  # the last h, which the head reads
            self.add(
                f"stack.layers.{number}",
                f"ConvLSTM2D {kernel}x{kernel}, {filters} filters: h and c",
                takes,
                gives,
                # three sets of sums for 4 gates, two gates; behind the first layer x is a newer h
                beside=14 * size(gives) + newer - (size(takes) if number else 0),
                tensors=2,
                calls=calls,
                parameters=(
                    ("kernel", (4 * filters, before, kernel, kernel)),
                    ("recurrent_kernel", (4 * filters, filters, kernel, kernel)),
                    ("bias", (4 * filters,)),
                ),
                padding=(top, bottom, left, right),
                macs=4 * size(gives) * (before + filters) * kernel**2,
                kept=kept,
            )
            takes = gives
            newer += 2 * size(gives)

    def add_head(self, maps: int) -> Axes:
        takes, gives = self.cells("F", self.model.filters[-1]), self.cells("C", maps)
        weight = (gives[1][1], takes[1][1], 1, 1)
        self.add(
            "head",
            "Conv2d 1x1",
            takes,
            gives,
            parameters=(("weight", weight), ("bias", weight[:1])),
            macs=size(gives) * weight[1],
        )
        return gives

    def add_paint(self) -> None:
        """From cells to pixels, in overlapping patches; the padding is cropped off."""
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
            kept=self.Th * tapered,
        )


def _encode_plain(way: _Way) -> None:
    way.held = size(way.context)
    embedding, steps = way.model.filters[0], way.T - 1
    way.add_stem(way.C, way.B * way.T, beside=0, learnt_inputs=0, keeps_output=steps > 0)
    way.held += steps * size(way.cells("E", embedding)) + way.state
    if steps:
        way.add_layers("E", embedding, calls=steps, keeps_input=False)


def _step_plain(way: _Way) -> None:
    way.phase = "step"
    way.held = size(way.context) + size(way.image(way.C)) + way.state
    embedding = way.model.filters[0]
    way.add_stem(way.C, 0, beside=0, learnt_inputs=way.Th - 1, keeps_output=True)
    way.add_layers("E", embedding, calls=way.Th, keeps_input=False)
    way.held += way.state
    way.add_paint()
    frame, painted = way.image(way.C), size(way.image(way.C, padded=True))
    kept = way.Th * size(frame)
    way.add("frame", "last frame + change", frame, frame, beside=painted, kept=kept)


def _encode_flow(way: _Way) -> None:
    B, T, C, model = way.B, way.T, way.C, way.model
    vectors, frame = way.image(2), way.image(1)
    pixels, pairs = size(frame), (T - 1) * size(frame)
    way.held = size(way.context)
    _add_motion(way, pairs)
    way.held += size(vectors)
    unseen = "frames minus their predecessors moved along"
    beside = (2 * C + 2) * pairs
    way.add("surprises", unseen, way.context, way.context, beside=beside)
    way.held += size(way.context)
    both = T * size(way.image(2 * C))
    way.add_stem(2 * C, B * T, beside=both, learnt_inputs=0, keeps_output=False)
    embedded = T * size(way.cells("E", model.filters[0]))
    way.held += embedded + 2 * pixels
    _add_hints(way, learnt=0)
    way.held += way.state
    way.add_layers("C", model.filters[0] + FLOW_HINTS, calls=T, keeps_input=True)


def _add_motion(way: _Way, pairs: int) -> None:
    """Count the blurs' multiplications, and what the finest level of the pyramid needs at once."""
    (height, width), macs, levels = way.frame, 0, 0
    takes = (("B", way.B), ("T", way.T), ("H", height), ("W", width))
    while way.T > 1:
        levels += 1
        macs += ITERATIONS * 5 * way.B * _blur_macs(height, width, WINDOW_SIGMA)
        if levels == LEVELS or min(height, width) < COARSEST_SIDE:
            break
        macs += way.B * way.T * _blur_macs(height, width, PYRAMID_SIGMA)
        height, width = -(-height // 2), -(-width // 2)
    reach = 2 * blur_radius(WINDOW_SIGMA)
    rows, columns = (side + reach for side in way.frame)
    # gradients, differences and moments of every pair, twice; five moments of all, in the blur
    copies = 4 if way.B > 1 and way.T > 2 else 0
    beside = (15 + copies) * pairs + size(takes) // 3
    beside += 5 * way.B * (2 * math.prod(way.frame) + rows * columns + rows * way.frame[1])
    way.add(
        "lucas_kanade",
        f"motion of the grey frames, {levels} pyramid levels",
        takes,
        way.image(2),
        beside=beside if levels else 0,
        macs=macs,
    )


def _blur_macs(height: int, width: int, sigma: float) -> int:
    radius = blur_radius(sigma)
    return (2 * radius + 1) * width * (height + 2 * radius + height)


def _add_hints(way: _Way, learnt: int) -> None:
    fields, padded = way.image(3), way.image(3, padded=True)
    way.add(
        "hints",
        "velocity, coverage and lead time on the grid",
        way.image(2),
        way.cells("C", FLOW_HINTS),
        beside=size(fields) + size(padded),
        kept=learnt * (size(fields) + size(padded)),
    )


def _step_flow(way: _Way) -> None:
    way.phase = "step"
    model, C, Th = way.model, way.C, way.Th
    vectors, frame, both = way.image(2), way.image(C), way.image(2 * C)
    later = Th - 1  # the first step starts from motion that no gradient flows into
    # The newest frame and surprise are views: the whole context and all surprises stay alive.
    way.held = 2 * size(way.context) + 2 * size(vectors) + way.state
    moving = 3 * size(vectors)  # a negated velocity, positions, and the grid made of them
    lengthen = "lengthen the way back to the last frame"
    way.add("advect", lengthen, vectors, vectors, beside=moving, kept=later * 2 * size(vectors))
    way.held += size(vectors)
    kept = later * (size(both) + size(vectors))
    carry = "carry the last frame and its surprise along"
    way.add("warp", carry, both, both, beside=2 * size(vectors), kept=kept)
    way.held += size(both)
    _add_hints(way, learnt=later)
    way.add_stem(2 * C, 0, beside=0, learnt_inputs=later, keeps_output=False)
    way.add_layers("C", model.filters[0] + FLOW_HINTS, calls=Th, keeps_input=True)
    way.held += way.state
    cells = way.add_head(FLOW_MAPS)
    way.held += size(cells)
    maps, spread = way.cells("C", FLOW_MAPS), way.image(FLOW_MAPS)
    interpolated = size(way.image(FLOW_MAPS, padded=True)) if model.patch > 1 else 0
    way.add("spread", "maps from cells to pixels, interpolated", maps, spread)
    way.held += interpolated + size(vectors)
    kept = (Th + 1) * size(vectors)
    way.add(
        "advect",
        "lengthen it by the corrected velocity",
        vectors,
        vectors,
        beside=moving,
        kept=kept,
    )
    way.held += size(vectors)
    carry = "carry the last frame along"
    way.add("warp", carry, frame, frame, beside=2 * size(vectors), kept=Th * size(vectors))
    way.held += 2 * size(frame) + 2 * size(way.image(1))
    way.add_paint()
    painted = size(way.image(C, padded=True))
    # weight, 1 + gain; the difference to the last frame, the blend, and the frame itself
    kept = Th * (2 * size(way.image(1)) + 3 * size(frame))
    blend = "(1 + gain) x blend of moved and last frame + residual"
    way.add("frame", blend, frame, frame, beside=painted, kept=kept)
