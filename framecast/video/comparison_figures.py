"""Pictures for people: input, prediction, truth and error side by side, moving and still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from framecast.video.frame_style import INK, PAPER, letters, rgb
from framecast.video.frame_times import lead_label

EMPTY = (25, 28, 35)  # a panel that has nothing to show yet
BORDER = (52, 57, 68)
DIM_TEXT = (146, 153, 168)

ERROR_SCALE = 0.5  # share of the value range at which the error colours end
ERROR_COLORS = cv2.COLORMAP_INFERNO

VIDEO_SIDES = (160, 480)  # smallest and largest width of a panel in pixels
STRIP_SIDES = (112, 224)


class Panel(NamedTuple):
    """One picture of a figure: frame (H, W, 1|3), or None for an empty panel, under its title.

    `detail` stands dimmed at the right end of the title line, instead of it the legend of the error
    colours with `legend`.
    """

    title: str
    frame: np.ndarray | None
    detail: str = ""
    legend: bool = False


def error_frame(prediction_HWC: np.ndarray, truth_HWC: np.ndarray) -> np.ndarray:
    """Colour map (H, W, 3) uint8 of the absolute error, averaged over the channels.

    Black is no error, pale yellow an error of ERROR_SCALE times the value range or more. Raises
    ValueError when shapes or dtypes differ.
    """
    if prediction_HWC.shape != truth_HWC.shape or prediction_HWC.dtype != truth_HWC.dtype:
        raise ValueError(
            f"prediction {prediction_HWC.shape} {prediction_HWC.dtype} and "
            f"truth {truth_HWC.shape} {truth_HWC.dtype} must agree"
        )
    most = np.iinfo(truth_HWC.dtype).max * ERROR_SCALE
    error_HW = np.abs(prediction_HWC.astype(np.float32) - truth_HWC).mean(axis=2) / most
    levels = np.rint(np.minimum(error_HW, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, ERROR_COLORS), cv2.COLOR_BGR2RGB)


def comparison_frame(panels: Sequence[Panel | tuple[str, np.ndarray | None]]) -> np.ndarray:
    """Panels side by side under their titles, as one RGB picture (H', W', 3) uint8.

    All frames have one height and width; (title, frame) pairs will do as panels. Frames narrower
    than 160 pixels are enlarged by a whole number, those beyond 480 are shrunk. Even in both
    sizes, which depend on the frames' size and number alone, so that it can be a video's frame.
    Raises ValueError when there is no frame or when sizes differ.
    """
    panels = [Panel(*panel) for panel in panels]
    height, width = _common_size([panel.frame for panel in panels])
    cell = _Cell.fitting(height, width, VIDEO_SIDES)
    line = 2 * cell.font
    margin = gap = cell.font
    right = 2 * margin + len(panels) * (cell.column + gap) - gap
    bottom = line + cell.height + margin
    canvas = Image.new("RGB", (right + right % 2, bottom + bottom % 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, panel in enumerate(panels):
        left = margin + index * (cell.column + gap)
        empty = panel.frame is None
        _write_title(draw, panel, (left, line // 2), cell, DIM_TEXT if empty else INK)
        _paste(canvas, panel.frame, (left, line), cell)
    return np.asarray(canvas)


def comparison_video(
    context_THWC: Iterable[np.ndarray],
    prediction_THWC: Iterable[np.ndarray],
    truth_THWC: Iterable[np.ndarray] | None = None,
    baseline: tuple[str, Iterable[np.ndarray]] | None = None,
    *,
    paint: Callable[[np.ndarray], np.ndarray] = lambda frame: frame,
    label: Callable[[int], str] = lead_label,
) -> Iterator[np.ndarray]:
    """Comparison pictures that first play the context, then the future next to its last frame.

    Arrays (T, H, W, C) or iterators of frames (H, W, C), which are taken one by one. Panels are
    input and prediction, then those that are given: a baseline's frames under its name, truth and
    the prediction's error. While the context plays all of them show it; where the truth ends
    before the prediction, truth and error stay empty. `paint` colours frames, but not the error;
    `label` writes a lead time, 0 and less being seen. Yields len(context) + len(prediction) RGB
    frames of one size.
    """
    others = {} if baseline is None else {baseline[0]: iter(baseline[1])}
    if truth_THWC is not None:
        others["truth"] = iter(truth_THWC)

    def picture(
        seen_HWC: np.ndarray, lead: int, shown: Mapping[str, np.ndarray | None]
    ) -> np.ndarray:
        detail = label(lead) if lead > 0 else "seen"
        panels = [Panel("input", paint(seen_HWC), label(min(lead, 0)))]
        for title, frame_HWC in shown.items():
            painted = None if frame_HWC is None else paint(frame_HWC)
            panels.append(Panel(title, painted, detail))
        if "truth" in others:
            truth = shown["truth"]
            error = None if truth is None else error_frame(shown["prediction"], truth)
            panels.append(Panel("error", error, legend=True))
        return comparison_frame(panels)

    context = list(context_THWC)
    for lead, frame_HWC in enumerate(context, start=1 - len(context)):
        yield picture(frame_HWC, lead, dict.fromkeys(["prediction", *others], frame_HWC))
    for lead, prediction in enumerate(prediction_THWC, start=1):
        beside = {title: next(frames, None) for title, frames in others.items()}
        yield picture(context[-1], lead, {"prediction": prediction, **beside})


def contact_strip(
    context_THWC: Sequence[np.ndarray],
    prediction_THWC: Sequence[np.ndarray],
    truth_THWC: Sequence[np.ndarray] | None = None,
    *,
    columns: int = 6,
) -> np.ndarray:
    """One still picture (H', W', 3) uint8: rows for truth, prediction and error over lead times.

    The first column is the last context frame, the others are at most `columns` lead times, from
    the first to the last, evenly spread. Without truth there is the row of predictions alone.
    Arrays are (T, H, W, C); raises ValueError when one is empty or the sizes differ.
    """
    shown = (
        len(prediction_THWC) if truth_THWC is None else min(len(prediction_THWC), len(truth_THWC))
    )
    if shown == 0:
        raise ValueError("a contact strip needs at least one predicted frame")
    leads = np.unique(np.rint(np.linspace(1, shown, min(columns, shown))).astype(int))
    predictions = [prediction_THWC[lead - 1] for lead in leads]
    rows = {"prediction": predictions}
    if truth_THWC is not None:
        truths = [truth_THWC[lead - 1] for lead in leads]
        errors = [error_frame(*pair) for pair in zip(predictions, truths, strict=True)]
        rows = {"truth": truths, "prediction": predictions, "error": errors}
    last = context_THWC[-1]
    height, width = _common_size([last, *chain(*rows.values())])
    cell = _Cell.fitting(height, width, STRIP_SIDES)
    return _draw_strip(last, [f"+{lead}" for lead in leads], rows, cell)


class _Cell(NamedTuple):
    """Where a frame goes: its drawn size, the column's width and the size of the letters."""

    width: int
    height: int
    column: int
    font: int

    @classmethod
    def fitting(cls, height: int, width: int, sides: tuple[int, int]) -> _Cell:
        least, most = sides
        if max(height, width) > most:
            ratio = most / max(height, width)
            drawn = max(1, round(width * ratio)), max(1, round(height * ratio))
        else:
            factor = min(-(-least // width), most // max(height, width))
            drawn = width * factor, height * factor
        column = max(least, drawn[0])
        return cls(*drawn, column=column, font=min(22, max(13, round(column / 16))))


def _draw_strip(
    last: np.ndarray,
    leads: Sequence[str],
    rows: Mapping[str, Sequence[np.ndarray]],
    cell: _Cell,
) -> np.ndarray:
    margin, gap, line = cell.font, cell.font // 2, 2 * cell.font
    labels = cell._replace(column=6 * cell.font)
    lefts = [2 * margin + labels.column + i * (cell.column + gap) for i in range(len(leads) + 1)]
    lefts[1:] = [left + 2 * gap for left in lefts[1:]]  # the future stands apart from the input
    tops = [line + row * (cell.height + gap) for row in range(len(rows))]
    # The legend below the last row's title reaches below wide frames.
    bottom = tops[-1] + max(cell.height, cell.height // 2 + line + cell.font)
    canvas = Image.new("RGB", (lefts[-1] + cell.column + margin, bottom + margin), PAPER)
    draw = ImageDraw.Draw(canvas)
    for left, title in zip(lefts, ["input", *leads], strict=True):
        _write_title(draw, Panel(title, None), (left, line // 2), cell, DIM_TEXT)
    _paste(canvas, last, (lefts[0], tops[0]), cell)
    for top, (title, frames) in zip(tops, rows.items(), strict=True):
        middle = top + cell.height // 2
        _write_title(draw, Panel(title, None), (margin, middle), labels, INK)
        if title == "error":
            _draw_legend(draw, (margin, middle + line), labels, align_right=False)
        for left, frame in zip(lefts[1:], frames, strict=True):
            _paste(canvas, frame, (left, top), cell)
    return np.asarray(canvas)


def _common_size(frames: Iterable[np.ndarray | None]) -> tuple[int, int]:
    sizes = {frame.shape[:2] for frame in frames if frame is not None}
    if len(sizes) != 1:
        found = ", ".join(f"{height} x {width}" for height, width in sorted(sizes)) or "none"
        raise ValueError(f"expected frames of one size in a figure, got {found}")
    return sizes.pop()


def _paste(
    canvas: Image.Image, frame: np.ndarray | None, corner: tuple[int, int], cell: _Cell
) -> None:
    """Draw the frame, or an empty panel, inside a hairline, centred in its column."""
    left, top = corner[0] + (cell.column - cell.width) // 2, corner[1]
    if frame is None:
        picture: Image.Image | tuple[int, int, int] = EMPTY
    else:
        # Enlarged pixels stay squares: what the network saw is what is shown.
        enlarged = cell.width >= frame.shape[1]
        method = cv2.INTER_NEAREST if enlarged else cv2.INTER_AREA
        size = (cell.width, cell.height)
        picture = Image.fromarray(cv2.resize(rgb(frame), size, interpolation=method))
    canvas.paste(picture, (left, top, left + cell.width, top + cell.height))
    outline = (left - 1, top - 1, left + cell.width, top + cell.height)
    ImageDraw.Draw(canvas).rectangle(outline, outline=BORDER)


def _write_title(
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    anchor: tuple[int, int],
    cell: _Cell,
    color: tuple[int, int, int],
) -> None:
    """Title at the left, detail or legend at the right, both centred on the anchor's height."""
    left, middle = anchor
    font = letters(cell.font)
    room = cell.column
    if panel.legend:
        room -= _draw_legend(draw, anchor, cell, align_right=True)
    elif panel.detail:
        draw.text((left + cell.column, middle), panel.detail, DIM_TEXT, font, anchor="rm")
        room -= round(font.getlength(panel.detail)) + cell.font // 2
    draw.text((left, middle), _shortened(panel.title, font, room), color, font, anchor="lm")


def _draw_legend(
    draw: ImageDraw.ImageDraw, anchor: tuple[int, int], cell: _Cell, *, align_right: bool
) -> int:
    """Bar of the error colours between 0 and ERROR_SCALE; returns the width it takes."""
    font = letters(round(cell.font * 0.85))
    length, gap = 3 * cell.font, cell.font // 3
    zero, end = round(font.getlength("0")), round(font.getlength(f"{ERROR_SCALE:g}"))
    total = zero + length + end + 2 * gap
    left = anchor[0] + (cell.column - total if align_right else 0)
    middle, start = anchor[1], left + zero + gap
    draw.text((left, middle), "0", DIM_TEXT, font, anchor="lm")
    draw.text((start + length + gap, middle), f"{ERROR_SCALE:g}", DIM_TEXT, font, anchor="lm")
    half = max(2, cell.font // 5)
    levels = np.linspace(0, 255, length).round().astype(np.uint8)[:, None]
    colors = cv2.applyColorMap(levels, ERROR_COLORS)[:, 0, ::-1].tolist()
    for x, color in enumerate(colors, start=start):
        draw.line((x, middle - half, x, middle + half), fill=tuple(color))
    draw.rectangle(
        (start - 1, middle - half - 1, start + length, middle + half + 1), outline=BORDER
    )
    return total + cell.font // 2


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
