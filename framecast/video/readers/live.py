"""Frames as they come, from standard input, a camera or the network: their number is unknown.

Standard input carries images one after another, PNG, JPEG or PNM, as `ffmpeg -f image2pipe` writes
them, or raw frames of a given size. Each image is read to its own last byte and no further,
so that a frame is there as soon as it was sent.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from PIL.PpmImagePlugin import PpmImageFile

from framecast.errors import CorruptSourceError, SourceError, UsageError
from framecast.runtime.text import counted
from framecast.video.pixels import convert_color, convert_depth
from framecast.video.readers.frame_checks import show_size
from framecast.video.readers.image_file import DamagedImageError, decode_image, highest_of_pnm

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

STANDARD_INPUT = "-"
CAMERA = "camera:"
# A path of the command line has lost one of the two slashes.
URL = re.compile(r"(?P<protocol>https?|rtsps?|rtmps?|srt|udp|tcp):/{1,2}(?P<place>.+)")

NAME_LIMIT = 60

# Seconds without an answer or a frame after which a network stream is given up.
NETWORK_TIMEOUT = 10.0

PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
MARKER, JPEG_SCAN, JPEG_END = 0xFF, 0xDA, 0xD9
# Bytes after 0xFF within the pixels of a JPEG: a stuffed zero and the restart markers.
NOT_MARKERS = frozenset({0x00, *range(0xD0, 0xD8)})

# Bytes of one part of an image beyond which it is taken for damaged.
IMAGE_LIMIT = 2**30


@dataclass(frozen=True)
class Feed:
    """`frames` (H, W, C), uint8 or uint16, all of the first one's size and type, one at a time.

    `fps` in frames per second and `total` in frames, each None where nobody knows; `look` is what
    `open_writer` is told so that results keep values and pixel aspect of a file, `breaks` the
    numbers of frames before which others are missing.
    """

    name: str
    frames: Iterator[np.ndarray]
    fps: float | None = None
    total: int | None = None
    notes: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)
    breaks: frozenset[int] = frozenset()


def is_live(source: str) -> bool:
    """Return whether a source's name means standard input, a camera or a network stream."""
    return source == STANDARD_INPUT or source.startswith(CAMERA) or bool(URL.match(source))


def full_address(source: str) -> str:
    """A source's name with the slash that an address has lost as a path."""
    return URL.sub(r"\g<protocol>://\g<place>", source)


def check_camera(source: str) -> None:
    """Raise UsageError for the name of a camera without a number."""
    if source.startswith(CAMERA) and not re.fullmatch(r"[0-9]{1,3}", source.removeprefix(CAMERA)):
        raise UsageError(f"{source}: cameras have numbers", remedy="write it like camera:0")


def live_name(source: str) -> str:
    """The name of a live source as part of a file name."""
    if match := URL.match(source):
        return re.sub(r"[^\w.-]+", "-", match["place"])[:NAME_LIMIT].strip("-")
    return "stdin" if source == STANDARD_INPUT else source.replace(":", "-")


def open_live(source: str, channels: int, size: tuple[int, int] | None = None) -> Feed:
    """Open standard input ("-"), a camera ("camera:0") or a URL, as 1 (grey) or 3 (RGB) channels.

    `size` (H, W) says that standard input is raw 8-bit frames of these pixels and channels, rows
    from the top, without anything between them. Raises UsageError for a camera without a number,
    SourceError when there is no such camera; `frames` raises CorruptSourceError where the stream
    breaks off inside a frame, SourceError at what is no image or has another size.
    """
    if source == STANDARD_INPUT:
        if sys.stdin.isatty():
            raise UsageError(
                "-: standard input is a terminal", remedy="send it frames through a pipe"
            )
        file = sys.stdin.buffer
        frames = _images(file) if size is None else _raw_frames(file, (*size, channels))
        return Feed("standard input", _alike("standard input", frames, channels))
    if URL.match(source):
        return _open_network(full_address(source), channels)
    return _open_camera(source, channels)


def _open_network(url: str, channels: int) -> Feed:
    import av  # noqa: PLC0415  (slow to load)

    try:
        container = av.open(url, timeout=NETWORK_TIMEOUT)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(
            f"{url}: cannot be opened ({_reason(error)})",
            remedy="check the address and the network",
        ) from error
    if not container.streams.video:
        raise SourceError(f"{url}: has no video stream", remedy="give an address with pictures")
    rate = container.streams.video[0].average_rate
    frames = _alike(url, _network_frames(url, container), channels)
    return Feed(url, frames, fps=float(rate) if rate else None)


def _network_frames(url: str, container: InputContainer) -> Iterator[np.ndarray]:
    import av  # noqa: PLC0415  (slow to load)

    from framecast.video.readers.video_file import UprightPixels  # noqa: PLC0415

    number, pixels = 0, UprightPixels()
    with container:
        try:
            for frame in container.decode(video=0):
                # A stream is mostly joined between key frames, where decoders show garbage.
                if number or frame.key_frame:
                    yield pixels(frame)
                    number += 1
        except (av.FFmpegError, OSError) as error:
            raise SourceError(
                f"{url}: stops at frame {number} ({_reason(error)})", remedy="check the network"
            ) from error


def _reason(error: av.FFmpegError | OSError) -> str:
    """Why the network gives no frames, as a part of a sentence."""
    import av  # noqa: PLC0415  (slow to load)

    if isinstance(error, av.error.ExitError):  # PyAV has told FFmpeg to wait no longer
        return f"nothing has come for {NETWORK_TIMEOUT:g} seconds"
    return (error.strerror or str(error)).lower()


def _open_camera(source: str, channels: int) -> Feed:
    check_camera(source)
    capture = cv2.VideoCapture(int(source.removeprefix(CAMERA)))
    if not capture.isOpened():
        raise SourceError(
            f"{source}: there is no such camera, or another program uses it",
            remedy="try another number",
        )
    # The newest picture, not one that waited while the last forecast was made.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    fps = capture.get(cv2.CAP_PROP_FPS)
    frames = _alike(source, _pictures(source, capture), channels)
    return Feed(source, frames, fps=fps if fps > 0 else None)


def _pictures(source: str, capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    try:
        for number in itertools.count():
            there, picture = capture.read()
            if not there:
                raise SourceError(
                    f"{source}: gives no picture {number}", remedy="check its cable or its program"
                )
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _alike(name: str, frames: Iterator[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Frames with the given channels and the first one's depth; SourceError at another size."""
    first: np.ndarray | None = None
    for number, frame in enumerate(frames):
        first = frame if first is None else first
        if frame.shape[:2] != first.shape[:2]:
            raise SourceError(
                f"{name}: frame {number} is {show_size(frame.shape)} where the first is "
                f"{show_size(first.shape)} (height x width)",
                remedy="send frames of one size",
            )
        yield np.ascontiguousarray(convert_depth(convert_color(frame, channels), first.dtype))


def _raw_frames(file: BinaryIO, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    length = int(np.prod(shape))
    for number in itertools.count():
        data = file.read(length)
        if not data:
            return
        if len(data) < length:
            raise CorruptSourceError(
                f"standard input: ends after {len(data)} of the {length} bytes of frame {number}",
                remedy=f"send raw frames of {shape[0]}x{shape[1]} (height x width), "
                f"{counted(shape[2], 'byte')} a pixel, or give another --size or --color",
            )
        yield np.frombuffer(data, np.uint8).reshape(shape)


def _images(file: BinaryIO) -> Iterator[np.ndarray]:
    for number in itertools.count():
        try:
            data = _read_image(file, number)
            if not data:
                return
            frame = decode_image(data, "standard input")
        except DamagedImageError as error:
            raise CorruptSourceError(
                f"standard input: frame {number} cannot be read ({error})",
                remedy="check the program that sends it",
            ) from error
        yield frame


def _read_image(file: BinaryIO, number: int) -> bytes:
    """The bytes of the next image; none at the end of the stream."""
    start = file.read(2)
    if not start:
        return b""
    readers: dict[bytes, Callable[[BinaryIO], bytes]] = {
        PNG_START[:2]: _read_png,
        JPEG_START: _read_jpeg,
        b"P5": partial(_read_pnm, start=b"P5"),
        b"P6": partial(_read_pnm, start=b"P6"),
    }
    if start not in readers:
        raise SourceError(
            f"standard input: frame {number} is no PNG, JPEG or PNM image",
            remedy="send images one after another, as ffmpeg -f image2pipe -c:v png does, or raw "
            "frames with --size",
        )
    return start + readers[start](file)


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length) if length <= IMAGE_LIMIT else b""
    if len(data) < length:
        raise DamagedImageError(
            "the stream ends in it" if length <= IMAGE_LIMIT else "it is damaged"
        )
    return data


def _read_png(file: BinaryIO) -> bytes:
    """Chunks up to IEND (PNG specification, section 5); the first two bytes are read already."""
    parts = [_exactly(file, len(PNG_START) - 2)]
    while True:
        head = _exactly(file, 8)
        parts += [head, _exactly(file, int.from_bytes(head[:4], "big") + 4)]
        if head[4:] == b"IEND":
            return b"".join(parts)


def _read_jpeg(file: BinaryIO) -> bytes:
    """Segments up to the end marker (ITU-T T.81, annex B); the start marker is read already."""
    data = bytearray()
    head = _exactly(file, 2)
    while True:
        if head[0] != MARKER:
            raise DamagedImageError("it is damaged")
        data += head
        if head[1] == JPEG_END:
            return bytes(data)
        length = _exactly(file, 2)
        data += length + _exactly(file, max(0, int.from_bytes(length, "big") - 2))
        if head[1] == JPEG_SCAN:
            pixels, head = _read_scan(file)
            data += pixels
        else:
            head = _exactly(file, 2)


def _read_scan(file: BinaryIO) -> tuple[bytes, bytes]:
    """Compressed pixels, and the marker that ends them."""
    data = bytearray()
    while True:
        byte = _exactly(file, 1)
        if byte[0] == MARKER:
            after = byte
            while after[0] == MARKER:  # any number of them may come before the one that counts
                after = _exactly(file, 1)
            if after[0] not in NOT_MARKERS:
                return bytes(data), byte + after
            byte += after
        data += byte


class _Recorder:
    """A file that keeps what is read from it, for a parser that reads a header byte by byte."""

    def __init__(self, file: BinaryIO, start: bytes) -> None:
        self._file, self._pending, self.data = file, start, b""

    def read(self, length: int) -> bytes:
        taken, self._pending = self._pending[:length], self._pending[length:]
        taken += _exactly(self._file, length - len(taken))
        self.data += taken
        return taken

    def tell(self) -> int:
        return len(self.data)


def _read_pnm(file: BinaryIO, start: bytes) -> bytes:
    """Header and pixels of a PGM or PPM, whose `start`, "P5" or "P6", is read already."""
    head = _Recorder(file, start)
    try:
        image = PpmImageFile(head)  # reads no further than its header
    except (SyntaxError, ValueError) as error:
        raise DamagedImageError("it is damaged") from error
    deep = highest_of_pnm(image) > 255 or image.mode == "I"
    samples = image.width * image.height * (1 if start == b"P5" else 3)
    return head.data[len(start) :] + _exactly(file, samples * (2 if deep else 1))
