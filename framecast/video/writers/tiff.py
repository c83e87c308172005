"""Frames as a stack of pages in one TIFF, which ImageJ and tifffile open as a clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile

from framecast.video.writers.base import NUMBERS, FrameWriter


class TiffWriter(FrameWriter):
    """TIFF stack (T, H, W) or (T, H, W, 3), values as the source has them."""

    kind, stores, keeps_values = "TIFF", NUMBERS - {"bool"}, True

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._path = temporary
        self._file = tifffile.TiffWriter(temporary)
        self._metadata = {"axes": "TYX" if first.shape[2] == 1 else "TYXS", "fps": self.fps}

    def _append(self, frame: np.ndarray) -> None:
        grey = frame.shape[2] == 1
        try:
            self._file.write(
                frame[..., 0] if grey else frame,
                photometric="minisblack" if grey else "rgb",
                contiguous=True,  # one series of pages, not a series for each
                metadata=self._metadata,
            )
        except ValueError as error:  # beyond 4 GB, which offsets of 32 bits cannot reach
            raise OSError(str(error)) from error
        except OSError:
            # NumPy says how much it has written and not why no more; the same write says why.
            with self._path.open("ab") as file:
                file.write(bytes(frame.nbytes))
            raise

    def _finish(self) -> None:
        super()._finish()
        if self.frames == 1:  # which tifffile describes as a picture, without the axis of time
            shape = (1, *self._like[0])[: len(self._metadata["axes"])]
            tifffile.tiffcomment(self._path, json.dumps({"shape": shape, **self._metadata}))

    def _close(self) -> None:
        if self._file is not None:  # without the pages that closing the writer would add
            self._file.filehandle.close()
