"""Which frame indices make a window, and where training ends and validation begins. Integers only.

The time axis is cut first and windows are planned inside each part, so no frame is on both sides.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from framecast.config.schema import DataConfig
from framecast.errors import SourceError

# Frames; a longer horizon is for those who ask for it, as it multiplies the time of training.
LONGEST_AUTO_HORIZON = 12

# Share of all frames from which on clips are too many to be left out for a longer horizon.
SHARE_OF_SHORT_CLIPS = 0.25

# With fewer, a single odd clip would decide what validation says.
CLIPS_FOR_CLIP_SPLIT = 5

SplitMode = Literal["time", "clip"]

Item = TypeVar("Item")


@dataclass(frozen=True, order=True)
class Window:
    """One sample: frame k of it is frame `start + k * frame_step` of clip number `clip`."""

    clip: int
    start: int


@dataclass(frozen=True)
class WindowShape:
    """How a window is cut out of the time axis; lengths in frames."""

    context_length: int
    horizon: int
    frame_step: int

    @property
    def span(self) -> int:
        """Frames of the time axis from a window's first one to its last, both included."""
        return (self.context_length + self.horizon - 1) * self.frame_step + 1


@dataclass(frozen=True)
class ClipLength:
    """How many frames a clip has, where its sequence is interrupted, and from where it is used.

    A break at index b means that frame b does not follow frame b - 1 in time. Frames before `first`
    are not used.
    """

    frames: int
    breaks: tuple[int, ...] = ()
    first: int = 0

    @property
    def used(self) -> range:
        """The frames that windows may have."""
        return range(self.first, self.frames)

    @property
    def longest_run(self) -> int:
        """The most frames in a row without a break."""
        return max(map(len, _runs(self.used, self.breaks)), default=0)


@dataclass(frozen=True)
class Split:
    """The windows of a run: which train, which validate.

    `shape` is that of all windows, `unused` the clips that are too short, or too interrupted, to
    give any.
    """

    train: tuple[Window, ...]
    validation: tuple[Window, ...]
    mode: SplitMode
    shape: WindowShape
    unused: tuple[int, ...]


def auto_horizon(
    clips: Sequence[ClipLength], context_length: int, frame_step: int, mode: SplitMode
) -> int:
    """The longest horizon up to 12 that leaves out clips with less than a quarter of the frames.

    Only clips that are long enough for a window with a horizon of 1 count. A split by time needs a
    clip of which a window covers a third at most, a split by clip needs two clips. 1 where no
    horizon meets these conditions.
    """
    least = WindowShape(context_length, 1, frame_step).span
    usable = [clip for clip in clips if clip.longest_run >= least]
    fewest_frames = (1 - SHARE_OF_SHORT_CLIPS) * sum(len(clip.used) for clip in usable)
    for horizon in range(LONGEST_AUTO_HORIZON, 1, -1):
        window = context_length + horizon  # in frames of which each counts `frame_step`
        kept = [clip for clip in usable if _thinned(clip.longest_run, frame_step) >= window]
        if mode == "time":
            # Thirds: training sees at least two windows that share no frame, validation one.
            splits = any(_thinned(len(clip.used), frame_step) // 3 >= window for clip in kept)
        else:
            splits = len(kept) >= min(2, len(usable))
        if splits and sum(len(clip.used) for clip in kept) > fewest_frames:
            return horizon
    return 1


def split_by_time(frames: range, validation_fraction: float, span: int) -> tuple[range, range]:
    """Cut a clip's frames into a training part and, after it, a validation part.

    Validation gets its fraction, and both parts get at least `span` frames. A clip with less than
    twice that is not cut: all of it trains.
    """
    number = len(frames)
    if number < 2 * span:
        return frames, range(frames.stop, frames.stop)
    held_out = min(max(_rounded(number * validation_fraction), span), number - span)
    return frames[:-held_out], frames[-held_out:]


def split_by_clip(
    clips: int, validation_fraction: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw the clips held out for validation; both sides get at least one, in ascending order.

    `clips` are two or more. The same numbers give the same clips on every machine and Python
    version.
    """
    held_out = min(max(_rounded(clips * validation_fraction), 1), clips - 1)
    # Only random() is promised to stay the same from one Python version to the next.
    generator = random.Random(seed)
    order = sorted(range(clips), key=lambda _: generator.random())
    return tuple(sorted(order[held_out:])), tuple(sorted(order[:held_out]))


def plan_windows(
    part: range, clip: int, span: int, stride: int, breaks: Sequence[int] = ()
) -> list[Window]:
    """The windows of `span` frames inside `part`, a new one every `stride` frames.

    No window crosses a break; after each break the count of the stride starts again.
    """
    return [
        Window(clip, start)
        for run in _runs(part, breaks)
        for start in range(run.start, run.stop - span + 1, stride)
    ]


def plan_split(clips: Sequence[ClipLength], data: DataConfig, seed: int = 0) -> Split:
    """The training and validation windows of a run over all its clips.

    A `data.horizon` of "auto" becomes the longest that fits (at most 12). `seed` draws the clips of
    a split by clip. Raises SourceError, with the frames needed and found, when either side would
    have no window.
    """
    mode = _split_mode(clips, data)
    if data.horizon == "auto":
        longest = auto_horizon(clips, data.context_length, data.frame_step, mode)
        horizons = range(longest, 0, -1)  # shorter ones for sides that breaks cut into pieces
    else:
        horizons = range(data.horizon, data.horizon - 1, -1)
    for horizon in horizons:
        shape = WindowShape(data.context_length, horizon, data.frame_step)
        if mode == "time":
            train, validation = _plan_by_time(clips, data, shape.span)
        else:
            train, validation = _plan_by_clip(clips, data, shape.span, seed)
        if train and validation:
            break
    else:
        raise _too_short(clips, shape, mode)
    # Named to the user, since a clip that is silently left out looks as if it had been learnt from.
    used = {window.clip for window in (*train, *validation)}
    unused = tuple(index for index in range(len(clips)) if index not in used)
    return Split(tuple(train), tuple(validation), mode, shape, unused)


def _runs(part: range, breaks: Sequence[int]) -> Iterator[range]:
    """The stretches of `part` without a break inside; of an empty part none."""
    edges = sorted({part.start, part.stop, *(b for b in breaks if part.start < b < part.stop)})
    return itertools.starmap(range, itertools.pairwise(edges))


def _thinned(frames: int, frame_step: int) -> int:
    """Number of frames when every `frame_step`-th is taken."""
    return -(-frames // frame_step)


def _rounded(number: float) -> int:
    """To the nearest integer, halves upwards, where round() would go to the even one."""
    return math.floor(number + 0.5)


def _split_mode(clips: Sequence[ClipLength], data: DataConfig) -> SplitMode:
    if data.split != "auto":
        return data.split
    least = 1 if data.horizon == "auto" else data.horizon
    span = WindowShape(data.context_length, least, data.frame_step).span
    usable = sum(clip.longest_run >= span for clip in clips)
    # Both sides of a cut need a window of their own.
    can_be_cut = any(len(clip.used) >= 2 * span for clip in clips)
    if usable >= CLIPS_FOR_CLIP_SPLIT or (usable >= 2 and not can_be_cut):
        return "clip"
    return "time"


def _plan_by_time(
    clips: Sequence[ClipLength], data: DataConfig, span: int
) -> tuple[list[Window], list[Window]]:
    sides: tuple[list[Window], list[Window]] = ([], [])
    for index, clip in enumerate(clips):
        parts = split_by_time(clip.used, data.validation_fraction, span)
        for side, part in zip(sides, parts, strict=True):
            side.extend(plan_windows(part, index, span, data.stride, clip.breaks))
    return sides


def _plan_by_clip(
    clips: Sequence[ClipLength], data: DataConfig, span: int, seed: int
) -> tuple[list[Window], list[Window]]:
    """Only clips that give a window are drawn from, so that neither side can come out empty."""
    windows = [
        plan_windows(clip.used, index, span, data.stride, clip.breaks)
        for index, clip in enumerate(clips)
    ]
    usable = [found for found in windows if found]
    if len(usable) < 2:
        return [window for found in usable for window in found], []
    train, validation = split_by_clip(len(usable), data.validation_fraction, seed)
    return (
        [window for index in train for window in usable[index]],
        [window for index in validation for window in usable[index]],
    )


def _too_short(clips: Sequence[ClipLength], shape: WindowShape, mode: SplitMode) -> SourceError:
    window = f"a window of context_length {shape.context_length} and horizon {shape.horizon}"
    if shape.frame_step > 1:
        window += f" at frame_step {shape.frame_step}"
    frames = max((len(clip.used) for clip in clips), default=0)
    run, span = max((clip.longest_run for clip in clips), default=0), shape.span
    settings = ("horizon", "context_length", "frame_step")
    can_be_lowered = [f"data.{name}" for name in settings if getattr(shape, name) > 1]
    limited = any(clip.first for clip in clips)
    shorten = "use more frames (data.max_frames)" if limited else "give more frames"
    if can_be_lowered:
        shorten += f", or lower {' or '.join(can_be_lowered)}"
    if mode == "clip":
        usable = sum(clip.longest_run >= span for clip in clips)
        return SourceError(
            f"a split by clip needs two clips with {span} frames in a row ({window}), "
            f"found {usable} among {len(clips)}, the longest with {run}",
            remedy="set data.split to time" if frames >= 2 * span else shorten,
        )
    if frames < 2 * span:
        return SourceError(
            f"too few frames: {window} covers {span}, so training and validation need a clip of "
            f"{2 * span}, and the longest has {frames}",
            remedy=shorten,
        )
    return SourceError(
        f"too many gaps or cuts: {window} covers {span} frames in a row, the longest run has "
        f"{run}, and training or validation is left without a window",
        remedy=shorten,
    )


def spread(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """At most `most` of the items, evenly spread from the first to the last; of one the first."""
    if len(items) <= most:
        return tuple(items)
    gaps = max(most - 1, 1)
    return tuple(items[round(number * (len(items) - 1) / gaps)] for number in range(most))
