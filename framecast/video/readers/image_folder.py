"""A folder of images as one clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from framecast.errors import CorruptSourceError, SourceError
from framecast.video.pixels import convert_color, convert_depth
from framecast.video.readers.base import Color, FrameSource, SourceInfo, choose_channels, show_size
from framecast.video.readers.folder_listing import Gap, Listing, find_gaps
from framecast.video.readers.image_file import (
    DamagedImageError,
    ImageHeader,
    read_header,
    read_pixels,
)

NOTES_PER_KIND = 3


class FolderSource(FrameSource):
    """Images of one folder in natural order; any frame costs one file."""

    def __init__(self, path: Path, listing: Listing, color: Color, keep_readable: bool) -> None:
        """Read every header. Raises CorruptSourceError, or SourceError for mixed sizes.

        keep_readable decodes every file once and leaves the damaged ones out, each a break.
        """
        usable: list[Path] = []
        headers: list[ImageHeader] = []
        damaged: list[Gap] = []
        for number, file in enumerate(listing.images):
            try:
                header = read_header(file)
                if keep_readable:
                    read_pixels(file, header)
            except DamagedImageError as error:
                if not keep_readable:
                    raise _damaged(file, number, error) from error
                damaged.append(Gap(len(usable), f"{file.name} is left out ({error})"))
                continue
            usable.append(file)
            headers.append(header)
        if not usable:
            raise CorruptSourceError(
                f"{path}: none of its {len(listing.images)} images can be read, "
                f"{damaged[0].sentence}",
                remedy="copy or download them again",
            )
        height, width = _common_size(path, usable, headers)
        gaps = find_gaps([file.name for file in usable])
        breaks = {gap.index for gap in (*gaps, *damaged) if 0 < gap.index < len(usable)}
        deep = any(header.bits == 16 for header in headers)
        stored = max(header.channels for header in headers)
        self._files, self._headers = usable, headers
        self.info = SourceInfo(
            path=path,
            kind="folder",
            frames=len(usable),
            exact=True,
            height=height,
            width=width,
            channels=choose_channels(color, stored),
            dtype="uint16" if deep else "uint8",
            fps=None,
            breaks=tuple(sorted(breaks)),
            notes=(
                *_shorten([gap.sentence for gap in gaps], "gaps"),
                *_shorten([gap.sentence for gap in damaged], "damaged files"),
                *_header_notes(usable, headers),
                *_ignored(listing),
            ),
        )

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        for number in numbers:
            file, header = self._files[number], self._headers[number]
            try:
                frame = read_pixels(file, header)
            except DamagedImageError as error:
                raise _damaged(file, number, error) from error
            yield convert_depth(convert_color(frame, self.info.channels), self.info.dtype)


def _damaged(file: Path, number: int, error: DamagedImageError) -> CorruptSourceError:
    return CorruptSourceError(
        f"{file}: frame {number} cannot be read ({error})",
        remedy="replace or remove the file, or set data.keep_readable=true to leave it out",
    )


def _common_size(
    path: Path, files: Sequence[Path], headers: Sequence[ImageHeader]
) -> tuple[int, int]:
    sizes = [(header.height, header.width) for header in headers]
    common = Counter(sizes).most_common(1)[0][0]
    for file, size in zip(files, sizes, strict=True):
        if size != common:
            raise SourceError(
                f"{path}: {file.name} is {show_size(size)} where the other frames are "
                f"{show_size(common)} (height x width)",
                remedy="give frames of one size, or move the odd ones away",
            )
    return common


def _header_notes(files: Sequence[Path], headers: Sequence[ImageHeader]) -> Iterator[str]:
    def first(test: Callable[[ImageHeader], bool]) -> str | None:
        hits = [file.name for file, header in zip(files, headers, strict=True) if test(header)]
        if not hits:
            return None
        return hits[0] if len(hits) == 1 else f"{hits[0]} and {len(hits) - 1} more"

    if names := first(lambda header: header.alpha):
        yield f"transparency is dropped ({names})"
    if names := first(lambda header: header.pages > 1):
        yield f"only the first picture of files with several is read ({names})"
    if len({header.channels for header in headers}) > 1:
        yield f"grey images are mixed with colour ({first(lambda header: header.channels == 1)})"
    if len({header.bits for header in headers}) > 1:
        names = first(lambda header: header.bits == 8)
        yield f"8-bit images are mixed with 16-bit and scaled up to them ({names})"
    elif headers[0].bits == 16:
        yield "pixels have 16 bits"


def _ignored(listing: Listing) -> Iterator[str]:
    strays = [*(file.name for file in listing.others), *(f"{d.name}/" for d in listing.folders)]
    if strays:
        shown = ", ".join(strays[:NOTES_PER_KIND])
        more = len(strays) - NOTES_PER_KIND
        yield f"not frames, ignored: {shown}" + (f" and {more} more" if more > 0 else "")


def _shorten(sentences: Sequence[str], what: str) -> list[str]:
    more = len(sentences) - NOTES_PER_KIND
    rest = [f"and {more} more {what}"] if more > 0 else []
    return [*sentences[:NOTES_PER_KIND], *rest]
