"""Training batches of real and synthetic windows: a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .scenes import CONTEXT, HORIZON, LENGTH, Scene
from .synthetic_scenes import SyntheticScenes

SIDE = 96
"""Side in pixels of the windows that are trained on."""

SYNTHETIC, RADAR = 0.15, 0.18
"""Share of synthetic windows, and of radar among the real ones."""

CAP, TEMPER = 24, 0.6
"""Kinds are drawn in proportion to their number of scenes, at most the first, to this power."""

STILL = 0.5
"""Root mean square of the change in grey levels of 255 below which a window is mostly drawn again:
of context and future together, since what just came to rest must be learnt, too; of squares, since
little of a screen changes, but much."""

HELD = 0.05
"""Share of windows some of whose frames are repeated in a regular pattern that the context shows
whole, as where a slow clip was brought to a higher rate."""

SUDDEN, BRIEF = 0.04, 0.4
"""Share of windows in which a part of another one appears at once, as on screens, and how many of
these vanish again."""


@dataclass(frozen=True)
class SceneBatches(Dataset):
    """Batches by the number of the step: windows (batch, T, 1, side, side), float32 in [0, 1], and
    what repeating the last frame costs in their scenes: usual MSE (batch, lead times).
    """

    scenes: tuple[Scene, ...]
    batch: int
    seed: int

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self.seed, step))
        synthetic = SyntheticScenes(random, SIDE, LENGTH)
        kinds = _by_kind(self.scenes)

        def window() -> tuple[np.ndarray, np.ndarray]:
            if random.random() < SYNTHETIC:
                window_THW = synthetic.window()
                return window_THW, changes(window_THW, [CONTEXT - 1])
            return real_window(random, kinds)

        windows, usual = [], []
        for _ in range(self.batch):
            window_THW, usual_T = window()
            windows.append(window_THW)
            usual.append(usual_T)
            if random.random() < SUDDEN:
                appear(random, window_THW, window()[0])
            if random.random() < HELD:
                windows[-1] = windows[-1][_held_frames(random, len(windows[-1]))]
        return torch.from_numpy(np.stack(windows)).unsqueeze(2), torch.from_numpy(np.stack(usual))

    def from_step(self, first: int, workers: int) -> Iterator[Tensor]:
        """Batches from a step on, made ahead by several processes."""
        steps: Iterable[int] = range(first, 2**31)
        return iter(DataLoader(self, batch_size=None, sampler=steps, num_workers=workers))


def _by_kind(scenes: Iterable[Scene]) -> dict[str, list[Scene]]:
    kinds: dict[str, list[Scene]] = {}
    for scene in scenes:
        kinds.setdefault(scene.kind, []).append(scene)
    return kinds


def changes(frames_THW: np.ndarray, starts: Iterable[int], speed: int = 1) -> np.ndarray:
    """Mean squared change (lead times,) from some frames to those after them, float32."""
    leads = speed * np.arange(1, HORIZON + 1)
    squares = [
        np.square(frames_THW[start + leads].astype(np.float32) - frames_THW[start]).mean((1, 2))
        for start in starts
    ]
    return np.mean(squares, axis=0, dtype=np.float32)


@cache
def usual_changes(scene: Scene, speed: int) -> np.ndarray:
    """`changes` in all of a scene, from 8 of its frames on, where white is 1."""
    last = scene.frames - 1 - HORIZON * speed
    starts = sorted({int(start) for start in np.linspace(0, last, 8)})
    return changes(scene.grey_THW, starts, speed) / 255**2


def real_window(random: Generator, kinds: dict[str, list[Scene]]) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a scene at a speed of 1 to 3, zoomed, mirrored, and now and then inverted; and the
    usual changes in its scene.
    """
    window_THW, scene, speed = _cut(random, kinds)
    radar, usual_T = scene.kind == "radar", usual_changes(scene, speed)
    if window_THW.shape[1] != SIDE:
        shrinks = window_THW.shape[1] > SIDE
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = [cv2.resize(frame, (SIDE, SIDE), interpolation=method) for frame in window_THW]
        window_THW = np.stack(resized)
    window_THW = window_THW.astype(np.float32) / 255
    if random.random() < 0.5:
        window_THW = window_THW[:, ::-1]
    if random.random() < 0.5:
        window_THW = window_THW[:, :, ::-1]
    if random.random() < 0.5:
        window_THW = window_THW.swapaxes(1, 2)
    if not radar and random.random() < 0.08:
        window_THW = 1 - window_THW
    if random.random() < 0.2:  # less contrast; no echo stays black
        contrast = random.uniform(0.5, 1)
        window_THW = window_THW * contrast + (0 if radar else random.uniform(0, 1 - contrast))
        usual_T = usual_T * np.float32(contrast**2)
    return np.ascontiguousarray(window_THW, dtype=np.float32), usual_T


def appear(random: Generator, window_THW: np.ndarray, other_THW: np.ndarray) -> None:
    """Show a rectangle of `other_THW` from some frame on, in place."""
    length, side, _ = window_THW.shape
    first = int(random.integers(1, length))
    end = int(random.integers(first + 1, length + 1)) if random.random() < BRIEF else length
    height, width = random.integers(side // 8, side + 1, 2)
    y, x = random.integers(side - height + 1), random.integers(side - width + 1)
    part = (slice(first, end), slice(y, y + height), slice(x, x + width))
    window_THW[part] = other_THW[part]


def _held_frames(random: Generator, length: int) -> np.ndarray:
    """The numbers of frames (T,) shown when 1 of 2, or 1 or 2 of 3, are new."""
    period = int(random.integers(2, 4))
    new = int(random.integers(1, period))
    shown = (np.arange(length) + random.integers(period)) * new // period
    return shown - shown[0]


def _cut(random: Generator, kinds: dict[str, list[Scene]]) -> tuple[np.ndarray, Scene, int]:
    """A square (T, side, side) of 8-bit frames in which, mostly, something moves; its scene and
    speed.
    """
    names = sorted(kinds)
    shares = np.array([min(len(kinds[name]), CAP) ** TEMPER for name in names])
    is_radar = np.array([name == "radar" for name in names])
    if is_radar.any() and not is_radar.all():
        shares = np.where(is_radar, RADAR, (1 - RADAR) * shares / shares[~is_radar].sum())
    for _ in range(6):
        kind = names[random.choice(len(names), p=shares / shares.sum())]
        scene = kinds[kind][random.integers(len(kinds[kind]))]
        _, height, width = scene.grey_THW.shape
        speed = min(int(random.choice((1, 2, 3), p=(0.75, 0.17, 0.08))), scene.frames - 1)
        speed = max(1, min(speed, (scene.frames - 1) // (LENGTH - 1)))
        start = random.integers(scene.frames - (LENGTH - 1) * speed)
        zoom = np.exp(random.uniform(np.log(0.8), np.log(1.3)))
        side = min(round(SIDE * zoom), height, width)
        y, x = random.integers(height - side + 1), random.integers(width - side + 1)
        grey = kind == "radar" or random.random() < 0.6
        # One colour alone looks different from grey, and moves alike.
        frames = scene.grey_THW if grey else scene.rgb_THWC[..., random.integers(3)]
        time = slice(start, start + (LENGTH - 1) * speed + 1, speed)
        window_THW = np.ascontiguousarray(frames[time, y : y + side, x : x + side])
        reversed_ = kind != "radar" and random.random() < 0.1
        window_THW = window_THW[::-1] if reversed_ else window_THW
        change = window_THW[CONTEXT - 1].astype(np.float32) - window_THW[:: CONTEXT // 2]
        if np.square(change).mean() >= STILL**2 or random.random() < 0.1:
            break
    return window_THW, scene, speed
