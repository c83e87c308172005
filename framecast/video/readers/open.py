"""From paths to clips: frame folders, videos, stacks, arrays; globs, lists, folders of those."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from framecast.config import loading
from framecast.config.argument_types import from_home
from framecast.config.schema import DataConfig
from framecast.errors import SourceError, UsageError
from framecast.runtime.text import counted, listed
from framecast.video.readers.animated_image import AnimatedSource, count_pictures
from framecast.video.readers.array_file import ArraySource
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.folder_listing import (
    ARRAY_SUFFIXES,
    CLIP_SUFFIXES,
    IMAGE_SUFFIXES,
    PAGED_SUFFIXES,
    PNG_SUFFIXES,
    TIFF_SUFFIXES,
    VIDEO_SUFFIXES,
    Listing,
    by_name,
    is_run,
    list_folder,
    sort_entries,
)
from framecast.video.readers.frame_checks import CutShortError, unreadable
from framecast.video.readers.image_file import DamagedImageError, read_header
from framecast.video.readers.image_folder import FolderSource
from framecast.video.readers.tiff_stack import TiffStackSource, count_frames
from framecast.video.value_range import joined_range, read_range

LIST_MARK = "@"

# Paths of clips; of folders of images with what is in them.
Clips = list[tuple[Path, Listing | None]]

# Bytes of a list of clips at most.
LONGEST_LIST = 10_000_000

# Clips that cannot be used, of which an error says why.
NAMED = 3


def open_source(
    path: str | Path, defaults: Mapping[str, Any] | None = None, **options: Any
) -> FrameSource:
    """Open one clip.

    path: a folder of images, a video, an animated image, a TIFF stack, an array file, a quoted glob
    such as "frames/*.png", or a folder with one of them.
    options: fields of `ReadOptions`, such as color="gray" or keep_readable=True.
    defaults: the same where they are not asked for, and hold only if they suit the clip.
    Raises SourceError when there is no clip or several, CorruptSourceError when it is damaged,
    UsageError for options of arrays where it is none.
    """
    how, clips = ReadOptions(**{**(defaults or {}), **options}), _find_clips(str(path))
    if len(clips) > 1:
        raise SourceError(
            f"{path}: holds {len(clips)} clips where one is needed", remedy=f"give {clips[0][0]}"
        )
    source = _open_clip(*clips[0], how)
    _check_use([source], options)
    return source


def open_sources(
    paths: Sequence[str | Path], defaults: Mapping[str, Any] | None = None, **options: Any
) -> list[FrameSource]:
    """Open every clip of several paths, folders of clips included, each in natural order.

    A path that begins with @ is a text file with a path on each line, and all images of a folder,
    as a shell makes of frames/*.png, are the folder. Clips whose values have one
    type get one range, so that they stay comparable. Options and errors as for `open_source`; a
    clip given twice is a SourceError too, since its frames would end up in training and validation.
    One error names all clips that cannot be used; with keep_readable, the others are opened.
    """
    clips = [clip for path in expand_lists(paths) for clip in _find_clips(path)]
    if not clips:
        raise SourceError("no source is given", remedy="name a folder of frames or a video")
    seen: set[Path] = set()
    for path, _ in clips:
        if path.resolve() in seen:
            raise SourceError(f"{path}: is given twice", remedy="name each clip once")
        seen.add(path.resolve())
    how = ReadOptions(**{**(defaults or {}), **options})
    sources = _open_clips(clips, how)
    paths = [source.info.path for source in sources]
    for source, name in zip(sources, distinct_names(paths), strict=True):
        source.tell_apart(name)
    _check_use(sources, options)
    # Otherwise a dark clip among bright ones would be stretched separately.
    shared = joined_range(source.info.values for source in sources)
    if shared is not None and how.range == "auto":
        for source in sources:
            source.set_range(shared)
    return sources


def _open_clips(clips: Clips, how: ReadOptions) -> list[FrameSource]:
    """Open all clips, or those that can be used where damage is accepted."""
    sources: list[FrameSource] = []
    errors: list[SourceError] = []
    for clip in clips:
        try:
            sources.append(_open_clip(*clip, how))
        except SourceError as error:
            errors.append(error)
    if not errors:
        return sources
    # What is wrong with all of them is most often an option, of which the first one's error tells.
    if not sources or (len(errors) == 1 and not how.keep_readable):
        raise errors[0]
    # Of thousands of clips one does not want to be told of one at a time
    named = listed([error.message for error in errors], NAMED)
    if how.keep_readable:
        sources[0].add_note(f"left out {counted(len(errors), 'clip')} that cannot be used: {named}")
        return sources
    raise SourceError(
        f"{len(errors):,} of {counted(len(clips), 'clip')} cannot be used: {named}",
        remedy="take them out, or add --keep-readable to leave them out",
    )


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The name of each path, with as many of its folders as tell it from other paths."""
    depths = dict.fromkeys(paths, 1)
    while True:
        names = {path: Path(*path.parts[-n:]).as_posix() for path, n in depths.items()}
        counts = Counter(names.values())
        alike = [
            path
            for path, name in names.items()
            if counts[name] > 1 and depths[path] < len(path.parts)
        ]
        if not alike:
            return [names[path] for path in paths]
        for path in alike:
            depths[path] += 1


def _check_use(sources: Sequence[FrameSource], options: Mapping[str, Any]) -> None:
    """Raise UsageError for options of arrays, and for a range, where no source can have them."""
    asked, types = options.get("range", "auto"), {source.info.values.dtype for source in sources}
    if asked != "auto" and not any(read_range(asked, dtype) for dtype in types):
        raise UsageError(
            f"{sources[0].info.path}: --range {asked} goes beyond its {' and '.join(types)} values",
            remedy="leave it out",
        )
    for name, kind, suffixes in (
        ("axes", "arrays", ARRAY_SUFFIXES),
        ("variable", "files of named arrays", ARRAY_SUFFIXES - {".npy"}),
    ):
        is_used = any(source.info.path.suffix.lower() in suffixes for source in sources)
        if options.get(name) not in (None, "auto") and not is_used:
            problem = f"{sources[0].info.path}: --{name} is for {kind}"
            raise UsageError(problem, remedy="leave it out")


def read_options(data: DataConfig) -> dict[str, Any]:
    """The options of `open_source` that a run's settings ask for."""
    return {name.name: getattr(data, name.name) for name in fields(ReadOptions)}


def expand_lists(paths: Sequence[str | Path]) -> list[str]:
    """Replace every "@file" by the paths in that text file: one a line, relative to the file.

    Empty lines and lines that begin with # are passed over. All images of a folder become the
    folder. Raises SourceError for a list that cannot be read, and for some images of a folder.
    """
    expanded: list[str] = []
    for path in map(str, paths):
        if not path.startswith(LIST_MARK) or os.path.lexists(path):
            expanded.append(path)
            continue
        file = Path(path[len(LIST_MARK) :])
        try:
            if file.stat().st_size > LONGEST_LIST or not file.is_file():
                raise ValueError("too long for a list, or a folder")
            text = file.read_text(encoding="utf-8-sig")  # Windows writes a mark
            if "\0" in text:
                raise ValueError("no text")
        except OSError as error:
            raise unreadable(file, error) from error
        except ValueError as error:
            raise SourceError(
                f"{file}: is no list of clips", remedy="write a path a line"
            ) from error
        named = [line.strip() for line in text.splitlines()]
        named = [line for line in named if line and not line.startswith("#")]
        expanded += [str(file.parent / from_home(line)) for line in named]
    return _join_images(expanded)


def _join_images(paths: list[str]) -> list[str]:
    """Replace images of one picture, if several are given, by their folders."""
    images = [Path(path) for path in paths if Path(path).suffix.lower() in IMAGE_SUFFIXES]
    # Looking at two of them tells frames from animations or stacks, each of which is a clip.
    if len(images) < 2 or not all(path.is_file() and _pictures(path) == 1 for path in images[:2]):
        return paths
    given = set(images)
    for folder in {image.parent for image in images}:
        if not given.issuperset(list_folder(folder, _pictures).images):
            raise SourceError(
                f"{folder}: only some of its images are given",
                remedy="quote the pattern that they match, so that they are read as one clip",
            )
    joined = (str(Path(path).parent) if Path(path) in given else path for path in paths)
    return list(dict.fromkeys(joined))


def expand_clips(paths: Sequence[str | Path]) -> list[str]:
    """Replace lists as `expand_lists` does, and every folder of several clips by those."""
    expanded: list[str] = []
    for path in expand_lists(paths):
        clips: Clips = []
        # What cannot be opened is explained when it is
        with suppress(SourceError, OSError):
            if os.path.isdir(path) and not _holds_frames(path):  # noqa: PTH112  (never raises)
                clips = _find_clips(path)
        expanded += [str(clip) for clip, _ in clips] if len(clips) > 1 else [path]
    return expanded


def _holds_frames(folder: str) -> bool:
    """Whether a folder has an image of one picture, so that it is one clip, as `_listed_clips` has
    it. Known after the first one, where putting thousands of frames in order takes a second.
    """
    with os.scandir(folder) as entries:
        images = (Path(entry) for entry in entries if not entry.name.startswith("."))
        return any(
            _pictures(image) == 1 for image in images if image.suffix.lower() in IMAGE_SUFFIXES
        )


def _find_clips(text: str) -> Clips:
    """Return the clips that a path stands for, at least one; folders with what is in them."""
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if matches := _matches(text):
            return _matched_clips(text, matches)
        _check_setting(text)
        _check_live(text)
        if glob.has_magic(text):
            raise SourceError(f"{text}: matches nothing", remedy="check the pattern") from error
        raise unreadable(path, error) from error
    if stat.S_ISREG(mode):
        return [(path, None)]
    if not stat.S_ISDIR(mode):  # a pipe would be waited for, a device never ends
        raise SourceError(
            f"{path}: is a device or a pipe, not a clip",
            remedy="give a file, or send frames through - with predict --stream",
        )
    if is_run(path):
        raise SourceError(
            f"{path}: is the run of a training, not a clip",
            remedy="give clips; predict and evaluate take one run, before the clips",
        )
    listing = list_folder(path, _pictures)
    if clips := _listed_clips(path, listing, {os.path.realpath(path)}):
        return clips
    strays = listing.others
    found = f"no frames or clips, but {strays[0].name}" if strays else "nothing to read"
    suffixes = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | CLIP_SUFFIXES))
    raise SourceError(f"{path}: holds {found}", remedy=f"give a folder with some of {suffixes}")


def _matches(pattern: str) -> list[Path]:
    """The paths that a quoted glob stands for; none where it is no glob."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if fixed == len(parts):
        return []
    above = Path(*parts[:fixed])
    try:
        # Not by glob.glob, whose ** follows links, for ever where they lead round in circles.
        found = list(above.glob("/".join(parts[fixed:])))
    except (OSError, ValueError):  # names that are too long; such as **.png
        return []
    return [
        match
        for match in found
        if not any(part.startswith(".") for part in match.relative_to(above).parts)
    ]


def _matched_clips(text: str, matches: list[Path]) -> Clips:
    """The clips that a glob stands for: images of one folder are the frames of one clip."""
    clips: Clips = []
    seen: set[str] = set()
    for folder in sorted({match.parent for match in matches}, key=by_name):
        files = [match for match in matches if match.parent == folder]
        clips += _listed_clips(folder, sort_entries(folder, files, _pictures), seen)
    if not clips:
        raise SourceError(f"{text}: matches no frames or clips", remedy="check the pattern")
    return clips


def _pictures(path: Path) -> int:
    """Number of pictures in an image file; Pillow sees only one in some of ImageJ's stacks."""
    return count_frames(path) if path.suffix.lower() in TIFF_SUFFIXES else count_pictures(path)


def _check_setting(text: str) -> None:
    """Raise UsageError for "epochs=10" typed where a source is expected, and name the flag."""
    name, sign, value = text.partition("=")
    for setting in loading.fields():
        if sign and name.lstrip("-").replace("-", "_") in (setting.name, setting.dotted):
            raise UsageError(
                f"{text}: is no source but a setting",
                remedy=f"write --{setting.name.replace('_', '-')} {value}, "
                f"or --set {setting.dotted}={value}",
            )


def _check_live(text: str) -> None:
    """Raise SourceError for a camera, an address or standard input where a file is expected."""
    from framecast.video.readers.live import full_address, is_live  # noqa: PLC0415  (slow to load)

    if is_live(text):
        raise SourceError(
            f"{full_address(text)}: is no file",
            remedy="save its frames as one, or forecast them with predict --stream",
        )


def _expand(folder: Path, seen: set[str]) -> Clips:
    """Return the clips below a folder; what links lead to twice is looked into once."""
    place = os.path.realpath(folder)
    if place in seen:
        return []
    seen.add(place)
    return _listed_clips(folder, list_folder(folder, _pictures), seen)


def _listed_clips(folder: Path, listing: Listing, seen: set[str]) -> Clips:
    """The clips of a folder's entries: its images are one, whatever folders lie among them."""
    if listing.images:
        return [(folder, listing)]
    clips: Clips = [(clip, None) for clip in listing.clips]
    for inner in listing.folders:
        clips += _expand(inner, seen)
    return clips


def _open_clip(path: Path, listing: Listing | None, options: ReadOptions) -> FrameSource:
    if listing is not None:
        return FolderSource(path, listing, options)
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return ArraySource(path, options)
    if suffix in TIFF_SUFFIXES and _pictures(path) > 1:
        return TiffStackSource(path, options)
    animated = suffix in PAGED_SUFFIXES and _pictures(path) > 1
    # Pillow keeps 8 bits of an APNG's 16, and restores the frame before last for the last.
    if suffix in VIDEO_SUFFIXES or (suffix in PNG_SUFFIXES and animated):
        # PyAV takes longer to load than all the rest, and only videos need it.
        from framecast.video.readers.video_file import VideoSource  # noqa: PLC0415

        return VideoSource(path, options)
    if suffix == ".gif" or animated:
        return AnimatedSource(path, options)
    if suffix in IMAGE_SUFFIXES:
        try:
            read_header(path)
        except DamagedImageError as error:
            raise CutShortError(path, 0, str(error)) from error
        raise SourceError(
            f"{path}: is a single image, not a clip", remedy=f"give its folder, {path.parent}"
        )
    suffixes = " ".join(sorted(known[1:] for known in CLIP_SUFFIXES | {".gif", ".tif"}))
    raise SourceError(
        f"{path}: cannot tell what it is from its name",
        remedy=f"give a folder of images or a file ending in one of {suffixes}",
    )
