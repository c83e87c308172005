"""Numbers that the networks and their traces share: widths, patches, grids. No torch."""

from __future__ import annotations

import math

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow.constants import CELL, LEVELS

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
    return model.traits.patch or model.patch
