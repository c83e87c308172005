"""A training step's kernels on CUDA, recorded once and played again.

A recurrent network launches thousands of small kernels for a step, which costs more than many of
them take; a CUDA graph launches all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from framecast.data.batches import Batch

WARM_UPS = 2
"""Calls before the recording, in which libraries choose their kernels and take their memory."""


class Recording:
    """A function of batches of one shape, called a few times, then recorded and replayed.

    `work` takes a batch on `device` and returns a tensor of that device; it may leave gradients,
    which it has to clear itself before it makes them. It must never wait for the device, and do the
    same whatever the batch holds. What it returns is overwritten by the next call.
    """

    def __init__(self, work: Callable[[Batch], Tensor], device: str) -> None:
        self.work, self.device = work, device
        self.calls, self.batch, self.result = 0, None, None
        self.graph = torch.cuda.CUDAGraph()

    def __call__(self, batch: Batch) -> Tensor:
        if self.batch is None:
            # A graph reads the addresses that it was recorded with, so each batch is copied there.
            own = (torch.empty_like(frames, device=self.device) for frames in vars(batch).values())
            self.batch = Batch(*own)
        self.batch.copy_(batch)
        self.calls += 1
        with torch.cuda.device(self.device):  # whose streams are meant below
            if self.calls <= WARM_UPS:
                with chosen_by_trying():
                    return self._aside()
            if self.result is None:
                with chosen_by_trying(), torch.cuda.graph(self.graph):
                    self.result = self.work(self.batch)
            self.graph.replay()
        return self.result

    def _aside(self) -> Tensor:
        """Work on a stream of its own, as recordings do, which must not be the usual one."""
        usual, other = torch.cuda.current_stream(), torch.cuda.Stream()
        other.wait_stream(usual)
        with torch.cuda.stream(other):
            result = self.work(self.batch)
        usual.wait_stream(other)
        return result


@contextmanager
def chosen_by_trying() -> Iterator[None]:
    """Let cuDNN time its convolution algorithms and take the fastest for each shape."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
