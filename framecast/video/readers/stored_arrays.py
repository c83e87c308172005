"""The arrays that a .npy, .npz, .h5 or .nc file holds, found from headers alone.

A .npy is mapped into memory, a .npz read out of its archive, HDF5 read by h5py. Object arrays are
refused from their header; nothing is ever unpickled.
"""

from __future__ import annotations

import math
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from framecast.errors import SourceError, UsageError
from framecast.runtime.extras import check_installed
from framecast.video.readers.frame_checks import check_memory, check_part, explained

HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".nc"})

RATE = "frames_per_second"
"""The attribute of a variable that says how fast it plays."""

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
    `packing` tells what the numbers stand for, and `fps` the rate that the variable states.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    offset: int | None = None
    packing: Packing | None = None
    fps: float | None = None

    def open(self, stack: ExitStack) -> Any:
        """An object that is indexed like the array; `stack` closes its file."""
        suffix = self.path.suffix.lower()
        if suffix in HDF5_SUFFIXES:
            found = stack.enter_context(import_module("h5py").File(self.path, "r"))[self.name]
            return found if self.packing is None else _Unpacked(found, self)
        if suffix == ".npz":
            return _ArchivedArray(self, stack)
        # Of a file that is cut short only its whole rows can be shaped.
        shape = (self.rows_held(), *self.shape[1:])
        order = "F" if self.fortran else "C"
        return np.memmap(self.path, self.dtype, "r", self.offset, shape, order)

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
            return np.frombuffer(data, stored.dtype).reshape(stored.shape[depth:])
        if self._whole is None:
            check_memory(stored.path, math.prod(stored.shape) * stored.dtype.itemsize)
            with np.load(stored.path, allow_pickle=False) as archive:
                self._whole = archive[stored.name]
        return self._whole[key]


def find_arrays(path: Path, variable: str | None, notes: list[str]) -> list[StoredArray]:
    """The arrays of a file that are read, all of one frame size and type."""
    suffix = path.suffix.lower()

    def refused(error: Exception) -> SourceError:
        kind = {".npy": "NumPy array", ".npz": "NumPy archive"}.get(suffix, "HDF5 file")
        found = f"is no readable {kind} ({error})" if path.stat().st_size else "is empty"
        return SourceError(f"{path}: {found}", remedy="copy it again or save it again")

    with explained(path, refused):
        if suffix in HDF5_SUFFIXES:
            arrays = _hdf5_arrays(path)
        elif suffix == ".npz":
            arrays = _npz_arrays(path)
        else:
            variable = None  # the one array of an .npy has no name
            with path.open("rb") as file:
                arrays = [_npy_header(file, path, "")]
    named = {array.name: array for array in arrays}
    if variable is not None and variable not in named:
        remedy = f"use one of {', '.join(named)}" if named else "leave --variable out"
        raise UsageError(f"{path}: has no array {variable!r}", remedy=remedy)
    if variable is not None:
        arrays = [named[variable]]
    elif len(arrays) != 1:
        arrays = _clips_among(path, arrays, notes)
    for array in arrays:
        _check_type(array)
    return arrays


def _clips_among(path: Path, arrays: list[StoredArray], notes: list[str]) -> list[StoredArray]:
    """Those of several arrays that can be clips; of HDF5 there must be only one."""
    clips = [
        a for a in arrays if 3 <= len(a.shape) <= 5 and a.dtype.kind in "biuf" and 0 not in a.shape
    ]
    shown = ", ".join(f"{a.name} {a.shape}" for a in arrays) or "nothing"
    if not clips or (path.suffix.lower() in HDF5_SUFFIXES and len(clips) > 1):
        raise SourceError(
            f"{path}: expected one array of frames, found {shown}",
            remedy="name one with --variable" if clips else "save an array (T, H, W)",
        )
    if len(clips) < len(arrays):
        notes.append(f"of several arrays, {', '.join(clip.name for clip in clips)} is read")
    return clips


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
    check_installed("h5py", "netcdf", f"{path}: reading it")
    h5py, arrays = import_module("h5py"), []

    def note(name: str, found: object) -> None:
        if isinstance(found, h5py.Dataset) and found.ndim >= 3:
            _check_parts(path, found)
            packing, dtype = _packing(found)
            fps = _rate(found)
            arrays.append(StoredArray(path, name, found.shape, dtype, packing=packing, fps=fps))

    with path.open("rb") as file:
        if file.read(3) == NETCDF_3:
            raise ValueError("NetCDF 3; convert it with nccopy -k nc4")
    with h5py.File(path, "r") as file:
        file.visititems(note)
    return arrays


def _check_parts(path: Path, found: Any) -> None:
    """Raise SourceError where a dataset lies in something else than files, or in parts of them."""
    names = [source.file_name for source in found.virtual_sources()] if found.is_virtual else []
    for name in (*names, *(stored[0] for stored in found.external or ())):
        # HDF5 takes names from here or from the folder of the file.
        for part in (Path(name), path.parent / name):
            check_part(path, part)


def _numbers(found: Any, *names: str) -> dict[str, np.ndarray]:
    """Those of a variable's attributes that are there and hold numbers."""
    return {
        name: np.atleast_1d(found.attrs[name])
        for name in names
        if name in found.attrs and np.asarray(found.attrs[name]).dtype.kind in "iuf"
    }


def _rate(found: Any) -> float | None:
    """Frames per second, as our own files state them; None where a variable does not."""
    rates = [float(rate) for values in _numbers(found, RATE).values() for rate in values]
    return rates[0] if rates and 0 < rates[0] < math.inf else None


def _packing(found: Any) -> tuple[Packing | None, np.dtype]:
    """How a variable is packed, None where its numbers are its values; and the type of these."""
    attributes = _numbers(found, "scale_factor", "add_offset", "_FillValue", "missing_value")
    if not attributes or found.dtype.kind not in "iuf":
        return None, found.dtype
    scale, offset = (
        float(attributes.get(name, [default])[0])
        for name, default in (("scale_factor", 1), ("add_offset", 0))
    )
    missing = tuple(
        float(v) for name in ("_FillValue", "missing_value") for v in attributes.get(name, ())
    )
    if found.dtype.kind in "iu":  # -9999 in bytes would be another number
        bounds = np.iinfo(found.dtype)
        missing = tuple(value for value in missing if bounds.min <= value <= bounds.max)
    # float32 holds integers of 16 bits exactly, as xarray has it.
    small = found.dtype.itemsize <= (4 if found.dtype.kind == "f" else 2)
    return Packing(scale, offset, missing), np.dtype(np.float32 if small else np.float64)


def _check_type(array: StoredArray) -> None:
    """Raise SourceError for an array that holds no numbers of frames."""
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
    if min(array.shape, default=1) < 1:  # damaged files may have lengths below 0
        raise SourceError(
            f"{array.path}: the array is empty, shape {array.shape}", remedy="save frames"
        )
