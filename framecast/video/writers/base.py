"""What every writer of frames does: work beside the target, rename when the last frame is in.

So an error or Ctrl-C leaves the target as it was.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import av
import numpy as np

from framecast.errors import OutputError
from framecast.runtime.output_files import check_target, write_error


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
        self._check_frames()
        self._finish()
        self._check_target()
        temporary.replace(self.path)

    def _check_target(self) -> None:
        """Raise OutputError unless the target can be made here and nothing would be lost."""
        check_target(self.path, self.kind, self.overwrite)

    def _check_frames(self) -> None:
        if self.frames == 0:
            raise OutputError(f"{self.path}: there was no frame to write")

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

    @abstractmethod
    def _finish(self) -> None:
        """Write what is still pending and close."""

    @abstractmethod
    def _discard(self, temporary: Path) -> None:
        """Close what is still open and remove what is left of the temporary output."""


def check_dtype(frame: np.ndarray) -> None:
    """Raise ValueError unless pixels are uint8 or uint16."""
    if frame.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 frame, got {frame.dtype}")
