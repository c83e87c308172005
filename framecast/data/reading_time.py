"""How much of many or long clips a budget has time to read: some clips, their newest frames.

No torch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from framecast.data.windows import CLIPS_FOR_CLIP_SPLIT, spread
from framecast.runtime.processes import is_alone
from framecast.runtime.text import counted
from framecast.video.readers.base import FrameSource, SourceInfo

READING_SHARE = 0.2
"""Share of a budget in minutes in which clips are read and looked through for cuts."""

PASS = 2.0
"""How many times as long as reading alone a pass takes, which makes frames smaller, too. Two passes
took 2.4 to 4.1 times as long for videos of 432 and 1080 rows."""

FEWEST_WINDOWS, FEWEST_CLIPS = 8, CLIPS_FOR_CLIP_SPLIT
"""Windows, one after the other, that are used of a clip, and clips, whatever the budget."""

PROBED_CLIPS, PROBES, PROBE_SECONDS = 8, 32, 1.0
"""Clips at most and frames of each by which reading is timed, and the time after which fewer do."""


class Pace(NamedTuple):
    """Seconds until the first frame of a clip is there, and for each pixel of the further ones."""

    opening: float
    pixel: float

    def seconds(self, info: SourceInfo, frames: int) -> float:
        """What reading so many of a clip's newest frames takes."""
        return self.opening + min(info.frames, frames) * _pixels(info) * self.pixel


def limit_reading(
    sources: Sequence[FrameSource], minutes: float, span: int, passes: int
) -> tuple[list[FrameSource], int | None]:
    """Choose what a budget has time to read so many times, and say so in a note of the first clip.

    Returns the clips, evenly spread over those given, and how many frames of one are used at most,
    None if all; `span` is that of a window. Clips are left out only where not even a few windows of
    each can be read. Reading is timed on some of the clips. Of several processes, which would have
    to agree, each uses all. Raises what reading raises.
    """
    fewest = FEWEST_WINDOWS * span
    if not is_alone() or (
        len(sources) <= FEWEST_CLIPS and all(source.info.frames <= fewest for source in sources)
    ):
        return list(sources), None
    pace = _pace(sources, fewest)
    seconds = 60 * READING_SHARE * minutes / (passes * PASS)
    limit = _longest([source.info for source in sources], pace, seconds)
    if limit is None:
        return list(sources), None
    used = list(sources)
    if limit < fewest:
        limit = fewest
        each = sum(pace.seconds(source.info, limit) for source in sources) / len(sources)
        used = list(spread(sources, max(int(seconds / each), FEWEST_CLIPS)))
    for source in used:
        source.use_newest(limit)
    why = f"for which a budget of {counted(minutes, 'minute')} has time"
    if len(used) < len(sources):
        some = f"of {counted(len(sources), 'clip')} only {len(used):,}, evenly spread,"
        used[0].add_note(f"{some} are used, {why}")
    shortened = [source.info for source in used if source.info.first]
    if not shortened:
        return used, None
    newest = f"of {counted(len(shortened), 'clip')} only the newest {counted(limit, 'frame')}"
    if len(shortened) == 1:
        whole = counted(shortened[0].frames, "frame")
        newest = f"{shortened[0].path.name}: of its {whole} only the newest {limit:,}"
    used[0].add_note(f"{newest} are used, {why}")
    return used, limit


def _longest(infos: Sequence[SourceInfo], pace: Pace, seconds: float) -> int | None:
    """The most frames of each clip that are read in that time, at least 0; None: all."""
    left = (seconds - len(infos) * pace.opening) / pace.pixel
    pixels = sum(map(_pixels, infos))
    # Clips that are shorter than the limit leave to others what they do not need
    for info in sorted(infos, key=lambda info: info.frames):
        limit = left / pixels
        if info.frames > limit:
            return max(int(limit), 0)
        left -= info.frames * _pixels(info)
        pixels -= _pixels(info)
    return None


def _pace(sources: Sequence[FrameSource], fewest: int) -> Pace:
    """Time reading at the end of the largest clip and of others, evenly spread."""
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
    # The median, since the first clip of all takes longer to open; clips of one frame have no pace
    return Pace(statistics.median(openings), max(seconds, 1e-9) / max(pixels, 1))


def _pixels(info: SourceInfo) -> int:
    return info.height * info.width
