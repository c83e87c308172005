"""What every kind of clip has in common: honest metadata and frames one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from framecast.errors import CorruptSourceError, SourceError
from framecast.video.pixels import convert_color

Color = Literal["auto", "gray", "rgb"]


@dataclass(frozen=True)
class SourceInfo:
    """What a clip holds, known without decoding it."""

    path: Path
    kind: Literal["folder", "video", "gif", "array"]
    frames: int
    exact: bool
    """False when `frames` is only what the container says and decoding may find fewer."""
    height: int
    width: int
    channels: Literal[1, 3]
    dtype: Literal["uint8", "uint16"]
    fps: float | None
    """Frames per second of playback; None where the source knows no time."""
    breaks: tuple[int, ...] = ()
    """Indices i where frame i does not follow frame i - 1: frames are missing, or the scene cut."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about what was found or changed."""


class CutShortError(CorruptSourceError):
    """A clip that cannot be read from one frame on; `reason` says why in a few words."""

    def __init__(self, path: Path, frame: int, reason: str) -> None:
        remedy = "copy or download it again"
        if frame > 0:
            remedy += ", or set data.keep_readable=true to use the frames before it"
        super().__init__(f"{path}: frame {frame} cannot be read ({reason})", remedy=remedy)
        self.reason = reason


class FrameSource(ABC):
    """A clip that can be read any number of times, holding one frame in memory at a time."""

    info: SourceInfo

    @property
    def files(self) -> Sequence[Path]:
        """What is read: in a folder of images one file for each frame, else the clip's file."""
        return (self.info.path,)

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Yield frames start, start + step, ... below stop as arrays (H, W, C) of `info.dtype`.

        Raises ValueError for a range outside the clip, CorruptSourceError at the frame that
        cannot be decoded, SourceError at a frame that differs in size from the clip.
        """
        stop = self.info.frames if stop is None else stop
        if not 0 <= start <= stop <= self.info.frames or step < 1:
            wanted = f"start={start}, stop={stop}, step={step}"
            raise ValueError(f"{self.info.path}: no such frames in {self.info.frames}: {wanted}")
        return self._checked(range(start, stop, step))

    def _checked(self, numbers: range) -> Iterator[np.ndarray]:
        if not numbers:
            return
        size = (self.info.height, self.info.width)
        for number, frame in zip(numbers, self._decode(numbers), strict=True):
            if frame.shape[:2] != size:
                raise SourceError(
                    f"{self.info.path}: frame {number} is {show_size(frame.shape)} "
                    f"where the clip is {show_size(size)} (height x width)",
                    remedy="give frames of one size",
                )
            yield np.ascontiguousarray(convert_color(frame, self.info.channels))

    def break_at(self, indices: Iterable[int], note: str) -> None:
        """Take it that these frames do not follow those before them; `note` says so to the user."""
        breaks = tuple(sorted({*self.info.breaks, *indices}))
        self.info = replace(self.info, breaks=breaks, notes=(*self.info.notes, note))

    @abstractmethod
    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        """Yield the numbered frames as (H, W, 1 or 3) of `info.dtype`, or raise at the first
        that cannot be had."""


def show_size(shape: tuple[int, ...]) -> str:
    """Write the height and width of a frame as "432x768"."""
    return f"{shape[0]}x{shape[1]}"


def choose_channels(color: Color, stored: int) -> Literal[1, 3]:
    """Return the channels a clip is read with: what is asked for, or as stored with "auto"."""
    if color == "auto":
        return 1 if stored == 1 else 3
    return 1 if color == "gray" else 3


def looks_grey(frame: np.ndarray) -> bool:
    """Tell whether the channels of a frame differ by no more than 2 of 255 levels."""
    if frame.shape[2] == 1:
        return True
    tolerance = 2 * np.iinfo(frame.dtype).max // 255
    return int((frame.max(axis=2) - frame.min(axis=2)).max()) <= tolerance


def unreadable(path: Path, error: OSError) -> SourceError:
    """Return the error for a path that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{path}: no such file or folder", remedy="check the path")
    if isinstance(error, PermissionError):
        return SourceError(f"{path}: permission to read it is denied", remedy="run chmod u+r on it")
    found = error.strerror or error
    return SourceError(f"{path}: cannot be read ({found})", remedy="check the path and its disk")


def readable_start(frames: Iterator[np.ndarray]) -> tuple[int, str]:
    """Decode everything once; return how many frames can be, and why no more: "" at a whole clip's
    end. Raises the SourceError of a clip whose first frame cannot be decoded."""
    count = 0
    try:
        for _ in frames:
            count += 1
    except SourceError as error:
        if count == 0:
            raise
        return count, error.reason if isinstance(error, CutShortError) else str(error.__cause__)
    return count, ""


def kept_note(path: Path, frames: int, reason: str) -> str:
    """Return the note for a clip of which only the readable start is used."""
    return f"{path.name} stops being readable at frame {frames} ({reason}); the rest is left out"
