"""Windows of clips as torch batches.

Clips are decoded and resized arrays mapped into memory; a batch is assembled from slices of them.
What a training batch holds is a pure function of the seed and the step, so a resumed run sees the
same data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from framecast.video.pixels import to_unit
from framecast.windows import Window, window_span


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

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        return Batch(self.context_BTCHW.to(device), self.target_BTCHW.to(device))


@dataclass(frozen=True)
class WindowShape:
    """How a window is cut out of the time axis; lengths in frames."""

    context_length: int
    horizon: int
    frame_step: int


def training_batches(
    clips: Sequence[np.ndarray],
    windows: Sequence[Window],
    shape: WindowShape,
    *,
    batch_size: int,
    crop: tuple[int, int],
    flip: bool,
    seed: int,
    first_step: int = 0,
) -> Iterator[Batch]:
    """Yield batches of random crops forever, from step `first_step` on.

    Windows come in a new random order in every pass, each once a pass; crop (H, W) positions and
    left-right mirrors are drawn per sample.
    """
    sample = first_step * batch_size
    while True:
        yield collate(
            [
                _random_crop(clips, windows, shape, crop, flip, seed, number)
                for number in range(sample, sample + batch_size)
            ],
            shape.context_length,
        )
        sample += batch_size


def whole_batches(
    clips: Sequence[np.ndarray],
    windows: Sequence[Window],
    shape: WindowShape,
    pixels: int,
) -> Iterator[Batch]:
    """Yield each window once, whole, in order; a batch holds one clip and about `pixels` pixels."""
    group: list[Window] = []
    for window in windows:
        area = clips[window.clip].shape[1] * clips[window.clip].shape[2]
        if group and (window.clip != group[0].clip or (len(group) + 1) * area > pixels):
            yield _whole(clips, group, shape)
            group = []
        group.append(window)
    if group:
        yield _whole(clips, group, shape)


def collate(windows_THWC: Sequence[np.ndarray], context_length: int) -> Batch:
    """Stack windows (T, H, W, C) and cut them into context and target."""
    stacked_BTCHW = torch.from_numpy(np.stack([to_unit(window) for window in windows_THWC]))
    return Batch(stacked_BTCHW[:, :context_length], stacked_BTCHW[:, context_length:])


def frames_of(clips: Sequence[np.ndarray], window: Window, shape: WindowShape) -> np.ndarray:
    """The frames (Tc + Th, H, W, C) of one window, as a view of the clip."""
    span = window_span(shape.context_length, shape.horizon, shape.frame_step)
    return clips[window.clip][window.start : window.start + span : shape.frame_step]


def _whole(clips: Sequence[np.ndarray], group: list[Window], shape: WindowShape) -> Batch:
    return collate([frames_of(clips, window, shape) for window in group], shape.context_length)


def _random_crop(
    clips: Sequence[np.ndarray],
    windows: Sequence[Window],
    shape: WindowShape,
    crop: tuple[int, int],
    flip: bool,
    seed: int,
    number: int,
) -> np.ndarray:
    passes, place = divmod(number, len(windows))
    order = np.random.default_rng((seed, 0, passes)).permutation(len(windows))
    frames_THWC = frames_of(clips, windows[order[place]], shape)
    draw = np.random.default_rng((seed, 1, number))
    top = draw.integers(frames_THWC.shape[1] - crop[0] + 1)
    left = draw.integers(frames_THWC.shape[2] - crop[1] + 1)
    cropped_THWC = frames_THWC[:, top : top + crop[0], left : left + crop[1]]
    if flip and draw.random() < 0.5:
        cropped_THWC = cropped_THWC[:, :, ::-1]
    return cropped_THWC
