"""Arrays as one clip: .npy through a memory map, .npz out of the archive, .h5 and .nc by h5py.

Several clips in one file follow one another, with a break between them. Object arrays are refused
from their header; nothing is ever unpickled.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from framecast.errors import InputError, SourceError, UsageError
from framecast.video.readers.array_axes import Layout, given_axes, inferred_axes
from framecast.video.readers.base import (
    TRANSPARENT_NOTE,
    CutShortError,
    FrameSource,
    ReadOptions,
    SourceInfo,
    check_finite,
    check_memory,
    choose_channels,
    kept_note,
    on_black,
    readable_start,
    unreadable,
)
from framecast.video.value_range import full_range

# Exceptions of NumPy, zipfile and h5py, depending on where a file is broken.
READ_ERRORS = (
    *(OSError, ValueError, EOFError, SyntaxError, TypeError, IndexError, KeyError, OverflowError),
    # zipfile raises these for unknown methods, and for members that are encrypted.
    *(NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)

HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".nc"})

NETCDF_3 = b"CDF"  # the first bytes of the format before HDF5, which h5py does not read


@dataclass(frozen=True)
class Packing:
    """How a variable's numbers become values (CF conventions, section 8.1, and 2.5.1 for missing).

    Stored numbers times `scale` plus `offset` are values; those in `missing` are none.
    """

    scale: float
    offset: float
    missing: tuple[float, ...]


@dataclass(frozen=True)
class StoredArray:
    """One array of a file: its place and layout. `name` is its name in an archive, "" in an .npy.

    `offset` is where its bytes begin, in an archive's member or in the file; None in HDF5, where
    `packing` tells what the numbers stand for.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    offset: int | None = None
    packing: Packing | None = None

    def open(self, stack: ExitStack) -> Any:
        """An object that is indexed like the array; `stack` closes its file."""
        suffix = self.path.suffix.lower()
        if suffix in HDF5_SUFFIXES:
            found = stack.enter_context(_import_h5py().File(self.path, "r"))[self.name]
            return found if self.packing is None else _Unpacked(found, self)
        if suffix == ".npz":
            return _ArchivedArray(self, stack)
        shape = (*self.shape[:-1], -1) if self.fortran else (-1, *self.shape[1:])
        held = (self.path.stat().st_size - self.offset) // self.dtype.itemsize
        whole = held - held % math.prod(self.shape[1:])
        # Of a file that is cut short only its whole rows can be shaped.
        flat = np.memmap(self.path, self.dtype, "r", self.offset, min(whole, math.prod(self.shape)))
        return flat.reshape(shape, order="F" if self.fortran else "C")

    def rows_held(self) -> int:
        """Number of entries of the first axis that the bytes of an .npy hold."""
        if self.path.suffix.lower() != ".npy":
            return self.shape[0]
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        held = (self.path.stat().st_size - self.offset) // row
        # In Fortran's order each row is spread over the whole file.
        return self.shape[0] if held >= self.shape[0] else 0 if self.fortran else held


class _Unpacked:
    """A variable of HDF5, indexed like it, with the values that its numbers stand for."""

    def __init__(self, found: Any, stored: StoredArray) -> None:
        self._found, self._stored = found, stored

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        numbers, packing = self._found[key], self._stored.packing
        values = numbers.astype(self._stored.dtype) * packing.scale + packing.offset
        values[np.isin(numbers, np.asarray(packing.missing, numbers.dtype))] = np.nan
        return values


class _ArchivedArray:
    """An array in an .npz: entries of its first axes are read as they come, without the rest."""

    def __init__(self, stored: StoredArray, stack: ExitStack) -> None:
        self._stored = stored
        archive = stack.enter_context(zipfile.ZipFile(stored.path))
        self._file = stack.enter_context(archive.open(f"{stored.name}.npy"))
        self._whole: np.ndarray | None = None

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        stored, depth = self._stored, next(i for i, k in enumerate(key) if isinstance(k, slice))
        contiguous = not stored.fortran and all(isinstance(k, slice) for k in key[depth:])
        place = int(np.ravel_multi_index(key[:depth], stored.shape[:depth])) if contiguous else 0
        size = math.prod(stored.shape[depth:]) * stored.dtype.itemsize
        start = stored.offset + place * size
        # Going back would mean decompressing from the start again, so then all of it is kept.
        if self._whole is None and contiguous and start >= self._file.tell():
            self._file.seek(start)
            data = self._file.read(size)
            if len(data) < size:
                raise EOFError("the archive's array ends in it")
            return np.frombuffer(data, stored.dtype).reshape(stored.shape[depth:])
        if self._whole is None:
            check_memory(stored.path, math.prod(stored.shape) * stored.dtype.itemsize)
            with np.load(stored.path, allow_pickle=False) as archive:
                self._whole = archive[stored.name]
        return self._whole[key]


class ArraySource(FrameSource):
    """Frames of one array or of several, of which each may hold many clips."""

    _said_missing = False

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read the headers, and a few frames; keep_readable reads everything once.

        Raises SourceError for another layout or type, UsageError for axes that do not fit,
        CorruptSourceError for a file cut short.
        """
        self._path = path
        notes: list[str] = []
        self._arrays = _find_arrays(path, options.variable, notes)
        packing = self._arrays[0].packing
        self._has_missing = packing is not None and bool(packing.missing)
        self._layouts = [_layout(array, options.axes) for array in self._arrays]
        for array, layout in zip(self._arrays, self._layouts, strict=True):
            frame = math.prod(layout.size(axis) for axis in "HWC")
            check_memory(path, frame * array.dtype.itemsize)
        self._starts = np.cumsum([0, *(_frames(layout) for layout in self._layouts)])
        frames = self._held(options.keep_readable, notes)
        if options.keep_readable:
            frames, problem = readable_start(self._decode(range(frames)))
            if problem:
                notes.append(kept_note(path, frames, problem))
        first = self._layouts[0]
        breaks = [
            int(start) + clip * layout.size("T")
            for start, layout in zip(self._starts[:-1], self._layouts, strict=True)
            for clip in range(layout.size("N"))
        ]
        notes += _layout_notes(self._arrays, self._layouts)
        if first.size("C") == 4:
            notes.append(TRANSPARENT_NOTE)
        values = full_range(self._arrays[0].dtype)
        self.info = SourceInfo(
            path=path,
            kind="array",
            frames=frames,
            exact=True,
            height=first.size("H"),
            width=first.size("W"),
            channels=choose_channels(options.color, 1 if first.size("C") == 1 else 3),
            stored_channels=1 if first.size("C") == 1 else 3,
            dtype=values.pixel_dtype,
            values=values,
            fps=None,
            breaks=tuple(start for start in breaks if 0 < start < frames),
            notes=tuple(notes),
        )
        self._settle_range(options.range)

    def _shown(self, frame: np.ndarray) -> np.ndarray:
        if not self._has_missing or not np.isnan(frame).any():
            return frame
        if not self._said_missing:
            self._said_missing = True
            note = f"{self._path}: missing values are read as black ({self.info.values.low:.6g})"
            warnings.warn(note, stacklevel=2)
        return np.nan_to_num(frame, nan=self.info.values.low)

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        number = numbers.start
        try:
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
                    if not self._has_missing:
                        check_finite(self._path, number, frame)
                    yield on_black(frame) if frame.shape[2] == 4 else frame
        except InputError:  # has its own words
            raise
        except READ_ERRORS as error:
            raise CutShortError(self._path, number, str(error)) from error

    def _held(self, keep_readable: bool, notes: list[str]) -> int:
        """Frames that the file holds; CutShortError when it announces more, unless they may go."""
        announced = int(self._starts[-1])
        array, layout = self._arrays[0], self._layouts[0]
        rows = array.rows_held()
        if rows == array.shape[0]:
            return announced
        # Whole frames end where the bytes do only if clips or time are the first axis.
        held = rows * (layout.size("T") if layout.axes[0] == "N" else 1)
        held = held if layout.axes[0] == "N" or layout.size("N") == 1 else 0
        if not (keep_readable and held):
            raise CutShortError(
                self._path, held, f"the file ends here, but announces {announced} frames"
            )
        notes.append(kept_note(self._path, held, f"{announced} frames are announced"))
        return held


def _frames(layout: Layout) -> int:
    return layout.size("N") * layout.size("T")


def _find_arrays(path: Path, variable: str | None, notes: list[str]) -> list[StoredArray]:
    """The arrays of a file that are read, all of one frame size and type."""
    suffix = path.suffix.lower()
    try:
        if suffix in HDF5_SUFFIXES:
            arrays = _hdf5_arrays(path)
        elif suffix == ".npz":
            arrays = _npz_arrays(path)
        else:
            with path.open("rb") as file:
                arrays = [_npy_header(file, path, "")]
    except InputError:  # has its own words
        raise
    except (PermissionError, FileNotFoundError) as error:
        raise unreadable(path, error) from error
    except READ_ERRORS as error:
        kind = {".npy": "NumPy array", ".npz": "NumPy archive"}.get(suffix, "HDF5 file")
        found = f"is no readable {kind} ({error})" if path.stat().st_size else "is empty"
        raise SourceError(f"{path}: {found}", remedy="copy it again or save it again") from error
    named = {array.name: array for array in arrays}
    if variable is not None:
        if variable not in named:
            raise UsageError(
                f"{path}: has no array {variable!r}", remedy=f"use one of {', '.join(named)}"
            )
        return [_checked(named[variable])]
    if len(arrays) == 1:
        return [_checked(arrays[0])]
    clips = [
        a for a in arrays if 3 <= len(a.shape) <= 5 and a.dtype.kind in "biuf" and 0 not in a.shape
    ]
    shown = ", ".join(f"{a.name} {a.shape}" for a in arrays) or "nothing"
    if not clips or (suffix in HDF5_SUFFIXES and len(clips) > 1):
        raise SourceError(
            f"{path}: expected one array of frames, found {shown}",
            remedy="name one with --variable" if clips else "save an array (T, H, W)",
        )
    if len(clips) < len(arrays):
        notes.append(f"of several arrays, {', '.join(clip.name for clip in clips)} is read")
    return [_checked(clip) for clip in clips]


def _npy_header(file: BinaryIO, path: Path, name: str) -> StoredArray:
    # NumPy's own reader of headers; numpy.load would map or load, and could unpickle.
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]}")
    return StoredArray(path, name, shape, dtype, fortran, file.tell())


def _npz_arrays(path: Path) -> list[StoredArray]:
    arrays = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    arrays.append(_npy_header(file, path, member.removesuffix(".npy")))
    return arrays


def _hdf5_arrays(path: Path) -> list[StoredArray]:
    h5py, arrays = _import_h5py(), []

    def note(name: str, found: object) -> None:
        if isinstance(found, h5py.Dataset) and found.ndim >= 3:
            packing, dtype = _packing(found)
            arrays.append(StoredArray(path, name, found.shape, dtype, packing=packing))

    with path.open("rb") as file:
        if file.read(3) == NETCDF_3:
            raise ValueError("NetCDF 3; convert it with nccopy -k nc4")
    with h5py.File(path, "r") as file:
        file.visititems(note)
    return arrays


def _packing(found: Any) -> tuple[Packing | None, np.dtype]:
    """How a variable is packed, None where its numbers are its values; and the type of these."""
    told = {
        name: np.atleast_1d(found.attrs[name])
        for name in ("scale_factor", "add_offset", "_FillValue", "missing_value")
        if name in found.attrs and np.asarray(found.attrs[name]).dtype.kind in "iuf"
    }
    if not told or found.dtype.kind not in "iuf":
        return None, found.dtype
    scale, offset = (
        float(told.get(name, [default])[0])
        for name, default in (("scale_factor", 1), ("add_offset", 0))
    )
    missing = tuple(
        float(v) for name in ("_FillValue", "missing_value") for v in told.get(name, ())
    )
    # float32 holds integers of 16 bits exactly, as xarray has it.
    small = found.dtype.itemsize <= (4 if found.dtype.kind == "f" else 2)
    return Packing(scale, offset, missing), np.dtype(np.float32 if small else np.float64)


def _import_h5py() -> Any:
    try:
        import h5py  # noqa: PLC0415  (an extra; few clips are HDF5)
    except ImportError as error:
        raise UsageError(
            "reading .h5 and .nc needs h5py", remedy='pip install "framecast[netcdf]"'
        ) from error
    return h5py


def _checked(array: StoredArray) -> StoredArray:
    if array.dtype.hasobject:
        raise SourceError(
            f"{array.path}: holds Python objects, which are not read as they could run code",
            remedy="save a plain array of numbers",
        )
    if array.dtype.kind not in "biuf":
        raise SourceError(
            f"{array.path}: expected integers, floats or bool, got {array.dtype}",
            remedy="save real numbers",
        )
    if any(type(length) is not int or length < 0 for length in array.shape):
        raise SourceError(
            f"{array.path}: has the impossible shape {array.shape}", remedy="save frames again"
        )
    if 0 in array.shape:
        raise SourceError(
            f"{array.path}: the array is empty, shape {array.shape}", remedy="save frames"
        )
    return array


def _layout(array: StoredArray, axes: str) -> Layout:
    if axes != "auto":
        try:
            return Layout(given_axes(axes, array.shape), array.shape)
        except ValueError as error:
            raise UsageError(
                f"{array.path}: {error}", remedy="leave --axes out to infer them"
            ) from error
    rest = (slice(None),) * (len(array.shape) - 2)
    opened: list[Any] = []  # most shapes tell their axes without a look inside
    try:
        with ExitStack() as stack:

            def look(at: tuple[int, int]) -> np.ndarray:
                opened.extend([] if opened else [array.open(stack)])
                return np.asarray(opened[0][(*at, *rest)])

            return Layout(inferred_axes(array.shape, look), array.shape)
    except InputError:  # has its own words
        raise
    except READ_ERRORS as error:
        raise SourceError(
            f"{array.path}: {error}",
            remedy="save frames as (T, H, W) or (T, H, W, C), or say what is what with --axes",
        ) from error


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
