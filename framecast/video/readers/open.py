"""From paths to clips: a folder of images, a video, a GIF or an array, or folders of those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framecast.errors import SourceError
from framecast.video.readers.base import Color, FrameSource, SourceInfo, unreadable
from framecast.video.readers.folder_listing import (
    ARRAY_SUFFIXES,
    CLIP_SUFFIXES,
    GIF_SUFFIXES,
    IMAGE_SUFFIXES,
    list_folder,
)
from framecast.video.readers.gif_file import GifSource
from framecast.video.readers.image_folder import FolderSource
from framecast.video.readers.numpy_file import ArraySource

__all__ = ["Color", "FrameSource", "SourceInfo", "open_source", "open_sources"]


def open_source(
    path: str | Path, *, color: Color = "auto", keep_readable: bool = False
) -> FrameSource:
    """Open one clip.

    path: a folder of images, a video, a GIF, an .npy or .npz file, or a folder with one of them.
    color: "auto" reads grey where the source is grey; "gray" and "rgb" convert.
    keep_readable: read everything once and leave out what is damaged, instead of stopping there.
    Raises SourceError when there is no clip or several, CorruptSourceError when it is damaged.
    """
    path = Path(path)
    clips = _find_clips(path)
    if len(clips) > 1:
        raise SourceError(
            f"{path}: holds {len(clips)} clips where one is needed", remedy=f"give {clips[0]}"
        )
    return _open_clip(clips[0], color, keep_readable)


def open_sources(
    paths: Sequence[str | Path], *, color: Color = "auto", keep_readable: bool = False
) -> list[FrameSource]:
    """Open every clip of several paths, folders of clips included, each in natural order.

    Arguments and errors as for `open_source`; a clip given twice is a SourceError too, since its
    frames would end up in training and in validation.
    """
    clips = [clip for path in paths for clip in _find_clips(Path(path))]
    if not clips:
        raise SourceError("no source is given", remedy="name a folder of frames or a video")
    seen: set[Path] = set()
    for clip in clips:
        if clip.resolve() in seen:
            raise SourceError(f"{clip}: is given twice", remedy="name each clip once")
        seen.add(clip.resolve())
    return [_open_clip(clip, color, keep_readable) for clip in clips]


def _find_clips(path: Path) -> list[Path]:
    """Return the clips a path stands for, at least one."""
    try:
        path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    if not path.is_dir():
        return [path]
    clips = _expand(path, frozenset())
    if clips:
        return clips
    strays = list_folder(path).others
    found = f"no frames or clips, but {strays[0].name}" if strays else "nothing to read"
    suffixes = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | CLIP_SUFFIXES))
    raise SourceError(f"{path}: holds {found}", remedy=f"give a folder with some of {suffixes}")


def _expand(folder: Path, above: frozenset[Path]) -> list[Path]:
    """Return the clips below a folder; `above` keeps links from leading round in circles."""
    listing = list_folder(folder)
    if listing.images:
        return [folder]
    above |= {folder.resolve()}
    clips = list(listing.clips)
    for inner in listing.folders:
        if inner.resolve() not in above:
            clips.extend(_expand(inner, above))
    return clips


def _open_clip(path: Path, color: Color, keep_readable: bool) -> FrameSource:
    if path.is_dir():
        return FolderSource(path, list_folder(path), color, keep_readable)
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return ArraySource(path, color, keep_readable)
    if suffix in GIF_SUFFIXES:
        return GifSource(path, color, keep_readable)
    if suffix in CLIP_SUFFIXES:
        # PyAV takes longer to load than all the rest, and only videos need it.
        from framecast.video.readers.video_file import VideoSource  # noqa: PLC0415

        return VideoSource(path, color, keep_readable)
    if suffix in IMAGE_SUFFIXES:
        raise SourceError(
            f"{path}: is a single image, not a clip", remedy=f"give its folder, {path.parent}"
        )
    suffixes = " ".join(sorted(known[1:] for known in CLIP_SUFFIXES))
    raise SourceError(
        f"{path}: cannot tell what it is from its name",
        remedy=f"give a folder of images or a file ending in one of {suffixes}",
    )
