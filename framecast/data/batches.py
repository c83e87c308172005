"""Windows of clips as torch batches.

Clips are decoded and resized arrays mapped into memory; a batch is assembled from slices of them.
What a training batch holds is a pure function of the seed and the step, so a resumed run sees the
same data.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby, islice

import numpy as np
import torch
from torch import Tensor

from framecast.config.schema import DataConfig
from framecast.data.windows import Window, WindowShape
from framecast.video.pixels import resize, to_unit

ZOOM = 4 / 3
"""Most by which a crop is enlarged or shrunk: a network learns what it sees at several sizes less
by heart."""


@dataclass(frozen=True)
class Batch:
    """`context_BTCHW` (B, Tc, C, H, W) and `target_BTCHW` (B, Th, C, H, W), float32 in [0, 1]."""

    context_BTCHW: Tensor
    target_BTCHW: Tensor

    def __post_init__(self) -> None:
        for name, tensor in vars(self).items():
            if tensor.ndim != 5 or tensor.dtype != torch.float32:
                raise ValueError(
                    f"{name} must be float32 (B, T, C, H, W); received {tensor.dtype} "
                    f"{tuple(tensor.shape)}"
                )

    def __repr__(self) -> str:
        shapes = (f"{name}={tuple(tensor.shape)}" for name, tensor in vars(self).items())
        return f"Batch({', '.join(shapes)})"

    def reaching_back(self, frames: int) -> Batch:
        """The same windows, cut so that `frames` frames are the target."""
        # The last frames of the context are true ones too: no pixel has to be read again.
        more = frames - self.target_BTCHW.shape[1]
        if more == 0:
            return self
        context_BTCHW, seen_BTCHW = self.context_BTCHW.tensor_split((-more,), dim=1)
        return Batch(context_BTCHW, torch.cat((seen_BTCHW, self.target_BTCHW), dim=1))

    def to(self, device: str) -> Batch:
        """The same batch on another device; one that is `pinned` is not waited for."""
        return Batch(*(t.to(device, non_blocking=t.is_pinned()) for t in vars(self).values()))

    def copy_(self, other: Batch) -> None:
        """Take over the frames of another batch of the same shapes."""
        for own, new in zip(vars(self).values(), vars(other).values(), strict=True):
            own.copy_(new, non_blocking=new.is_pinned())

    def pinned(self) -> Batch:
        """A copy from where CUDA devices fetch by themselves."""
        return Batch(*(tensor.pin_memory() for tensor in vars(self).values()))


def training_batches(
    clips: Sequence[np.ndarray],
    windows: Sequence[Window],
    shape: WindowShape,
    *,
    batch_size: int,
    crop: tuple[int, int],
    changes: DataConfig,
    seed: int,
    first_step: int = 0,
    part: range | None = None,
) -> Iterator[Batch]:
    """Yield batches of random crops forever, from step `first_step` on.

    Windows come in a new random order in every pass, each once a pass; crop (H, W) positions and,
    where the settings allow them, left-right mirrors (`flip`), turns upside down and, if square, by
    a quarter (`turn`), how far crops are enlarged or shrunk (`zoom`), and whether they are played
    backwards (`reverse`) are drawn per sample. `part` are the samples of each batch that are
    wanted, of 0 .. batch_size - 1; None: all.
    """
    part = range(batch_size) if part is None else part

    def sample(number: int) -> np.ndarray:
        passes, place = divmod(number, len(windows))
        frames_THWC = frames_of(clips, windows[_order(seed, passes, len(windows))[place]], shape)
        # A generator for each sample, so that any process and any resumed run draws the same.
        draw = np.random.default_rng((seed, 1, number))
        sides = _drawn_sides(draw, crop, frames_THWC.shape[1:3]) if changes.zoom else crop
        top = draw.integers(frames_THWC.shape[1] - sides[0] + 1)
        left = draw.integers(frames_THWC.shape[2] - sides[1] + 1)
        # Views, as are mirrors, turns and reversals: pixels are copied when the batch is stacked.
        cropped_THWC = frames_THWC[:, top : top + sides[0], left : left + sides[1]]
        if sides != crop:
            cropped_THWC = np.stack([resize(frame_HWC, *crop) for frame_HWC in cropped_THWC])
        if changes.flip and draw.random() < 0.5:
            cropped_THWC = cropped_THWC[:, :, ::-1]
        if changes.turn and draw.random() < 0.5:
            cropped_THWC = cropped_THWC[:, ::-1]
        if changes.turn and crop[0] == crop[1] and draw.random() < 0.5:
            cropped_THWC = cropped_THWC.swapaxes(1, 2)
        if changes.reverse and draw.random() < 0.5:
            cropped_THWC = cropped_THWC[::-1]
        return cropped_THWC

    for step in count(first_step):
        samples = [sample(step * batch_size + place) for place in part]
        yield collate(samples, shape.context_length)


def prefetched(batches: Iterator[Batch], ahead: int = 2) -> Iterator[Batch]:
    """Yield the same batches in the same order, each made in a thread while others are used.

    At most `ahead` are made before they are asked for.
    """
    with ThreadPoolExecutor(1, "batches") as worker:
        waiting = deque(worker.submit(next, batches, None) for _ in range(ahead))
        try:
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(worker.submit(next, batches, None))
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def whole_batches(
    clips: Sequence[np.ndarray], windows: Sequence[Window], shape: WindowShape, pixels: int
) -> Iterator[Batch]:
    """Yield each window once, whole, in order; a batch holds one clip and about `pixels` pixels."""
    for clip, group in groupby(windows, key=lambda window: window.clip):
        most = max(1, pixels // math.prod(clips[clip].shape[1:3]))
        while part := list(islice(group, most)):
            frames = [frames_of(clips, window, shape) for window in part]
            yield collate(frames, shape.context_length)


def collate(windows_THWC: Sequence[np.ndarray], context_length: int) -> Batch:
    """Stack windows (T, H, W, C) and cut them into context and target."""
    stacked_BTCHW = torch.from_numpy(np.stack([to_unit(window) for window in windows_THWC]))
    return Batch(stacked_BTCHW[:, :context_length], stacked_BTCHW[:, context_length:])


def frames_of(clips: Sequence[np.ndarray], window: Window, shape: WindowShape) -> np.ndarray:
    """The frames (Tc + Th, H, W, C) of one window, as a view of the clip."""
    return clips[window.clip][window.start : window.start + shape.span : shape.frame_step]


@lru_cache(maxsize=2)
def _order(seed: int, passes: int, windows: int) -> np.ndarray:
    """The windows' order in one pass; drawing it for every sample would be slow."""
    return np.random.default_rng((seed, 0, passes)).permutation(windows)


def _drawn_sides(
    draw: np.random.Generator, crop: tuple[int, int], frame: tuple[int, int]
) -> tuple[int, int]:
    """The sides of a cut that becomes a crop: both longer or shorter by one factor, drawn at
    random, and no longer than the frame's.
    """
    most = min(ZOOM, frame[0] / crop[0], frame[1] / crop[1])
    factor = min(ZOOM ** draw.uniform(-1, 1), most)
    return max(int(crop[0] * factor + 0.5), 1), max(int(crop[1] * factor + 0.5), 1)
