"""From clips to decoded, resized frames in memory maps: out of the cache, or decoded now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from framecast.data.frame_cache import Store, StoreError, entry_for, known_digest
from framecast.errors import ResourceError
from framecast.video.pixels import convert_color, resize
from framecast.video.readers.base import FrameSource


@dataclass(frozen=True)
class DecodedClips:
    """Memory-mapped, read-only clips (T, H, W, C) of their own dtype, in the order of the sources.

    `found` of them were in the cache. `note` says why others could not be kept there; else empty.
    """

    clips: tuple[np.ndarray, ...]
    found: int
    note: str = ""


def decode_clips(
    sources: Sequence[FrameSource],
    sizes: Sequence[tuple[int, int]],
    channels: int,
    scratch: Path,
    cache: Store | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> DecodedClips:
    """Map every clip at its size (H, W); those the cache does not have are decoded into it.

    Without a cache, or where it cannot take them, they are decoded into the folder `scratch`.
    `on_frame` is called after each decoded frame. Raises ResourceError when the disk has no room,
    CorruptSourceError when a clip cannot be read to its end.
    """
    jobs = [
        _Job(source, size, channels, number, cache)
        for number, (source, size) in enumerate(zip(sources, sizes, strict=True))
    ]
    note = ""
    if cache is not None:
        for job in jobs:
            job.clip_THWC = cache.find(job.entry)
    found = sum(job.clip_THWC is not None for job in jobs)
    try:
        if cache is not None:
            _decode(jobs, cache, on_frame)
    except StoreError as refusal:
        note = f"{cache.folder}: {refusal}; frames are decoded for this run alone"
    try:
        _decode(jobs, Store(scratch), on_frame)
    except StoreError as refusal:
        raise ResourceError(
            f"decoded frames do not fit into {scratch}: {refusal}",
            remedy="use a smaller --resize, fewer clips, or set TMPDIR to a larger disk",
        ) from refusal
    return DecodedClips(tuple(job.clip_THWC for job in jobs), found, note)


def fitted_frames(
    source: FrameSource, size: tuple[int, int], channels: int, frames: range
) -> Iterator[np.ndarray]:
    """Yield the numbered frames (H, W, C) of a clip at `size` and in `channels` colours."""
    for frame_HWC in source.read(frames.start, frames.stop, frames.step):
        yield resize(convert_color(frame_HWC, channels), *size)


class _Job:
    """One clip to be had, and the map of it once it is."""

    def __init__(
        self,
        source: FrameSource,
        size: tuple[int, int],
        channels: int,
        number: int,
        cache: Store | None,
    ) -> None:
        info = source.info
        # Reading all of a clip to name it pays only where others will look for it.
        digest = known_digest(cache.folder, info.path) if cache else f"clip {number}"
        read = f"{info.kind} {info.height}x{info.width} {info.channels}"
        self.source, self.size, self.channels = source, size, channels
        self.entry = entry_for(digest, (info.frames, *size, channels), info.dtype, read)
        self.clip_THWC: np.ndarray | None = None

    def frames(self, on_frame: Callable[[], None]) -> Iterator[np.ndarray]:
        for frame_HWC in fitted_frames(
            self.source, self.size, self.channels, range(self.source.info.frames)
        ):
            yield frame_HWC
            on_frame()


def _decode(jobs: Sequence[_Job], store: Store, on_frame: Callable[[], None]) -> None:
    """Decode into the store what is not there yet."""
    missing = [job for job in jobs if job.clip_THWC is None]
    if missing:
        store.check_room(sum(job.entry.nbytes for job in missing))
    for job in missing:
        job.clip_THWC = store.make(job.entry, partial(job.frames, on_frame))
