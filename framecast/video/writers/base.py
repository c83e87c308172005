"""What every writer of frames does: check them, and leave a target whole or untouched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import ClassVar

import av
import numpy as np

from framecast.errors import OutputError
from framecast.runtime.output_files import atomic_write, check_target, explained_write


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
        with explained_write(self.path, self.kind), ExitStack() as output:
            self._temporary = output.enter_context(self._place())
            output.callback(self._close)
            self._output = output.pop_all()
        return self

    def write(self, frame_HWC: np.ndarray) -> None:
        """Append one frame; raises ValueError for a wrong array, OutputError or ResourceError when
        the disk refuses it.
        """
        if self._temporary is None:
            raise RuntimeError("write() belongs inside the writer's `with` block")
        self._check_frame(frame_HWC)
        with explained_write(self.path, self.kind, av.FFmpegError):
            if self.frames == 0:
                self._open(self._temporary, frame_HWC)
            self._append(frame_HWC)
        self.frames += 1

    def __exit__(self, *raised: object) -> None:
        self._temporary = None
        if raised[0] is not None:  # not this file's error: it passes as it is
            self._output.__exit__(*raised)
            return
        with explained_write(self.path, self.kind, av.FFmpegError), self._output:
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
        check_dtype(frame)
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

    def _finish(self) -> None:  # noqa: B027  (PNG frames are whole as they come)
        """Write what is still pending."""

    def _close(self) -> None:  # noqa: B027  (not every format holds a file open)
        """Close what is open, after success and failure alike; raises nothing."""


def check_dtype(frame: np.ndarray) -> None:
    """Raise ValueError unless pixels are uint8 or uint16."""
    if frame.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 frame, got {frame.dtype}")
