"""When Winograd's convolutions beat direct ones, and how sequences are cut, in integers.

Nothing here imports torch. Axes as in `winograd_transforms.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry
from framecast.runtime.processor import halves_matrix_products

# Outputs of a tile along each axis.
SIDE = 4

KERNEL_SIDES = (3, 5)

# Cost of one multiplication in a transform, with the copies around it, relative to one in a large
# matrix product; measured with 16 to 128 filters on AVX2, and on AVX-512 with one thread.
_TRANSFORM_COST = 6.5

# Cost of all that, relative to direct convolutions, where matrix products have half their width;
# measured on Zen 5: 110 and 270 GFLOP/s on one core.
_HALVED_COST = 2.4

# Largest block with direct convolutions: its pre-activations stay in the processor's cache.
BLOCK_BYTES = 8 * 2**20

# Largest block with Winograd's, for short and for long sequences; a single sample may take more.
_BLOCK_BYTES = 16 * 2**20, 64 * 2**20

# More bytes of a sequence's gates than this are recomputed, which takes a sixth of the time.
_MOST_SAVED_BYTES = 24 * 2**20

# With fewer tiles, or tiles times steps, transforming the weights is not repaid.
_LEAST_TILES = 64
_LEAST_TILE_STEPS = 256
# A single step was never faster: 1.0 to 1.6 times the time of direct ones on AVX-512.
_LEAST_STEPS = 2


@dataclass(frozen=True)
class Tiles:
    """A batch of frames cut into tiles, for kernels of one size."""

    batch: int
    sizes: tuple[int, int]
    kernel_size: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles of a frame."""
        rows, columns = (-(-size // SIDE) for size in self.sizes)
        return rows, columns

    @property
    def count(self) -> int:
        """Tiles of the batch."""
        return self.batch * math.prod(self.grid)

    @property
    def products(self) -> int:
        """Multiplications for a tile, per pair of channels; also what the tile reads."""
        return math.prod(SIDE + side - 1 for side in self.kernel_size)


def tiles_of(
    inputs: ConvGeometry,
    state: ConvGeometry,
    sizes: Sequence[int],
    channels: int,
    filters: int,
    *,
    batch: int,
    steps: int,
) -> Tiles | None:
    """How to cut a sequence's frames of these sizes; None where direct convolutions are faster.

    `inputs` and `state` are the geometries of the layer's two convolutions, which must agree, so
    that both have a stride and a dilation of 1, and have kernels of 3 or 5 rows and columns.
    """
    if inputs != state or len(sizes) != 2 or not set(state.kernel_size) <= set(KERNEL_SIDES):
        return None
    tiles = Tiles(batch, (sizes[0], sizes[1]), state.kernel_size)
    return tiles if pays(tiles, channels, filters, steps) else None


def pays(tiles: Tiles, channels: int, filters: int, steps: int) -> bool:
    """Whether the multiplications saved are more than what the transforms cost."""
    if (
        steps < _LEAST_STEPS
        or tiles.count < _LEAST_TILES
        or tiles.count * steps < _LEAST_TILE_STEPS
    ):
        return False
    # Multiplications of all steps: products of channels, both transforms, and direct convolutions,
    # which skip the state of the first step since it is usually zeros.
    pairs, A = 4 * filters * (channels + filters), tiles.products
    transforms = A * A * (channels + filters) + SIDE**2 * A * 4 * filters
    direct_pairs = 4 * filters * (steps * channels + (steps - 1) * filters)
    direct = tiles.batch * math.prod(tiles.sizes) * math.prod(tiles.kernel_size) * direct_pairs
    cost = _HALVED_COST if halves_matrix_products() else 1
    return direct > cost * steps * tiles.count * (A * pairs + _TRANSFORM_COST * transforms)


def samples_of_block(
    tiles: Tiles, channels: int, filters: int, steps: int, itemsize: int = FLOAT_BYTES
) -> int:
    """Samples that go through the sequence together, in 3/4 of the memory of what is saved."""
    saved = 2 * steps * filters * SIDE**2 * tiles.count
    short, long = _BLOCK_BYTES
    most = min(long, max(short, saved * itemsize * 3 // 4))
    each = _elements_of_block(tiles, channels, filters) * itemsize * tiles.count // tiles.batch
    blocks = -(-tiles.batch // max(1, most // each))
    return -(-tiles.batch // blocks)


def saves_gates(tiles: Tiles, filters: int, steps: int, itemsize: int = FLOAT_BYTES) -> bool:
    """Whether i, f and o of all steps are saved for the backward pass."""
    return 3 * steps * filters * SIDE**2 * tiles.count * itemsize <= _MOST_SAVED_BYTES


def saved_elements(tiles: Tiles, filters: int, steps: int, *, recompute: bool = False) -> int:
    """Elements saved for the backward pass, in float32 and without x and h."""
    gates = 0 if recompute or not saves_gates(tiles, filters, steps) else 3
    return (1 + gates) * steps * filters * SIDE**2 * tiles.count


def live_elements(tiles: Tiles, channels: int, filters: int, steps: int) -> int:
    """Live elements while predicting, in float32, besides x and the h and c of the output."""
    together = samples_of_block(tiles, channels, filters, steps) * tiles.count // tiles.batch
    block = _elements_of_block(tiles, channels, filters) * together
    weights = tiles.products * 4 * filters * (channels + filters)
    return filters * SIDE**2 * tiles.count + block + weights


def _elements_of_block(tiles: Tiles, channels: int, filters: int) -> int:
    """Elements per tile that a step works in: x and h, their windows, products, pre-activations."""
    both, A = channels + filters, tiles.products
    # A values per tile and channel before and after the input's transform, and of the products.
    return A * (2 * both + 4 * filters) + SIDE**2 * (both + 4 * filters)


def block_of(batch: int, steps: int, bytes_each: int) -> tuple[int, int]:
    """Samples and steps whose pre-activations, `bytes_each`, are computed together.

    All samples come first. Of short sequences no more than an eighth, or half of BLOCK_BYTES, since
    a block takes memory in addition to what is saved.
    """
    most = min(BLOCK_BYTES, max(BLOCK_BYTES // 2, batch * steps * bytes_each // 8))
    fit = max(1, most // max(1, bytes_each))
    return min(batch, fit), min(steps, max(1, fit // max(1, batch)))
