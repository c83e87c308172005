"""What both directions of `scan.py` share: its settings and weights, and how it cuts a sequence.

Axes as in `scan.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from framecast.nn.recurrence.cost import block_of
from framecast.nn.shapes import ConvGeometry


@dataclass(frozen=True)
class Plan:
    """What stays the same over a sequence: where the two convolutions look, and what is wanted."""

    inputs: ConvGeometry
    state: ConvGeometry
    go_backwards: bool = False
    return_sequences: bool = True
    recompute: bool = False

    def frame(self, step: int, steps: int) -> int:
        """Which of the sequence's frames a step reads."""
        return steps - 1 - step if self.go_backwards else step


@dataclass(frozen=True)
class Weights:
    """A layer's weights, for all four sums as the layer keeps them or for those of i, f, o."""

    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor | None
    peephole: Tensor | None

    def to(self, dtype: torch.dtype) -> Weights:
        """The same in another type; gradients flow back to these."""
        given = (self.kernel, self.recurrent_kernel, self.bias, self.peephole)
        return Weights(*(None if tensor is None else tensor.to(dtype) for tensor in given))

    def of_gates(self) -> Weights:
        """A copy without the candidate's rows; the peepholes have none."""
        copies = [
            None if tensor is None else torch.cat([tensor.chunk(4)[n] for n in (0, 1, 3)])
            for tensor in (self.kernel, self.recurrent_kernel, self.bias)
        ]
        return Weights(*copies, self.peephole)

    def peepholes(self, rank: int) -> tuple[Tensor, ...]:
        """W_ci, W_cf and W_co, to be multiplied with c."""
        return self.peephole.view(3, -1, *(1,) * rank).unbind()


def blocks(h_BFHW: Tensor, steps: int) -> Iterator[tuple[slice, list[slice]]]:
    """Cut a batch of sequences: the samples of each block, and the steps of each part of it."""
    batch = len(h_BFHW)
    if h_BFHW.device.type == "cuda":  # has no such cache, but much to do at once
        samples, length = batch, steps
    else:
        bytes_each = 4 * math.prod(h_BFHW.shape[1:]) * h_BFHW.element_size()
        samples, length = block_of(batch, steps, bytes_each)
    parts = [slice(t, min(t + length, steps)) for t in range(0, steps, length)]
    for start in range(0, batch, samples):
        yield slice(start, min(start + samples, batch)), parts


def frames(x_BTCHW: Tensor, samples: slice, times: slice, go_backwards: bool) -> Tensor:
    """What these steps of these samples read, (N,C,H,W), step by step."""
    if go_backwards:
        steps = x_BTCHW.shape[1]
        x_bnCHW = x_BTCHW[samples, steps - times.stop : steps - times.start].flip(1)
    else:
        x_bnCHW = x_BTCHW[samples, times]
    return packed(x_bnCHW.transpose(0, 1).flatten(0, 1))


def packed(x_NCHW: Tensor) -> Tensor:
    """The same without gaps, in the order of axes in which the device convolves fastest."""
    return x_NCHW.contiguous(memory_format=_order(x_NCHW))


def empty(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor (..., C, H, W) to be written to, in that order, too; of `like`'s type by default."""
    if _order(like) == torch.channels_last:
        *first, channels, height, width = shape
        return like.new_empty((*first, height, width, channels), dtype=dtype).movedim(-1, -3)
    return like.new_empty(shape, dtype=dtype)


def cell_type(x: Tensor) -> torch.dtype:
    """The type of c beside `x`: 16 bits are too few to add up in."""
    return torch.float32 if x.dtype.itemsize < 4 else x.dtype


def _order(like: Tensor) -> torch.memory_format:
    flat = like.device.type == "cuda" and like.ndim > 3 and like.dtype.itemsize < 4
    return torch.channels_last if flat else torch.contiguous_format
