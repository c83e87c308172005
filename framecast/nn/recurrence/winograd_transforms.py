"""Convolutions by Winograd's minimal filtering, on frames cut into tiles.

A tile of m x m outputs of a kernel of r x r reads n x n inputs, n = m + r - 1. Instead of m^2 r^2
products it takes n^2 (Lavin and Gray, 2016, arXiv:1509.09308, eq. 8, with . a product per element):

    Y = A^T [(G g G^T) . (B^T d B)] A

The products of all channels and tiles are n^2 matrix products. A, G and B follow from n - 1 points
and infinity, at which polynomials are multiplied (Toom and Cook); rows and columns are transformed
together, by the Kronecker product of their matrices. Rounding in float32: a convolution
is off by 1e-6 of its largest value for r = 3 and by 4e-6 for r = 5; a direct one by 0.5e-6 to 1e-6
(`tests/nn/test_winograd.py`).

Axes: m rows and m columns of a tile, I rows and J columns of tiles, N frames, C input and G output
channels, n rows and n columns that a tile reads, A = n^2 products, P = N I J tiles.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from framecast.nn.recurrence.cost import SIDE

# By kernel size. Pairs of opposite and of inverse points lose little to rounding.
_POINTS = {3: (0, sqrt(2), -sqrt(2), sqrt(0.5), -sqrt(0.5)), 5: (0, 1, -1, 2, -2, 0.5, -0.5)}


def _transforms(r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T (m,n), G (n,r) and B^T (n,n) of one axis, in float64."""
    n = SIDE + r - 1

    def powers(count: int) -> np.ndarray:
        # The last row is the point at infinity, which sees the highest power alone.
        rows = [[point**power for power in range(count)] for point in _POINTS[r]]
        return np.array([*rows, [0.0] * (count - 1) + [1.0]])

    outputs, kernel, inputs = powers(SIDE).T, powers(r), np.linalg.inv(powers(n)).T
    # Each product may be scaled at will as long as the three factors cancel. One norm for all
    # keeps the rounding small.
    factors = outputs, kernel.T, inputs.T  # the products are the columns of each
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    common = np.cbrt(np.prod(norms, axis=0))
    pairs = zip(factors, norms, strict=True)
    outputs, kernel_T, inputs_T = (factor * (common / norm) for factor, norm in pairs)
    return outputs, kernel_T.T, inputs_T.T


@lru_cache
def _matrices(kernel_size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Those of rows and columns together: (m^2,A), (A,r r), (A,n^2), in float64.

    Not tensors, which would belong to the device or mode in which they were first needed.
    """
    pairs = zip(*map(_transforms, kernel_size), strict=True)
    return tuple(np.kron(rows, columns) for rows, columns in pairs)


class WinogradTransforms:
    """The transforms for kernels of one size, 3 or 5 along each axis, as matrices of one dtype.

    `outputs` is (m^2,A), `inputs` (A,n^2); both act on the leading axis of tensors of tiles.
    """

    def __init__(self, kernel_size: tuple[int, int], dtype: torch.dtype) -> None:
        self.kernel_size = kernel_size
        self.outputs, self._kernel, self.inputs = (
            torch.from_numpy(matrix).to(dtype) for matrix in _matrices(kernel_size)
        )
        self.outputs_T, self.inputs_T = self.outputs.T.contiguous(), self.inputs.T.contiguous()
        rows, columns = map(_moves, kernel_size)
        # Every pair of a row and a column move: where the values go, and where they come from.
        self._moves = [
            ((to_i, to_j, ..., down, right), (from_i, from_j, ..., up, left))
            for to_i, from_i, down, up in rows
            for to_j, from_j, right, left in columns
        ]
        self._outside = [(side, slice(None), ..., edge, slice(None)) for side, edge in _edges(rows)]
        self._outside += [(slice(None), side, ..., edge) for side, edge in _edges(columns)]

    def weights(self, kernel: Tensor) -> Tensor:
        """Transform a kernel (G,C,r,r) to (A,G,C)."""
        return (self._kernel @ kernel.flatten(2).flatten(0, 1).T).unflatten(1, kernel.shape[:2])

    def weights_backward(self, d_weights_AGC: Tensor) -> Tensor:
        """Gradient of the kernel (G,C,r,r) from that of its transform."""
        flat = self._kernel.T @ d_weights_AGC.flatten(1)
        return flat.T.unflatten(0, d_weights_AGC.shape[1:]).unflatten(2, self.kernel_size)

    def read(self, x_mmCNIJ: Tensor, out_nnCNIJ: Tensor) -> None:
        """Write what each tile reads, itself and its surroundings, with zeros around the frame."""
        for side in self._outside:
            out_nnCNIJ[side] = 0
        for to, source in self._moves:
            out_nnCNIJ[to] = x_mmCNIJ[source]

    def read_backward(self, d_nnCNIJ: Tensor, out_mmCNIJ: Tensor) -> None:
        """Sum up the gradient of each input of a tile over the tiles that read it."""
        out_mmCNIJ.zero_()
        for to, source in self._moves:
            out_mmCNIJ[source] += d_nnCNIJ[to]


def _moves(r: int) -> list[tuple[slice, slice, slice, slice]]:
    """Along one axis: places in the window read, places in the tile read, both tiles' indices.

    A window reads its own tile, the end of the tile before it and the start of the one after it.
    """
    before, n = r // 2, SIDE + r - 1
    everything, all_but_first, all_but_last = slice(None), slice(1, None), slice(None, -1)
    return [
        (slice(before, before + SIDE), slice(None), everything, everything),
        (slice(before), slice(SIDE - before, None), all_but_first, all_but_last),
        (slice(before + SIDE, n), slice(before), all_but_last, all_but_first),
    ]


def _edges(moves: list[tuple[slice, slice, slice, slice]]) -> list[tuple[slice, slice]]:
    """Along one axis: places in the window, and the outermost tiles, which have no neighbour."""
    _, first, last = moves
    return [(first[0], slice(None, 1)), (last[0], slice(-1, None))]


def to_tiles(x_NCHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Frames as tiles (m,m,C,N,I,J), `grid` being (I,J); zeros fill up those at bottom and right.

    A view, unless something is filled up.
    """
    rows, columns = (SIDE * count for count in grid)
    H, W = x_NCHW.shape[2:]
    if (rows, columns) != (H, W):
        x_NCHW = functional.pad(x_NCHW, (0, columns - W, 0, rows - H))
    x_NCImJm = x_NCHW.unflatten(3, (grid[1], SIDE)).unflatten(2, (grid[0], SIDE))
    return x_NCImJm.permute(3, 5, 1, 0, 2, 4)


def from_tiles(x_mmCNIJ: Tensor, out_NCHW: Tensor) -> None:
    """Put tiles together, without the parts beyond the frame."""
    H, W = out_NCHW.shape[2:]
    whole = tuple(SIDE * count for count in x_mmCNIJ.shape[-2:]) == (H, W)
    x_NCImJm = x_mmCNIJ.permute(3, 2, 4, 0, 5, 1)
    if whole:
        out_NCHW.unflatten(3, (-1, SIDE)).unflatten(2, (-1, SIDE)).copy_(x_NCImJm)
    else:
        out_NCHW.copy_(x_NCImJm.flatten(4, 5).flatten(2, 3)[:, :, :H, :W])


def clear_beyond(x_mmCNIJ: Tensor, sizes: tuple[int, int]) -> None:
    """Set everything beyond frames of these sizes to zero."""
    rows, columns = (-size % SIDE for size in sizes)
    if rows:
        x_mmCNIJ[-rows:, ..., -1, :] = 0
    if columns:
        x_mmCNIJ[:, -columns:, ..., -1] = 0
