"""How much of long clips a budget has time to read: their newest frames. No torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice

from framecast.runtime.processes import is_alone
from framecast.runtime.text import counted
from framecast.video.readers.base import FrameSource, SourceInfo

READING_SHARE = 0.2
"""Share of a budget in minutes in which clips are read and looked through for cuts."""

PASS = 2.0
"""How many times as long as reading alone a pass takes, which makes frames smaller, too. Two passes
took 2.4 to 4.1 times as long for videos of 432 and 1080 rows."""

FEWEST_WINDOWS = 8
"""Windows, one after the other, that are used of a clip whatever the budget."""

PROBES, PROBE_SECONDS = 32, 1.0
"""Frames at most by which reading is timed, and the time after which fewer do."""


def limit_frames(
    sources: Sequence[FrameSource], minutes: float, span: int, passes: int
) -> int | None:
    """Use of each clip as many of its newest frames as a budget has time to read so many times.

    Returns how many that are at most, None if all; `span` is that of a window. Reading is timed at
    the end of the largest clip, and a pixel of the others is taken to need as long. Of several
    processes, which would have to agree, each uses all. Raises what reading raises.
    """
    limit = _affordable(sources, minutes / (passes * PASS), FEWEST_WINDOWS * span)
    if limit is not None:
        for source in sources:
            source.use_newest(limit, f"for which a budget of {counted(minutes, 'minute')} has time")
    return limit


def _affordable(sources: Sequence[FrameSource], minutes: float, fewest: int) -> int | None:
    long = [source for source in sources if source.info.frames > fewest]
    if not (is_alone() and long):
        return None
    largest = max(long, key=lambda source: source.info.frames * _pixels(source.info))
    frames = 60 * READING_SHARE * minutes / _seconds_per_frame(largest)
    left = frames * _pixels(largest.info)
    # Clips that are shorter than the limit leave to others what they do not need
    infos = sorted((source.info for source in sources), key=lambda info: info.frames)
    for number, info in enumerate(infos):
        limit = left / sum(map(_pixels, infos[number:]))
        if info.frames > limit:
            return max(int(limit), fewest)
        left -= info.frames * _pixels(info)
    return None


def _seconds_per_frame(source: FrameSource) -> float:
    with closing(source.read(max(source.info.frames - PROBES - 1, 0))) as frames:
        next(frames)  # takes longer: it is sought, and all since the key frame before is decoded
        begun = time.monotonic()
        seconds = []
        for _ in islice(frames, PROBES):
            seconds.append(time.monotonic() - begun)
            if seconds[-1] > PROBE_SECONDS:
                break
        return seconds[-1] / len(seconds)


def _pixels(info: SourceInfo) -> int:
    return info.height * info.width
