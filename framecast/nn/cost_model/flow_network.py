"""The cost of the flow forecaster: a classical part in two calls, and its learnt layers.

Axes as in `builder.py`. Multiply-adds of the classical part are those of its Gaussian blurs.
"""

from __future__ import annotations

from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.tensors import Axes, size
from framecast.nn.forecasters.flow.constants import (
    BLURS,
    CELL,
    COARSEST_SIDE,
    ESTIMATES,
    FLOW_HINTS,
    GROWTH_BLURS,
    GROWTHS,
    GUESSES,
    ITERATIONS,
    LEADS,
    LEVELS,
    MEMORY_LAG,
    MEMORY_SIGMA,
    MOTIONS,
    PYRAMID_SIGMA,
    SCALES,
    SIGN_ENERGIES,
    SIGN_SIGMA,
    SIGNS,
    SURPRISE_BLURS,
    blur_radius,
)
from framecast.nn.forecasters.grid import grid_size


def encode_flow(build: CostBuilder) -> None:
    T, C = build.T, build.C
    plane = size(build.image(1))
    build.held = size(build.context)
    build.add(
        "features",
        "motion by Lucas-Kanade, what it leaves unexplained, blurs and local features",
        build.context,
        build.context,
        macs=build.B * _classical_macs(build),
        saved=0,
        workspace=(17 * (T - 1) + 30) * plane,
    )
    # Residuals of every frame, blurs, growth, features, velocities and displacements
    build.held += size(build.context) + _state_planes(C) * plane
    _read_frames(build, T, from_zeros=True)


def step_flow(build: CostBuilder) -> None:
    C, plane, model = build.C, size(build.image(1)), build.model
    state = 2 * size(build.cells("F", sum(model.filters)))
    build.held = size(build.context) + _state_planes(C) * plane + state
    candidates = build.image(GUESSES * C)
    build.add(
        "candidates",
        "carried along every motion, at several scales, with growth and inflow",
        build.image(C),
        candidates,
        workspace=(24 * C + 12) * plane,
    )
    build.held += size(candidates) + (2 * MOTIONS + SIGNS) * plane
    cells = _read_frames(build, 1)
    cells = (cells[0], *cells[2:])
    build.conv("head", cells, "C", GUESSES, kernel=1)
    build.paint(cells)
    frame = build.image(C)
    build.add(
        "blend",
        "candidates x weights, of each lead time and place, summed",
        candidates,
        frame,
        parameters=(("mix", (LEADS, GUESSES)), ("lean", (LEADS, 1 + SIGNS, GUESSES))),
        macs=(1 + SIGNS) * size(candidates),
        saved=(SIGNS + 1) * plane,
        workspace=GUESSES * plane,
    )
    build.add("frame", "blend + spread of the candidates x residual", frame, frame)


def _read_frames(build: CostBuilder, steps: int, *, from_zeros: bool = False) -> Axes:
    """What the layers read of `steps` frames, and the layers."""
    model = build.model
    frames = build.B * steps if build.phase == "encode" else 0
    build.stem(build.image(2 * build.C, frames=frames))
    cells = build.cells("E", model.filters[0] + FLOW_HINTS, steps=steps)
    build.add("hints", "embedding, velocity, coverage, lead time", cells, cells)
    return build.convlstm(
        "stack.layers", cells, model.filters, model.kernel_sizes, from_zeros=from_zeros
    )


def _state_planes(C: int) -> int:
    """Maps of the size of a frame that the classical part carries from step to step."""
    return (len(SCALES) + 2 + GROWTHS + 1) * C + SIGNS + 4 * MOTIONS


def _classical_macs(build: CostBuilder) -> int:
    """Multiply-adds of one sample's blurs: motion, scales, growth, features, autocorrelation."""
    T, C = build.T, build.C
    motion = sum(
        _motion_macs(*build.frame, sigma, T if newest is None else min(T, newest))
        for sigma, newest in ESTIMATES
    )
    blurs = (*SCALES, *SURPRISE_BLURS, *GROWTH_BLURS, *(BLURS[0],) * max(T - 1, 1))
    frames = C * sum(_blur_macs(*build.frame, sigma) for sigma in blurs)
    energies = (SIGN_ENERGIES + C) * _blur_macs(*build.frame, SIGN_SIGMA)
    lags = {1, min(MEMORY_LAG, T - 1)} if T > 1 else set()
    cells = grid_size(*build.frame, CELL)
    levels = len(SCALES) + 1
    return motion + frames + energies + len(lags) * 2 * levels * _blur_macs(*cells, MEMORY_SIGMA)


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
