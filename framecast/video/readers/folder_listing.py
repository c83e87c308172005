"""What a folder holds, in natural order, and where the numbering of its files has gaps."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from framecast.errors import SourceError
from framecast.video.readers.base import unreadable

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp"}
)
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg"})
GIF_SUFFIXES = frozenset({".gif"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
CLIP_SUFFIXES = VIDEO_SUFFIXES | GIF_SUFFIXES | ARRAY_SUFFIXES

SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})
"""What file managers leave behind; ignored like names with a leading dot."""

TIMESTAMP = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})[-_]?([0-9]{2})[-_]?([0-9]{2})"
    r"(?:[-_ T]?([0-9]{2})[-_:.h]?([0-9]{2})(?:[-_:.m]?([0-9]{2}))?)?(?![0-9])"
)


@dataclass(frozen=True)
class Listing:
    """The visible entries of one folder, each group in natural order."""

    images: tuple[Path, ...]
    clips: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]


@dataclass(frozen=True)
class Gap:
    """Something missing between two files that follow each other; `index` is the later one's."""

    index: int
    sentence: str


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key by which frame2 comes before frame10."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return tuple(int(p) if i % 2 else p for i, p in enumerate(pieces)), name


def list_folder(path: Path) -> Listing:
    """Sort the entries of a folder by what they are; hidden and system files are left out.

    Raises SourceError when the folder cannot be read.
    """
    try:
        entries = sorted(path.iterdir(), key=lambda entry: natural_key(entry.name))
    except OSError as error:
        raise unreadable(path, error) from error
    groups: dict[str, list[Path]] = {"images": [], "clips": [], "folders": [], "others": []}
    for entry in entries:
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_NAMES:
            continue
        suffix = entry.suffix.lower()
        if entry.is_dir():
            groups["folders"].append(entry)
        elif suffix in IMAGE_SUFFIXES:
            groups["images"].append(entry)
        elif suffix in CLIP_SUFFIXES:
            groups["clips"].append(entry)
        else:
            groups["others"].append(entry)
    listing = Listing(**{name: tuple(found) for name, found in groups.items()})
    if listing.images and listing.clips:
        raise SourceError(
            f"{path}: holds images ({listing.images[0].name}) beside clips "
            f"({listing.clips[0].name}), so what is one clip is unclear",
            remedy="put the images and the clips into folders of their own",
        )
    return listing


def find_gaps(names: Sequence[str]) -> list[Gap]:
    """Find where the numbers or timestamps in file names jump.

    names: in natural order. The most common difference is the normal one; a gap is a difference
    more than half as large again. Names without a common numbering have no gaps.
    """
    times = [_timestamp(name) for name in names]
    if None not in times:
        return _jumps(names, [t for t in times if t is not None], "time")
    numbered = _numbers(names)
    if numbered is None:
        return []
    series, numbers = numbered
    gaps: list[Gap] = []
    starts = [0, *(i for i in range(1, len(names)) if series[i] != series[i - 1]), len(names)]
    for begin, end in itertools.pairwise(starts):
        if begin:
            sentence = f"a new numbering starts after {names[begin - 1]}, at {names[begin]}"
            gaps.append(Gap(begin, sentence))
        for gap in _jumps(names[begin:end], numbers[begin:end], "number"):
            gaps.append(Gap(begin + gap.index, gap.sentence))
    return gaps


def _timestamp(name: str) -> float | None:
    match = TIMESTAMP.search(name)
    if match is None:
        return None
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
    return (moment - datetime(1900, 1, 1)).total_seconds()


def _numbers(names: Sequence[str]) -> tuple[list[tuple[str, ...]], list[float]] | None:
    """Return for each name the series it belongs to and its number in it; None without numbers.

    The number is the last numeric field that changes; the fields before it name the series.
    """
    split = [re.split(r"([0-9]+)", Path(name).stem) for name in names]
    if len({tuple(pieces[::2]) for pieces in split}) != 1:
        return None
    fields = [pieces[1::2] for pieces in split]
    varying = [i for i in range(len(fields[0])) if len({f[i] for f in fields}) > 1]
    if not varying:
        return None
    series = [tuple(f[i] for i in varying[:-1]) for f in fields]
    if len(set(series)) > max(1, len(names) // 2):
        return None  # an earlier field changes as often as the last: no series, some other code
    return series, [float(f[varying[-1]]) for f in fields]


def _jumps(names: Sequence[str], numbers: Sequence[float], unit: str) -> list[Gap]:
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    counts = Counter(step for step in steps if step > 0)
    if not counts:
        return []
    normal = min(counts, key=lambda step: (-counts[step], step))
    return [
        Gap(i, _describe(names[i - 1], names[i], step / normal, unit))
        for i, step in enumerate(steps, 1)
        if step > 1.5 * normal
    ]


def _describe(before: str, after: str, ratio: float, unit: str) -> str:
    missing = max(1, round(ratio) - 1)
    noun = "frame is" if missing == 1 else "frames are"
    return f"{missing} {noun} missing by {unit} between {before} and {after}"
