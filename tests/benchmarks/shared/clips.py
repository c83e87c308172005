"""Clips cut in time: what a model may be trained on, and the windows it is scored on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framecast.errors import SourceError
from framecast.video.pixels import resize
from framecast.video.readers.base import Color, FrameSource
from framecast.video.readers.open import open_sources

from .scenes import CONTEXT, HORIZON

TRAINING_SHARE = 0.7
"""Share of a clip's frames, from its beginning, that training may see when its end is scored."""


@dataclass(frozen=True)
class Clip:
    """A clip as arrays (T, H, W, C) in files: `whole`, and `early`, the frames before the cut."""

    name: str
    whole: Path
    early: Path
    frames: int


def read_clips(
    paths: Sequence[Path], folder: Path, color: Color, size: tuple[int, int] | None = None
) -> list[Clip]:
    """Decode clips once into `folder`; `size` (H, W) scales all of them, None keeps their own.

    Raises SourceError for gaps between frames, which windows would span, for names that are not
    unique, for clips too short for a window after the cut, and what reading raises.
    """
    sources = open_sources(paths, color=color)
    _check(sources)
    clips = []
    for source in sources:
        height, width = size or (source.info.height, source.info.width)
        frames_THWC = np.stack([resize(frame_HWC, height, width) for frame_HWC in source.read()])
        clip = Clip(
            name := _name(source),
            folder / f"{name}.npy",
            folder / f"{name}.early.npy",
            len(frames_THWC),
        )
        np.save(clip.whole, frames_THWC)
        np.save(clip.early, frames_THWC[: first_unseen(clip.frames)])
        clips.append(clip)
    return clips


def first_unseen(frames: int) -> int:
    """The first frame after the share that training may see."""
    return math.ceil(TRAINING_SHARE * frames)


def late_part(frames: int) -> range:
    """The frames of the windows whose targets are all after the cut.

    Their context may reach back before it: that past is known when the forecast is made.
    """
    return range(max(first_unseen(frames) - CONTEXT, 0), frames)


def _check(sources: Sequence[FrameSource]) -> None:
    names = [_name(source) for source in sources]
    for source, name in zip(sources, names, strict=True):
        info = source.info
        if names.count(name) > 1:
            raise SourceError(
                f"{info.path}: another clip is called {name} too", remedy="rename one of them"
            )
        if info.breaks:
            raise SourceError(
                f"{info.path}: frame {info.breaks[0]} does not follow the one before it",
                remedy="give clips without gaps in their numbering",
            )
        if len(late_part(info.frames)) < CONTEXT + HORIZON:
            raise SourceError(
                f"{info.path}: has {info.frames} frames, of which the last "
                f"{1 - TRAINING_SHARE:.0%} hold no {HORIZON} in a row",
                remedy=f"give a clip of {math.ceil(HORIZON / (1 - TRAINING_SHARE))} frames or more",
            )


def _name(source: FrameSource) -> str:
    path = source.info.path.absolute()
    return path.name if path.is_dir() else path.stem
