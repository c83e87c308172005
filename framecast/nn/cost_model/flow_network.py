"""The cost of the default network: classical motion, two stacks of cells, candidates, a blend.

Axes as in `builder.py`; sizes are those of frames padded to whole cells, at working size where
motion and layers see them. Multiply-adds of the classical part are those of its Gaussian blurs.
"""

from __future__ import annotations

from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.tensors import Axes, size
from framecast.nn.forecasters.flow.constants import (
    BLENDED,
    BLURS,
    CANDIDATES,
    COARSEST_SIDE,
    CONDITIONS,
    CONTEXT_MAPS,
    EMBEDDING,
    ERROR_SIGMA,
    FINE,
    FORECAST_MAPS,
    HINDCASTS,
    HINTS,
    ITERATIONS,
    LEADS,
    LEVELS,
    NEWEST,
    PATCH,
    PYRAMID_SIGMA,
    SHARP,
    TURNS,
    WIDE_SIGMA,
    WINDOW_SIGMAS,
    blur_radius,
    padded_size,
    working_scale,
)

MOVED = 3
"""Sharp candidates that are sampled at each lead time; the last frame and the mean stay."""


def encode_flow(build: CostBuilder) -> None:
    B, T, C, first = build.B, build.T, build.C, build.model.filters[0]
    scale, work = _scale(build), size(_maps(build, 1, _scale(build)))
    (height, width), (rows, columns) = build.frame, _padded(build)
    padding = (0, rows - height, 0, columns - width)
    padded = (("B", B), ("T", T), *_maps(build, C)[1:])
    repeated = "repeat the last row and column" if any(padding) else "nothing to pad"
    build.add("pad_to_grid", repeated, build.context, padded, padding=padding, saved=0)
    build.add(
        "survey",
        "motion by Lucas-Kanade, errors of hindcasts, blurs of the last frame",
        build.context,
        _maps(build, 2 * len(WINDOW_SIGMAS), scale),
        macs=B * _classical_macs(build),
        saved=0,
        workspace=(26 * max(T - 1, 1) + 16) * work,
    )
    build.held += _scene(build) + T * CONTEXT_MAPS * work
    fine = _fine(build, CONTEXT_MAPS * FINE**2, frames=B * T)
    embedded = build.conv("embed", fine, "E", EMBEDDING, kernel=3)
    build.held += size(fine) + size(embedded)
    read = _fine(build, EMBEDDING + FINE**2, frames=B * T)
    cells = build.conv("from_context", read, "E", first, kernel=3, stride=PATCH // FINE)
    build.held += size(cells)
    _layers(build, (("B", B), ("T", T), ("E", first + HINTS), *cells[2:]))


def step_flow(build: CostBuilder) -> None:
    B, C, filters, scale = build.B, build.C, build.model.filters, _scale(build)
    work, frame = size(_maps(build, 1, scale)), size(_maps(build, 1))
    read = _fine(build, EMBEDDING + FINE**2)
    # h of every layer, whose cells are twice as large as those of the layer before
    states = sum(
        size(_maps(build, width, scale * PATCH * 2**depth)) for depth, width in enumerate(filters)
    )
    build.held = size(build.context) + _scene(build) + size(read) + 4 * work + 2 * states
    cells = build.conv("from_forecast", read, "E", filters[0], kernel=3, stride=PATCH // FINE)
    _layers(build, (("B", B), ("E", filters[0] + HINTS), *cells[2:]))
    hidden = (("B", B), ("F", sum(filters)), *cells[2:])
    up = PATCH // FINE
    turned = build.conv("turn", hidden, "C", TURNS * up**2, kernel=1)
    velocities = _maps(build, 4, scale)
    build.add("motion", "both velocities corrected, trajectories lengthened", turned, velocities)
    build.held += 4 * size(velocities)
    candidates = (("B", B), ("K", CANDIDATES), *_maps(build, C, scale)[1:])
    # Frames that are worked on at a reduced size are painted at their own.
    detail = frame if scale > 1 else 0
    build.add(
        "candidates",
        "carried along both motions, the own forecast moved on, and what stays",
        _maps(build, C),
        candidates,
        saved=(CANDIDATES + 4) * C * work + 52 * work + (MOVED * C + 6) * detail,
        workspace=(len(BLURS) + 2) * C * work + 6 * frame,
    )
    build.held += size(candidates) + MOVED * C * detail
    build.conv("lift", hidden, "E", EMBEDDING * up**2, kernel=1)
    maps = _fine(build, FORECAST_MAPS * FINE**2 + CONDITIONS)
    build.conv("read", maps, "E", EMBEDDING, kernel=3)
    embedded = _fine(build, EMBEDDING)
    build.conv("mix", embedded, "E", EMBEDDING, kernel=3)
    painted = build.conv("paint", embedded, "C", (CANDIDATES + 1) * FINE**2, kernel=1)
    build.add(
        "blend",
        "candidates x weights, plus uncertainty x residual; the fit to a clip",
        painted,
        _maps(build, C),
        macs=CANDIDATES * HINDCASTS * work,
        parameters=(
            ("confidence", (CANDIDATES, HINDCASTS, 1, 1)),
            ("blend", (LEADS, len(BLENDED))),
        ),
        saved=(C + 2 * CANDIDATES) * work + 12 * work + len(SHARP) * detail,
        workspace=(5 * C + CANDIDATES) * work + 30 * work + (3 * C + len(SHARP)) * detail,
    )
    build.add("frame", "padding cropped off", _maps(build, C), build.image())


def _layers(build: CostBuilder, x: Axes) -> None:
    for number, width in enumerate(build.model.filters):
        name, kernel = f"stack.layers.{number}", build.model.kernel_sizes[number]
        x = build.convlstm_layer(name, x, width, kernel, stride=2 if number else 1)
        build.held += size(x)


def _scale(build: CostBuilder) -> int:
    return working_scale(*build.frame)


def _padded(build: CostBuilder) -> tuple[int, int]:
    return padded_size(*build.frame, len(build.model.filters))


def _maps(
    build: CostBuilder, channels: int, cell: int = 1, letter: str = "C", frames: int = 0
) -> Axes:
    """Axes of padded frames, or of maps with one value for `cell` x `cell` of their pixels.

    They are those of the batch, or of N `frames`.
    """
    first = ("N", frames) if frames else ("B", build.B)
    rows, columns = (side // cell for side in _padded(build))
    return (first, (letter, channels), ("H", rows), ("W", columns))


def _fine(build: CostBuilder, channels: int, *, frames: int = 0) -> Axes:
    """Axes of the fine grid, on which frames are read and painted."""
    return _maps(build, channels, FINE * _scale(build), "E", frames)


def _scene(build: CostBuilder) -> int:
    """Elements that all lead times share, and the newest frame."""
    scale, small = _scale(build), size(_maps(build, build.C, _scale(build)))
    # Last frame, mean and newest frame; at working size the former two again, and the blurs.
    frames = 3 * size(_maps(build, build.C)) + (len(BLURS) + (2 if scale > 1 else 0)) * small
    return frames + 17 * size(_maps(build, 1, _scale(build)))


def _classical_macs(build: CostBuilder) -> int:
    """Multiply-adds of the blurs of one sample: motion, hindcasts, candidates."""
    T, C = build.T, build.C
    work = [side // _scale(build) for side in _padded(build)]
    macs = sum(
        _motion_macs(*work, sigma, frames)
        for sigma, frames in zip(WINDOW_SIGMAS, (T, min(T, NEWEST)), strict=True)
    )
    if T > 1:
        macs += (T - 1) * sum(_blur_macs(*work, sigma) for sigma in BLURS[:2])
        macs += HINDCASTS * _blur_macs(*work, ERROR_SIGMA)
        macs += _blur_macs(*(side // FINE for side in work), WIDE_SIGMA)
    wide = (side // FINE for side in work)
    blurred = sum(_blur_macs(*work, sigma) for sigma in BLURS[:2])
    return macs + C * (blurred + _blur_macs(*wide, BLURS[2] / FINE))


def _motion_macs(height: int, width: int, sigma: float, frames: int) -> int:
    macs = 0
    for level in range(1, LEVELS + 1) if frames > 1 else ():
        macs += ITERATIONS * 5 * _blur_macs(height, width, sigma)
        if level == LEVELS or min(height, width) < COARSEST_SIDE:
            break
        macs += frames * _blur_macs(height, width, PYRAMID_SIGMA)
        height, width = -(-height // 2), -(-width // 2)
    return macs


def _blur_macs(height: int, width: int, sigma: float) -> int:
    radius = blur_radius(sigma)
    return (2 * radius + 1) * width * (height + 2 * radius + height)
