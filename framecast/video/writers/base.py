"""What every writer of frames does: check them, and leave a target whole or untouched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from framecast.errors import OutputError
from framecast.runtime.output_files import atomic_write, check_target, explained_write
from framecast.video.value_range import ValueRange

PIXELS = frozenset({"uint8", "uint16"})
NUMBERS = PIXELS | {"bool", "int8", "int16", "int32", "int64", "uint32", "uint64"}
NUMBERS |= {"float16", "float32", "float64"}


class FrameWriter(ABC):
    """Context manager that turns frames into one file or folder at `path`; `write` is for inside.

    Frames are uint8 or uint16 arrays (H, W, C), C = 1 (grey) or 3 (RGB), all of the first one's
    shape and dtype; formats for data take the other types of `stores`, too. `notes` says in plain
    sentences where the file had to differ from them, `frames` counts them. The target appears when
    the `with` block ends without an exception.
    """

    kind: ClassVar[str]
    stores: ClassVar[frozenset[str]] = PIXELS
    # Whether the format is for data: then values are written as the source has them.
    keeps_values: ClassVar[bool] = False
    keeps_aspect: ClassVar[bool] = False
    # What its library raises, besides OSError, where the disk refuses to write.
    failures: ClassVar[tuple[type[Exception], ...]] = ()
    # What `_open` opens, where all frames go into one file.
    _file: Any = None

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        overwrite: bool = False,
        values: ValueRange | None = None,
        pixel_aspect: Fraction = Fraction(1),
        names: Sequence[str] = (),
    ) -> None:
        """Arguments as for `open_writer`."""
        self.path, self.fps, self.overwrite = path, float(fps), overwrite
        self.values, self.pixel_aspect, self.names = values, pixel_aspect, names
        self.frames = 0
        self.notes: list[str] = []
        self._like: tuple[tuple[int, ...], np.dtype] | None = None  # first frame's shape, dtype
        self._check_target()

    def __enter__(self) -> FrameWriter:
        with explained_write(self.path, self.kind), ExitStack() as output:
            self._temporary = output.enter_context(self._place())
            output.callback(self._close)
            self._output = output.pop_all()
        return self

    def write(self, frame_HWC: np.ndarray) -> None:
        """Append one frame; raises ValueError for a wrong array, OutputError or ResourceError when
        the disk refuses it.
        """
        if self.gives_back:
            frame_HWC = self.values.to_values(frame_HWC)
        self._check_frame(frame_HWC)
        with explained_write(self.path, self.kind, *self.failures):
            if self.frames == 0:
                self._note_look()
                self._open(self._temporary, frame_HWC)
            self._append(frame_HWC)
        self.frames += 1

    def __exit__(self, *raised: object) -> None:
        if raised[0] is not None:  # not this file's error: it passes as it is
            self._output.__exit__(*raised)
            return
        with explained_write(self.path, self.kind, *self.failures), self._output:
            if self.frames == 0:
                raise OutputError(f"{self.path}: there was no frame to write")
            self._finish()

    def _place(self) -> AbstractContextManager[Path]:
        """Where the frames go until the last one is written."""
        return atomic_write(self.path, self._check_target)

    def _check_target(self) -> None:
        """Raise OutputError unless the target can be made here and nothing would be lost."""
        check_target(self.path, self.kind, self.overwrite)

    def _check_frame(self, frame: np.ndarray) -> None:
        if frame.ndim != 3 or frame.shape[2] not in (1, 3) or 0 in frame.shape:
            raise ValueError(f"expected a frame (H, W, 1 or 3), got shape {frame.shape}")
        if frame.dtype.name not in self.stores:
            known = "a uint8 or uint16 frame" if self.stores == PIXELS else "real numbers"
            raise ValueError(f"expected {known}, got {frame.dtype}")
        like = (frame.shape, frame.dtype)
        self._like = self._like or like
        if like != self._like:
            raise ValueError(f"frame {self.frames} is {like}, the ones before are {self._like}")

    @property
    def gives_back(self) -> bool:
        """Whether pixels are written as values of the source's type and range."""
        values = self.values
        return values is not None and self.keeps_values and values.dtype in self.stores

    def _note_look(self) -> None:
        """Say what the format cannot keep of the source."""
        values, aspect = self.values, self.pixel_aspect
        if values is not None and self.keeps_values and values.dtype not in self.stores:
            top = np.iinfo(values.pixel_dtype).max
            self.notes.append(
                f"{self.kind} holds no {values.dtype}: {values.text} is written as 0..{top}"
            )
        if aspect != 1 and not self.keeps_aspect:
            self.notes.append(
                f"{self.kind} cannot say that its pixels are {aspect} times as wide as high"
            )

    @abstractmethod
    def _open(self, temporary: Path, first: np.ndarray) -> None:
        """Start the temporary output for frames like `first`."""

    @abstractmethod
    def _append(self, frame: np.ndarray) -> None:
        """Write one checked frame."""

    def _finish(self) -> None:
        """Write what is still pending, and close what is open."""
        if self._file is not None:
            self._file.close()

    def _close(self) -> None:
        """Close what is still open after a failure; raises nothing.

        Closing writes what a full disk refused before, and that error is the one to report.
        """
        with suppress(OSError, *self.failures):
            if self._file is not None:
                self._file.close()
