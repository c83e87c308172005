"""A NumPy file as one clip: .npy through a memory map, .npz frame by frame out of the archive.

Object arrays are refused from their header; nothing is ever unpickled.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from framecast.errors import SourceError
from framecast.video.readers.base import (
    Color,
    CutShortError,
    FrameSource,
    SourceInfo,
    choose_channels,
    kept_note,
    readable_start,
    unreadable,
)

FLOAT_SLACK = 1e-6
"""How far floats may leave [0, 1] and be taken for rounding."""

READ_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error)


class ForbiddenValueError(Exception):
    """A frame with NaN, infinite or out-of-range floats; str() says which."""


@dataclass(frozen=True)
class ArrayHeader:
    """Where an array lies and how; `member` names it inside an .npz, None in an .npy."""

    member: str | None
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int


class ArraySource(FrameSource):
    """Frames of an array (T, H, W) or (T, H, W, C), C = 1, 3 or 4 (alpha dropped)."""

    def __init__(self, path: Path, color: Color, keep_readable: bool) -> None:
        """Read the header only; keep_readable reads everything once to find the first bad frame.

        Raises SourceError for another layout or type, CorruptSourceError for a file cut short.
        """
        self._path = path
        notes: list[str] = []
        header = _read_header(path, notes)
        self._header = header
        _check_layout(path, header)
        if header.dtype.kind == "f":
            notes.append("floats in [0, 1] are read as 16-bit pixels")
        if header.shape[3:] == (4,):
            notes.append("transparency is dropped")
        frames = header.shape[0]
        held = self._frames_held()
        if held < frames and not (keep_readable and held):
            raise CutShortError(path, held, f"the file ends here, but announces {frames} frames")
        if held < frames:
            notes.append(kept_note(path, held, f"{frames} frames are announced"))
            frames = held
        if keep_readable:
            frames, problem = readable_start(self._decode(range(frames)))
            if problem:
                notes.append(kept_note(path, frames, problem))
        deep = header.dtype.kind == "f" or header.dtype.itemsize == 2
        self.info = SourceInfo(
            path=path,
            kind="array",
            frames=frames,
            exact=True,
            height=header.shape[1],
            width=header.shape[2],
            channels=choose_channels(color, 1 if header.shape[3:] in ((), (1,)) else 3),
            dtype="uint16" if deep else "uint8",
            fps=None,
            notes=tuple(notes),
        )

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        number = numbers.start
        try:
            for number, stored in zip(numbers, self._stored(numbers), strict=True):  # noqa: B007
                yield _to_pixels(stored)
        except ForbiddenValueError as error:
            raise SourceError(
                f"{self._path}: frame {number} {error}",
                remedy="scale float frames to 0 (black) to 1 (white) and fill missing values",
            ) from error
        except READ_ERRORS as error:
            raise CutShortError(self._path, number, str(error)) from error

    def _stored(self, numbers: range) -> Iterator[np.ndarray]:
        """Yield the numbered frames with the type they have in the file."""
        header = self._header
        if header.member is None:
            shape = (self._frames_held(), *header.shape[1:])
            order = "F" if header.fortran else "C"
            mapped = np.memmap(self._path, header.dtype, "r", header.offset, shape, order)
            for number in numbers:
                yield np.asarray(mapped[number])
        elif header.fortran:
            with np.load(self._path, allow_pickle=False) as archive:
                whole = archive[header.member.removesuffix(".npy")]
            for number in numbers:
                yield whole[number]
        else:
            size = self._frame_bytes()
            with zipfile.ZipFile(self._path) as archive, archive.open(header.member) as file:
                for number in numbers:
                    file.seek(header.offset + number * size)
                    data = file.read(size)
                    if len(data) < size:
                        raise EOFError("the archive's array ends in it")
                    yield np.frombuffer(data, header.dtype).reshape(header.shape[1:])

    def _frame_bytes(self) -> int:
        return int(np.prod(self._header.shape[1:], dtype=np.int64)) * self._header.dtype.itemsize

    def _frames_held(self) -> int:
        """Return how many frames the bytes of an .npy are enough for."""
        header = self._header
        if header.member is not None:
            return header.shape[0]
        held = (self._path.stat().st_size - header.offset) // self._frame_bytes()
        if header.fortran and held < header.shape[0]:
            return 0  # each frame is spread over the whole file
        return min(header.shape[0], held)


def _read_header(path: Path, notes: list[str]) -> ArrayHeader:
    try:
        if path.suffix.lower() == ".npz":
            return _read_archive(path, notes)
        with path.open("rb") as file:
            return _read_npy(file, None)
    except (PermissionError, FileNotFoundError) as error:
        raise unreadable(path, error) from error
    except READ_ERRORS as error:
        kind = "NumPy archive" if path.suffix.lower() == ".npz" else "NumPy array"
        found = f"is no readable {kind} ({error})" if path.stat().st_size else "is empty"
        raise SourceError(f"{path}: {found}", remedy="copy it again or save it anew") from error


def _read_npy(file: BinaryIO, member: str | None) -> ArrayHeader:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]}")
    return ArrayHeader(member, shape, fortran, dtype, file.tell())


def _read_archive(path: Path, notes: list[str]) -> ArrayHeader:
    with zipfile.ZipFile(path) as archive:
        headers = []
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    headers.append(_read_npy(file, name))
    clips = [h for h in headers if len(h.shape) in (3, 4) and not h.dtype.hasobject]
    names = ", ".join(f"{_title(h)} {h.shape}" for h in headers) or "nothing"
    if len(headers) == 1:
        return headers[0]
    if len(clips) == 1:
        notes.append(f"of several arrays, {_title(clips[0])} is read")
        return clips[0]
    raise SourceError(
        f"{path}: expected one array of frames, found {names}",
        remedy="save the clip alone, with numpy.save",
    )


def _title(header: ArrayHeader) -> str:
    return (header.member or "").removesuffix(".npy")


def _check_layout(path: Path, header: ArrayHeader) -> None:
    shape, dtype = header.shape, header.dtype
    if dtype.hasobject:
        raise SourceError(
            f"{path}: holds Python objects, which are not read as they could run code",
            remedy="save a plain array of uint8, uint16 or float",
        )
    if len(shape) not in (3, 4):
        raise SourceError(
            f"{path}: expected an array (T, H, W) or (T, H, W, C), got shape {shape}",
            remedy="save one clip per file",
        )
    if len(shape) == 4 and shape[3] not in (1, 3, 4):
        remedy = "save grey frames as (T, H, W), colour as (T, H, W, 3)"
        if shape[1] in (1, 3, 4):
            remedy = "move the channels to the end, with numpy.moveaxis(frames, 1, -1)"
        raise SourceError(f"{path}: expected 1, 3 or 4 channels last, got {shape}", remedy=remedy)
    if 0 in shape:
        raise SourceError(f"{path}: the array is empty, shape {shape}", remedy="save some frames")
    if dtype.kind not in "bf" and (dtype.kind != "u" or dtype.itemsize > 2):
        raise SourceError(
            f"{path}: expected bool, uint8, uint16 or float in [0, 1], got {dtype}",
            remedy="convert it, for example with frames.astype(numpy.uint8) when all are 0 to 255",
        )


def _to_pixels(stored: np.ndarray) -> np.ndarray:
    """Turn one stored frame (H, W) or (H, W, C) into uint8 or uint16 (H, W, 1 or 3)."""
    frame = stored.reshape(*stored.shape[:2], -1)
    frame = frame[:, :, :3] if frame.shape[2] == 4 else frame
    if frame.dtype.kind == "b":
        return frame.astype(np.uint8) * np.uint8(255)
    if frame.dtype.kind == "u":
        return frame.astype(frame.dtype.newbyteorder("="))
    if np.isnan(frame).any():
        raise ForbiddenValueError("holds NaN")
    low, high = float(frame.min()), float(frame.max())
    if low < -FLOAT_SLACK or high > 1 + FLOAT_SLACK:
        raise ForbiddenValueError(f"holds values from {low:g} to {high:g}, outside [0, 1]")
    return np.rint(np.clip(frame.astype(np.float64), 0, 1) * 65535).astype(np.uint16)
