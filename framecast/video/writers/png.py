"""PNG frames: a folder of them, or one after another on standard output."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np

from framecast.errors import OutputError, UsageError
from framecast.runtime.output_files import (
    check_parent,
    exists_already,
    explained_write,
    write_whole,
)
from framecast.video.writers.base import FrameWriter

FRAME_FILE = re.compile(r"(?:frame|input|lead)_\d{4,}(?:_\d{4,6}|(?:\.\d+)?(?:min|s))?\.png")
"""Names that frames get here, and that are replaced when frames are written again."""


class PngWriter(FrameWriter):
    """Folder of PNG files, `frame_0000.png` where no names are given; every bit is kept."""

    kind, keeps_values = "PNG folder", True

    def _check_target(self) -> None:
        with explained_write(self.path, self.kind):
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
        number, names = self.frames, self.names
        name = names[number] if names else f"frame_{number:04d}"
        (self._folder / f"{name}.png").write_bytes(encode_png(frame))


class PngStreamWriter(FrameWriter):
    """PNG images one after another on standard output, each as soon as it is there."""

    kind = "PNG stream"

    def _check_target(self) -> None:
        if sys.stdout.isatty():
            raise UsageError(
                "-: standard output is a terminal", remedy="send it through a pipe or into a file"
            )

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        sys.stdout.flush()
        self._descriptor = sys.stdout.fileno()

    def _append(self, frame: np.ndarray) -> None:
        # Past Python's buffer, which would complain at exit about a reader that has gone.
        data = memoryview(encode_png(frame))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _place(self) -> AbstractContextManager[Path]:
        return nullcontext(self.path)


def _is_frame_file(entry: Path) -> bool:
    return entry.is_file() and FRAME_FILE.fullmatch(entry.name) is not None


def encode_png(frame_HWC: np.ndarray) -> bytes:
    """The bytes of a PNG image of a frame (H, W, 1 or 3), uint8 or uint16, exactly."""
    grey = frame_HWC.shape[2] == 1
    pixels = frame_HWC[..., 0] if grey else cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    # imencode, as imwrite returns False instead of saying why it failed.
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_picture(path: Path, frame_HWC: np.ndarray) -> None:
    """Write one uint8 or uint16 picture, grey or RGB, as PNG, replacing `path` when it is whole.

    Raises ResourceError when the disk is full, OutputError when it refuses otherwise.
    """
    write_whole(path, encode_png(frame_HWC), "picture")
