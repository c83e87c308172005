"""Frames painted for people: colours from a colour map with its legend, labels, another size."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from framecast.config.brightness_scale import Scale
from framecast.errors import UsageError
from framecast.video.pixels import convert_color, convert_depth
from framecast.video.plot_style import imported_matplotlib

RADAR = "radar"
RADAR_FIRST, RADAR_STEP = 5.0, 5.0  # dBZ
# The US National Weather Service's colours of reflectivity, one for each 5 dBZ from 5 dBZ on.
RADAR_COLORS = (
    *((4, 233, 231), (1, 159, 244), (3, 0, 244), (2, 253, 2), (1, 197, 1), (0, 142, 0)),
    *((253, 248, 2), (229, 188, 0), (253, 149, 0), (253, 0, 0), (212, 0, 0), (188, 0, 0)),
    *((248, 0, 253), (152, 84, 198), (253, 253, 253)),
)

PAPER, INK = (17, 19, 24), (236, 238, 242)
# Values that a legend names at most, apart from those of `radar`, which are its classes.
TICKS = 6


@dataclass(frozen=True)
class FrameStyle:
    """How frames are shown.

    `colormap` is matplotlib's name of one, or `radar` for reflectivity in dBZ; `scale` says what
    pixels stand for and puts a legend next to the frame; `enlarge` is the factor of both sides,
    whole numbers keep pixels square.

    Raises UsageError for a colour map that does not exist, for `radar` without a scale in dBZ and
    for an `enlarge` outside 0.05 to 16.
    """

    colormap: str | None = None
    scale: Scale | None = None
    enlarge: float = 1.0

    def __post_init__(self) -> None:
        if not 0.05 <= self.enlarge <= 16:
            raise UsageError(
                f"--scale {self.enlarge:g}: expected a factor of 0.05 to 16", remedy="try 2"
            )
        if self.colormap == RADAR and (self.scale is None or self.scale.unit != "dBZ"):
            raise UsageError(
                "--colormap radar: what pixels mean in dBZ is not known",
                remedy='say it with --value-scale "-10..60 dBZ"',
            )
        if self.colormap is not None:
            color_table(self.colormap, self.scale)

    @property
    def plain(self) -> bool:
        """Whether frames stay as they are."""
        return self.colormap is None and self.enlarge == 1

    def paint(self, frame_HWC: np.ndarray) -> np.ndarray:
        """The frame in its colours and size, without a legend: RGB uint8, or as it was.

        Raises UsageError for a colour frame where there is a colour map.
        """
        if self.colormap is not None:
            if frame_HWC.shape[2] != 1:
                raise UsageError(
                    f"--colormap {self.colormap} is for grey frames, these are in colour",
                    remedy="add --color gray, or leave it out",
                )
            table = color_table(self.colormap, self.scale)
            frame_HWC = table[convert_depth(frame_HWC, np.uint8)[..., 0]]
        if self.enlarge == 1:
            return frame_HWC
        height, width = (max(1, round(side * self.enlarge)) for side in frame_HWC.shape[:2])
        # Squares stay squares when enlarged by a whole number; what shrinks is averaged.
        whole = self.enlarge == int(self.enlarge)
        method = cv2.INTER_NEAREST if whole else cv2.INTER_CUBIC
        if self.enlarge < 1:
            method = cv2.INTER_AREA
        scaled = cv2.resize(frame_HWC, (width, height), interpolation=method)
        return scaled.reshape(height, width, frame_HWC.shape[2])

    def show(
        self, frames_THWC: Iterable[np.ndarray], labels: Iterable[str] | None = None
    ) -> Iterator[np.ndarray]:
        """Paint frames one by one, each under its label, next to the legend; all of one size."""
        painted = map(self.paint, frames_THWC)
        return self.beside_legend(painted if labels is None else map(under_label, painted, labels))

    def beside_legend(self, painted_THWC: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Painted frames of one size, each next to the legend where it is known what they show."""
        legend = None
        for painted_HWC in painted_THWC:
            if self.colormap is None or self.scale is None:
                yield painted_HWC
                continue
            if legend is None:
                legend = draw_legend(self.colormap, self.scale, painted_HWC.shape[0])
            yield np.concatenate((rgb(painted_HWC), legend), axis=1)


def color_table(name: str, scale: Scale | None = None) -> np.ndarray:
    """The colours (256, 3) uint8 of the 8-bit pixel values; UsageError for an unknown name."""
    if name == RADAR:
        values = np.array([scale.value(level / 255) for level in range(256)])
        classes = np.clip(np.floor((values - RADAR_FIRST) / RADAR_STEP) + 1, 0, len(RADAR_COLORS))
        return np.array((PAPER, *RADAR_COLORS), np.uint8)[classes.astype(int)]
    return _matplotlib_table(name)


@lru_cache
def _matplotlib_table(name: str) -> np.ndarray:
    colormaps = imported_matplotlib().colormaps
    if name not in colormaps:
        near = difflib.get_close_matches(name, [*colormaps, RADAR], 1, 0.5)
        remedy = f"did you mean {near[0]}?" if near else "try viridis, magma, gray or radar"
        raise UsageError(f"--colormap {name}: there is none of this name", remedy=remedy)
    return colormaps[name](np.arange(256) / 255, bytes=True)[:, :3].copy()


@lru_cache
def letters(size: int) -> ImageFont.FreeTypeFont:
    """The font of what is written on frames and figures, of a size in pixels."""
    return ImageFont.load_default(size)


def rgb(frame_HWC: np.ndarray) -> np.ndarray:
    """A frame as RGB uint8."""
    return convert_color(convert_depth(frame_HWC, np.uint8), 3)


def under_label(frame_HWC: np.ndarray, text: str) -> np.ndarray:
    """An RGB frame under a line of text, which hides nothing of it."""
    width = frame_HWC.shape[1]
    size = min(20, max(9, width // 16))
    line = Image.new("RGB", (width, 2 * size), PAPER)
    font = letters(size)
    ImageDraw.Draw(line).text((size // 2, size), text, INK, font, anchor="lm")
    return np.concatenate((np.asarray(line), rgb(frame_HWC)), axis=0)


def draw_legend(name: str, scale: Scale, height: int) -> np.ndarray:
    """The colours from black (bottom) to white (top) with values in the scale's unit: RGB.

    Its width is even, so that beside frames of even width it makes one that a video can have.
    """
    size = min(14, max(8, height // 16))
    font = letters(size)
    ends = sorted((scale.black, scale.white))
    if name == RADAR:
        classes = RADAR_FIRST + RADAR_STEP * np.arange(len(RADAR_COLORS))
        ticks = [value for value in classes if ends[0] <= value < ends[1]]
    else:
        ticks = [scale.value(share) for share in np.linspace(0, 1, TICKS)]
    texts = {value: f"{value:.4g}" for value in ticks}
    wide = max((font.getlength(text) for text in (*texts.values(), scale.unit)), default=0)
    canvas = Image.new("RGB", (2 * round((wide + 3 * size) / 2), height), PAPER)
    draw = ImageDraw.Draw(canvas)
    top, bottom = 2 * size, height - size
    table = color_table(name, scale)
    for y in range(top, bottom):
        level = round(255 * (bottom - 1 - y) / max(1, bottom - 1 - top))
        draw.line((size // 2, y, size // 2 + size, y), fill=tuple(table[level].tolist()))
    draw.text((2 * size, size), scale.unit, INK, font, anchor="lm")
    last = float("inf")
    for value, text in texts.items():
        y = bottom - scale.pixel(value) * (bottom - top)
        if abs(last - y) >= 1.2 * size:  # labels that would touch are left out
            draw.text((2 * size, y), text, INK, font, anchor="lm")
            last = y
    return np.asarray(canvas)
