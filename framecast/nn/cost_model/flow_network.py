"""The cost of the default network: classical motion, two stacks of cells, candidates, a blend.

Axes as in `builder.py`; sizes are those of frames padded to whole cells, at working size where
motion and layers see them. Multiply-adds of the classical part are those of its Gaussian blurs.
"""

from __future__ import annotations

from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.tensors import axes, size
from framecast.nn.forecasters.flow import constants as flow

MOVED, SOFT = 2, 3
"""Candidates that are sampled at each lead time: sharp ones at full, others at working size."""


def flow_convlstm(build: CostBuilder) -> None:
    _encode(build)
    _step(build)


def _encode(build: CostBuilder) -> None:
    B, T, first = build.B, build.T, build.model.filters[0]
    build.pad_to_grid(build.context)
    build.add(
        "survey",
        "motion by Lucas-Kanade, errors of hindcasts, blurs of the last frame",
        build.context,
        build.maps("C", 2 * len(flow.WINDOW_SIGMAS), 1),
        macs=B * _classical_macs(build),
        saved=0,
        workspace=(33 * max(T - 1, 1) + 16) * size(build.maps("C", 1, 1)),
    )
    fine = build.maps("E", flow.CONTEXT_MAPS * flow.FINE**2, flow.FINE, N=B * T)
    build.conv("embed", fine, "E", flow.EMBEDDING, kernel=3)
    read = build.maps("E", flow.EMBEDDING + flow.FINE**2, flow.FINE, N=B * T)
    cells = build.conv("from_context", read, "E", first, kernel=3, stride=flow.PATCH // flow.FINE)
    # The context as it is read stays until the layers have seen it
    build.held += _scene(build) + size(fine) + size(read) + size(cells)
    sequence = (*axes("BTE", B, T, first + flow.HINTS), *cells[2:])
    build.convlstm("stack.layers", sequence, build.model.filters)


def _step(build: CostBuilder) -> None:
    B, C, filters, work = build.B, build.C, build.model.filters, size(build.maps("C", 1, 1))
    build.begin_steps()
    full = size(build.pixels) // C
    build.held += _scene(build)
    read = build.maps("E", flow.EMBEDDING + flow.FINE**2, flow.FINE)
    cells = build.conv(
        "from_forecast", read, "E", filters[0], kernel=3, stride=flow.PATCH // flow.FINE
    )
    build.convlstm("stack.layers", (*axes("BE", B, filters[0] + flow.HINTS), *cells[2:]), filters)
    hidden, up = (*axes("BF", B, sum(filters)), *cells[2:]), (flow.PATCH // flow.FINE) ** 2
    turned = build.conv("turn", hidden, "C", flow.TURNS * up, kernel=1)
    velocities = build.maps("C", 4, 1)
    fine_sides = [side // build.scale // flow.FINE for side in build.padded]
    build.add(
        "motion",
        "both velocities corrected, trajectories lengthened",
        turned,
        velocities,
        macs=4 * B * _blur_macs(*fine_sides, flow.GAP_SIGMA),
    )
    build.add(
        "candidates",
        "carried along both motions, the own forecast moved on, and what stays",
        build.pixels,
        (*axes("BK", B, flow.CANDIDATES), *build.maps("C", C, 1)[1:]),
        saved=(SOFT * C + 32) * work + (MOVED * C + 6) * full,
        workspace=SOFT * C * work + (MOVED * C + 6) * full,
    )
    build.conv("lift", hidden, "E", flow.EMBEDDING * up, kernel=1)
    maps = build.maps("E", flow.FORECAST_MAPS * flow.FINE**2 + flow.CONDITIONS, flow.FINE)
    build.conv("read", maps, "E", flow.EMBEDDING, kernel=3)
    embedded = build.maps("E", flow.EMBEDDING, flow.FINE)
    build.conv("mix", embedded, "E", flow.EMBEDDING, kernel=3)
    painted = build.conv("paint", embedded, "C", flow.CANDIDATES + 1, kernel=1)
    build.add(
        "blend",
        "candidates x weights, plus uncertainty x residual; the fit to a clip",
        painted,
        build.pixels,
        macs=flow.CANDIDATES * flow.HINDCASTS * size(build.maps("C", 1, flow.FINE)),
        parameters=(
            ("confidence", (flow.CANDIDATES, flow.HINDCASTS, 1, 1)),
            ("blend", (flow.LEADS, len(flow.BLENDED))),
        ),
        saved=(C + flow.CANDIDATES + 12) * work + len(flow.SHARP) * full,
        # Candidates and velocities among it
        workspace=((SOFT + 5) * C + flow.CANDIDATES + 45) * work + (2 * MOVED * C + 1) * full,
    )
    build.add("frame", "padding cropped off", build.pixels, build.image)


def _scene(build: CostBuilder) -> int:
    """Elements that all lead times share: last frame, mean, blurs, maps of motion and errors."""
    return 2 * size(build.pixels) + size(build.maps("C", len(flow.BLURS) * build.C + 8, 1))


def _classical_macs(build: CostBuilder) -> int:
    """Multiply-adds of the blurs of one sample: motion, hindcasts, candidates."""
    T, C = build.T, build.C
    work = [side // build.scale for side in build.padded]
    fine = [side // flow.FINE for side in work]
    blurred = sum(_blur_macs(*work, sigma) for sigma in flow.BLURS[:2])
    macs = C * (blurred + _blur_macs(*fine, flow.BLURS[2] / flow.FINE))
    if T == 1:
        return macs
    macs += _motion_macs(*work, T)
    # Each step carried along, and the newest frame as forecast from the furthest before it
    macs += T * blurred + flow.HINDCASTS * _blur_macs(*fine, flow.ERROR_SIGMA)
    taken_along = 4 * len(flow.WITHHELD) * _blur_macs(*fine, flow.GAP_SIGMA)
    return macs + taken_along + _blur_macs(*fine, flow.WIDE_SIGMA)


def _motion_macs(height: int, width: int, frames: int) -> int:
    withheld = [min(number, frames - 2) for number in (0, *flow.WITHHELD)]
    looked_at = (frames, flow.NEWEST)
    pairs = sum(min(frames - number, most) - 1 for number in withheld for most in looked_at)
    estimates = len(withheld) * len(looked_at)
    macs = 0
    for level in range(flow.pyramid_levels(height, width)):
        if level:  # half of the level before, blurred
            macs += frames * _blur_macs(height, width, flow.PYRAMID_SIGMA)
            height, width = -(-height // 2), -(-width // 2)
        blurred = sum(_blur_macs(height, width, sigma) for sigma in flow.WINDOW_SIGMAS)
        refined = len(withheld) * blurred + estimates * pairs * height * width
        macs += flow.ITERATIONS[level] * 5 * refined
    return macs


def _blur_macs(height: int, width: int, sigma: float) -> int:
    return 2 * (2 * flow.blur_radius(sigma) + 1) * width * height
