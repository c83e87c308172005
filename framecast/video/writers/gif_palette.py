"""Frames of a GIF: 256 colours for each, dithered."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np

GIF_TICK = Fraction(1, 100)
"""Seconds in which GIFs count time."""

PALETTE_PIXELS = 100_000
"""Pixels of a large frame, about, that its palette is made from: where all have other colours,
making it takes 0.3 s, and of twice as many 0.8 s."""

CHECKED_PIXELS = 2000
"""Of those, about, the pixels from which the error of a palette is estimated."""

ROUNDING = 4**2 / 12
"""Mean squared error of colours that are rounded to 6 of 8 bits, steps of 4."""


class PaletteReducer:
    """Gives RGB frames of one size, uint8 (H, W, 3), 256 colours each.

    FFmpeg finds the nearest of them exactly, which takes half a second for a 1080p photograph.
    Pillow rounds colours to 6 bits first and takes a tenth of that: it serves frames that 256
    colours show with a larger error anyway.
    """

    def __init__(self, height: int, width: int) -> None:
        # Every fourth pixel of a 1080p frame shows the same colours as all of them.
        self._step = max(1, math.isqrt(height * width // PALETTE_PIXELS))
        few = (-(-height // self._step), -(-width // self._step), "rgb24")
        # By single frames: one palette for the clip would have to see all of it first.
        self._palette = _Filter("palettegen", "stats_mode=single:reserve_transparent=0", few)
        inputs = ((height, width, "rgb24"), (16, 16, "bgra"))
        self._exact = _Filter("paletteuse", "new=1:dither=sierra2_4a", *inputs)
        self._first = self._last = np.empty((0, 4), np.uint8)  # palettes, ARGB

    def reduce(self, frame_HWC: np.ndarray, pts: int) -> av.VideoFrame:
        """The frame as a picture with a palette, at the time `pts` in ticks."""
        sample_HWC = np.ascontiguousarray(frame_HWC[:: self._step, :: self._step])
        palette = self._palette(_timed(sample_HWC, "rgb24", pts))
        argb_N4 = palette.to_ndarray(format="argb").reshape(-1, 4)
        if _palette_error(sample_HWC, argb_N4) < ROUNDING:
            numbers_HW, _ = self._exact(_timed(frame_HWC, "rgb24", pts), palette).to_ndarray()
        else:
            numbers_HW = _dithered(frame_HWC, argb_N4)
        if np.array_equal(argb_N4, self._first) and not np.array_equal(argb_N4, self._last):
            # FFmpeg's encoder would take the numbers of another palette, the last frame's, for
            # colours of the first one's, and leave out pixels that have the same number.
            numbers_HW, argb_N4 = numbers_HW + np.uint8(1), np.roll(argb_N4, 1, axis=0)
        self._first, self._last = self._first if len(self._last) else argb_N4, argb_N4
        return _timed((numbers_HW, argb_N4), "pal8", pts)


def _palette_error(frame_HWC: np.ndarray, argb_N4: np.ndarray) -> float:
    """Mean squared difference, per channel, of some pixels from their nearest colours."""
    # An odd step: an even one could see the same few columns of every row.
    step = frame_HWC[..., 0].size // CHECKED_PIXELS | 1
    pixels_P3 = frame_HWC.reshape(-1, 3)[::step].astype(np.float32)
    colors_N3 = argb_N4[:, 1:].astype(np.float32)
    squares_PN = (pixels_P3**2).sum(1)[:, None] - 2 * pixels_P3 @ colors_N3.T
    return float((squares_PN + (colors_N3**2).sum(1)).min(axis=1).mean()) / 3


def _dithered(frame_HWC: np.ndarray, argb_N4: np.ndarray) -> np.ndarray:
    """Floyd & Steinberg's error diffusion: the number of the colour of each pixel, (H, W)."""
    from PIL import Image  # noqa: PLC0415  (slow to load)

    palette = Image.new("P", (1, 1))
    palette.putpalette(argb_N4[:, 1:].tobytes())
    image = Image.fromarray(frame_HWC)
    return np.asarray(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))


class _Filter:
    """One of FFmpeg's filters: as many pictures as it has inputs in, one picture out."""

    def __init__(self, name: str, options: str, *inputs: tuple[int, int, str]) -> None:
        # Kept: it owns what its sources and its sink point to.
        self._graph = av.filter.Graph()
        used, self._sink = self._graph.add(name, options), self._graph.add("buffersink")
        self._sources = []
        for number, (height, width, pixels) in enumerate(inputs):
            source = self._graph.add_buffer(
                width=width, height=height, format=pixels, time_base=GIF_TICK
            )
            source.link_to(used, 0, number)
            self._sources.append(source)
        used.link_to(self._sink)
        self._graph.configure()

    def __call__(self, *pictures: av.VideoFrame) -> av.VideoFrame:
        for source, picture in zip(self._sources, pictures, strict=True):
            source.push(picture)
        return self._sink.pull()


def _timed(array: np.ndarray | tuple[np.ndarray, ...], pixels: str, pts: int) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(array, format=pixels)
    picture.pts, picture.time_base = pts, GIF_TICK
    return picture
