"""Frames as a NetCDF file, where the package netCDF4 is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

from framecast.runtime.extras import check_installed
from framecast.video.readers.stored_arrays import RATE
from framecast.video.writers.base import NUMBERS, FrameWriter


class NetcdfWriter(FrameWriter):
    """Variable `frames` (time, y, x) or (time, y, x, channel), compressed, in the source's type."""

    kind, stores, keeps_values = "NetCDF", NUMBERS - {"bool", "float16"}, True
    failures = (RuntimeError, UnicodeEncodeError)  # of names with undecodable bytes

    def _check_target(self) -> None:
        check_installed("netCDF4", "netcdf", f"{self.path}: writing it")
        super()._check_target()

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._file = import_module("netCDF4").Dataset(temporary, "w")
        # The order of CF conventions; the first axis grows with every frame.
        names = ("time", "y", "x", "channel") if first.shape[2] == 3 else ("time", "y", "x")
        for name, size in zip(names, (None, *first.shape), strict=False):
            self._file.createDimension(name, size)  # None: unlimited
        self._variable = self._file.createVariable("frames", first.dtype, names, zlib=True)
        setattr(self._variable, RATE, self.fps)

    def _append(self, frame: np.ndarray) -> None:
        self._variable[self.frames] = frame if frame.shape[2] == 3 else frame[..., 0]
