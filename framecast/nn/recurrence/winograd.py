"""The recurrence of `scan.py` with convolutions by Winograd's way, of the input and state at once.

The sums over the channels of x and of h are one matrix product. h, c and the gates are tiles, from
step to step and as they are kept. The gates of large sequences are computed again: what the
products take is needed a second time for the weights' gradient, from where the gates are one
product away. Samples of the batch go through the sequence in blocks.

Axes as in `scan.py` and `winograd.py`; M = m m places in a tile, Z = C + F channels of x and h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from framecast.nn.recurrence.chunks import Plan, Weights
from framecast.nn.recurrence.cost import SIDE, Tiles, keeps_gates, samples_of_block
from framecast.nn.recurrence.pointwise import advance, gates_again, peephole_gradient, retreat
from framecast.nn.recurrence.winograd_transforms import Winograd, clear_beyond, from_tiles, to_tiles

_PLACES = (SIDE, SIDE)


class _Block:
    """Memory in which some samples go through the sequence, and the two convolutions of a step."""

    def __init__(self, tiles: Tiles, samples: slice, weights_AGZ: Tensor, way: Winograd) -> None:
        self.sizes, self.way, self.weights_AGZ = tiles.sizes, way, weights_AGZ
        self.grid = tiles.grid
        A, G, Z = weights_AGZ.shape
        self.filters, self.channels = G // 4, Z - G // 4
        self.tiles = (samples.stop - samples.start, *tiles.grid)
        P = math.prod(self.tiles)
        new = weights_AGZ.new_empty
        self.seen_MZP = new(SIDE**2, Z, P)
        self.read_AZP, self.inputs_AZP = new(A, Z, P), new(A, Z, P)
        self.products_AGP, self.sums_MGP = new(A, G, P), new(SIDE**2, G, P)

    def state(self, seen_MZP: Tensor) -> Tensor:
        """Of something like x and h the part of h, (M,F,P)."""
        return seen_MZP[:, self.channels :]

    def places(self, x_MCP: Tensor) -> Tensor:
        """The same with all axes of tiles, (m,m,C,N,I,J)."""
        return x_MCP.unflatten(2, self.tiles).unflatten(0, _PLACES)

    def put(self, x_NCHW: Tensor | None, out_MCP: Tensor) -> None:
        """Cut frames into tiles; None is zeros."""
        if x_NCHW is None:
            out_MCP.zero_()
        else:
            self.places(out_MCP).copy_(to_tiles(x_NCHW, self.grid))

    def take(self, x_MCP: Tensor, out_NCHW: Tensor) -> None:
        """Put frames together."""
        from_tiles(self.places(x_MCP), out_NCHW)

    def clear(self, x_MCP: Tensor) -> None:
        """Zeros for what lies beyond the frames."""
        clear_beyond(self.places(x_MCP), self.sizes)

    def see(self, x_NCHW: Tensor) -> None:
        """Make of a step's frames, and of the h that is there already, what the products take."""
        self.put(x_NCHW, self.seen_MZP[:, : self.channels])
        self.way.read(self.places(self.seen_MZP), self._around(self.read_AZP))
        torch.mm(self.way.inputs, self.read_AZP.flatten(1), out=self.inputs_AZP.flatten(1))

    def _around(self, x_AZP: Tensor) -> Tensor:
        rows, columns = (SIDE + side - 1 for side in self.way.kernel_size)
        return x_AZP.unflatten(2, self.tiles).unflatten(0, (rows, columns))

    def sums(self, bias: Tensor | None) -> Tensor:
        """The four sums (M,G,P) of what was seen last."""
        torch.bmm(self.weights_AGZ, self.inputs_AZP, out=self.products_AGP)
        torch.mm(self.way.outputs, self.products_AGP.flatten(1), out=self.sums_MGP.flatten(1))
        return self.sums_MGP if bias is None else self.sums_MGP.add_(bias.unsqueeze(1))

    def backward(self, d_weights_AGZ: Tensor | None, out_MZP: Tensor) -> None:
        """From the gradient in `sums_MGP` that of x and h, and, added, that of the weights.

        What was seen is lost.
        """
        d_products = torch.mm(
            self.way.outputs_T, self.sums_MGP.flatten(1), out=self.products_AGP.flatten(1)
        ).view_as(self.products_AGP)
        if d_weights_AGZ is not None:
            d_weights_AGZ.baddbmm_(d_products, self.inputs_AZP.transpose(1, 2))
        torch.bmm(self.weights_AGZ.transpose(1, 2), d_products, out=self.read_AZP)
        torch.mm(self.way.inputs_T, self.read_AZP.flatten(1), out=self.inputs_AZP.flatten(1))
        self.way.read_backward(self._around(self.inputs_AZP), self.places(out_MZP))
        self.clear(out_MZP)


def _blocks(tiles: Tiles, x_BTCHW: Tensor, weights: Weights) -> list[slice]:
    filters, (batch, steps) = weights.recurrent_kernel.shape[1], x_BTCHW.shape[:2]
    samples = samples_of_block(tiles, x_BTCHW.shape[2], filters, steps, x_BTCHW.element_size())
    return [slice(start, min(start + samples, batch)) for start in range(0, batch, samples)]


def _transform(weights: Weights, plan: Plan) -> tuple[Winograd, Tensor]:
    """The transforms, and both kernels' (A,G,Z)."""
    way = Winograd.of(plan.state.kernel_size, weights.kernel.dtype)
    return way, way.weights(torch.cat((weights.kernel, weights.recurrent_kernel), 1))


def forward(
    tiles: Tiles,
    x_BTCHW: Tensor,
    first: Sequence[Tensor | None],
    weights: Weights,
    plan: Plan,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """h of all steps, or of the last where no others are wanted, c of the last, and what is kept.

    `first` are h and c before the first step, None for zeros. Kept is c of all steps of each block,
    and their gates where those are not computed again.
    """
    batch, steps = x_BTCHW.shape[:2]
    filters, new = weights.recurrent_kernel.shape[1], x_BTCHW.new_empty
    h_SBFHW = new(steps if keep or plan.return_sequences else 1, batch, filters, *tiles.sizes)
    c_BFHW = new(batch, filters, *tiles.sizes)
    cut = _blocks(tiles, x_BTCHW, weights)
    counts = [(samples.stop - samples.start) * tiles.count // batch for samples in cut]
    # Ahead of everything that is freed again, between which they would leave holes.
    cells = [new(steps if keep else 1, SIDE**2, filters, count) for count in counts]
    gates = [
        new(steps, SIDE**2, 3 * filters, count)
        for count in counts
        if keep
        and not plan.recompute
        and keeps_gates(tiles, filters, steps, x_BTCHW.element_size())
    ]
    way, weights_AGZ = _transform(weights, plan)
    for n, (samples, c_SMFP) in enumerate(zip(cut, cells, strict=True)):
        block = _Block(tiles, samples, weights_AGZ, way)
        h_first, c_first = (None if state is None else state[samples] for state in first)
        h_MFP, c_MFP = block.state(block.seen_MZP), None
        block.put(h_first, h_MFP)
        if c_first is not None:
            c_MFP = torch.empty_like(c_SMFP[0])
            block.put(c_first, c_MFP)
        for t in range(steps):
            block.see(x_BTCHW[samples, plan.frame(t, steps)])
            c_new = c_SMFP[t % len(c_SMFP)]
            kept_MKP = gates[n][t] if gates else None
            advance(block.sums(weights.bias), kept_MKP, c_MFP, c_new, h_MFP, weights)
            block.clear(h_MFP)
            block.take(h_MFP, h_SBFHW[t % len(h_SBFHW), samples])
            c_MFP = c_new
        block.take(c_MFP, c_BFHW[samples])
        del block  # before the next one's memory is needed
    return h_SBFHW, c_BFHW, [*cells, *gates]


class Backward:
    """The gradients of one sequence, block by block, from the last step of each to the first."""

    def __init__(
        self,
        tiles: Tiles,
        plan: Plan,
        weights: Weights,
        x_BTCHW: Tensor,
        h_TBFHW: Tensor,
        kept: list[Tensor],
        wanted: Sequence[bool],
    ) -> None:
        self.tiles, self.plan, self.weights = tiles, plan, weights
        self.x_BTCHW, self.h_TBFHW = x_BTCHW, h_TBFHW
        self.cut = _blocks(tiles, x_BTCHW, weights)
        self.cells, self.gates = kept[: len(self.cut)], kept[len(self.cut) :]
        self.wants_x, self.wants_h, self.wants_c, *self.wants_weights = wanted
        self.way, self.weights_AGZ = _transform(weights, plan)
        self.d_x_BTCHW = torch.empty_like(x_BTCHW) if self.wants_x else None
        learns = self.wants_weights[0] or self.wants_weights[1]
        self.d_weights_AGZ = torch.zeros_like(self.weights_AGZ) if learns else None
        self.d_bias, self.d_peephole = (
            torch.zeros_like(tensor) if wants else None
            for tensor, wants in zip(
                (weights.bias, weights.peephole), self.wants_weights[2:], strict=True
            )
        )

    def run(
        self, first: Sequence[Tensor | None], received: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Gradients of x, of h and c before the `first` step and the weights, None if unwanted.

        What was kept of a block is forgotten once used.
        """
        d_shown_TBFHW, *d_last = received
        last = self.h_TBFHW[-1]
        d_first = [torch.empty_like(last) if w else None for w in (self.wants_h, self.wants_c)]
        for samples in reversed(self.cut):
            before = [None if tensor is None else tensor[samples] for tensor in first]
            d_end = [None if d is None else d[samples] for d in d_last]
            d_shown = None if d_shown_TBFHW is None else d_shown_TBFHW[:, samples]
            d_start = [None if d is None else d[samples] for d in d_first]
            self._block_backward(samples, before, d_shown, d_end, d_start)
        return [self.d_x_BTCHW, *d_first, *self._d_weights()]

    def _block_backward(
        self,
        samples: slice,
        first: list[Tensor | None],
        d_shown_TbFHW: Tensor | None,
        d_end: list[Tensor | None],
        d_start: list[Tensor | None],
    ) -> None:
        """All steps of some samples; h's and c's gradients from `d_end` are put into `d_start`."""
        block = _Block(self.tiles, samples, self.weights_AGZ, self.way)
        c_TMFP, gates_TMKP = self.cells.pop(), self.gates.pop() if self.gates else None
        d_seen_MZP, c_first = torch.empty_like(block.seen_MZP), None
        d_h_MFP, d_c_MFP = block.state(d_seen_MZP), torch.empty_like(c_TMFP[0])
        for d_bFHW, d_MFP in zip(d_end, (d_h_MFP, d_c_MFP), strict=True):
            block.put(d_bFHW, d_MFP)
        if first[1] is not None:
            c_first = torch.empty_like(d_c_MFP)
            block.put(first[1], c_first)
        for t in reversed(range(len(c_TMFP))):
            h_bFHW, c_MFP = (
                (self.h_TBFHW[t - 1, samples], c_TMFP[t - 1]) if t else (first[0], c_first)
            )
            block.put(h_bFHW, block.state(block.seen_MZP))
            frame = self.plan.frame(t, len(c_TMFP))
            block.see(self.x_BTCHW[samples, frame])
            gates_MKP = (
                self._gates_again(block, c_MFP, c_TMFP[t]) if gates_TMKP is None else gates_TMKP[t]
            )
            if d_shown_TbFHW is not None:
                block.places(d_h_MFP).add_(to_tiles(d_shown_TbFHW[t], self.tiles.grid))
            retreat(block.sums_MGP, gates_MKP, c_MFP, c_TMFP[t], d_h_MFP, d_c_MFP, self.weights)
            self._sum_up(block.sums_MGP, c_MFP, c_TMFP[t])
            block.backward(self.d_weights_AGZ, d_seen_MZP)
            if self.wants_x:
                block.take(d_seen_MZP[:, : block.channels], self.d_x_BTCHW[samples, frame])
        for d_MFP, d_bFHW in zip((d_h_MFP, d_c_MFP), d_start, strict=True):
            if d_bFHW is not None:
                block.take(d_MFP, d_bFHW)

    def _gates_again(self, block: _Block, c_before: Tensor | None, c_MFP: Tensor) -> Tensor:
        i, f, _, o = block.sums(self.weights.bias).chunk(4, 1)
        gates_MKP = c_MFP.new_empty(len(c_MFP), 3 * c_MFP.shape[1], c_MFP.shape[2])
        gates_again((i, f, o), gates_MKP, c_before, c_MFP, self.weights)
        return gates_MKP

    def _sum_up(self, d_sums_MGP: Tensor, c_before: Tensor | None, c_MFP: Tensor) -> None:
        """Gradients of the weights that no convolution needs."""
        if self.d_bias is not None:
            self.d_bias += d_sums_MGP.sum((0, 2))
        if self.d_peephole is not None:
            self.d_peephole += peephole_gradient(d_sums_MGP, c_before, c_MFP)

    def _d_weights(self) -> list[Tensor | None]:
        d_kernels = [None, None]
        if self.d_weights_AGZ is not None:
            d_both = self.way.weights_backward(self.d_weights_AGZ)
            parts = d_both.split([self.x_BTCHW.shape[2], self.h_TBFHW.shape[2]], 1)
            wants = self.wants_weights[:2]
            d_kernels = [part if want else None for part, want in zip(parts, wants, strict=True)]
        return [*d_kernels, self.d_bias, self.d_peephole]
