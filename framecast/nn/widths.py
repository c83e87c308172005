"""Numbers that the networks and their traces share: widths, patches, grids. No torch."""

from __future__ import annotations

import math

from framecast.sections import ModelConfig

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Gaussian widths in pixels between which a picture is taken apart into scales."""

CELL = 32
"""Side in pixels of the cells in which the memory of each scale is told; 2 to the number of
scales."""

MEMORY_LAG = 3
"""Frames over which the memory is told, beside one."""

MEMORY_SIGMA = 1.0
"""Gaussian width in cells of the window over which the memory is told."""

FLOW_HINTS = 4 + len(SCALES) + 1
"""Grid channels beside the flow forecaster's embedding: velocity x, y, lead time, coverage, and the
memory of each scale."""

BLURS = (2.0, 8.0)
"""Gaussian widths in pixels, of `SCALES`. What the flow forecaster carries along each motion is the
last frame, sharp and blurred to these, since small things are the first that cannot be known."""

SURPRISE_BLURS, GROWTH_BLURS = (2.0, 6.0), (6.0, 16.0)
"""Gaussian widths in pixels of what the first motion failed to explain in the last frame, and of
its mean over the newest: growth and decay, carried along the first motion."""

GROWTH_FRAMES = 5
"""The newest frames whose surprises make up the growth."""

ESTIMATES = ((5.0, None), (1.5, 2))
"""The flow forecaster's estimates of motion: the window's width in pixels, and how many of the
newest frames it looks at (None: the whole context)."""

MOTIONS = len(ESTIMATES) + 1
"""Motions that it extrapolates along: those estimates, and what the first was before its last
refinement."""

PICTURES = 1 + len(BLURS)
"""Guesses along every motion."""

GROWTHS = len(SURPRISE_BLURS) + len(GROWTH_BLURS)
"""Guesses of growth and decay."""

INFLOW = 8.0
"""Pixels beyond the border within which what flows in becomes, by 1 - 1/e, anyone's guess."""

INFLOWS = 2
"""Guesses of that: the border repeated, sharp and as blurred as the widest of `SCALES`."""

GUESSES = 1 + MOTIONS * PICTURES + GROWTHS + INFLOWS + 2
"""Guesses that the flow forecaster mixes: the last frame as far as it is remembered; every picture
along every motion; growth and decay; what flows in; the mean of the context; and the last frame as
it is."""

CARRIED_SIGNS, SIGNS = 4, 6
"""Maps by which the mix leans place by place, and the first of them that move along."""

SIGN_ENERGIES, SIGN_SIGMA = 8, 4.0
"""Mean squares that signs are read from; Gaussian width in pixels of the window they are of."""

LEADS = 24
"""Lead times with a mix of their own; later ones have the last one's."""

PYRAMID_SIGMA = 0.7
"""Width in pixels of the Gaussian blur between two levels of the motion pyramid."""

COARSEST_SIDE = 16
"""The pyramid stops before a side would fall below half of this many pixels."""

LEVELS, ITERATIONS = 5, 3

PATCH_2015 = 4
"""Side of the patches that the network of Shi et al., 2015, folds into channels."""


OVERLAP = 128
"""Pixels that neighbouring tiles share, where they are large enough: at most half of a tile."""


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


def tile_unit(model: ModelConfig) -> int:
    """Pixels that tiles start at multiples of: whole cells of grid, pyramid and memory."""
    return math.lcm(patch_of(model), 2 ** (LEVELS - 1), CELL)


def tile_overlap(side: int, unit: int) -> int:
    """Pixels that neighbouring tiles of `side` share at least, whole units."""
    return min(OVERLAP, side // 2) // unit * unit


def spans(length: int, side: int, overlap: int, unit: int) -> tuple[tuple[int, int], ...]:
    """Start and end of the tiles along one axis: starts at multiples of `unit`, no tile larger than
    `side`, neighbours sharing `overlap` pixels or more; one tile where the axis is no longer."""
    if length <= side:
        return ((0, length),)
    last = -(-(length - side) // unit) * unit
    starts = [*range(0, last, side - overlap), last]
    return tuple((start, min(start + side, length)) for start in starts)


def smallest_tile(model: ModelConfig) -> int:
    """Side in pixels below which a tile would be little else than overlap."""
    return 2 * tile_unit(model)


def patch_of(model: ModelConfig) -> int:
    """Side in pixels of a cell of the network's grid; 1 for a network without a grid."""
    return {"shi2015": PATCH_2015, "fc-lstm": 1}.get(model.name, model.patch)
