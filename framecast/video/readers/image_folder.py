"""A folder of images as one clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from framecast.errors import CorruptSourceError, SourceError
from framecast.runtime.text import listed
from framecast.video.pixels import convert_depth
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.file_order import Gap, order_names
from framecast.video.readers.folder_listing import Listing
from framecast.video.readers.frame_checks import (
    NOTES_PER_KIND,
    TRANSPARENT_NOTE,
    shorten,
    show_size,
)
from framecast.video.readers.frame_names import frame_times
from framecast.video.readers.image_file import (
    DamagedImageError,
    ImageHeader,
    read_header,
    read_pixels,
)


class FolderSource(FrameSource):
    """Images of one folder in the order of their names; any frame costs one file."""

    def __init__(self, path: Path, listing: Listing, options: ReadOptions) -> None:
        """Read every header. Raises CorruptSourceError, or SourceError for mixed sizes or types.

        keep_readable decodes every file once and leaves the damaged ones out, each a break.
        """
        super().__init__(path, options)
        headers, damaged = _read_headers(path, listing, options.keep_readable)
        self._headers = headers
        # Grey files among colour ones become colour, so that all frames have one shape.
        self._channels = max(header.channels for header in headers)
        names = [header.path.name for header in headers]
        order = order_names(names)
        breaks = {gap.index for gap in (*order.gaps, *damaged) if 0 < gap.index < len(headers)}
        self._notes = [
            *shorten([gap.sentence for gap in order.gaps], "gaps"),
            *shorten([gap.sentence for gap in damaged], "damaged files"),
            *filter(None, [order.note]),
            *_header_notes(headers),
            *_ignored(listing),
        ]
        self._describe(
            "folder",
            len(headers),
            (*_common_size(path, headers), self._channels),
            _common_type(path, headers),
            moments=frame_times(names),
            breaks=tuple(sorted(breaks)),
        )
        self._missing = frozenset().union(*(header.missing for header in headers))
        stated = {header.stated for header in headers}
        self._stated = next(iter(stated)) if len(stated) == 1 else None
        # Of 8 and 16 bits together each is scaled from its own whole range.
        if len({header.dtype for header in headers}) == 1:
            self._settle_range()

    @property
    def files(self) -> Sequence[Path]:
        return [header.path for header in self._headers]

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        stored = self.info.values.dtype
        for number in numbers:
            header = self._headers[number]
            try:
                frame = read_pixels(header)
            except DamagedImageError as error:
                raise _damaged(header.path, number, error) from error
            if frame.shape[2] != self._channels:
                frame = np.repeat(frame, self._channels, axis=2)
            yield frame if frame.dtype == stored else convert_depth(frame, stored)


def _read_headers(
    path: Path, listing: Listing, keep_readable: bool
) -> tuple[list[ImageHeader], list[Gap]]:
    """The headers of the files that can be read, and the files that are left out."""
    headers: list[ImageHeader] = []
    damaged: list[Gap] = []
    for number, file in enumerate(listing.images):
        try:
            header = read_header(file)
            if keep_readable:
                read_pixels(header)
        except DamagedImageError as error:
            if not keep_readable:
                raise _damaged(file, number, error) from error
            damaged.append(Gap(len(headers), f"{file.name} is left out ({error})"))
            continue
        headers.append(header)
    if not headers:
        raise CorruptSourceError(
            f"{path}: none of its {len(listing.images)} images can be read, {damaged[0].sentence}",
            remedy="copy or download them again",
        )
    return headers, damaged


def _damaged(file: Path, number: int, error: DamagedImageError) -> CorruptSourceError:
    return CorruptSourceError(
        f"{file}: frame {number} cannot be read ({error})",
        remedy="replace or remove the file, or add --keep-readable to leave it out",
    )


def _common_size(path: Path, headers: Sequence[ImageHeader]) -> tuple[int, int]:
    common = Counter((header.height, header.width) for header in headers).most_common(1)[0][0]
    for header in headers:
        if (size := (header.height, header.width)) != common:
            raise SourceError(
                f"{path}: {header.path.name} is {show_size(size)} where the other frames are "
                f"{show_size(common)} (height x width)",
                remedy="give frames of one size, or move the odd ones away",
            )
    return common


def _common_type(path: Path, headers: Sequence[ImageHeader]) -> str:
    """The type of all frames; 8-bit ones among 16-bit ones are scaled up."""
    found = {header.dtype: header.path.name for header in headers}
    if len(found) == 1:
        return next(iter(found))
    if set(found) == {"uint8", "uint16"}:
        return "uint16"
    kinds = ", ".join(f"{name} has {dtype}" for dtype, name in sorted(found.items()))
    raise SourceError(
        f"{path}: mixes types of pixels: {kinds}", remedy="save all frames with one type"
    )


def _header_notes(headers: Sequence[ImageHeader]) -> Iterator[str]:
    def first(test: Callable[[ImageHeader], bool]) -> str:
        return listed([header.path.name for header in headers if test(header)], 1)

    if names := first(lambda header: header.alpha):
        yield f"{TRANSPARENT_NOTE} ({names})"
    if names := first(lambda header: header.pages > 1):
        yield f"only the first picture of files with several is read ({names})"
    if len({header.channels for header in headers}) > 1:
        yield f"grey images are mixed with colour ({first(lambda header: header.channels == 1)})"
    if len({header.dtype for header in headers}) > 1:
        names = first(lambda header: header.dtype == "uint8")
        yield f"8-bit images are mixed with 16-bit and scaled up to them ({names})"
    elif headers[0].dtype == "uint16":
        yield "pixels have 16 bits"


def _ignored(listing: Listing) -> Iterator[str]:
    if copies := [file.name for file in listing.copies]:
        yield f"copies of other frames, left out: {listed(copies, NOTES_PER_KIND)}"
    if strays := [
        *(each.name for each in listing.others),
        *(f"{d.name}/" for d in listing.folders),
    ]:
        yield f"not frames, ignored: {listed(strays, NOTES_PER_KIND)}"
