"""Frames to GIF, MP4, PNG folders and NPY: frame by frame, and never half a file.

Every writer works on a temporary neighbour of its target and renames it when the last frame is
in, so an error or Ctrl-C leaves the target as it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, ClassVar

import av
import cv2
import numpy as np

from framecast.errors import OutputError, UsageError
from framecast.targets import check_parent, check_target, exists_already, write_error

GIF_TICK = Fraction(1, 100)  # seconds
GIF_SHORTEST = 2  # browsers play a delay of one tick as ten
FPS_RANGE = (0.002, 1000)  # what GIF delays and MP4 time bases hold
H264_CRF = 17  # visually lossless
FRAME_FILE = re.compile(r"frame_\d{4,}\.png")


def to_uint8(frame: np.ndarray) -> np.ndarray:
    """Frame of any shape as uint8: uint16 is scaled by 255/65535 and rounded, uint8 is returned.

    Raises ValueError for any other dtype.
    """
    _check_dtype(frame)
    if frame.dtype == np.uint8:
        return frame
    return ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)


class FrameWriter(ABC):
    """Context manager that turns frames into one file or folder at `path`.

    Frames are uint8 or uint16 arrays (H, W, C), C = 1 (grey) or 3 (RGB), all of the first one's
    shape and dtype. `notes` says in plain sentences where the file had to differ from them,
    `frames` counts them. The target appears when the `with` block ends without an exception.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path, *, fps: float, overwrite: bool) -> None:
        self.path, self.fps, self.overwrite = path, fps, overwrite
        self.frames = 0
        self.notes: list[str] = []
        self._temporary: Path | None = None
        self._like: tuple[tuple[int, ...], np.dtype] | None = None  # first frame's shape, dtype
        self._check_target()

    def __enter__(self) -> FrameWriter:
        self._temporary = self.path.parent / f".framecast-{secrets.token_hex(6)}.part"
        return self

    def write(self, frame_HWC: np.ndarray) -> None:
        """Append one frame; raises ValueError for a wrong array, OutputError or ResourceError when
        the disk refuses it.
        """
        if self._temporary is None:
            raise RuntimeError("write() belongs inside the writer's `with` block")
        self._check_frame(frame_HWC)
        try:
            if self.frames == 0:
                self._open(self._temporary, frame_HWC)
            self._append(frame_HWC)
        except (OSError, av.FFmpegError) as error:
            raise write_error(self.path, self.kind, error) from error
        self.frames += 1

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        temporary, self._temporary = self._temporary, None
        try:
            if exception is None:
                self._commit(temporary)
        except (OSError, av.FFmpegError) as failure:
            raise write_error(self.path, self.kind, failure) from failure
        finally:
            self._discard(temporary)

    def _commit(self, temporary: Path) -> None:
        if self.frames == 0:
            raise OutputError(f"{self.path}: there was no frame to write")
        self._finish()
        self._check_target()
        temporary.replace(self.path)

    def _check_target(self) -> None:
        """Raise OutputError unless the target can be made here and nothing would be lost."""
        check_target(self.path, self.kind, self.overwrite)

    def _check_frame(self, frame: np.ndarray) -> None:
        if frame.ndim != 3 or frame.shape[2] not in (1, 3) or 0 in frame.shape:
            raise ValueError(f"expected a frame (H, W, 1 or 3), got shape {frame.shape}")
        _check_dtype(frame)
        like = (frame.shape, frame.dtype)
        self._like = self._like or like
        if like != self._like:
            raise ValueError(f"frame {self.frames} is {like}, the ones before are {self._like}")

    @abstractmethod
    def _open(self, temporary: Path, first: np.ndarray) -> None:
        """Start the temporary output for frames like `first`."""

    @abstractmethod
    def _append(self, frame: np.ndarray) -> None:
        """Write one checked frame."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is still pending and close."""

    @abstractmethod
    def _discard(self, temporary: Path) -> None:
        """Close what is still open and remove what is left of the temporary output."""


class _ContainerWriter(FrameWriter):
    """What GIF and MP4 share: an FFmpeg container with one video stream."""

    _container: av.container.OutputContainer | None = None
    _stream: av.VideoStream

    def _finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _discard(self, temporary: Path) -> None:
        if self._container is not None:
            # The file is on its way out, the first error is the one to report.
            with contextlib.suppress(OSError, av.FFmpegError):
                self._container.close()
        temporary.unlink(missing_ok=True)

    def _note_depth(self, first: np.ndarray) -> None:
        if first.dtype == np.uint16:
            self.notes.append(f"a {self.kind} holds 8 bits: the 16-bit frames were scaled down")


class GifWriter(_ContainerWriter):
    """Animated GIF, looping for ever; grey frames exactly, colours from a palette per frame.

    Delays are whole 10 ms steps, chosen so that the error does not add up; rates above 50 per
    second are slowed to 50, because browsers play shorter delays far too slowly.
    """

    kind = "GIF"

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._note_depth(first)
        self._ticks = 1 / (self.fps * GIF_TICK)
        if self._ticks < GIF_SHORTEST:
            fastest = 1 / (GIF_SHORTEST * GIF_TICK)
            self.notes.append(f"a GIF plays at most {fastest} frames/s: slowed from {self.fps:g}")
            self._ticks = GIF_SHORTEST
        height, width, channels = first.shape
        # Without final_delay the muxer gives the last frame a single tick.
        options = {"final_delay": str(round(self._ticks)), "loop": "0"}
        self._container = av.open(str(temporary), "w", format="gif", options=options)
        self._stream = self._container.add_stream("gif", rate=1 / GIF_TICK)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "gray" if channels == 1 else "pal8"
        self._palette = None if channels == 1 else _palette_graph(height, width)

    def _append(self, frame: np.ndarray) -> None:
        picture = _picture(to_uint8(frame), round(self.frames * self._ticks), GIF_TICK)
        if self._palette is not None:
            self._palette.push(picture)
            picture = self._palette.pull()
        self._container.mux(self._stream.encode(picture))


class Mp4Writer(_ContainerWriter):
    """H.264 in MP4 that browsers play: yuv420p, index first, exact frame rate.

    Odd sizes are padded by one row or column of edge pixels, never rescaled. Colours use and name
    the BT.601 matrix, which readers that ignore the name assume.
    """

    kind = "MP4"

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._note_depth(first)
        odd_height, odd_width = first.shape[0] % 2, first.shape[1] % 2
        height, width = first.shape[0] + odd_height, first.shape[1] + odd_width
        self._padding = ((0, odd_height), (0, odd_width), (0, 0))
        if odd_height or odd_width:
            self.notes.append(f"H.264 needs even sizes: padded to {height} x {width} (H x W)")
        rate = Fraction(self.fps).limit_denominator(1001)  # 1001: the NTSC rates stay exact
        options = {"movflags": "+faststart"}
        self._container = av.open(str(temporary), "w", format="mp4", options=options)
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(H264_CRF)})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601
        stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG
        self._stream = stream

    def _append(self, frame: np.ndarray) -> None:
        padded = np.pad(to_uint8(frame), self._padding, mode="edge")
        picture = _picture(padded, self.frames, self._stream.codec_context.time_base)
        self._container.mux(self._stream.encode(picture))


class PngWriter(FrameWriter):
    """Folder of `frame_0000.png`, `frame_0001.png`, ...; 8 and 16 bits, grey and RGB, exactly."""

    kind = "PNG folder"

    def _check_target(self) -> None:
        if self.path.is_dir():
            entries = list(self.path.iterdir())
            if entries and not self.overwrite:
                raise exists_already(self.path)
            foreign = [entry.name for entry in entries if not _is_frame_file(entry)]
            if foreign:
                problem = f"{self.path} holds {min(foreign)}, which is no frame of framecast"
                raise OutputError(problem, remedy="choose an empty or a new folder")
        elif self.path.exists():
            problem = f"{self.path} is a file, PNG frames need a folder"
            raise OutputError(problem, remedy="choose another name")
        check_parent(self.path)

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        temporary.mkdir()
        self._folder = temporary

    def _append(self, frame: np.ndarray) -> None:
        pixels = frame[..., 0] if frame.shape[2] == 1 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        # imencode, as imwrite returns False instead of saying why it failed.
        _, data = cv2.imencode(".png", pixels)
        (self._folder / f"frame_{self.frames:04d}.png").write_bytes(data)

    def _finish(self) -> None:
        """Nothing is pending: each frame is its own file."""

    def _commit(self, temporary: Path) -> None:
        if self.frames == 0 or not self.path.is_dir():
            super()._commit(temporary)
            return
        self._check_target()
        earlier = temporary.with_suffix(".old")
        self.path.replace(earlier)
        try:
            temporary.replace(self.path)
        except BaseException:
            earlier.replace(self.path)
            raise
        _remove_frames(earlier)

    def _discard(self, temporary: Path) -> None:
        if temporary.is_dir():
            _remove_frames(temporary)


class NpyWriter(FrameWriter):
    """NumPy array (T, H, W, C), uint8 or uint16 as given."""

    kind = "NPY"
    _file: BinaryIO | None = None

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._file = temporary.open("xb")
        self._write_header()

    def _append(self, frame: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(frame).data)

    def _finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header for any length of the first axis: it can be rewritten in place.
        shape, dtype = self._like
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.frames, *shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def _discard(self, temporary: Path) -> None:
        if self._file is not None:
            # Closing flushes what a full disk refused before; that error is the one to report.
            with contextlib.suppress(OSError):
                self._file.close()
        temporary.unlink(missing_ok=True)


WRITERS = {".gif": GifWriter, ".mp4": Mp4Writer, ".npy": NpyWriter, "": PngWriter}


def open_writer(path: str | Path, *, fps: float, overwrite: bool = False) -> FrameWriter:
    """Writer for `path`, chosen by its suffix; nothing is created before its `with` block.

    `.gif`, `.mp4` and `.npy` are files; a path without suffix, or one that ends in a slash, is a
    folder of PNG frames. `fps` is in frames per second. With `overwrite` an earlier file is
    replaced when the new one is complete; a folder only if it holds nothing but such frames.

    Raises UsageError for an unknown suffix or an fps out of range, OutputError for a target that
    exists or cannot be written.
    """
    if not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise UsageError(
            f"expected a frame rate of {FPS_RANGE[0]} to {FPS_RANGE[1]} per second, got {fps:g}",
            remedy="set it with --fps",
        )
    is_folder = str(path).endswith(("/", os.sep))
    path = Path(path)
    suffix = "" if is_folder else path.suffix.lower()
    if suffix not in WRITERS:
        raise UsageError(
            f"{path}: cannot write {suffix} files",
            remedy="use .gif, .mp4 or .npy, or end the path in / for a folder of PNG frames",
        )
    return WRITERS[suffix](path, fps=fps, overwrite=overwrite)


def write_frames(
    path: str | Path, frames: Iterable[np.ndarray], *, fps: float, overwrite: bool = False
) -> Path:
    """Write all `frames`, arrays (H, W, C), to `path` as `open_writer` does and return the path."""
    with open_writer(path, fps=fps, overwrite=overwrite) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.path


def _picture(frame: np.ndarray, pts: int, time_base: Fraction) -> av.VideoFrame:
    is_grey = frame.shape[2] == 1
    pixels = np.ascontiguousarray(frame[..., 0] if is_grey else frame)
    picture = av.VideoFrame.from_ndarray(pixels, format="gray" if is_grey else "rgb24")
    picture.pts, picture.time_base = pts, time_base
    return picture


def _palette_graph(height: int, width: int) -> av.filter.Graph:
    """FFmpeg filters that give each RGB frame its own 256 colours, one frame in, one out."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=GIF_TICK)
    split = graph.add("split")
    generate = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(generate, 0)
    split.link_to(use, 1)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph


def _check_dtype(frame: np.ndarray) -> None:
    if frame.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 frame, got {frame.dtype}")


def _is_frame_file(entry: Path) -> bool:
    return entry.is_file() and FRAME_FILE.fullmatch(entry.name) is not None


def _remove_frames(folder: Path) -> None:
    for entry in folder.iterdir():
        if _is_frame_file(entry):
            entry.unlink()
    folder.rmdir()
