"""The contents of a folder: frames, their order, and where frames are missing.

The order is by series first (names that differ in more than their numbers, or in their suffix),
then by the numbers and times in the names; see `file_order`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from framecast.errors import SourceError
from framecast.video.readers.file_order import order_names
from framecast.video.readers.frame_checks import unreadable
from framecast.video.readers.frame_names import natural_key

STILL_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tga", ".pcx", ".sgi"),
        *(".pgm", ".ppm", ".pnm", ".pbm", ".pfm", ".jp2", ".j2k"),
    }
)
# Formats with one picture or several, as the first such file of a folder shows.
PAGED_SUFFIXES = frozenset({".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".avif"})

TIFF_SUFFIXES, PNG_SUFFIXES = frozenset({".tif", ".tiff"}), frozenset({".png", ".apng"})
IMAGE_SUFFIXES = STILL_SUFFIXES | PAGED_SUFFIXES
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts"),
        *(".m2ts", ".3gp", ".3g2", ".flv", ".wmv", ".asf", ".ogv", ".ogg", ".y4m", ".vob"),
        *(".mxf", ".m2v", ".h264", ".264", ".h265", ".hevc", ".dv", ".nut", ".ivf", ".mjpeg"),
    }
)
ARRAY_SUFFIXES = frozenset({".npy", ".npz", ".h5", ".hdf5", ".nc"})
CLIP_SUFFIXES = VIDEO_SUFFIXES | ARRAY_SUFFIXES

# Files that file managers create; ignored like names with a leading dot.
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})

# What tells a run folder from a folder of frames
RUN_FILES = ("best.pt", "run.json")

# How Windows, macOS and browsers name the copy of a file; only numbered files have copies here,
# since "radar (1)", "radar (2)" are also how browsers number downloads of one name.
COPY = re.compile(
    r"(?P<name>.*[0-9].*?)"
    r"(?: ?\([0-9]+\)| - (?:copy|kopie|copie|copia)(?: \([0-9]+\))?| copy(?: [0-9]+)?)"
)

# Which of several files of one frame is read: the one that has lost the least.
SUFFIX_PREFERENCE = (".tif", ".tiff", ".png", ".bmp", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Listing:
    """The visible entries of one folder, in natural order; `copies` are images left out."""

    images: tuple[Path, ...]
    clips: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]
    copies: tuple[Path, ...] = ()


def is_run(folder: Path) -> bool:
    """Whether a folder is the run of a training, whose pictures are no clips."""
    return all(os.path.lexists(folder / name) for name in RUN_FILES)  # never raises


def list_folder(path: Path, pages: Callable[[Path], int] | None = None) -> Listing:
    """Sort the entries of a folder by what they are; hidden and system files are left out.

    `pages` returns the number of pictures in an image file: files of a format whose first file in
    the folder has several are clips. Raises SourceError when the folder cannot be read.
    """
    try:
        entries = list(path.iterdir())
    except OSError as error:
        raise unreadable(path, error) from error
    return sort_entries(path, entries, pages)


def by_name(path: Path) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key by which clip2 comes before clip10."""
    return natural_key(str(path))


def sort_entries(
    path: Path, entries: Sequence[Path], pages: Callable[[Path], int] | None = None
) -> Listing:
    """Sort some entries of the folder `path` by what they are, as `list_folder` does with all."""
    groups: dict[str, list[Path]] = {"images": [], "clips": [], "folders": [], "others": []}
    paged: dict[str, bool] = {}
    for entry in sorted(entries, key=by_name):
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_NAMES:
            continue
        suffix = entry.suffix.lower()
        if os.path.isdir(entry):  # noqa: PTH112  (never raises, as Path.is_dir does for closed links)
            groups["others" if is_run(entry) else "folders"].append(entry)
        elif suffix in IMAGE_SUFFIXES:
            if suffix in PAGED_SUFFIXES and suffix not in paged:
                paged[suffix] = pages is not None and pages(entry) > 1
            groups["clips" if paged.get(suffix) else "images"].append(entry)
        elif suffix in CLIP_SUFFIXES:
            groups["clips"].append(entry)
        else:
            groups["others"].append(entry)
    images, copies = _without_copies(groups.pop("images"))
    listing = Listing(
        images=images, copies=copies, **{name: tuple(found) for name, found in groups.items()}
    )
    if listing.images and listing.clips:
        raise SourceError(
            f"{path}: holds images ({listing.images[0].name}) next to clips "
            f"({listing.clips[0].name}), so what is one clip is unclear",
            remedy="put the images and the clips into folders of their own",
        )
    return listing


def _without_copies(images: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Split images into frames, in their order, and second files of the same frame."""
    # The suffix that most frames have is kept for all, so that no frame changes its quality.
    counts = Counter(image.suffix.lower() for image in images)
    best: dict[str, Path] = {}
    for image in images:
        stem = image.stem.casefold()
        known = best.get(stem)
        if known is None or _preference(image, counts) < _preference(known, counts):
            best[stem] = image
    kept = {
        image
        for stem, image in best.items()
        if not ((copy := COPY.fullmatch(stem)) and copy["name"].rstrip() in best)
    }
    places = {name: i for i, name in enumerate(order_names([i.name for i in kept]).names)}
    ordered = sorted(kept, key=lambda image: places[image.name])
    return tuple(ordered), tuple(i for i in images if i not in kept)


def _preference(image: Path, counts: Counter[str]) -> tuple[int, int]:
    suffix = image.suffix.lower()
    known = SUFFIX_PREFERENCE.index(suffix) if suffix in SUFFIX_PREFERENCE else 99
    return -counts[suffix], known
