"""Windows read as a stream, and the scores of one forecaster on them, kept as sums."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from framecast.data.batches import Batch, WindowShape, collate
from framecast.data.decoding import fitted_frames
from framecast.data.plan import BATCH_PIXELS
from framecast.data.windows import Window
from framecast.evaluation.metrics import Metric
from framecast.video.pixels import full_scale
from framecast.video.readers.base import FrameSource


class WindowScores:
    """One forecaster's sums of each metric, and its squared errors per window."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = tuple(metrics)
        # Of each window its squared errors by lead time, and the pixels that they are sums over:
        # clips of several sizes are scored together.
        self._windows: list[tuple[np.ndarray, int]] = []

    def update(self, batch: Batch, frames: Iterator[Tensor], levels: int) -> None:
        """Add a forecaster's frames for a batch of windows, rounded to 1 / levels."""
        squares_TB = []
        # One lead time after the other, as they are made: a whole rollout is never in memory
        for lead, prediction_BCHW in enumerate(frames, start=1):
            prediction = as_pixels(prediction_BCHW, levels)
            truth = as_pixels(batch.target_BTCHW[:, lead - 1], levels)
            for metric in self.metrics:
                metric.update(lead, prediction, truth)
            squares_TB.append((prediction - truth).square().sum(dim=(1, 2, 3)))
        pixels = batch.target_BTCHW[0, 0].numel()
        self._windows += [(errors_T, pixels) for errors_T in torch.stack(squares_TB, dim=1).numpy()]

    def merge(self, other: WindowScores) -> None:
        """Add what another process has scored; its windows come after these."""
        for metric, more in zip(self.metrics, other.metrics, strict=True):
            metric.merge(more)
        self._windows += other._windows

    def reorder(self, order: Sequence[int]) -> None:
        """Put the windows into another order, given by their present places."""
        self._windows = [self._windows[place] for place in order]

    def squared_errors(self) -> np.ndarray:
        """Squared errors (windows, horizon), summed over a frame's pixels and channels."""
        return np.stack([errors_T for errors_T, _ in self._windows])

    def mse(self) -> np.ndarray:
        """Mean squared errors (windows, horizon) per pixel, frames in 0..1."""
        return np.stack([errors_T / pixels for errors_T, pixels in self._windows])

    def by_lead_time(self) -> dict[str, tuple[float | None, ...]]:
        """Each metric by name, per lead time; None where it is not defined or infinite."""
        return {
            metric.name: tuple(
                value if np.isfinite(value) else None for value in metric.compute().tolist()
            )
            for metric in self.metrics
        }


def as_pixels(frames_BCHW: Tensor, levels: int) -> Tensor:
    """Frames rounded as `from_unit` rounds them to pixels: float64 multiples of 1 / levels."""
    # On the CPU, since MPS has no float64, and float32 cannot tell 65535ths apart exactly.
    unit = frames_BCHW.float().cpu().clamp(0, 1)
    return (unit * levels).round().double() / levels


def stream_batches(
    sources: Sequence[FrameSource],
    sizes: Sequence[tuple[int, int]],
    windows: Sequence[Window],
    shape: WindowShape,
) -> Iterator[tuple[Batch, int]]:
    """Yield batches of whole windows of one clip each, with the full scale of the clip's pixels.

    `sizes` are the (H, W) the clips are scored at. No more than one batch is in memory.
    """
    for number, (source, size) in enumerate(zip(sources, sizes, strict=True)):
        starts = [window.start for window in windows if window.clip == number]
        # As many windows at once as a training batch has pixels, one of large frames.
        most = max(1, BATCH_PIXELS // (size[0] * size[1]))
        windows_THWC = stream_windows(source, starts, shape, size)
        while group := list(islice(windows_THWC, most)):
            yield collate(group, shape.context_length), full_scale(source.info.dtype)


def stream_windows(
    source: FrameSource, starts: Sequence[int], shape: WindowShape, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yield the windows (Tc + Th, H, W, C) that begin at `starts`, ascending, from one clip.

    Each frame is read once, though windows share it; no more than a window's span is in memory.
    """
    span = shape.span
    for chain in _chains(starts, span):
        frames = fitted_frames(source, size, range(chain[0], chain[-1] + span))
        recent, wanted = deque[np.ndarray](), set(chain)
        for end, frame_HWC in enumerate(frames, chain[0] + 1):
            recent.append(frame_HWC)
            if len(recent) == span:
                if end - span in wanted:
                    yield np.stack(list(recent)[:: shape.frame_step])
                recent.popleft()  # now, since the next frame needs its room


def _chains(starts: Sequence[int], span: int) -> list[list[int]]:
    """The windows in groups between which lie frames that no window needs."""
    chains: list[list[int]] = []
    for start in starts:
        if chains and start < chains[-1][-1] + span:
            chains[-1].append(start)
        else:
            chains.append([start])
    return chains
