"""The fused recurrence with Winograd's convolutions, of the input and the state at once.

One matrix product sums over the channels of x and of h. h, c and the gates stay cut into tiles,
from step to step and as they are saved. The gates of large sequences are recomputed: the weights'
gradient needs the products' inputs a second time, and the gates are one product away from those.
Samples of the batch go through the sequence in blocks.

Axes as in `fused.py` and `winograd_transforms.py`; M = m m places in a tile, Z = C + F channels of
x and h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from framecast.nn.recurrence.chunks import SequenceSettings, Weights
from framecast.nn.recurrence.cost import SIDE, Tiles, samples_of_block, saves_gates
from framecast.nn.recurrence.pointwise import (
    peephole_gradient,
    recompute_gates,
    step_backward,
    step_forward,
)
from framecast.nn.recurrence.winograd_transforms import (
    WinogradTransforms,
    clear_beyond,
    from_tiles,
    to_tiles,
)

_PLACES = (SIDE, SIDE)


class _Block:
    """Working memory for some samples of the batch, and both convolutions of a step as one."""

    def __init__(
        self, tiles: Tiles, samples: slice, weights_AGZ: Tensor, transforms: WinogradTransforms
    ) -> None:
        self.sizes, self.transforms, self.weights_AGZ = tiles.sizes, transforms, weights_AGZ
        self.grid = tiles.grid
        A, G, Z = weights_AGZ.shape
        self.filters, self.channels = G // 4, Z - G // 4
        self.tiles = (samples.stop - samples.start, *tiles.grid)
        P = math.prod(self.tiles)
        new = weights_AGZ.new_empty
        self.xh_MZP = new(SIDE**2, Z, P)
        self.read_AZP, self.inputs_AZP = new(A, Z, P), new(A, Z, P)
        self.products_AGP, self.z_MGP = new(A, G, P), new(SIDE**2, G, P)

    def h_part(self, xh_MZP: Tensor) -> Tensor:
        """The channels of h, (M,F,P), in x and h together or in their gradient."""
        return xh_MZP[:, self.channels :]

    def places(self, x_MCP: Tensor) -> Tensor:
        """The same with the axes of tiles spread out, (m,m,C,N,I,J)."""
        return x_MCP.unflatten(2, self.tiles).unflatten(0, _PLACES)

    def put(self, x_NCHW: Tensor | None, out_MCP: Tensor) -> None:
        """Cut frames into tiles; None is zeros."""
        if x_NCHW is None:
            out_MCP.zero_()
        else:
            self.places(out_MCP).copy_(to_tiles(x_NCHW, self.grid))

    def take(self, x_MCP: Tensor, out_NCHW: Tensor) -> None:
        """Put tiles together to frames."""
        from_tiles(self.places(x_MCP), out_NCHW)

    def clear(self, x_MCP: Tensor) -> None:
        """Write zeros where tiles reach beyond the frames."""
        clear_beyond(self.places(x_MCP), self.sizes)

    def load(self, x_NCHW: Tensor) -> None:
        """Transform a step's frames, and the h that is there already, for the products."""
        self.put(x_NCHW, self.xh_MZP[:, : self.channels])
        self.transforms.read(self.places(self.xh_MZP), self._around(self.read_AZP))
        torch.mm(self.transforms.inputs, self.read_AZP.flatten(1), out=self.inputs_AZP.flatten(1))

    def _around(self, x_AZP: Tensor) -> Tensor:
        rows, columns = (SIDE + side - 1 for side in self.transforms.kernel_size)
        return x_AZP.unflatten(2, self.tiles).unflatten(0, (rows, columns))

    def pre_activations(self, bias: Tensor | None) -> Tensor:
        """Those of the four gates, (M,G,P), for what was read last."""
        torch.bmm(self.weights_AGZ, self.inputs_AZP, out=self.products_AGP)
        torch.mm(self.transforms.outputs, self.products_AGP.flatten(1), out=self.z_MGP.flatten(1))
        return self.z_MGP if bias is None else self.z_MGP.add_(bias.unsqueeze(1))

    def backward(self, d_weights_AGZ: Tensor | None, out_MZP: Tensor) -> None:
        """From the gradient in `z_MGP` write that of x and h, and add up that of the weights.

        The transformed x and h are overwritten.
        """
        d_products = torch.mm(
            self.transforms.outputs_T, self.z_MGP.flatten(1), out=self.products_AGP.flatten(1)
        ).view_as(self.products_AGP)
        if d_weights_AGZ is not None:
            d_weights_AGZ.baddbmm_(d_products, self.inputs_AZP.transpose(1, 2))
        torch.bmm(self.weights_AGZ.transpose(1, 2), d_products, out=self.read_AZP)
        torch.mm(self.transforms.inputs_T, self.read_AZP.flatten(1), out=self.inputs_AZP.flatten(1))
        self.transforms.read_backward(self._around(self.inputs_AZP), self.places(out_MZP))
        self.clear(out_MZP)


def _blocks(tiles: Tiles, x_BTCHW: Tensor, weights: Weights) -> list[slice]:
    filters, (batch, steps) = weights.recurrent_kernel.shape[1], x_BTCHW.shape[:2]
    samples = samples_of_block(tiles, x_BTCHW.shape[2], filters, steps, x_BTCHW.element_size())
    return [slice(start, min(start + samples, batch)) for start in range(0, batch, samples)]


def _transform(weights: Weights, settings: SequenceSettings) -> tuple[WinogradTransforms, Tensor]:
    """The transforms, and both kernels' (A,G,Z)."""
    transforms = WinogradTransforms(settings.state.kernel_size, weights.kernel.dtype)
    return transforms, transforms.weights(torch.cat((weights.kernel, weights.recurrent_kernel), 1))


def forward(
    tiles: Tiles,
    x_BTCHW: Tensor,
    first: Sequence[Tensor | None],
    weights: Weights,
    settings: SequenceSettings,
    *,
    save: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """h of all steps, or of the last if that suffices, c of the last, and the saved tensors.

    `first` are h and c before the first step, None for zeros. Saved are c of all steps of each
    block, and their gates unless those are recomputed.
    """
    batch, steps = x_BTCHW.shape[:2]
    filters, new = weights.recurrent_kernel.shape[1], x_BTCHW.new_empty
    h_SBFHW = new(steps if save or settings.return_sequences else 1, batch, filters, *tiles.sizes)
    c_BFHW = new(batch, filters, *tiles.sizes)
    cut = _blocks(tiles, x_BTCHW, weights)
    counts = [(samples.stop - samples.start) * tiles.count // batch for samples in cut]
    # Allocated before anything that is freed again, so that memory does not become fragmented.
    cells = [new(steps if save else 1, SIDE**2, filters, count) for count in counts]
    gates = [
        new(steps, SIDE**2, 3 * filters, count)
        for count in counts
        if save
        and not settings.recompute
        and saves_gates(tiles, filters, steps, x_BTCHW.element_size())
    ]
    transforms, weights_AGZ = _transform(weights, settings)
    for n, (samples, c_SMFP) in enumerate(zip(cut, cells, strict=True)):
        block = _Block(tiles, samples, weights_AGZ, transforms)
        h_first, c_first = (None if state is None else state[samples] for state in first)
        h_MFP, c_MFP = block.h_part(block.xh_MZP), None
        block.put(h_first, h_MFP)
        if c_first is not None:
            c_MFP = torch.empty_like(c_SMFP[0])
            block.put(c_first, c_MFP)
        for t in range(steps):
            block.load(x_BTCHW[samples, settings.frame(t, steps)])
            c_new = c_SMFP[t % len(c_SMFP)]
            saved_MKP = gates[n][t] if gates else None
            step_forward(
                block.pre_activations(weights.bias), saved_MKP, c_MFP, c_new, h_MFP, weights
            )
            block.clear(h_MFP)
            block.take(h_MFP, h_SBFHW[t % len(h_SBFHW), samples])
            c_MFP = c_new
        block.take(c_MFP, c_BFHW[samples])
        del block  # before the next one's memory is needed
    return h_SBFHW, c_BFHW, [*cells, *gates]


class WinogradBackward:
    """The gradients of one sequence, block by block, from the last step of each to the first."""

    def __init__(
        self,
        tiles: Tiles,
        settings: SequenceSettings,
        weights: Weights,
        x_BTCHW: Tensor,
        h_TBFHW: Tensor,
        saved: list[Tensor],
        wanted: Sequence[bool],
    ) -> None:
        self.tiles, self.settings, self.weights = tiles, settings, weights
        self.x_BTCHW, self.h_TBFHW = x_BTCHW, h_TBFHW
        self.cut = _blocks(tiles, x_BTCHW, weights)
        self.cells, self.gates = saved[: len(self.cut)], saved[len(self.cut) :]
        self.wants_x, self.wants_h, self.wants_c, *self.wants_weights = wanted
        self.transforms, self.weights_AGZ = _transform(weights, settings)
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

        A block's saved tensors are freed once used.
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
        """All steps of some samples; gradients of h and c go from `d_end` to `d_start`."""
        block = _Block(self.tiles, samples, self.weights_AGZ, self.transforms)
        c_TMFP, gates_TMKP = self.cells.pop(), self.gates.pop() if self.gates else None
        d_xh_MZP, c_first = torch.empty_like(block.xh_MZP), None
        d_h_MFP, d_c_MFP = block.h_part(d_xh_MZP), torch.empty_like(c_TMFP[0])
        for d_bFHW, d_MFP in zip(d_end, (d_h_MFP, d_c_MFP), strict=True):
            block.put(d_bFHW, d_MFP)
        if first[1] is not None:
            c_first = torch.empty_like(d_c_MFP)
            block.put(first[1], c_first)
        for t in reversed(range(len(c_TMFP))):
            h_bFHW, c_MFP = (
                (self.h_TBFHW[t - 1, samples], c_TMFP[t - 1]) if t else (first[0], c_first)
            )
            block.put(h_bFHW, block.h_part(block.xh_MZP))
            frame = self.settings.frame(t, len(c_TMFP))
            block.load(self.x_BTCHW[samples, frame])
            if gates_TMKP is None:
                gates_MKP = self._recompute_gates(block, c_MFP, c_TMFP[t])
            else:
                gates_MKP = gates_TMKP[t]
            if d_shown_TbFHW is not None:
                block.places(d_h_MFP).add_(to_tiles(d_shown_TbFHW[t], self.tiles.grid))
            step_backward(block.z_MGP, gates_MKP, c_MFP, c_TMFP[t], d_h_MFP, d_c_MFP, self.weights)
            self._add_gradients(block.z_MGP, c_MFP, c_TMFP[t])
            block.backward(self.d_weights_AGZ, d_xh_MZP)
            if self.wants_x:
                block.take(d_xh_MZP[:, : block.channels], self.d_x_BTCHW[samples, frame])
        for d_MFP, d_bFHW in zip((d_h_MFP, d_c_MFP), d_start, strict=True):
            if d_bFHW is not None:
                block.take(d_MFP, d_bFHW)

    def _recompute_gates(self, block: _Block, c_before: Tensor | None, c_MFP: Tensor) -> Tensor:
        i, f, _, o = block.pre_activations(self.weights.bias).chunk(4, 1)
        gates_MKP = c_MFP.new_empty(len(c_MFP), 3 * c_MFP.shape[1], c_MFP.shape[2])
        recompute_gates((i, f, o), gates_MKP, c_before, c_MFP, self.weights)
        return gates_MKP

    def _add_gradients(self, d_z_MGP: Tensor, c_before: Tensor | None, c_MFP: Tensor) -> None:
        """Add a step's share of the gradients of bias and peepholes, which need no convolution."""
        if self.d_bias is not None:
            self.d_bias += d_z_MGP.sum((0, 2))
        if self.d_peephole is not None:
            self.d_peephole += peephole_gradient(d_z_MGP, c_before, c_MFP)

    def _d_weights(self) -> list[Tensor | None]:
        d_kernels = [None, None]
        if self.d_weights_AGZ is not None:
            d_both = self.transforms.weights_backward(self.d_weights_AGZ)
            parts = d_both.split([self.x_BTCHW.shape[2], self.h_TBFHW.shape[2]], 1)
            wants = self.wants_weights[:2]
            d_kernels = [part if want else None for part, want in zip(parts, wants, strict=True)]
        return [*d_kernels, self.d_bias, self.d_peephole]
