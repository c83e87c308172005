"""Scenes of many kinds listed in an index, split by group, cut into windows.

FOLDER/index.csv has a line for each scene with at least: name, kind, file (a video or a folder of
frames, relative to FOLDER), licence, group (scenes of one place or recording), source.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framecast.errors import SourceError
from framecast.video.readers.open import open_source

CONTEXT, HORIZON = 6, 12
LENGTH = CONTEXT + HORIZON
"""Frames that are seen, frames that are forecast, and both: a window."""

HELD_OUT = 0.2
"""Share of each kind's scenes, at least, that training never sees."""

CROWDED, CROWDED_HELD_OUT = 50, 0.14
"""Number of scenes from which on a kind gives fewer, and its share."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601 weights of red, green and blue in grey."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A decoded scene: `rgb_THWC` and `grey_THW`, 8 bits, mapped from files."""

    name: str
    kind: str
    group: str
    source: str
    licence: str
    rgb_THWC: np.ndarray
    grey_THW: np.ndarray

    @property
    def frames(self) -> int:
        return len(self.grey_THW)


def read_scenes(folder: Path, scratch: Path) -> list[Scene]:
    """Decode every scene of the index once, into `scratch`; later calls map the files."""
    index = folder / "index.csv"
    if not index.is_file():
        raise SourceError(f"{index}: no such file", remedy="give a folder with an index.csv")
    scratch.mkdir(parents=True, exist_ok=True)
    with index.open(newline="", encoding="utf-8") as lines:
        return [_scene(folder, scratch, row) for row in csv.DictReader(lines)]


def _scene(folder: Path, scratch: Path, row: dict[str, str]) -> Scene:
    rgb_path, grey_path = (scratch / f"{row['name']}.{kind}.npy" for kind in ("rgb", "grey"))
    if not grey_path.exists():
        frames = open_source(folder / row["file"], color="rgb").read()
        rgb_THWC = np.stack(list(frames))
        np.save(rgb_path, rgb_THWC)
        np.save(grey_path, np.rint(rgb_THWC.astype(np.float32) @ LUMA).astype(np.uint8))
    arrays = (np.load(path, mmap_mode="r") for path in (rgb_path, grey_path))
    names = ("name", "kind", "group", "source", "licence")
    return Scene(*(row[name] for name in names), *arrays)


def split_scenes(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Scenes to learn from and scenes held out, a group on one side only.

    In the order of the SHA-256 of their names, groups of each kind are held out until they hold its
    share of scenes. A kind that is one single group is learnt from, unless it is radar: regions of
    one event are then taken for groups of their own.
    """
    held_out: set[str] = set()
    by_kind: dict[str, list[Scene]] = defaultdict(list)
    for scene in scenes:
        by_kind[scene.kind].append(scene)
    for kind, members in by_kind.items():
        by_group: dict[str, list[str]] = defaultdict(list)
        for scene in members:
            by_group[scene.name if kind == "radar" else scene.group].append(scene.name)
        share = CROWDED_HELD_OUT if len(members) >= CROWDED else HELD_OUT
        wanted, found = share * len(members), 0
        *groups, _ = sorted(by_group, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
        for group in groups:
            names = by_group[group]
            # A group that is most of its kind would leave nothing to learn from.
            if found < wanted and len(names) <= len(members) / 2:
                held_out.update(names)
                found += len(names)
    parts: tuple[list[Scene], list[Scene]] = ([], [])
    for scene in scenes:
        parts[scene.name in held_out].append(scene)
    return parts


def windows(scene: Scene, count: int) -> Iterator[np.ndarray]:
    """At most `count` windows spread evenly over a scene, float32 grey (T, H, W) in [0, 1]."""
    if scene.frames < LENGTH:
        return
    places = np.linspace(0, scene.frames - LENGTH, min(count, scene.frames - LENGTH + 1))
    for start in sorted({round(float(place)) for place in places}):
        yield scene.grey_THW[start : start + LENGTH].astype(np.float32) / 255
