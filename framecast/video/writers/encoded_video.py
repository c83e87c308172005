"""Frames as MP4, WebM, animated GIF, WebP and PNG, encoded by FFmpeg through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import numpy as np

from framecast.video.pixels import convert_depth
from framecast.video.writers.base import FrameWriter
from framecast.video.writers.gif_palette import GIF_TICK, PaletteReducer

WEBP_TICK = Fraction(1, 1000)  # seconds

# Visually lossless. With this preset x264 takes half the time, for files a tenth larger. What it
# looks ahead it holds in memory, 6 MB a frame of 1080p: with 4 frames in place of the preset's 10
# files of one PSNR are 4 % larger.
H264 = {"crf": "15", "preset": "veryfast", "rc-lookahead": "4"}
VP9 = {"crf": "20", "b": "0", "cpu-used": "4"}

INDEX_FIRST = {"movflags": "+faststart"}

# Largest denominator of a rate: those of NTSC, such as 30000/1001, stay exact.
EXACT_RATES = 1001


class _ContainerWriter(FrameWriter):
    """What they all share: an FFmpeg container with one video stream."""

    failures = (av.FFmpegError,)
    container: ClassVar[str]
    codec: ClassVar[str]
    # Frames per second at most: browsers take a tenth of a second for delays of 10 ms and less.
    fastest: ClassVar[int | None] = None
    _stream: av.VideoStream

    def _played_rate(self) -> float:
        """The frames per second that players keep to, with a note where that is not `fps`."""
        if self.fastest is None or self.fps <= self.fastest:
            return self.fps
        kind = f"{'an' if self.kind == 'APNG' else 'a'} {self.kind}"
        self.notes.append(f"{kind} plays at most {self.fastest} frames/s: slowed from {self.fps:g}")
        return self.fastest

    def _open_stream(
        self,
        temporary: Path,
        size: tuple[int, int],
        pixels: str,
        rate: Fraction,
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> None:
        """Start the file and its stream of frames of `size` (H, W) in the format `pixels`."""
        self._file = av.open(str(temporary), "w", format=self.container, options=container_options)
        self._stream = self._file.add_stream(self.codec, rate=rate, options=codec_options)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = pixels
        self._stream.codec_context.time_base = 1 / rate

    def _encode(self, frame: np.ndarray, tick: int) -> None:
        picture = _picture(frame, tick, self._stream.codec_context.time_base)
        self._file.mux(self._stream.encode(picture))

    def _finish(self) -> None:
        self._file.mux(self._stream.encode(None))
        super()._finish()

    def _note_depth(self, first: np.ndarray) -> None:
        if first.dtype == np.uint16:
            self.notes.append(f"{self.kind} holds 8 bits: the 16-bit frames were scaled down")


class GifWriter(_ContainerWriter):
    """Animated GIF, looping for ever; grey frames exactly, colours from a palette per frame.

    Delays are whole 10 ms steps, chosen so that the error does not add up; rates above 50 per
    second are slowed to 50.
    """

    kind, container, codec, fastest = "GIF", "gif", "gif", 50

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._note_depth(first)
        self._ticks = 1 / (self._played_rate() * GIF_TICK)
        height, width, channels = first.shape
        # Without final_delay the muxer gives the last frame a single tick.
        options = {"final_delay": str(round(self._ticks)), "loop": "0"}
        pixels = "gray" if channels == 1 else "pal8"
        self._open_stream(
            temporary, (height, width), pixels, 1 / GIF_TICK, container_options=options
        )
        self._palette = None if channels == 1 else PaletteReducer(height, width)

    def _append(self, frame: np.ndarray) -> None:
        eight, tick = convert_depth(frame, np.uint8), round(self.frames * self._ticks)
        if self._palette is None:
            self._encode(eight, tick)
        else:
            self._file.mux(self._stream.encode(self._palette.reduce(eight, tick)))


class WebpWriter(_ContainerWriter):
    """Animated WebP, lossless and looping for ever; delays are whole milliseconds, 11 or more."""

    # Not libwebp_anim, which makes one frame of two that are alike.
    kind, container, codec, fastest = "WebP", "webp", "libwebp", 90

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._note_depth(first)
        self._ticks = 1 / (self._played_rate() * WEBP_TICK)
        # Without loss libwebp takes this order alone, to which PyAV converts frames as it encodes.
        self._open_stream(
            temporary, first.shape[:2], "bgra", 1 / WEBP_TICK, {"lossless": "1"}, {"loop": "0"}
        )

    def _append(self, frame: np.ndarray) -> None:
        tick = round(self.frames * self._ticks)
        picture = _picture(convert_depth(frame, np.uint8), tick, WEBP_TICK)
        for packet in self._stream.encode(picture):
            packet.duration = round(self._ticks)  # which the last frame would not have
            self._file.mux(packet)


class ApngWriter(_ContainerWriter):
    """Animated PNG, exact in 8 and 16 bits and looping for ever."""

    kind, container, codec, fastest = "APNG", "apng", "apng", 90

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        rate = Fraction(self._played_rate()).limit_denominator(EXACT_RATES)
        pixels = _pixel_format(first).replace("le", "be")
        options = {"plays": "0", "final_delay": str(1 / rate)}
        self._open_stream(temporary, first.shape[:2], pixels, rate, container_options=options)

    def _append(self, frame: np.ndarray) -> None:
        self._encode(frame, self.frames)


class _VideoWriter(_ContainerWriter):
    """What MP4 and WebM share: visually lossless yuv420p at the exact frame rate.

    Odd sizes are padded by one row or column of edge pixels, never rescaled. Colours use and name
    the BT.601 matrix, which readers that ignore the name assume.
    """

    codec_title: ClassVar[str]
    codec_options: ClassVar[dict[str, str]]
    container_options: ClassVar[dict[str, str] | None] = None

    def _open(self, temporary: Path, first: np.ndarray) -> None:
        self._note_depth(first)
        odd_height, odd_width = first.shape[0] % 2, first.shape[1] % 2
        height, width = first.shape[0] + odd_height, first.shape[1] + odd_width
        self._padding = ((0, odd_height), (0, odd_width), (0, 0))
        if odd_height or odd_width:
            size = f"{height} x {width} (H x W)"
            self.notes.append(f"{self.codec_title} needs even sizes: padded to {size}")
        rate = Fraction(self.fps).limit_denominator(EXACT_RATES)
        self._open_stream(
            temporary, (height, width), "yuv420p", rate, self.codec_options, self.container_options
        )
        context = self._stream.codec_context
        context.colorspace = av.video.reformatter.Colorspace.ITU601
        context.color_range = av.video.reformatter.ColorRange.MPEG
        context.sample_aspect_ratio = self.pixel_aspect

    def _append(self, frame: np.ndarray) -> None:
        # Edge pixels rather than black, which would bleed into the picture through the codec.
        eight = convert_depth(frame, np.uint8)
        even = np.pad(eight, self._padding, mode="edge") if np.any(self._padding) else eight
        self._encode(even, self.frames)


class Mp4Writer(_VideoWriter):
    """H.264 in MP4, the index first: what players and most browsers play."""

    kind, container, container_options = "MP4", "mp4", INDEX_FIRST
    codec, codec_title, codec_options = "libx264", "H.264", H264
    keeps_aspect = True  # in H.264's own header; PyAV cannot write that of WebM


class WebmWriter(_VideoWriter):
    """VP9 in WebM: what browsers without a licence for H.264 play, too."""

    kind, container = "WebM", "webm"
    codec, codec_title, codec_options = "libvpx-vp9", "VP9", VP9


def _pixel_format(frame: np.ndarray) -> str:
    """FFmpeg's name for the pixels of a grey or RGB frame."""
    deep = frame.dtype == np.uint16
    if frame.shape[2] == 1:
        return "gray16le" if deep else "gray"
    return "rgb48le" if deep else "rgb24"


def _picture(frame: np.ndarray, pts: int, time_base: Fraction) -> av.VideoFrame:
    pixels = np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame)
    picture = av.VideoFrame.from_ndarray(pixels, format=_pixel_format(frame))
    picture.pts, picture.time_base = pts, time_base
    return picture
