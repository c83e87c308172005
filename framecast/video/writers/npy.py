"""Frames as one NumPy array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from framecast.video.writers.base import NUMBERS, FrameWriter


class NpyWriter(FrameWriter):
    """NumPy array (T, H, W, C), values as the source has them."""

    kind, stores, keeps_values = "NPY", NUMBERS, True

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._file = temporary.open("xb")
        self._write_header()

    def _append(self, frame: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(frame).data)

    def _finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        super()._finish()

    def _write_header(self) -> None:
        # NumPy pads the header for any length of the first axis: it can be rewritten in place.
        shape, dtype = self._like
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.frames, *shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
