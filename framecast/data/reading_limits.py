"""How much of many or long clips there is time and room for: some clips, their newest frames.

No torch.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from framecast.data.decoding import frame_bytes, free_bytes
from framecast.data.windows import CLIPS_FOR_CLIP_SPLIT, spread
from framecast.runtime.output_files import scratch_folder
from framecast.runtime.processes import is_alone
from framecast.runtime.text import counted
from framecast.video.readers.base import FrameSource, SourceInfo

READING_SHARE = 0.2
"""Share of a budget in minutes in which clips are read and looked through for cuts."""

ROOM_SHARE = 0.5
"""Share of the free room that decoded frames take; where that is memory, it is not only theirs."""

PASS = 2.0
"""How many times as long as reading alone a pass takes, which makes frames smaller, too. Two passes
took 2.4 to 4.1 times as long for videos of 432 and 1080 rows."""

FEWEST_WINDOWS, FEWEST_CLIPS = 8, CLIPS_FOR_CLIP_SPLIT
"""Windows, one after the other, that are used of a clip, and clips, whatever the budget."""

PROBED_CLIPS, PROBES, PROBE_SECONDS = 8, 32, 1.0
"""Clips at most and frames of each by which reading is timed, and the time after which fewer do."""


class Supply(NamedTuple):
    """Something scarce: how much of it there is, what a clip takes of it, whatever its length, and
    what a frame of each clip takes; `why` says what it is enough for.
    """

    amount: float
    clip: float
    frames: tuple[float, ...]
    why: str

    def longest(self, infos: Sequence[SourceInfo]) -> int | None:
        """The most frames of each clip that it is enough for, at least 0; None: all."""
        left, rest = self.amount - len(infos) * self.clip, sum(self.frames)
        # Clips that are shorter than the limit leave to others what they do not need
        for info, frame in sorted(zip(infos, self.frames, strict=True), key=_frames_of):
            limit = left / rest
            if info.frames > limit:
                return max(int(limit), 0)
            left -= info.frames * frame
            rest -= frame
        return None

    def clips(self, infos: Sequence[SourceInfo], limit: int) -> int:
        """How many of such clips it is enough for, of each so many frames at most."""
        each = zip(infos, self.frames, strict=True)
        taken = sum(self.clip + min(info.frames, limit) * frame for info, frame in each)
        return int(self.amount * len(infos) / taken)


def limit_reading(
    sources: Sequence[FrameSource],
    minutes: float | None,
    span: int,
    passes: int,
    kept_at: Sequence[tuple[int, int]] = (),
) -> tuple[list[FrameSource], int | None]:
    """Choose what a budget has time to read so many times, and say so in a note of the first clip.

    Returns the clips, evenly spread over those given, and how many frames of one are used at most,
    None if all; `span` is that of a window. Where frames are kept, at the (H, W) `kept_at` of each
    clip, there has to be room for them, too. Clips are left out only where there is not enough for
    a few windows of each. Reading is timed on some of the clips. Of several processes, which would
    have to agree, each uses all. Raises what reading raises.
    """
    used, infos = list(sources), [source.info for source in sources]
    fewest = FEWEST_WINDOWS * span
    few = len(infos) <= FEWEST_CLIPS and all(info.frames <= fewest for info in infos)
    if few or not is_alone():
        return used, None
    supplies = []
    if minutes is not None and math.isfinite(minutes):
        supplies.append(_time(sources, minutes, fewest, passes))
    if kept_at:
        supplies.append(_room(infos, kept_at))
    limits = [(limit, each) for each in supplies if (limit := each.longest(infos)) is not None]
    if not limits:
        return used, None
    limit, scarce = min(limits, key=lambda found: found[0])
    if limit < fewest:
        limit = fewest
        scarce = min((each for _, each in limits), key=lambda each: each.clips(infos, fewest))
        used = list(spread(sources, max(scarce.clips(infos, fewest), FEWEST_CLIPS)))
    for source in used:
        source.use_newest(limit)
    if len(used) < len(sources):
        some = f"of {counted(len(sources), 'clip')} only {len(used):,}, evenly spread,"
        used[0].add_note(f"{some} are used, {scarce.why}")
    shortened = [source.info for source in used if source.info.first]
    if not shortened:
        return used, None
    newest = f"of {counted(len(shortened), 'clip')} only the newest {counted(limit, 'frame')}"
    if len(shortened) == 1:
        whole = counted(shortened[0].frames, "frame")
        newest = f"{shortened[0].name}: of its {whole} only the newest {limit:,}"
    used[0].add_note(f"{newest} are used, {scarce.why}")
    return used, limit


def _room(infos: Sequence[SourceInfo], kept_at: Sequence[tuple[int, int]]) -> Supply:
    """The bytes that there are for decoded frames."""
    frames = tuple(frame_bytes(info, size) for info, size in zip(infos, kept_at, strict=True))
    why = f"for which there is room in {scratch_folder()}"
    return Supply(ROOM_SHARE * free_bytes(), 0.0, frames, why)


def _time(sources: Sequence[FrameSource], minutes: float, fewest: int, passes: int) -> Supply:
    """The seconds of a budget for one of these passes; reading is timed at the end of the largest
    clip and of others, evenly spread.
    """
    largest = max(sources, key=lambda source: source.info.frames * _pixels(source.info))
    begun, openings, seconds, pixels = time.monotonic(), [], 0.0, 0
    others = [source for source in sources if source is not largest]
    for source in [largest, *spread(others, PROBED_CLIPS - 1)]:
        started = time.monotonic()
        with closing(source.read(max(source.info.frames - fewest, 0))) as frames:
            next(frames)  # found first, and all since the key frame before it is decoded
            opened = time.monotonic()
            openings.append(opened - started)
            for _ in islice(frames, PROBES):
                pixels += _pixels(source.info)
                if time.monotonic() - begun > PROBE_SECONDS:
                    break
            seconds += time.monotonic() - opened
        if time.monotonic() - begun > PROBE_SECONDS:
            break
    pace = max(seconds, 1e-9) / max(pixels, 1)  # where all clips have one frame, there is none
    return Supply(
        60 * READING_SHARE * minutes / (passes * PASS),
        statistics.median(openings),  # the first clip of all takes longer to open
        tuple(pace * _pixels(source.info) for source in sources),
        f"for which a budget of {counted(minutes, 'minute')} has time",
    )


def _pixels(info: SourceInfo) -> int:
    return info.height * info.width


def _frames_of(clip: tuple[SourceInfo, float]) -> int:
    return clip[0].frames
