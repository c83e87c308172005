"""A clip's frames as another kind of file, read back and compared after writing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from framecast.config.brightness_scale import read_scale
from framecast.errors import ExportMismatchError
from framecast.export.request import ExportReport, ExportRequest
from framecast.runtime.output_files import check_target, write_whole
from framecast.runtime.text import counted
from framecast.video.frame_style import FrameStyle, rgb
from framecast.video.frame_times import lead_label, moment_names
from framecast.video.readers.base import FrameSource
from framecast.video.readers.open import open_source
from framecast.video.writers.base import FrameWriter
from framecast.video.writers.open import DEFAULT_FPS, PLAYED, STANDARD_OUTPUT, open_writer
from framecast.video.writers.png import encode_png

# Frames at most on a sheet, evenly spread
SHEET_FRAMES = 24

# dB that compressed frames must reach when read back; below that a file is taken as damaged
LEAST_PSNR = 25.0


def export_frames(
    source: FrameSource,
    outputs: Sequence[str | Path],
    request: ExportRequest,
    overwrite: bool = False,
    tell: Callable[[str, int, int], None] = lambda work, done, total: None,
) -> ExportReport:
    """Write a clip's frames to all that `open_writer` knows, or as one sheet (.png).

    `tell` is called for each frame with the work, what is done and the total. Holds one frame at a
    time; what was written is read again and compared frame by frame. Raises what reading raises and
    what `open_writer` raises, ExportMismatchError when a frame comes back as another one.
    """
    info = source.info
    _ = _style(request)  # a wrong one is refused before frames are read, as are wrong targets
    writers = [_writer(source, output, request, overwrite) for output in outputs]
    notes = [*info.notes]
    is_played = any(writer and writer.path.suffix.lower() in PLAYED for writer in writers)
    if is_played and request.fps is None and info.fps is None:
        notes.append(
            f"{info.path} has no frame rate: {DEFAULT_FPS:g} per second is assumed, "
            "--fps sets another"
        )
    for output, writer in zip(outputs, writers, strict=True):
        if writer is None:
            write_whole(Path(output), encode_png(_sheet(source, request)), "picture", overwrite)
        else:
            found = _write(source, writer, request, tell)
            name = "" if len(outputs) == 1 else f"{writer.path.name}: "
            notes += [name + note for note in found]
    return ExportReport(tuple(map(Path, outputs)), tuple(notes))


def _writer(
    source: FrameSource, output: str | Path, request: ExportRequest, overwrite: bool
) -> FrameWriter | None:
    """What writes to `output`; None for a sheet, whose target is checked."""
    if Path(output).suffix.lower() == ".png" and not str(output).endswith("/"):
        check_target(Path(output), "picture", overwrite)
        return None
    info = source.info
    return open_writer(
        output,
        fps=request.fps if request.fps is not None else info.fps or DEFAULT_FPS,
        overwrite=overwrite,
        # What is only scaled goes through pixels, which the writer turns back into values.
        values=info.values if _keeps_values(request) and not _style(request).plain else None,
        pixel_aspect=info.pixel_aspect,
        names=moment_names(info.moments),
    )


def _write(
    source: FrameSource,
    writer: FrameWriter,
    request: ExportRequest,
    tell: Callable[[str, int, int], None],
) -> list[str]:
    """Write all frames, read them again, and return notes on them."""
    info = source.info
    # Files for data get the values that the clip's own file has, where nothing is painted.
    kept = _keeps_values(request) and _style(request).plain
    exact = kept and writer.keeps_values and info.values.dtype in writer.stores
    with writer:
        for frame_HWC in source.read_values() if exact else _shown(source, request):
            writer.write(frame_HWC)
            tell("writing frames", writer.frames, info.frames)
    tell("reading back", 0, info.frames)
    if exact:
        again = _read_values_back(writer.path, source, writer.frames)
    elif str(writer.path) != STANDARD_OUTPUT:
        again = _read_back(writer, _shown(source, request))
    else:
        return writer.notes
    return [*writer.notes, again]


def _style(request: ExportRequest) -> FrameStyle:
    enlarge = 1.0 if request.enlarge is None else request.enlarge
    return FrameStyle(request.colormap, read_scale(request.value_scale), enlarge)


def _keeps_values(request: ExportRequest) -> bool:
    """Whether nothing is painted, so that files for data have values of the source's type."""
    return request.colormap is None and not request.labels


def _shown(source: FrameSource, request: ExportRequest) -> Iterator[np.ndarray]:
    """Painted frames, labelled with the time after the first, in minutes or seconds if known."""
    info = source.info
    times = (
        lead_label(number, request.step_minutes or info.step_minutes, info.fps).lstrip("+")
        for number in range(info.frames)
    )
    return _style(request).show(source.read(), times if request.labels else None)


def _sheet(source: FrameSource, request: ExportRequest) -> np.ndarray:
    """At most 24 frames of a clip, evenly spread, as one RGB picture, row by row."""
    frames = source.info.frames
    chosen = np.unique(np.rint(np.linspace(0, frames - 1, min(frames, SHEET_FRAMES))).astype(int))
    painted = [
        rgb(frame_HWC)
        for number, frame_HWC in enumerate(_shown(source, request))
        if number in chosen
    ]
    height, width, _ = painted[0].shape
    square = math.ceil(math.sqrt(len(painted) * height / width))  # about so as a whole
    columns = min(square, len(painted))
    rows, gap = math.ceil(len(painted) / columns), 4
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for number, frame_HWC in enumerate(painted):
        top, left = (height + gap) * (number // columns), (width + gap) * (number % columns)
        # Gaps of 4 pixels stay black.
        sheet[top : top + height, left : left + width] = frame_HWC
    return sheet


def _mismatch(path: Path, what: str) -> ExportMismatchError:
    return ExportMismatchError(f"{path}: {what}", remedy="choose another format")


def _read_values_back(path: Path, source: FrameSource, frames: int) -> str:
    """Compare a file for data with the clip's own values, which it has to hold exactly."""
    again = open_source(path).read_values()
    for number, (found_HWC, value_HWC) in enumerate(zip(again, source.read_values(), strict=True)):
        if not np.array_equal(found_HWC, value_HWC, equal_nan=True):
            raise _mismatch(path, f"frame {number} comes back with other values")
    return f"read back: {counted(frames, 'frame')}, all exact"


def _read_back(writer: FrameWriter, written: Iterator[np.ndarray]) -> str:
    """Compare a file with the frames that were written; returns how near it is in words."""
    path, frames, count = writer.path, writer.frames, counted(writer.frames, "frame")
    source, squares = open_source(path, color="rgb"), 0.0
    if writer.gives_back:  # pixels of the file's values, which may fit another range now
        source.set_range(writer.values)
    if source.info.frames != frames:
        raise _mismatch(path, f"of {count} written {source.info.frames} can be read back")
    for found_HWC, frame_HWC in zip(source.read(), written, strict=True):
        expected_HWC = rgb(frame_HWC)
        # H.264 and VP9 need even sizes and are padded by a row or column.
        height, width = expected_HWC.shape[:2]
        difference = rgb(found_HWC)[:height, :width].astype(np.float64) - expected_HWC
        squares += float(np.square(difference / 255).mean())
    if squares == 0:
        return f"read back: {count}, all exact"
    psnr = 10 * math.log10(frames / squares)
    if psnr < LEAST_PSNR:
        raise _mismatch(path, f"frames come back with a PSNR of {psnr:.1f} dB only")
    return f"read back: {count}, PSNR {psnr:.1f} dB"
