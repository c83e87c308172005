"""The common interface of all clips: honest metadata and frames one at a time."""

from __future__ import annotations

import statistics
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from framecast.config.argument_types import check_fields
from framecast.errors import SourceError
from framecast.runtime.text import counted
from framecast.video.pixels import convert_color
from framecast.video.readers.frame_checks import (
    CutShortError,
    check_finite,
    explained,
    readable_start,
    reason,
    show_size,
)
from framecast.video.value_range import ValueRange, full_range, guess_range, is_visible, read_range

Color = Literal["auto", "gray", "rgb"]

# Frames, evenly spread, whose values tell the range of a clip; of files that need no decoding all
# frames, up to this many bytes.
RANGE_PROBES, PROBED_BYTES = 64, 2**28


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a clip of any kind; see the settings of the same names."""

    color: Color = "auto"
    keep_readable: bool = False
    range: str = "auto"
    axes: str = "auto"
    variable: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class StatedRange:
    """The darkest and brightest value that a file says of itself, and by which of its fields."""

    low: float
    high: float
    field: str


@dataclass(frozen=True)
class SourceInfo:
    """What a clip holds, known without decoding all of it."""

    path: Path
    kind: Literal["folder", "video", "gif", "array", "stack"]
    frames: int
    height: int
    width: int
    channels: Literal[1, 3]
    # Frames per second of playback; None where the source knows no time.
    fps: float | None = None
    # False when `frames` is only what the container says and decoding may find fewer.
    exact: bool = True
    # Indices i where frame i does not follow frame i - 1: frames are missing, or the scene cut.
    breaks: tuple[int, ...] = ()
    # Frames before this one are not used where a clip is too long for the time that there is.
    first: int = 0
    # Sentences for the user about what was found or changed.
    notes: tuple[str, ...] = ()
    # Type and range of the values in the file.
    values: ValueRange = field(default_factory=lambda: full_range(np.uint8))
    # Channels in the file; `channels` is what they are read as. 0: unknown.
    stored_channels: Literal[0, 1, 3] = 0
    # Width of a pixel as it is to be shown, in heights of a pixel.
    pixel_aspect: Fraction = Fraction(1)
    # When each frame was taken, where the names of its files say so and the steps are alike.
    moments: tuple[datetime, ...] = ()
    # The end of its path that tells it from the clips it was opened with, where its name does not.
    told_apart: str = ""

    @property
    def name(self) -> str:
        """What messages call the clip."""
        return self.told_apart or self.path.name

    @property
    def used(self) -> range:
        """The frames that are used: all, or those from `first` on."""
        return range(self.first, self.frames)

    @property
    def dtype(self) -> Literal["uint8", "uint16"]:
        """The type of the pixels that `FrameSource.read` yields; `values` has the file's."""
        return self.values.pixel_dtype

    @property
    def look(self) -> dict[str, Any]:
        """What a result keeps of the clip besides its pixels, as `open_writer` takes it."""
        return {"values": self.values, "pixel_aspect": self.pixel_aspect}

    @property
    def step_minutes(self) -> float | None:
        """The usual time between two frames; None where it is not known."""
        steps = [after - before for before, after in pairwise(self.moments)]
        return statistics.median(steps) / timedelta(minutes=1) if steps else None


class FrameSource(ABC):
    """A clip that can be read any number of times, holding one frame in memory at a time."""

    info: SourceInfo
    _stated: StatedRange | None = None
    # Values that stand for missing ones, which become black, as NaN does beside them; without any
    # NaN is an error.
    _missing: frozenset[float] = frozenset()
    _said_beyond = False

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path, self._options = path, options
        self._notes: list[str] = []

    @property
    def files(self) -> Sequence[Path]:
        """What is read: in a folder of images one file for each frame, else the clip's file."""
        return (self._path,)

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Yield frames start, start + step, ... below stop as pixels (H, W, C) of `info.dtype`.

        Raises ValueError for a range outside the clip, CorruptSourceError at the frame that
        cannot be decoded, SourceError at a frame that differs in size from the clip or holds NaN.
        """
        stop = self.info.frames if stop is None else stop
        if not 0 <= start <= stop <= self.info.frames or step < 1:
            wanted = f"start={start}, stop={stop}, step={step}"
            raise ValueError(f"{self.info.path}: no such frames in {self.info.frames}: {wanted}")
        return self._pixels(range(start, stop, step))

    def _pixels(self, numbers: range) -> Iterator[np.ndarray]:
        values = self.info.values
        for number, frame in self._stored(numbers):
            # Once is enough: the frames after it often do the same.
            if not (values.is_whole_type or self._said_beyond):
                low, high = float(frame.min()), float(frame.max())
                half = (values.high - values.low) / 2**17  # of a pixel's step: no pixel shows it
                if low < values.low - half or high > values.high + half:
                    self._said_beyond = True
                    warnings.warn(
                        f"{self.info.path}: frame {number} holds values from {low:.6g} to "
                        f"{high:.6g}; those beyond {values.text} are clipped",
                        stacklevel=2,
                    )
            yield np.ascontiguousarray(convert_color(values.to_pixels(frame), self.info.channels))

    def read_values(self) -> Iterator[np.ndarray]:
        """Yield every frame (H, W, C) with the type and the values it has in the file.

        Where the clip is read in other colours than it has, the values of `read`, scaled back.
        """
        values, channels = self.info.values, self.info.channels
        for _, frame in self._stored(range(self.info.frames)):
            if frame.shape[2] != channels:
                pixels = convert_color(values.to_pixels(frame), channels)
                frame = values.to_values(pixels)  # noqa: PLW2901
            yield np.ascontiguousarray(frame)

    def break_at(self, indices: Iterable[int], note: str) -> None:
        """Mark these frames as breaks in time; `note` is shown to the user."""
        breaks = tuple(sorted({*self.info.breaks, *indices}))
        self.info = replace(self.info, breaks=breaks, notes=(*self.info.notes, note))

    def use_newest(self, frames: int) -> None:
        """Use no more than these frames of the clip, counted from its end."""
        self.info = replace(self.info, first=max(self.info.frames - frames, 0))

    def tell_apart(self, name: str) -> None:
        """Call the clip by this end of its path, as others have its name."""
        self.info = replace(self.info, told_apart=name)

    def add_note(self, note: str) -> None:
        """Add a sentence for the user."""
        self.info = replace(self.info, notes=(*self.info.notes, note))

    def set_range(self, values: ValueRange) -> None:
        """Read the clip's values with this range from now on, and say so if it is not usual."""
        notes = tuple(note for note in self.info.notes if note != _range_note(self.info.values))
        if note := _range_note(values):
            notes = (*notes, note)
        self.info = replace(self.info, values=values, notes=notes)

    def fit_range(self) -> None:
        """Take the clip's own range where its values are of another kind than the range set for it.

        A model keeps the range of its training clips, which those of another sensor do not share.
        """
        given = self.info.values
        if given.is_whole_type:
            return
        own = self._guessed_range()
        span = given.high - given.low
        inside = given.low - span / 20 <= own.low and own.high <= given.high + span / 20
        if not inside or not is_visible(own.low, own.high, given.low, given.high):
            self.set_range(own)
            self.add_note(
                f"{self.info.name} has other values than the range {given.text} that the "
                "model was trained with, so its own range is used"
            )

    def _guessed_range(self) -> ValueRange:
        info = self.info
        nbytes = info.frames * info.height * info.width * np.dtype(info.values.dtype).itemsize
        everything = info.kind in ("array", "stack") and nbytes <= PROBED_BYTES
        step = 1 if everything else -(-info.frames // RANGE_PROBES)
        stated = self._stated and (self._stated.low, self._stated.high)
        return guess_range(info.values.dtype, self._probes(range(0, info.frames, step)), stated)

    def _describe(
        self,
        kind: Literal["folder", "video", "gif", "array", "stack"],
        frames: int,
        shape: tuple[int, int, int],
        dtype: np.typing.DTypeLike,
        **known: Any,
    ) -> None:
        """Make `info` of frames (H, W, 1 or 3 as stored); `known` are further fields of it."""
        height, width, stored = shape
        wanted = {"auto": stored, "gray": 1, "rgb": 3}[self._options.color]
        self.info = SourceInfo(
            path=self._path,
            kind=kind,
            frames=frames,
            height=height,
            width=width,
            channels=wanted,
            stored_channels=stored,
            values=full_range(dtype),
            notes=tuple(self._notes),
            **known,
        )

    def _readable(self, announced: int, held: int) -> int:
        """How many of the frames that a file announces can be used, where its bytes hold `held`."""
        problem = ""
        if held < announced:
            problem = f"the file ends here, but announces {counted(announced, 'frame')}"
        if self._options.keep_readable:
            held, damage = readable_start(self._frames(range(held)))
            problem = damage or problem
        self._leave_out(held, problem)
        return held

    def _leave_out(self, frames: int, problem: str) -> None:
        """Note that only the first frames are used; CutShortError where that is not asked for.

        `problem` says why, and is empty where all of them can be.
        """
        if not problem:
            return
        if not (self._options.keep_readable and frames):
            raise CutShortError(self._path, frames, problem)
        name = self._path.name
        said = f"{name} stops being readable at frame {frames} ({problem}); the rest is left out"
        self._notes.append(said)

    def _settle_range(self) -> None:
        """Give the clip the range that is set, or that its values have; call when `info` is there.

        8-bit integers use their whole range; decoders give 10-bit video as whole 16 bits, too.
        """
        stored = self.info.values.dtype
        values = read_range(self._options.range, stored)
        if values is None and stored == "uint8" and self.info.kind != "array":
            return
        self.set_range(values or self._guessed_range())
        found, stated = self.info.values, self._stated
        if values is None and stated and (found.low, found.high) == (stated.low, stated.high):
            self.add_note(f"{found.text} is the range that the file states ({stated.field})")

    def _probes(self, numbers: range) -> Iterator[np.ndarray]:
        """The values of the numbered frames that are there.

        Up to the first frame that cannot be read, which `read` will report.
        """
        with suppress(SourceError):
            for frame in self._frames(numbers):
                yield self._known(frame)

    def _frames(self, numbers: range) -> Iterator[np.ndarray]:
        """Yield the numbered frames as stored; SourceError names the first that cannot be had."""
        if not numbers:
            return
        number, files = numbers.start, self.files
        with explained(self._path, lambda error: CutShortError(self._path, number, reason(error))):
            for frame in self._decode(numbers):
                check_finite(files[min(number, len(files) - 1)], number, self._known(frame))
                yield frame
                number += numbers.step
        if number in numbers:  # somebody has written a shorter file since it was opened
            raise CutShortError(self._path, number, "the file ends before it")

    def _stored(self, numbers: range) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each number with its frame, all of the clip's size, missing values black."""
        black = self.info.values.low
        for number, frame in zip(numbers, self._frames(numbers), strict=True):
            self._check_size(number, frame)
            if (missing := self._missing_in(frame)).any():
                # The same words for each frame, which Python says once.
                note = f"{self.info.path}: missing values are read as black ({black:.6g})"
                warnings.warn(note, stacklevel=2)
                frame = np.where(missing, np.asarray(black, frame.dtype), frame)  # noqa: PLW2901
            yield number, frame

    def _known(self, frame: np.ndarray) -> np.ndarray:
        """The values of a frame that are not missing, in any shape."""
        return frame[~self._missing_in(frame)] if self._missing else frame

    def _missing_in(self, frame: np.ndarray) -> np.ndarray:
        """Where values of a frame are missing, in its shape; one False where none can be."""
        if not self._missing:
            return np.zeros((), bool)
        return np.logical_or.reduce([np.isnan(frame), *(frame == value for value in self._missing)])

    def _check_size(self, number: int, frame: np.ndarray) -> None:
        size = (self.info.height, self.info.width)
        if frame.shape[:2] != size:
            raise SourceError(
                f"{self.info.path}: frame {number} is {show_size(frame.shape)} "
                f"where the clip is {show_size(size)} (height x width)",
                remedy="give frames of one size",
            )

    @abstractmethod
    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        """Yield the numbered frames as stored, (H, W, 1 or 3) of `info.values.dtype`.

        Raises a SourceError, or what a library does, at the first that cannot be had.
        """


def _range_note(values: ValueRange) -> str:
    if values.is_whole_type or values.dtype == "bool":
        return ""
    return (
        f"{values.dtype} values are taken to range from {values.low:.6g} (black) to "
        f"{values.high:.6g} (white); --range sets another range"
    )
