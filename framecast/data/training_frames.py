"""Which frames a model was trained on, recognised by their content, not by their names.

A clip is identified by the bytes of its file, or of its image files in order. Frames of a folder
also count one by one, so that a folder which has grown or was copied in part is recognised. A video
that was cut or encoded again is a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from framecast.data.windows import Window
from framecast.video.readers.base import FrameSource
from framecast.video.readers.frame_checks import unreadable


@dataclass(frozen=True)
class TrainedClip:
    """A clip of a training: its identity, the [start, stop) frames trained on, none if held out.

    `files` are the identities of these frames if each has its own file.
    """

    name: str
    content: str
    frames: tuple[tuple[int, int], ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingOverlap:
    """Whether a clip was part of a model's training, and which of its frames were trained on."""

    known: bool
    trained: tuple[range, ...]


def record_clips(
    sources: Sequence[FrameSource], windows: Iterable[Window], span: int
) -> tuple[TrainedClip, ...]:
    """Note every clip of a training with the frames that its training windows cover.

    Reads all files once, a piece at a time; SourceError when one cannot be read.
    """
    covered: dict[int, list[range]] = {number: [] for number in range(len(sources))}
    for window in windows:
        covered[window.clip].append(range(window.start, window.start + span))
    clips = []
    for number, source in enumerate(sources):
        digests = _digests(source)
        ranges = _union(covered[number])
        # A video has one digest for all frames, which tells nothing of a single one.
        own = digests if len(digests) == source.info.frames > 1 else ()
        clips.append(
            TrainedClip(
                source.info.name,
                _identity(digests),
                tuple((part.start, part.stop) for part in ranges),
                tuple(own[frame] for part in ranges for frame in part) if own else (),
            )
        )
    return tuple(clips)


def find_overlap(source: FrameSource, trained_on: Sequence[TrainedClip]) -> TrainingOverlap:
    """Find the frames of a clip that a model was trained on; reads its files once."""
    digests = _digests(source)
    content = _identity(digests)
    same = [clip for clip in trained_on if clip.content == content]
    if same:
        # A run may have been given a clip under two names, of which each has its own windows.
        ranges = [range(*bounds) for clip in same for bounds in clip.frames]
        return TrainingOverlap(True, _union(ranges))
    seen = {file for clip in trained_on for file in clip.files}
    frames = [range(n, n + 1) for n, digest in enumerate(digests) if digest in seen]
    if len(digests) != source.info.frames:
        frames = []
    return TrainingOverlap(bool(frames), _union(frames))


def untrained_parts(frames: int, trained: Sequence[range]) -> tuple[range, ...]:
    """The stretches of a clip between and around the frames trained on."""
    # Empty ranges at both ends make a gap of what lies before the first and after the last.
    edges = [range(0), *trained, range(frames, frames)]
    gaps = (range(before.stop, after.start) for before, after in pairwise(edges))
    return tuple(gap for gap in gaps if gap)


def _union(ranges: Iterable[range]) -> tuple[range, ...]:
    """The same frames as disjoint ranges in order."""
    merged: list[range] = []
    for part in sorted(ranges, key=lambda part: part.start):
        if merged and part.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, part.stop))
        else:
            merged.append(part)
    return tuple(merged)


def _identity(digests: Sequence[str]) -> str:
    """One identity for the files in their order; of a single file its own."""
    if len(digests) == 1:
        return digests[0]
    return blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def _digests(source: FrameSource) -> tuple[str, ...]:
    return tuple(_file_digest(file) for file in source.files)


def _file_digest(file: Path) -> str:
    """BLAKE2b of one file's bytes, 32 hex digits; SourceError when it cannot be read."""
    digest = blake2b(digest_size=16)  # 128 bits: no two files are alike by chance
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):  # a piece at a time: videos exceed the memory
                digest.update(block)
    except OSError as error:
        raise unreadable(file, error) from error
    return digest.hexdigest()
