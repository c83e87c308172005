"""An animated GIF as one clip, composed as a browser shows it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from framecast.errors import SourceError
from framecast.video.base import (
    Color,
    CutShortError,
    FrameSource,
    SourceInfo,
    choose_channels,
    kept_note,
    looks_grey,
    unreadable,
)

GREY_PROBES = 8
GIF_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError)
"""What Pillow raises, according to where a GIF is broken."""


class GifSource(FrameSource):
    """The frames of a GIF; each builds on those before it, so reading starts from the first."""

    def __init__(self, path: Path, color: Color, keep_readable: bool) -> None:
        """Count the frames and read their delays without decoding them.

        keep_readable decodes the whole GIF once to find where it stops being readable.
        Raises SourceError when it is no GIF, CorruptSourceError when its first frame is damaged.
        """
        self._path = path
        notes: list[str] = []
        try:
            with Image.open(path, formats=["GIF"]) as image:
                frames = int(image.n_frames)  # type: ignore[attr-defined]
                width, height = image.size
        except UnidentifiedImageError as error:
            found = "is not a GIF" if path.stat().st_size else "is empty"
            raise SourceError(f"{path}: {found}", remedy="check what the file is") from error
        except (PermissionError, FileNotFoundError) as error:
            raise unreadable(path, error) from error
        except GIF_ERRORS as error:
            raise CutShortError(path, 0, str(error)) from error
        if keep_readable:
            frames = self._readable(frames, notes)
        transparent, grey = self._probe(min(frames, GREY_PROBES))
        if transparent:
            notes.append("transparent pixels are shown black")
        if grey and color == "auto":
            notes.append(f"read as grey, as its first {min(frames, GREY_PROBES)} frames are")
        self.info = SourceInfo(
            path=path,
            kind="gif",
            frames=frames,
            exact=True,
            height=height,
            width=width,
            channels=choose_channels(color, 1 if grey else 3),
            dtype="uint8",
            fps=_frame_rate(path, notes),
            notes=("palette pictures (GIF holds at most 256 colours a frame)", *notes),
        )

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        for pixels in self._compose(numbers):
            yield np.where(pixels[:, :, 3:] == 0, np.uint8(0), pixels[:, :, :3])

    def _compose(self, numbers: range) -> Iterator[np.ndarray]:
        """Yield the numbered frames as (H, W, 4) RGBA; decoding is sequential in the format."""
        with Image.open(self._path, formats=["GIF"]) as image:
            for number in range(numbers[-1] + 1):
                try:
                    image.seek(number)
                    image.load()
                except GIF_ERRORS as error:
                    raise CutShortError(self._path, number, str(error)) from error
                if number in numbers:
                    yield np.asarray(image.convert("RGBA"))

    def _readable(self, frames: int, notes: list[str]) -> int:
        """Decode everything once; return how many frames can be, and note where it ended."""
        count = 0
        try:
            for _ in self._compose(range(frames)):
                count += 1
        except CutShortError as error:
            if count == 0:
                raise
            notes.append(kept_note(self._path, count, error.reason))
        return count

    def _probe(self, count: int) -> tuple[bool, bool]:
        transparent, grey = False, True
        for pixels in self._compose(range(count)):
            transparent = transparent or bool((pixels[:, :, 3] == 0).any())
            grey = grey and looks_grey(pixels[:, :, :3] * (pixels[:, :, 3:] > 0))
        return transparent, grey


def _frame_rate(path: Path, notes: list[str]) -> float | None:
    """Return 1 / the usual delay; FFmpeg reads the delays, which Pillow only does by decoding.

    A delay of 0 or 10 ms counts as 100 ms, as browsers play it.
    """
    try:
        with av.open(str(path.absolute()), format="gif") as container:
            stream = container.streams.video[0]
            delays = [
                float(packet.duration * stream.time_base)
                for packet in container.demux(stream)
                if packet.size and packet.duration and stream.time_base
            ]
    except av.FFmpegError:
        return None
    if not delays:
        return None
    usual = statistics.median_low(delays)
    if len(set(delays)) > 1:
        shown = f"{1000 * min(delays):.0f} to {1000 * max(delays):.0f} ms"
        notes.append(f"frame delays vary from {shown}; played back at {1000 * usual:.0f} ms")
    return 1.0 / usual
