"""The flow forecaster's rows.

Axes as in `flow.py`. Numbers alive are those of steps that predict one frame each; numbers kept
those of one pass over all lead times, as in training.
"""

from __future__ import annotations

from framecast.nn.cost_model.builder import Way
from framecast.nn.cost_model.tensors import Axes, size
from framecast.nn.forecasters.flow.constants import (
    BLURS,
    CARRIED_SIGNS,
    CELL,
    COARSEST_SIDE,
    ESTIMATES,
    FLOW_HINTS,
    GROWTH_BLURS,
    GROWTH_FRAMES,
    GROWTHS,
    GUESSES,
    INFLOWS,
    ITERATIONS,
    LEADS,
    LEVELS,
    MEMORY_LAG,
    MEMORY_SIGMA,
    MOTIONS,
    PICTURES,
    PYRAMID_SIGMA,
    SCALES,
    SIGN_ENERGIES,
    SIGN_SIGMA,
    SIGNS,
    SURPRISE_BLURS,
    blur_radius,
)
from framecast.nn.forecasters.grid import grid_size

PARTS = len(SCALES) + 1
"""Scales of a picture: what lies between the blurs, and the widest of them."""


def encode_flow(way: Way) -> None:
    T, C = way.T, way.C
    vectors = way.image(2)
    grey = T * size(way.image(1))
    way.held = size(way.context) + grey
    for sigma, frames in ESTIMATES:
        _add_motion(way, sigma, T if frames is None else min(T, frames))
        way.held += 2 * size(vectors)
    way.held = size(way.context) + MOTIONS * size(vectors)
    unseen = "frames minus their predecessors moved along"
    pairs = (T - 1) * size(way.image(1))
    way.add("surprises", unseen, way.context, way.context, beside=(2 * C + 2) * pairs)
    way.held += size(way.context)
    _add_scales(way)
    _add_growths(way)
    _add_signs(way)
    _add_recall(way)
    way.held += MOTIONS * size(vectors)  # displacements start at zero
    _add_inputs(way, T, frames=way.B * T)
    _add_layers(way, T, first=True)


def _add_scales(way: Way) -> None:
    """The last frame blurred ever more."""
    C, frame = way.C, way.image(way.C)
    for sigma in SCALES:
        way.add(
            "gaussian_blur",
            f"last frame, Gaussian of {sigma:g} pixels",
            frame,
            frame,
            beside=_blur_copies(way, C, sigma),
            macs=way.B * C * _blur_macs(*way.frame, sigma),
        )
        way.held += size(frame)
    way.held += 2 * size(frame)  # the sharp one beside them, copied, and the mean of all frames


def _add_growths(way: Way) -> None:
    """The last surprise and the mean of the newest, blurred, put beside the last as it is."""
    B, C, frame = way.B, way.C, size(way.image(way.C))
    newest = min(GROWTH_FRAMES, way.T - 1)
    gives = _stacked(way, "G", GROWTHS + 1)
    # The way, the sum, the mean and every blur while they are copied, or while the widest is made
    beside = size(way.image(2)) + ((newest > 1) + 1 + GROWTHS) * frame - size(way.context)
    beside += max(_blur_copies(way, C, max(GROWTH_BLURS)) - size(gives), 0)
    blurs = (*SURPRISE_BLURS, *GROWTH_BLURS)
    way.add(
        "growths",
        f"last surprise and mean of the newest {newest}, Gaussians of"
        f" {' and '.join(f'{sigma:g}' for sigma in sorted({*blurs}))} pixels",
        way.context,
        gives,
        beside=beside,
        macs=B * C * sum(_blur_macs(*way.frame, sigma) for sigma in blurs),
    )
    way.held += size(gives)


def _add_signs(way: Way) -> None:
    """The signs, from energies that are blurred together with the last frame."""
    C, pixels, signs = way.C, size(way.image(1)), way.image(SIGNS)
    pairs, nearby = max(way.T - 1, 1), SIGN_ENERGIES + C
    twice = 4 * C * pixels if way.T == 1 else 0  # one frame and its surprise as two
    # The frames blurred; these, the ways ahead and grids; or frames moved and the differences
    hazy = _blur_copies(way, pairs * C, BLURS[0]) + pairs * C * pixels
    moved = pairs * max(6 + C, 4 + 2 * C) * pixels
    blur = 2 * nearby * pixels + _blur_copies(way, nearby, SIGN_SIGMA)
    way.add(
        "read_signs",
        "pace, surprise, and which guess did better on the context,"
        f" Gaussian of {SIGN_SIGMA:g} pixels",
        way.context,
        signs,
        beside=twice + max(hazy, moved, blur) - size(way.context) - size(signs),
        macs=way.B * nearby * _blur_macs(*way.frame, SIGN_SIGMA)
        + way.B * pairs * C * _blur_macs(*way.frame, BLURS[0]),
    )
    way.held += size(signs)


def _add_recall(way: Way) -> None:
    """The memory, told from pairs of frames one and more apart."""
    pairs, memory = way.T - 1, _memory(way)
    rows, columns = memory[2][1], memory[3][1]
    lags = {1, min(MEMORY_LAG, pairs)} if pairs else set()
    covered = pairs * size(way.image(1)) * rows * columns * CELL**2
    covered //= way.frame[0] * way.frame[1]
    # The ways and what they leave of both frames of every pair; both padded, and their product
    beside = size(way.image(2)) + pairs * size(way.image(3 + 2 * way.C)) + (3 * way.C + 1) * covered
    way.add(
        "recall",
        f"share of each scale that is left after one frame and after each more, cells of {CELL}",
        way.context,
        memory,
        beside=(beside if pairs else 0) - size(way.context),
        tensors=2,
        macs=len(lags) * 2 * way.B * PARTS * _blur_macs(rows, columns, MEMORY_SIGMA),
    )
    way.held += 2 * size(memory)


def _memory(way: Way) -> Axes:
    rows, columns = grid_size(*way.frame, CELL)
    return (("B", way.B), ("C", PARTS), ("H", rows), ("W", columns))


def _stacked(way: Way, letter: str, count: int) -> Axes:
    frame = way.image(way.C)
    return (frame[0], (letter, count), *frame[1:])


def _add_motion(way: Way, sigma: float, frames: int) -> None:
    """Count the blurs' multiplications, and what the finest level of the pyramid needs at once."""
    (height, width), macs, levels, B = way.frame, 0, 0, way.B
    takes = (("B", B), ("T", frames), ("H", height), ("W", width))
    while frames > 1:
        levels += 1
        macs += ITERATIONS * 5 * B * _blur_macs(height, width, sigma)
        if levels == LEVELS or min(height, width) < COARSEST_SIDE:
            break
        macs += B * frames * _blur_macs(height, width, PYRAMID_SIGMA)
        height, width = -(-height // 2), -(-width // 2)
    # Of every pair the frame moved, gradients, and five moments twice; or their means, blurred.
    moments = 17 * (frames - 1) * size(way.image(1)) + 2 * size(way.image(1))
    blur = 2 * 5 * size(way.image(1)) + _blur_copies(way, 5, sigma)
    beside = max(moments, blur) + size(takes) // 3
    way.add(
        "lucas_kanade",
        f"motion of {frames} grey frames, windows of {sigma:g} pixels, {levels} pyramid levels, and"
        " the coarser start of the finest",
        takes,
        way.image(2),
        beside=(beside if levels else 0) - size(takes),
        tensors=2,
        macs=macs,
    )


def _blur_copies(way: Way, channels: int, sigma: float) -> int:
    """Numbers beside a blur's input and output: the padded image, and that blurred one way."""
    rows, columns = (side + 2 * blur_radius(sigma) for side in way.frame)
    return channels * way.B * rows * (columns + way.frame[1])


def _blur_macs(height: int, width: int, sigma: float) -> int:
    radius = blur_radius(sigma)
    return (2 * radius + 1) * width * (height + 2 * radius + height)


def _add_inputs(way: Way, steps: int, *, frames: int = 0) -> None:
    """What the layers are told of `steps` pictures, in N `frames` or those of the batch."""
    both = steps * size(way.image(2 * way.C))
    embedded = steps * size(way.cells("E", way.model.filters[0]))
    way.add_stem(2 * way.C, frames, beside=both, learnt_inputs=0, keeps_output=False)
    way.held += both + embedded
    vectors, inside = way.image(2, frames=frames), way.image(1, frames=frames)
    hints, cells = way.image(3, frames=frames), way.cells("C", 3)
    way.add(
        "coverage", "which pixels come from inside the frame", vectors, inside, beside=size(vectors)
    )
    way.held += size(inside)
    means = (hints[0], *cells[1:])
    padded = size(way.image(3, padded=True, frames=frames))
    way.add("on_grid", "velocity and coverage, mean of each cell", hints, means, beside=padded)
    maps, memory = way.image(PARTS), way.cells("C", PARTS)
    spread = size(_memory(way)) * CELL**2 - size(maps)  # of which the map is a view
    padded = size(way.image(PARTS, padded=True))
    way.add("on_grid", "memory, mean of each cell", maps, memory, beside=spread + padded)
    way.held -= both + embedded + size(inside)


def _add_layers(way: Way, steps: int, *, first: bool) -> None:
    """ConvLSTM2D layers over `steps` in one call; `first` if they start from zeros."""
    filters, kernels = way.model.filters, way.model.kernel_sizes
    takes = way.cells("C", filters[0] + FLOW_HINTS)
    passes = 1 if way.phase == "encode" else way.Th
    way.add_sequence(
        "stack.layers", takes, filters, kernels, steps, passes=passes, first=first, keeps_input=True
    )


def step_flow(way: Way) -> None:
    C, vectors = way.C, way.image(2)
    fields = MOTIONS * size(vectors)
    scales, growths = _stacked(way, "S", PARTS), _stacked(way, "G", GROWTHS + 1)
    seen = size(way.image(C)) + size(way.image(SIGNS)) + 2 * size(_memory(way)) + fields
    way.begin_step(fields + way.state, constant=size(scales) + size(growths) + seen)
    before = way.held
    _add_pictures(way, scales)
    guesses = way.image(GUESSES * C)
    way.held = before + size(guesses) + size(way.image(SIGNS)) + fields
    _add_inputs(way, 1)
    way.held += size(way.image(2 * C))
    _add_layers(way, 1, first=False)
    _add_mixture(way, guesses, way.image(C))


def _add_pictures(way: Way, scales: Axes) -> None:
    """What is carried along every motion."""
    C, vectors, frame = way.C, way.image(2), way.image(way.C)
    frames = way.image(PICTURES * C)
    ways = way.image(2, frames=way.B * MOTIONS)
    moving = size(ways) + size(ways) // 2  # positions, and the grid made of them
    lengthen = "lengthen the ways back to the last frame, of every motion"
    way.add("advect", lengthen, ways, ways, beside=moving)
    way.held += size(ways) + size(frames)
    # The share of each scale at each pixel, its difference to the next one's, and their products
    shares = size(_memory(way)) * CELL**2 + size(way.image(PARTS))
    put_together = max(size(way.image(PARTS + 1)) - size(frame), size(scales))
    way.add(
        "remembered",
        "last frame, each scale as far as it is remembered",
        scales,
        (frame[0], ("T", 1), *frame[1:]),
        beside=shares + put_together - size(scales),
    )
    others = way.image((PICTURES + 2 + GROWTHS) * C + CARRIED_SIGNS)
    way.held += size(frame) + size(others)
    carry = "carry the last frame along, sharp and blurred"
    first = way.image((1 + PICTURES + 2 + GROWTHS) * C + CARRIED_SIGNS)
    more = f"{carry}, as far as remembered; its growth and surprise; signs"
    way.add("warp", more, first, first, beside=2 * size(vectors))
    way.held += size(first)
    outside = "how far beyond the border each pixel comes from"
    way.add("beyond", outside, vectors, way.image(1), beside=2 * size(vectors))
    way.held += size(way.image(1))
    elsewhere = way.image(PICTURES * C, frames=way.B * (MOTIONS - 1))
    # Positions; or, once these are there, what flows in, the last frame and the mean, all guesses
    # together, and what the layers see
    together = size(way.image((INFLOWS + 2 + GUESSES + 2) * C + SIGNS)) - size(elsewhere)
    beside = max(2 * (MOTIONS - 1) * size(vectors), together)
    way.add("warp", f"{carry}, the other motions", elsewhere, elsewhere, beside=beside)
    way.held += size(elsewhere) + size(way.image(INFLOWS * C))


def _add_mixture(way: Way, guesses: Axes, frame: Axes) -> None:
    model, B, C, Th = way.model, way.B, way.C, way.Th
    filters, pixels = model.filters[-1], way.image(1)
    # The layers' h become one row of frames, which copies them where they were several rows.
    copied = Th * size(way.cells("F", filters)) if B > 1 and Th > 1 else 0
    cells = way.add_head(filters, GUESSES, kept=copied)
    maps = way.image(GUESSES)
    interpolated = size(way.image(GUESSES, padded=True))
    spread = "what the layers add to weights, from cells to pixels, interpolated"
    way.add("spread", spread, cells, maps, beside=interpolated - size(maps))
    way.held += interpolated
    way.add_paint(1)
    way.held += size(way.image(C, padded=True))
    # The signs; lead times, as indices of 8 bytes; how far the mix leans
    kept = Th * (size(guesses) + size(way.image(SIGNS)) + 2 * B) + B
    mixed = "guesses x weights, calibrated for each lead time and leaning by signs, summed"
    parameters = (("mix", (LEADS, GUESSES)), ("lean", (LEADS, 1 + SIGNS, GUESSES)))
    of_guess = (guesses[0], ("T", 1), ("K", GUESSES), ("C", C), *guesses[2:])
    macs = (1 + SIGNS) * size(guesses)
    way.add("mix", mixed, of_guess, frame, parameters=parameters, macs=macs, kept=kept)
    kept = Th * size(way.image(1, padded=True))
    doubt = "disagreement of the guesses, mean of each cell, interpolated"
    way.add("doubt", doubt, of_guess, (pixels[0], ("T", 1), *pixels[1:]), kept=kept)
    way.add("frame", "mix + disagreement x residual", frame, frame, kept=Th * size(frame))
