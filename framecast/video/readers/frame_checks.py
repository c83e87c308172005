"""What readers check of a file and its frames, and how they say what is wrong with it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from framecast.errors import CorruptSourceError, FramecastError, InputError, SourceError
from framecast.runtime.memory import machine_memory
from framecast.runtime.text import show_bytes

# A frame may take an eighth of the machine's memory: decoding holds it several times.
MEMORY_SHARE = 8

MOST_FRAMES = 2**22
"""Of one array or TIFF: 39 hours at 30 per second. A list of more takes gigabytes by itself."""

TRANSPARENT_NOTE = "transparent pixels are shown on black"

NOTES_PER_KIND = 3


class CutShortError(CorruptSourceError):
    """A clip that cannot be read from one frame on; `reason` says why in a few words."""

    def __init__(self, path: Path, frame: int, reason: str) -> None:
        remedy = "copy or download it again"
        if frame > 0:
            remedy += ", or add --keep-readable to use the frames before it"
        super().__init__(f"{path}: frame {frame} cannot be read ({reason})", remedy=remedy)
        self.reason = reason


def show_size(shape: tuple[int, ...]) -> str:
    """Write the height and width of a frame as "432x768"."""
    return f"{shape[0]}x{shape[1]}"


def looks_grey(frame: np.ndarray) -> bool:
    """Return whether the channels of a frame differ by no more than 2 of 255 levels."""
    if frame.shape[2] == 1:
        return True
    tolerance = 2 * np.iinfo(frame.dtype).max // 255
    # A few pixels show nearly every colour frame as such, in a hundredth of the time.
    return all(int(np.ptp(part, axis=2).max()) <= tolerance for part in (frame[::16, ::16], frame))


def on_black(frame_HWC: np.ndarray) -> np.ndarray:
    """Compose grey or colour with alpha, (H, W, 2 or 4), on black: (H, W, 1 or 3), same type.

    The last channel is opacity: 0 to full scale in integers, 0 to 1 in floats. What lies hidden
    under transparent pixels differs from program to program, and means nothing.
    """
    color, alpha = frame_HWC[..., :-1], frame_HWC[..., -1:]
    if frame_HWC.dtype.kind == "f":
        return color * alpha
    top = np.iinfo(frame_HWC.dtype).max
    if (alpha == top).all():  # mostly so, and much faster
        return color
    wide = np.uint16 if top == 255 else np.uint32  # the product fits exactly, with the rounding
    return ((color.astype(wide) * alpha + wide(top // 2)) // wide(top)).astype(frame_HWC.dtype)


def check_finite(path: Path, number: int, frame: np.ndarray) -> None:
    """Raise SourceError for a frame of floats with missing values, which no pixel can show."""
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        problem = "holds NaN or infinite values"
        raise SourceError(
            f"{path}: frame {number} {problem}",
            remedy="fill missing values, for example with numpy.nan_to_num",
        ) from ValueError(problem)


def check_memory(path: Path, nbytes: int) -> None:
    """Raise SourceError for a frame of `nbytes` that this machine cannot decode and work on."""
    memory = machine_memory()
    if memory is not None and nbytes > memory / MEMORY_SHARE:
        raise SourceError(
            f"{path}: its header announces {show_bytes(nbytes)} of pixels, this machine has "
            f"{show_bytes(memory)} of memory",
            remedy="give smaller frames",
        )


def check_frames(path: Path, number: float) -> None:
    """Raise SourceError for more frames than MOST_FRAMES, which few bytes can announce."""
    if abs(number) > MOST_FRAMES:
        raise SourceError(
            f"{path}: announces {number:.3g} frames, of which a file may have {MOST_FRAMES:,}",
            remedy="copy or download it again, or divide it",
        )


def check_part(path: Path, part: Path) -> None:
    """Raise SourceError for a device or pipe as another file that `path` continues in.

    Waiting for a pipe or reading a device may never end.
    """
    with suppress(OSError):  # what is not there has a sentence of its own
        if not stat.S_ISREG(mode := part.stat().st_mode) and not stat.S_ISDIR(mode):
            raise SourceError(
                f"{path}: names {part} as a part of it, which is no file",
                remedy="copy or download it again",
            )


def unreadable(path: Path, error: OSError, kind: type[InputError] = SourceError) -> InputError:
    """Return the error for a path that the system does not allow to read."""
    if isinstance(error, FileNotFoundError):
        return kind(f"{path}: no such file or folder", remedy="check the path")
    if isinstance(error, PermissionError):
        return kind(f"{path}: permission to read it is denied", remedy="run chmod u+r on it")
    found = error.strerror or error
    return kind(f"{path}: cannot be read ({found})", remedy="check the path and its disk")


@contextmanager
def explained(path: Path, explain: Callable[[Exception], Exception]) -> Iterator[None]:
    """Raise what libraries raise at damaged files as the one error that `explain` returns.

    SourceError for a file that may not be read, whatever kind it is of.
    """
    try:
        yield
    except (FramecastError, MemoryError):  # have words of their own, and are no damage
        raise
    except (PermissionError, FileNotFoundError) as error:
        raise unreadable(path, error) from error
    except Exception as error:  # any exception that damaged bytes can cause
        raise explain(error) from error


def reason(error: Exception) -> str:
    """What a library says of a damaged file, as a part of a sentence."""
    return str(error).rstrip(".") or type(error).__name__


def readable_start(frames: Iterator[Any]) -> tuple[int, str]:
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


def shorten(sentences: Sequence[str], what: str) -> list[str]:
    """The first three sentences of a kind, and how many more there are."""
    more = len(sentences) - NOTES_PER_KIND
    rest = [f"and {more} more {what}"] if more > 0 else []
    return [*sentences[:NOTES_PER_KIND], *rest]
