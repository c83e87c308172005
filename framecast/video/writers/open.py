"""Frames to files, chosen by name; frame by frame, no half files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from framecast.errors import UsageError
from framecast.video.writers.base import FrameWriter

FPS_RANGE = (0.002, 1000)  # what GIF delays and MP4 time bases hold


STANDARD_OUTPUT = "-"

# Loaded when asked for: PyAV, tifffile and OpenCV would triple what a refusal takes.
WRITERS = {
    ".gif": "encoded_video.GifWriter",
    ".mp4": "encoded_video.Mp4Writer",
    ".webm": "encoded_video.WebmWriter",
    ".webp": "encoded_video.WebpWriter",
    ".apng": "encoded_video.ApngWriter",
    ".npy": "npy.NpyWriter",
    ".tif": "tiff.TiffWriter",
    ".tiff": "tiff.TiffWriter",
    ".nc": "netcdf.NetcdfWriter",
    "": "png.PngWriter",
}


def check_rate(fps: float) -> None:
    """Raise UsageError for frames per second that no file plays at."""
    if not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise UsageError(
            f"expected a frame rate of {FPS_RANGE[0]} to {FPS_RANGE[1]} per second, got {fps:g}",
            remedy="set it with --fps",
        )


def open_writer(path: str | Path, *, fps: float, **look: Any) -> FrameWriter:
    """Writer for `path`, chosen by its suffix; nothing is created before its `with` block.

    `.gif`, `.mp4`, `.webm`, `.webp` and `.apng` play; `.npy`, `.tif` and `.nc` keep values; a path
    without suffix, or one that ends in a slash, is a folder of PNG frames, "-" standard output as a
    stream of PNG images. `fps` is in frames per second. Of `look`, `values` are the type and range
    of the source's values, `pixel_aspect` is the width of its pixels in their heights, `names` are
    those of PNG files, without suffix. With `overwrite` an earlier file is replaced when the new
    one is complete; a folder only if it holds nothing but such frames.

    Raises UsageError for an unknown suffix or an fps out of range, OutputError for a target that
    exists or cannot be written.
    """
    check_rate(fps)
    if str(path) == STANDARD_OUTPUT:
        return _load("png.PngStreamWriter")(Path(path), fps=fps, **look)
    is_folder = str(path).endswith(("/", os.sep))
    path = Path(path)
    suffix = "" if is_folder else path.suffix.lower()
    if suffix not in WRITERS:
        raise UsageError(
            f"{path}: cannot write {suffix} files",
            remedy=f"use {', '.join(filter(None, WRITERS))}, or end the path in / for a folder of "
            "PNG frames",
        )
    return _load(WRITERS[suffix])(path, fps=fps, **look)


def _load(name: str) -> type[FrameWriter]:
    module, _, kind = name.partition(".")
    return getattr(import_module(f"framecast.video.writers.{module}"), kind)


def write_frames(
    path: str | Path, frames: Iterable[np.ndarray], *, fps: float, **look: Any
) -> Path:
    """Write all `frames`, arrays (H, W, C), to `path` as `open_writer` does and return the path."""
    with open_writer(path, fps=fps, **look) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.path


# Suffixes of results that have a frame rate.
PLAYED = (".gif", ".mp4", ".webm", ".webp", ".apng")

# Rate of a prediction whose source knows no time, such as a folder of frames.
DEFAULT_FPS = 10.0
