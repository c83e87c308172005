"""Where a clip cuts to another scene, by PySceneDetect's adaptive detector.

Cuts become breaks of a clip, which no window crosses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np

from framecast.runtime.text import listed
from framecast.video.pixels import convert_color, convert_depth, resize
from framecast.video.readers.base import FrameSource

# Frames before and after one that its difference is compared with; the detector's default.
NEIGHBOURS = 2

# Mean change of brightness, in levels of 255, below which nothing is a cut; the detector's default.
LEAST_CHANGE = 15.0

# Frames are looked at in no larger size: what cuts change can be seen in small ones.
LONGEST_SIDE = 256

# Cuts of a clip that its note names one by one.
LISTED = 6


def find_cuts(frames: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Return the indices of the frames (H, W, C), uint8 or uint16, that begin another scene.

    There the brightness differs from the frame before by 15 of 255 levels or more on average, and
    by three times as much as it does around: `AdaptiveDetector` of scenedetect 0.7 with its
    defaults, on brightness alone, scenes of any length. Beyond its ends a clip counts as mirrored,
    so a scene of one frame there has to differ by nine times as much. Fades are not found. Holds a
    few small frames.
    """
    from scenedetect import AdaptiveDetector, FrameTimecode  # noqa: PLC0415  (runs ffmpeg to load)

    detector = AdaptiveDetector(
        min_scene_len=1, window_width=NEIGHBOURS, min_content_val=LEAST_CHANGE, luma_only=True
    )
    pictures = map(_small, frames)
    head = list(islice(pictures, NEIGHBOURS + 1))
    cuts = []
    for number, picture in enumerate(_there_and_back(head, pictures), start=1 - len(head)):
        # Counted in frames, so any rate will do; numbers below 0 are not for the detector.
        cuts += detector.process_frame(FrameTimecode(number + NEIGHBOURS, 1.0), picture)
    found = (cut.frame_num - NEIGHBOURS for cut in cuts)
    return tuple(cut for cut in found if cut > 0)  # frame 0 follows none but its mirror image


def newest_scene(frames: Iterable[np.ndarray], first: int) -> int:
    """Return the index of the frame that begins the last scene, or `first` where none does later.

    A few frames before the `first` that counts help to judge those after it. Holds small
    copies of all frames.
    """
    pictures = [*map(_small, frames)]
    # Most contexts are one scene that changes little: then the detector need not be loaded.
    if all(_change(before, after) < LEAST_CHANGE for before, after in pairwise(pictures)):
        return first
    return max((cut for cut in find_cuts(pictures) if cut > first), default=first)


def split_scenes(
    sources: Sequence[FrameSource], on_frame: Callable[[str, int], None] = lambda name, total: None
) -> None:
    """Mark the frames that begin another scene as breaks of their clips, and note them.

    Reads each clip once, from its first used frame on. `on_frame` is called for every frame looked
    at, with a description of the work and the number of frames. Raises what reading raises.
    """
    for source in sources:
        first = source.info.first
        cuts = [first + cut for cut in find_cuts(_counted_frames(source, on_frame))]
        # Holes in time often look like cuts, and are noted as holes already.
        if new := [cut for cut in cuts if cut not in source.info.breaks]:
            where = f"{'frame' if len(new) == 1 else 'frames'} {listed(new, LISTED)}"
            cuts_at = f"{source.info.name} cuts to another scene at {where}"
            source.break_at(new, f"{cuts_at}; no window crosses a cut")


def _counted_frames(
    source: FrameSource, on_frame: Callable[[str, int], None]
) -> Iterator[np.ndarray]:
    info = source.info
    for frame_HWC in source.read(info.first):
        yield frame_HWC
        on_frame(f"looking for cuts in {info.name}", len(info.used))


def _change(before_HWC: np.ndarray, after_HWC: np.ndarray) -> float:
    """The detector's score: mean absolute difference of V of HSV, the largest of R, G and B."""
    before_HW, after_HW = (frame.max(axis=2).astype(np.int16) for frame in (before_HWC, after_HWC))
    return float(np.abs(after_HW - before_HW).mean())


def _there_and_back(head: list[np.ndarray], rest: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `head` and the rest, mirrored at both ends; by all of the head after its first."""
    tail = deque(head, maxlen=NEIGHBOURS + 1)
    yield from head[:0:-1]
    yield from head
    for picture in rest:
        tail.append(picture)
        yield picture
    yield from [*tail][-2::-1]


def _small(frame_HWC: np.ndarray) -> np.ndarray:
    """A frame as the detector takes it: 8 bits, three channels (whose order brightness ignores)."""
    height, width = frame_HWC.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    small = resize(frame_HWC, max(1, round(scale * height)), max(1, round(scale * width)))
    return convert_color(convert_depth(small, np.uint8), 3)
