"""A TIFF of many pages as one clip: plain pages, OME-TIFF, and ImageJ's stacks and hyperstacks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from framecast.errors import SourceError
from framecast.runtime.text import are
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.frame_checks import (
    check_frames,
    check_memory,
    check_part,
    explained,
)
from framecast.video.readers.image_file import missing_values, stated_range, tiff_pixels

# Letters of tifffile for axes that can be time: time, depth, image, other, order, channel.
TIME_AXES = "TZIQRC"

# Units of time in OME-XML, in seconds.
OME_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}

AXIS_NAMES = {"Z": "depth (Z)", "C": "channels (C)", "T": "time (T)"}


class TiffStackSource(FrameSource):
    """The pages of a TIFF along its time axis; any frame costs one page."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read the structure and the first frame.

        Raises SourceError for no TIFF or for axes that are no clip's, CorruptSourceError when it is
        cut short and `keep_readable` is not set.
        """
        super().__init__(path, options)

        def refused(error: Exception) -> SourceError:
            problem = f"{path}: is no readable TIFF ({error})"
            return SourceError(problem, remedy="copy or download it again")

        with explained(path, refused), tifffile.TiffFile(path) as file:
            self._pages_TC = _layout(path, file, self._notes)
            page = file.series[0].keyframe
            check_memory(path, math.prod(page.shape) * file.series[0].dtype.itemsize)
            held = _frames_held(path, file, self._pages_TC)
            fps, self._stated = _rate(file), stated_range(file)
            self._missing = missing_values(page)
        frames = self._readable(len(self._pages_TC), held)
        first = next(self._frames(range(1)))
        self._describe("stack", frames, first.shape, first.dtype, fps=fps)
        self._settle_range()

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        with tifffile.TiffFile(self._path) as file:
            pages = _pages(file)
            for number in numbers:
                yield self._frame(file, pages, number)

    def _frame(
        self, file: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage], number: int
    ) -> np.ndarray:
        wanted = self._pages_TC[number].tolist()
        if len(pages) < self._pages_TC.size:
            # ImageJ writes one page for all of a large stack, whose pixels follow one another.
            series = file.series[0]
            stored = np.dtype(series.dtype).newbyteorder(file.byteorder)
            shape = (max(wanted) + 1, *pages[0].shape[-2:])
            mapped = np.memmap(self._path, stored, "r", series.dataoffset, shape)
            parts = [mapped[page][:, :, None].astype(stored.newbyteorder("=")) for page in wanted]
        else:
            parts = [tiff_pixels(self._path, pages[page], page) for page in wanted]
        return np.concatenate(parts, axis=2)


def count_frames(path: Path) -> int:
    """Number of pictures in a TIFF, in pages or in one page for a whole stack; 0: it is none.

    Raises SourceError when its pages lead back to an earlier one, or its metadata announces what
    cannot be.
    """
    try:
        with tifffile.TiffFile(path) as file:
            # First, since the series of pages that go round in a circle never end.
            alike = len(_alike(file))
            _check_metadata(path, file)
            page = math.prod(file.series[0].keyframe.shape)
            return max(alike, math.prod(file.series[0].shape) // page, _imagej_frames(file))
    except SourceError:
        raise
    except Exception:  # any exception that the bytes of another file can cause
        return 0


def _check_metadata(path: Path, file: tifffile.TiffFile) -> None:
    """Raise SourceError for what tifffile would do for hours if OME-XML told it to.

    That is to list planes, or steps of an axis, that nobody has stored, and to wait for a pipe.
    """
    try:
        root = ElementTree.fromstring((file.is_ome and file.ome_metadata) or "<none/>")
    except ElementTree.ParseError:  # then tifffile reads the pages without it
        return
    for element in root.iter():
        said, name = element.attrib, element.tag.rpartition("}")[2]
        number = max(int(said.get(key, 0)) for key in ("PlaneCount", "NumPlanes"))
        if name == "Pixels":
            number = math.prod(int(said.get(f"Size{axis}", 1)) for axis in "TZC")
        elif name.startswith("ModuloAlong") and "End" in said:
            steps = float(said["End"]) - float(said.get("Start", 0))
            number = steps / float(said.get("Step", 1))
        elif name == "UUID":  # of a dataset in several files, one of them
            check_part(path, path.parent / said.get("FileName", path.name))
        check_frames(path, number)


def _pages(file: tifffile.TiffFile) -> Sequence[tifffile.TiffPage]:
    """The pages of the first series; if each page is a separate series, all of them."""
    series = file.series[0]
    return _alike(file) if _is_one_page(series) else series.pages


def _alike(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The pages that have the size of the first: overviews and thumbnails are no frames."""
    first, alike, offsets = file.pages[0].shape, [], set()
    # Each page holds the offset of the next, so that a damaged file can lead back to an earlier.
    for page in file.pages:
        if page.offset in offsets:
            raise SourceError(
                f"{file.filehandle.path}: page {len(offsets)} leads back to an earlier one",
                remedy="copy or download it again",
            )
        offsets.add(page.offset)
        if page.shape == first:
            alike.append(page)
    return alike


def _is_one_page(series: tifffile.TiffPageSeries) -> bool:
    return not series.axes.translate(str.maketrans("", "", "YXS"))


def _imagej_frames(file: tifffile.TiffFile) -> int:
    """Number of grey frames that ImageJ put after one page, though the file may end before; or 1.

    tifffile does not relate them where the file is cut short.
    """
    told, page = (file.is_imagej and file.imagej_metadata) or {}, file.pages[0]
    axes = sum(told.get(name, 1) > 1 for name in ("frames", "slices", "channels"))
    if len(file.pages) > 1 or page.ndim != 2 or not page.is_final or axes > 1:
        return 1
    # A single image can still have the description of the stack that it was taken from.
    held = (file.filehandle.size - page.dataoffsets[0]) // page.nbytes
    return told.get("images", 1) if held > 1 else 1


def _layout(path: Path, file: tifffile.TiffFile, notes: list[str]) -> np.ndarray:
    """Numbers (T, C) of the pages that make each frame: one, or one for each channel."""
    series = file.series[0]
    if _is_one_page(series):  # pages written one by one, without metadata that relates them
        if (frames := _imagej_frames(file)) > 1:
            return np.arange(frames)[:, None]
        alike = _alike(file)
        if others := len(file.pages) - len(alike):
            notes.append(f"{are(others, 'page')} of another size and left out")
        return np.arange(len(alike))[:, None]
    if len(file.series) > 1:
        named = f" ({series.name})" if series.name else ""
        notes.append(f"of {len(file.series)} series only the first{named} is read")
    lead_axes = series.axes[: -len(series.keyframe.axes)] or series.axes[:1]
    lead = tuple(series.shape[: len(lead_axes)])
    sizes = dict(zip(lead_axes, lead, strict=True))
    # tifffile keeps axes of length 1, which ImageJ writes for every hyperstack (TZCYX).
    time = next((axis for axis in TIME_AXES if sizes.get(axis, 1) > 1), lead_axes[0])
    channel = "C" if time != "C" and sizes.get("C", 1) in (3, 4) else None
    spare = [axis for axis in lead_axes if sizes[axis] > 1 and axis not in (time, channel)]
    if spare:
        shape = ", ".join(f"{axis}={sizes[axis]}" for axis in lead_axes)
        raise SourceError(
            f"{path}: has more axes than time, height and width ({shape})",
            remedy="save one plane and one channel, or a projection",
        )
    if time in ("Z", "C"):
        notes.append(f"{AXIS_NAMES[time]} is taken for time, as there is no time axis")
    if channel:
        notes.append("its channels are taken for red, green and blue")
    # All other axes have length 1.
    order = [lead_axes.index(axis) for axis in (time, channel) if axis]
    numbers = np.arange(math.prod(lead)).reshape(lead)
    return np.moveaxis(numbers, order, range(len(order))).reshape(sizes[time], -1)


def _frames_held(path: Path, file: tifffile.TiffFile, pages_TC: np.ndarray) -> int:
    """Number of frames that the bytes of the file hold."""
    pages, size = _pages(file), path.stat().st_size
    if len(pages) < pages_TC.size:
        series = file.series[0]
        page_bytes = np.dtype(series.dtype).itemsize * math.prod(pages[0].shape[-2:])
        return min(len(pages_TC), (size - series.dataoffset) // page_bytes)
    for frame, wanted in enumerate(pages_TC.tolist()):
        for page in wanted:
            if pages[page] is None:  # announced by OME-XML alone
                return frame
            ends = zip(pages[page].dataoffsets, pages[page].databytecounts, strict=True)
            if any(offset + count > size for offset, count in ends):
                return frame
    return len(pages_TC)


def _rate(file: tifffile.TiffFile) -> float | None:
    """Frames per second, from ImageJ's or OME's metadata; None where there are none."""
    shaped = [*(file.shaped_metadata or ()), {}][0]  # tifffile's own, as our stacks have it
    imagej = file.imagej_metadata or shaped
    interval = float(imagej.get("finterval") or 0)
    fps = float(imagej.get("fps") or 0)
    if file.is_ome:
        text = file.ome_metadata or ""
        if found := re.search(r'TimeIncrement="([0-9.eE+-]+)"', text):
            unit = re.search(r'TimeIncrementUnit="(\w+)"', text)
            interval = float(found[1]) * OME_SECONDS.get(unit[1] if unit else "s", 1)
    # ImageJ writes one of the two, according to how the stack was made.
    if fps > 0:
        return fps
    return 1 / interval if interval > 0 else None
