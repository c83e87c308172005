"""The sizes and counts of the default network, which its cost model shares. No torch."""

from __future__ import annotations

import math

from framecast.config.networks import PATCH

FINE = 4
"""Side in pixels of the cells in which frames are read and painted: half a cell of the grid."""

EMBEDDING = 64
"""Channels on the fine grid, on the way into the ConvLSTM2D layers and out of them."""

WORKING_SIDE = 320
"""Root of the pixels of a frame from which on motion and network work at a reduced size."""

WINDOW_SIGMAS = (5.0, 2.5)
"""Widths in pixels of the windows of the two motion estimates."""

NEWEST = 2
"""Frames that the second motion estimate looks at; the first looks at the whole context."""

BLURS = (1.5, 4.0, 10.0)
"""Gaussian widths in pixels that the last frame is blurred at."""

ERROR_SIGMA, WIDE_SIGMA = 0.4, 3.0
"""Gaussian widths in fine cells of the windows that hindcasts' errors are means over."""

CARRIED, BLURRED, ELSEWHERE, OWN, LAST, MEAN = 0, 1, 2, 4, 5, 6
"""Where some of the candidates stand among all."""

CANDIDATES = 8
"""The last frame carried along the first motion, sharp and at the widest blur, along the second,
sharp and at the narrowest; the network's own last forecast, carried one frame on; and in place the
last frame, the context's mean and the last frame blurred."""

SHARP = (CARRIED, ELSEWHERE, LAST, MEAN)
"""Candidates painted at the frame's own size. Blurred ones lose nothing at working size. The
network's own forecast, which every step interpolates once more, loses detail that shows where thin
lines stand still, but the error of two videos of 432 and 1080 rows changed by 0.1 % only."""

WITHHELD = (1, 3)
"""Numbers of newest frames without which motion is estimated again, to try it on what it has not
seen: errors on frames that an estimate was fitted to flatter the narrower one."""

MOVING, HINDCASTS = 10, 14
"""Errors of candidates tried on the context itself, those that move first, and all. Over all steps:
carried along the wide estimate, sharp, softened and blurred, and along the newest. On frames not
seen: 1 ahead along the wide and the newest, 3 ahead along both and blurred and softened along the
wide. In place: last frame and mean over the context, last frame 1 and 3 ahead."""

MOTION_TRIALS = ((0, 3, 10), (4, 5, 12), (6, 7, 13))
"""Errors of the wide estimate, the newest, and standing still: over all steps, 1 and 3 ahead."""

SURENESS = 5.0
"""Power of their geometric mean by whose inverse motions are weighted. Bates & Granger (1969) take
1; of 2 to 8, 5 forecast held-out scenes best at early and late lead times together."""

HINDCAST_OF = (0, 2, 3, 1, 0, 10, 11, 2)
"""The hindcast whose error stands for each candidate's, to begin with."""

CONTEXT_MAPS, FORECAST_MAPS = 3, 6
"""Maps that a context frame is read as, and those that a forecast is painted from."""

CONDITIONS = HINDCASTS + 3
"""Further channels of the latter: errors of the hindcasts, coverage along both motions, speed."""

HINTS = 4 + 1 + 2 + HINDCASTS
"""Channels of the grid next to what frames are read as: velocities, lead time, coverage, errors."""

BLENDED = (CARRIED, BLURRED, ELSEWHERE, LAST, MEAN)
"""Candidates that the closed-form fit may blend the network's forecast with."""

TURNS = 8
"""Maps by which the layers correct both motions: shifts in pixels, shares of the other motion, and
relative changes of speed."""

LEADS = 24
"""Lead times with blending weights of their own; later ones have the last one's."""

PYRAMID_SIGMA = 0.7
"""Width in pixels of the Gaussian blur between two levels of the motion pyramid."""

GAP_SIGMA = 0.7
"""Width in fine cells of the Gaussian that closes gaps between velocities carried along."""

COARSEST_SIDE = 16
"""The pyramid stops before a side would fall below half of this many pixels."""

LEVELS, ITERATIONS = 5, (2, 3, 3, 3, 3)
"""Levels of the motion pyramid at most, and the refinements of motion on each, the finest first."""


def working_scale(height: int, width: int) -> int:
    """Pixels of a frame, along each side, that are one at working size."""
    return max(1, round(math.sqrt(height * width) / WORKING_SIDE))


def coarsest_cell(height: int, width: int, layers: int) -> int:
    """Side in pixels of the cells of the coarsest layer's grid."""
    return PATCH * 2 ** (layers - 1) * working_scale(height, width)


def padded_size(height: int, width: int, layers: int) -> tuple[int, int]:
    """Rows and columns of frames extended to whole cells of the coarsest layer's grid."""
    unit = coarsest_cell(height, width, layers)
    # Not -(-height // unit): ONNX divides towards zero.
    return (height + unit - 1) // unit * unit, (width + unit - 1) // unit * unit


def pyramid_levels(height: int, width: int) -> int:
    """Levels of the motion pyramid of a frame of this many rows and columns at working size."""
    side, levels = min(height, width), 1
    while levels < LEVELS and side >= COARSEST_SIDE:
        side, levels = (side + 1) // 2, levels + 1
    return levels


def blur_radius(sigma: float) -> int:
    """Pixels that a Gaussian blur looks at on each side."""
    return int(3 * sigma + 0.5)
