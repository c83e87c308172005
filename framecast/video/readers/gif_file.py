"""An animated GIF as one clip, composed as a browser shows it."""

from __future__ import annotations

import statistics
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from framecast.errors import SourceError
from framecast.video.readers.base import (
    Color,
    CutShortError,
    FrameSource,
    SourceInfo,
    choose_channels,
    kept_note,
    looks_grey,
    readable_start,
    unreadable,
)

GREY_PROBES = 8
GIF_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError)
"""What Pillow raises, according to where a GIF is broken."""


@dataclass(frozen=True)
class GifBlocks:
    """What the blocks of a GIF say, without decoding: its size and each complete frame's delay."""

    height: int
    width: int
    delays_ms: tuple[int, ...]
    complete: bool
    """Whether the trailer was reached; a file without it is cut short."""


class GifSource(FrameSource):
    """The frames of a GIF; each builds on those before it, so reading starts from the first."""

    def __init__(self, path: Path, color: Color, keep_readable: bool) -> None:
        """Walk the blocks, decode the first frames.

        keep_readable decodes the whole GIF once to find where it stops being readable.
        Raises SourceError when it is no GIF, CorruptSourceError when it is cut short.
        """
        self._path = path
        notes = ["palette pictures (GIF holds at most 256 colours a frame)"]
        blocks = _walk_blocks(path)
        frames = len(blocks.delays_ms)
        if frames == 0 or not (blocks.complete or keep_readable):
            raise CutShortError(path, frames, "the file ends in it")
        if keep_readable:
            frames, problem = readable_start(self._compose(range(frames)))
            if problem or not blocks.complete:
                notes.append(kept_note(path, frames, problem or "the file ends there"))
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
            height=blocks.height,
            width=blocks.width,
            channels=choose_channels(color, 1 if grey else 3),
            dtype="uint8",
            fps=_frame_rate(blocks.delays_ms, notes),
            notes=tuple(notes),
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

    def _probe(self, count: int) -> tuple[bool, bool]:
        transparent, grey = False, True
        for pixels in self._compose(range(count)):
            transparent = transparent or bool((pixels[:, :, 3] == 0).any())
            grey = grey and looks_grey(pixels[:, :, :3] * (pixels[:, :, 3:] > 0))
        return transparent, grey


def _walk_blocks(path: Path) -> GifBlocks:
    """Read the structure of the format (GIF89a specification, 1990); Pillow would have to decode.

    A delay of 0 or 10 ms counts as 100 ms, as browsers play it.
    """
    try:
        with path.open("rb") as file:
            screen = file.read(13)
            if screen[:6] not in (b"GIF87a", b"GIF89a"):
                found = "is not a GIF" if screen else "is empty"
                raise SourceError(f"{path}: {found}", remedy="check what the file is")
            if len(screen) < 13:
                raise CutShortError(path, 0, "the file ends in its header")
            _skip_palette(file, screen[10])
            delays, complete = _walk_frames(file)
    except OSError as error:
        raise unreadable(path, error) from error
    width, height = struct.unpack("<HH", screen[6:10])
    return GifBlocks(height, width, delays, complete)


def _walk_frames(file: BinaryIO) -> tuple[tuple[int, ...], bool]:
    """Return the delay of each complete frame in ms, and whether the trailer was reached."""
    delays: list[int] = []
    delay = 0
    while kind := file.read(1):
        if kind == b";":
            return tuple(delays), True
        if kind == b"!":
            label = file.read(1)
            content = _read_chunk(file)
            if label == b"\xf9" and len(content) >= 3:
                delay = 10 * int.from_bytes(content[1:3], "little")
            if content and not _skip_chunks(file):
                break
        elif kind == b",":
            place = file.read(9)
            if len(place) < 9:
                break
            _skip_palette(file, place[8])
            file.read(1)  # the LZW code size
            if not _skip_chunks(file):
                break
            delays.append(delay if delay > 10 else 100)
    return tuple(delays), False


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.read(3 << (flags & 7) + 1)


def _read_chunk(file: BinaryIO) -> bytes:
    length = file.read(1)
    return file.read(length[0]) if length else b""


def _skip_chunks(file: BinaryIO) -> bool:
    """Pass over chunks to the empty one that ends them; False when the file ends before it."""
    while length := file.read(1):
        if length == b"\x00":
            return True
        if len(file.read(length[0])) < length[0]:
            return False
    return False


def _frame_rate(delays_ms: tuple[int, ...], notes: list[str]) -> float:
    """Return the frames per second of the usual delay."""
    usual = statistics.median_low(delays_ms)
    if len(set(delays_ms)) > 1:
        shown = f"{min(delays_ms)} to {max(delays_ms)} ms"
        notes.append(f"frame delays vary from {shown}; played back at {usual} ms")
    return 1000 / usual
