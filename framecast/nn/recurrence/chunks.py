"""What both directions of the fused recurrence share: settings, weights, and how it is cut.

Axes as in `fused.py`.
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
class SequenceSettings:
    """What stays the same over a sequence: the two convolutions' geometry, and what is wanted.

    `recompute` computes the gates a second time in the backward pass instead of saving them.
    """

    inputs: ConvGeometry
    state: ConvGeometry
    go_backwards: bool = False
    return_sequences: bool = True
    recompute: bool = False

    def frame(self, step: int, steps: int) -> int:
        """Index of the frame that a step reads."""
        return steps - 1 - step if self.go_backwards else step


@dataclass(frozen=True)
class Weights:
    """A layer's weights, for all four gates as the layer has them or for i, f and o alone."""

    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor | None
    peephole: Tensor | None

    def to(self, dtype: torch.dtype) -> Weights:
        """The same in another dtype; gradients flow back to these."""
        given = (self.kernel, self.recurrent_kernel, self.bias, self.peephole)
        return Weights(*(None if tensor is None else tensor.to(dtype) for tensor in given))

    def of_gates(self) -> Weights:
        """A copy without the rows of the candidate c, which has no peephole."""
        copies = [
            None if tensor is None else torch.cat([tensor.chunk(4)[n] for n in (0, 1, 3)])
            for tensor in (self.kernel, self.recurrent_kernel, self.bias)
        ]
        return Weights(*copies, self.peephole)

    def peepholes(self, rank: int) -> tuple[Tensor, ...]:
        """W_ci, W_cf and W_co, each (F,1,...) with `rank` spatial axes, to be multiplied with c."""
        return self.peephole.view(3, -1, *(1,) * rank).unbind()


def blocks(h_BFHW: Tensor, steps: int) -> Iterator[tuple[slice, list[slice]]]:
    """Cut a batch of sequences: the samples of each block, and the steps of each part of it."""
    batch = len(h_BFHW)
    if h_BFHW.device.type == "cuda":  # no cache to fit into, but much to do in parallel
        samples, length = batch, steps
    else:
        bytes_each = 4 * math.prod(h_BFHW.shape[1:]) * h_BFHW.element_size()
        samples, length = block_of(batch, steps, bytes_each)
    parts = [slice(t, min(t + length, steps)) for t in range(0, steps, length)]
    for start in range(0, batch, samples):
        yield slice(start, min(start + samples, batch)), parts


def frames(x_BTCHW: Tensor, samples: slice, times: slice, go_backwards: bool) -> Tensor:
    """Frames that these steps of these samples read, (N,C,H,W), step by step."""
    if go_backwards:
        steps = x_BTCHW.shape[1]
        x_bnCHW = x_BTCHW[samples, steps - times.stop : steps - times.start].flip(1)
    else:
        x_bnCHW = x_BTCHW[samples, times]
    return packed(x_bnCHW.transpose(0, 1).flatten(0, 1))


def packed(x_NCHW: Tensor) -> Tensor:
    """The same without gaps, in the memory format in which the device convolves fastest."""
    return x_NCHW.contiguous(memory_format=_memory_format(x_NCHW))


def empty(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An unwritten tensor (..., C, H, W) in the memory format of `like`, which has the axes of one
    batch (N, C, H, W); of its dtype by default.
    """
    if _memory_format(like) == torch.channels_last:
        *first, channels, height, width = shape
        return like.new_empty((*first, height, width, channels), dtype=dtype).movedim(-1, -3)
    return like.new_empty(shape, dtype=dtype)


def cell_dtype(x: Tensor) -> torch.dtype:
    """The dtype of c for inputs `x`: 16 bits are too few for what adds up over time."""
    return torch.float32 if x.dtype.itemsize < 4 else x.dtype


def _memory_format(like: Tensor) -> torch.memory_format:
    # Tensor cores and AMX multiply 16-bit numbers with the channels innermost. Frames of one and
    # three axes have no such format.
    channels_last = like.ndim == 4 and like.dtype.itemsize < 4
    return torch.channels_last if channels_last else torch.contiguous_format
