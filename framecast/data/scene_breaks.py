"""Cuts to other scenes become breaks of a clip, which no window crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from framecast.runtime.text import listed
from framecast.video.readers.base import FrameSource
from framecast.video.scene_detection import find_cuts

# Cuts of a clip that its note names one by one.
LISTED = 6


def split_scenes(
    sources: Sequence[FrameSource], on_frame: Callable[[str, int], None] = lambda name, total: None
) -> None:
    """Mark the frames that begin another scene as breaks of their clips, and note them.

    Reads each clip once. `on_frame` is called for every frame looked at, with a description of the
    work and the number of frames. Raises what reading raises.
    """
    for source in sources:
        cuts = find_cuts(_counted_frames(source, on_frame))
        # Holes in time often look like cuts, and are noted as holes already.
        if new := [cut for cut in cuts if cut not in source.info.breaks]:
            where = f"{'frame' if len(new) == 1 else 'frames'} {listed(new, LISTED)}"
            name = source.info.path.name
            source.break_at(
                new, f"{name} cuts to another scene at {where}; no window crosses a cut"
            )


def _counted_frames(
    source: FrameSource, on_frame: Callable[[str, int], None]
) -> Iterator[np.ndarray]:
    for frame_HWC in source.read():
        yield frame_HWC
        on_frame(f"looking for cuts in {source.info.path.name}", source.info.frames)
