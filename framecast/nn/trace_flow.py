"""The flow forecaster's rows."""

from __future__ import annotations

import math

from framecast.nn.rows import size
from framecast.nn.way import Way
from framecast.nn.widths import (
    COARSEST_SIDE,
    FLOW_HINTS,
    FLOW_MAPS,
    ITERATIONS,
    LEVELS,
    PYRAMID_SIGMA,
    WINDOW_SIGMA,
    blur_radius,
)


def encode_flow(way: Way) -> None:
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
    takes = way.cells("C", model.filters[0] + FLOW_HINTS)
    way.add_layers(
        "stack.layers", takes, model.filters, model.kernel_sizes, calls=T, keeps_input=True
    )


def _add_motion(way: Way, pairs: int) -> None:
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


def _add_hints(way: Way, learnt: int) -> None:
    fields, padded = way.image(3), way.image(3, padded=True)
    way.add(
        "hints",
        "velocity, coverage and lead time on the grid",
        way.image(2),
        way.cells("C", FLOW_HINTS),
        beside=size(fields) + size(padded),
        kept=learnt * (size(fields) + size(padded)),
    )


def step_flow(way: Way) -> None:
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
    takes = way.cells("C", model.filters[0] + FLOW_HINTS)
    way.add_layers(
        "stack.layers", takes, model.filters, model.kernel_sizes, calls=Th, keeps_input=True
    )
    way.held += way.state
    cells = way.add_head(model.filters[-1], FLOW_MAPS)
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
