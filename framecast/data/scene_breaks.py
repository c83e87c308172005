"""Cuts to other scenes: looked for once in a clip, from then on breaks that no window crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from framecast.data.frame_cache import remembered
from framecast.video.readers.base import FrameSource

LISTED = 6
"""Cuts of a clip that are told one by one."""


def split_scenes(
    sources: Sequence[FrameSource],
    memory: Path | None,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
) -> None:
    """Mark the frames that begin another scene as breaks of their clips, and note them.

    Reads each clip once, unless the folder `memory` knows its cuts; None: no memory. `on_frame` is
    called for every frame looked at, with what is done and the number of frames. Raises what
    reading raises.
    """
    for source in sources:
        cuts = _known_cuts(source, memory, on_frame)
        if new := [cut for cut in cuts if cut not in source.info.breaks]:
            source.break_at(new, _note(source.info.path.name, new))


def _known_cuts(
    source: FrameSource, memory: Path | None, on_frame: Callable[[str, int], None]
) -> tuple[int, ...]:
    info = source.info

    def look() -> str:
        # Loads as slowly as all of OpenCV, and what is known needs none of it.
        from framecast.video.scene_detection import find_cuts  # noqa: PLC0415

        return " ".join(map(str, find_cuts(watched())))

    def watched() -> Iterator[np.ndarray]:
        for frame_HWC in source.read():
            yield frame_HWC
            on_frame(f"looking for cuts in {info.path.name}", info.frames)

    if memory is None:
        found = look()
    else:
        # Which frames there are depends on how a damaged clip is read, their values on colour.
        kind = f"{info.frames}x{info.channels}.cuts"
        found = remembered(memory, info.path, kind, r"(\d+( \d+)*)?", look)
    return tuple(map(int, found.split()))


def _note(name: str, cuts: Sequence[int]) -> str:
    where = ", ".join(map(str, cuts[:LISTED]))
    if len(cuts) > LISTED:
        where += f" and {len(cuts) - LISTED} more"
    frames = "frame" if len(cuts) == 1 else "frames"
    return f"{name} cuts to another scene at {frames} {where}; no window crosses a cut"
