"""From clips to decoded, resized frames, mapped from a file that vanishes with the process."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from framecast.errors import ResourceError
from framecast.runtime.output_files import scratch_folder
from framecast.runtime.text import show_bytes
from framecast.video.pixels import resize
from framecast.video.readers.base import FrameSource, SourceInfo


def decode_clips(
    sources: Sequence[FrameSource],
    sizes: Sequence[tuple[int, int]],
    used: Collection[int],
    on_frame: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, ...]:
    """Decode clips to arrays (T, H, W, C) of their own dtype, read-only and mapped from disk.

    `sizes` are the (H, W) of each; clips whose number is not in `used` are not decoded and have no
    frames. Frames before a clip's first used one are black and take no room. The file has no name
    and vanishes with the process. `on_frame` is called after each decoded frame.

    Raises ResourceError when the disk has no room, CorruptSourceError when a clip cannot be read to
    its end.
    """
    shapes = [
        (source.info.frames if number in used else 0, *size, source.info.channels)
        for number, (source, size) in enumerate(zip(sources, sizes, strict=True))
    ]
    # Asked for at once: a disk that is full after an hour of decoding helps nobody.
    needed = sum(
        len(source.info.used) * frame_bytes(source.info, size)
        for source, size, shape in zip(sources, sizes, shapes, strict=True)
        if shape[0]
    )
    if needed > (free := free_bytes()):
        raise _no_room(f"{show_bytes(needed)} are needed and {show_bytes(free)} are free")
    try:
        return _decode(sources, shapes, on_frame)
    except OSError as error:
        raise _no_room(error.strerror or str(error)) from error


def free_bytes() -> int:
    """The room that there is for decoded frames."""
    return shutil.disk_usage(scratch_folder()).free


def frame_bytes(info: SourceInfo, size: tuple[int, int]) -> int:
    """The room that a decoded frame of this (H, W) takes."""
    return math.prod(size) * info.channels * np.dtype(info.dtype).itemsize


def fitted_frames(
    source: FrameSource, size: tuple[int, int], frames: range
) -> Iterator[np.ndarray]:
    """Yield the numbered frames (H, W, C) of a clip, resized to `size`."""
    for frame_HWC in source.read(frames.start, frames.stop, frames.step):
        yield resize(frame_HWC, *size)


def _decode(
    sources: Sequence[FrameSource],
    shapes: Sequence[tuple[int, int, int, int]],
    on_frame: Callable[[], None],
) -> tuple[np.ndarray, ...]:
    # One file for all: a map keeps its file open, and a process may have 256 of them on a Mac.
    with tempfile.TemporaryFile(prefix="framecast-") as file:
        clips, end = [], 0
        for source, shape in zip(sources, shapes, strict=True):
            dtype, frame = np.dtype(source.info.dtype), frame_bytes(source.info, shape[1:3])
            begin = -(-end // dtype.itemsize) * dtype.itemsize
            end = begin + shape[0] * frame
            clips.append((begin, end, dtype, shape))
            if shape[0]:
                file.seek(begin + source.info.first * frame)
                for frame_HWC in fitted_frames(source, shape[1:3], source.info.used):
                    file.write(np.ascontiguousarray(frame_HWC, dtype))
                    on_frame()
        # Written first and mapped then: a full disk is an error when a file is written, but kills
        # the process when a map is. An empty file cannot be mapped.
        file.flush()
        whole = np.memmap(file, np.uint8, "r", shape=end) if end else np.empty(0, np.uint8)
    return tuple(whole[begin:end].view(dtype).reshape(shape) for begin, end, dtype, shape in clips)


def _no_room(reason: str) -> ResourceError:
    return ResourceError(
        f"decoded frames do not fit into {scratch_folder()}: {reason}",
        remedy="use a smaller --resize or data.max_frames, or set TMPDIR to a larger disk",
    )
