"""Arrays of frames as one clip; clips in one file follow one another, with breaks between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from framecast.errors import SourceError, UsageError
from framecast.video.readers.array_axes import Layout, given_axes, inferred_axes
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.frame_checks import (
    TRANSPARENT_NOTE,
    check_frames,
    check_memory,
    explained,
    on_black,
)
from framecast.video.readers.stored_arrays import StoredArray, find_arrays


class ArraySource(FrameSource):
    """Frames of one array or of several, of which each may hold many clips."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read the headers, and a few frames; keep_readable reads everything once.

        Raises SourceError for another layout or type, UsageError for axes that do not fit,
        CorruptSourceError for a file cut short.
        """
        super().__init__(path, options)
        self._arrays = find_arrays(path, options.variable, self._notes)
        packing = self._arrays[0].packing
        self._missing = frozenset([math.nan] if packing and packing.missing else [])
        self._layouts = [_layout(array, options.axes) for array in self._arrays]
        for array, layout in zip(self._arrays, self._layouts, strict=True):
            frame = math.prod(layout.size(axis) for axis in "HWC")
            check_memory(path, frame * array.dtype.itemsize)
        lengths = [layout.size("N") * layout.size("T") for layout in self._layouts]
        self._starts = np.cumsum([0, *lengths])
        held = self._held()
        check_frames(path, held)  # HDF5 stores nothing of what nobody has written
        frames = self._readable(int(self._starts[-1]), held)
        breaks = [
            int(start) + clip * layout.size("T")
            for start, layout in zip(self._starts[:-1], self._layouts, strict=True)
            for clip in range(layout.size("N"))
        ]
        self._notes += _layout_notes(self._arrays, self._layouts)
        height, width, channels = (self._layouts[0].size(axis) for axis in "HWC")
        if channels == 4:
            self._notes.append(TRANSPARENT_NOTE)
        self._describe(
            "array",
            frames,
            (height, width, min(channels, 3)),
            self._arrays[0].dtype,
            fps=self._arrays[0].fps,
            breaks=tuple(start for start in breaks if 0 < start < frames),
        )
        self._settle_range()

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        with ExitStack() as stack:
            opened: dict[int, Any] = {}
            for number in numbers:
                index = int(np.searchsorted(self._starts, number, side="right")) - 1
                if index not in opened:
                    opened[index] = self._arrays[index].open(stack)
                layout = self._layouts[index]
                clip, time = divmod(number - int(self._starts[index]), layout.size("T"))
                frame = layout.take(opened[index], clip, time)
                frame = frame.astype(frame.dtype.newbyteorder("="), copy=False)
                yield on_black(frame) if frame.shape[2] == 4 else frame

    def _held(self) -> int:
        """Frames whose bytes the file holds."""
        array, layout = self._arrays[0], self._layouts[0]
        rows = array.rows_held()
        if rows == array.shape[0]:
            return int(self._starts[-1])
        # Whole frames end where the bytes do only if clips or time are the first axis.
        if layout.axes[0] == "N":
            return rows * layout.size("T")
        return rows if layout.size("N") == 1 else 0


def _layout(array: StoredArray, axes: str) -> Layout:
    if axes != "auto":
        try:
            return Layout(given_axes(axes, array.shape), array.shape)
        except ValueError as error:
            raise UsageError(
                f"{array.path}: {error}", remedy="leave --axes out to infer them"
            ) from error
    rest = (slice(None),) * (len(array.shape) - 2)
    remedy = "save frames as (T, H, W) or (T, H, W, C), or say what is what with --axes"

    def refused(error: Exception) -> SourceError:
        return SourceError(f"{array.path}: {error}", remedy=remedy)

    with explained(array.path, refused), ExitStack() as stack:
        opened = cache(lambda: array.open(stack))  # most shapes tell their axes unopened

        def look(at: tuple[int, int]) -> np.ndarray:
            return np.asarray(opened()[(*at, *rest)])

        return Layout(inferred_axes(array.shape, look), array.shape)


def _layout_notes(arrays: Sequence[StoredArray], layouts: Sequence[Layout]) -> Iterator[str]:
    first, clips = layouts[0], sum(layout.size("N") for layout in layouts)
    for array, layout in zip(arrays[1:], layouts[1:], strict=True):
        same = all(layout.size(axis) == first.size(axis) for axis in "HWC")
        if not same or array.dtype != arrays[0].dtype:
            raise SourceError(
                f"{array.path}: {arrays[0].name} {arrays[0].shape} {arrays[0].dtype} and "
                f"{array.name} {array.shape} {array.dtype} differ in more than time",
                remedy="name one with --variable, or save arrays of one size and type",
            )
    if first.axes not in ("THW", "THWC"):
        yield f"axes are taken as {first.axes} ({first.sentence}); --axes sets another order"
    if clips > 1:
        yield f"{clips} clips in one file, read one after another with a break between them"
