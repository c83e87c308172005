"""Which axis of an array is time, clips, channels, rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Lengths of an axis of channels: grey, RGB, RGB and alpha.
COLORS = (1, 3, 4)

COMPARED_PAIRS = 16

# By the number of axes: orders of the axes, first choice first, and where their channels are.
LAYOUTS = {
    3: (("THW", None),),
    4: (("THWC", 3), ("TCHW", 1), ("NTHW", None)),
    5: (("NTHWC", 4), ("NTCHW", 2), ("NCTHW", 1)),
}

WORDS = {"N": "clips", "T": "time", "C": "channels", "H": "height", "W": "width"}


@dataclass(frozen=True)
class Layout:
    """An array's axes by letter, such as "TNHW", with their lengths, such as (20, 9, 64, 64)."""

    axes: str
    shape: tuple[int, ...]

    def size(self, axis: str) -> int:
        """The length of an axis; 1 if the array has no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def take(self, array: np.ndarray, clip: int, time: int) -> np.ndarray:
        """One frame (H, W, C) of an array, or of anything that is indexed like one."""
        at = {"N": clip, "T": time}
        frame = np.asarray(array[tuple(at.get(axis, slice(None)) for axis in self.axes)])
        left = [axis for axis in self.axes if axis not in at]
        if "C" not in left:
            frame, left = frame[..., None], [*left, "C"]
        return frame.transpose([left.index(axis) for axis in "HWC"])

    @property
    def sentence(self) -> str:
        """The order of the axes in words."""
        sizes = zip(self.axes, self.shape, strict=True)
        return ", ".join(f"{WORDS[axis]} {size}" for axis, size in sizes)


def given_axes(axes: str, shape: tuple[int, ...]) -> str:
    """Check letters against a shape; ValueError says what does not fit."""
    if len(axes) != len(shape):
        raise ValueError(f"--axes {axes} has not one letter for each axis of {shape}")
    if len(set(axes)) < len(axes) or not set("THW") <= set(axes):
        raise ValueError(f"--axes {axes} needs T, H and W, and no letter twice")
    if "C" in axes and shape[axes.index("C")] not in COLORS:
        raise ValueError(f"--axes {axes}: {shape[axes.index('C')]} channels, not 1, 3 or 4")
    return axes


def inferred_axes(shape: tuple[int, ...], look: Callable[[tuple[int, int]], np.ndarray]) -> str:
    """The most likely letters for a shape; ValueError when it is no clip's.

    `look((i, j))` reads the values at these indices of the first two axes. Of the two, that one is
    time along which neighbours are more alike.
    """
    if len(shape) > 3 and shape[-1] == 2:  # such as optical flow; no frame is 2 pixels wide
        raise ValueError(f"expected 1, 3 or 4 channels, got shape {shape}")
    for axes, channel in LAYOUTS.get(len(shape), ()):
        if channel is not None and shape[channel] not in COLORS:
            continue
        return axes.replace("NT", "TN") if "NT" in axes and _time_comes_first(shape, look) else axes
    raise ValueError(f"expected frames (T, H, W), (T, H, W, C) or clips of them, got shape {shape}")


def _time_comes_first(
    shape: tuple[int, ...], look: Callable[[tuple[int, int]], np.ndarray]
) -> bool:
    first, second = shape[:2]
    if min(first, second) == 1:  # one clip, whichever axis counts the clips
        return second == 1
    along_first = along_second = 0.0
    for pair in range(COMPARED_PAIRS):
        i, j = pair * (first - 1) // COMPARED_PAIRS, pair * (second - 1) // COMPARED_PAIRS
        here = look((i, j)).astype(np.float64)
        along_first += float(np.abs(look((i + 1, j)) - here).mean())
        along_second += float(np.abs(look((i, j + 1)) - here).mean())
    return along_first < along_second
