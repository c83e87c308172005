"""Widths, patches and grids that networks share with their cost model. Does not import torch."""

from __future__ import annotations

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow.constants import coarsest_cell

# Tiles start at multiples of it, in pixels: whole cells of every patch (1 to 16) and of image
# pyramids of up to five halvings, so that a tile has the same cells as the whole frame
TILE_UNIT = 32

# Side in pixels; a smaller tile would be little more than overlap
SMALLEST_TILE = 2 * TILE_UNIT


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


def tile_overlap(side: int) -> int:
    """Pixels that neighbouring tiles of `side` share at least: a quarter, in whole units."""
    return max(side // 4 // TILE_UNIT, 1) * TILE_UNIT


def tile_spans(length: int, side: int) -> tuple[tuple[int, int], ...]:
    """Start and end of the tiles along one axis of `length` pixels; one tile if that fits.

    Tiles start at multiples of TILE_UNIT, none is larger than `side` (at least SMALLEST_TILE), and
    neighbours share `tile_overlap` pixels or more.
    """
    if length <= side:
        return ((0, length),)
    side = side // TILE_UNIT * TILE_UNIT
    # The last tile starts at a whole unit, too, and may be smaller than the others
    last = -(-(length - side) // TILE_UNIT) * TILE_UNIT
    starts = [*range(0, last, side - tile_overlap(side)), last]
    return tuple((start, min(start + side, length)) for start in starts)


def padding_unit(model: ModelConfig, height: int, width: int) -> int:
    """Side in pixels of the largest cell of all layers, to whose multiples frames are padded."""
    if model.traits.halves_grid:
        return coarsest_cell(height, width, len(model.filters))
    return patch_of(model)


def patch_of(model: ModelConfig) -> int:
    """Side in pixels of a cell of the network's grid; 1 for a network without a grid."""
    return model.traits.patch or model.patch
