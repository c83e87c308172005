"""A video file as one clip, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from framecast.errors import SourceError
from framecast.runtime.text import are, counted
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.frame_checks import (
    TRANSPARENT_NOTE,
    CutShortError,
    check_memory,
    looks_grey,
    on_black,
    readable_start,
    shorten,
    unreadable,
)
from framecast.video.readers.video_packets import (
    PacketScan,
    error_reason,
    missing_frames,
    scan_packets,
)

# FFmpeg's demuxers that may open a file; text, images and playlists (which name other files) are
# none of them, whatever the file is called.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,ogg,yuv4mpegpipe,"
    "h264,hevc,dv,mxf,nut,ivf,mjpeg,apng"
)

# Packets up to which other codecs are counted by decoding, some seconds of work at most.
DECODED_COUNT_LIMIT = 5000

GREY_PROBES = 5

MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"wide", b"free")
# Matroska and AVI, as the first bytes of the file.
OTHER_STARTS = (b"\x1a\x45\xdf\xa3", b"RIFF")
PNG_START = b"\x89PNG"

# Transfer functions of HDR video: PQ (HDR10, Dolby Vision) and HLG.
HDR_TRANSFERS = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})

# Titles and comments may have any encoding, and are not read. PyAV 19 takes them all.
ANY_TITLES = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


class VideoSource(FrameSource):
    """The frames of a video file; reading seeks to the key frame before the first one wanted."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read all packets, decode a few frames.

        keep_readable decodes the whole video once to find where it stops being readable.
        Raises SourceError when it is no video, CorruptSourceError when it is cut short.
        """
        super().__init__(path, options)
        with _open(path) as container:
            stream, *others = _video_streams(container)
            scan = scan_packets(container, stream)
            if scan.cut_at is not None and not options.keep_readable:
                raise CutShortError(path, scan.cut_at, scan.problem)
            if stream.format is None:
                raise CutShortError(path, 0, scan.problem or "no frame can be decoded")
            self._format = "rgba" if _alpha_decoder(stream) else pixel_format(stream.format)
            # The palette is in the first packet alone: from the middle all would be black.
            seekable = not stream.format.has_palette
            aspect = Fraction(stream.sample_aspect_ratio or 1)
        self._times, self._keyframes = scan.times, scan.keyframes if seekable else ()
        self._starts_late = scan.exact and scan.lost_start > 0
        frames, exact, times = self._count(scan)
        first = next(self._decoded(0), None)
        if first is None:
            raise CutShortError(path, 0, "no frame can be decoded")
        picture = UprightPixels(self._format)(first)
        if others:
            self._notes.append(f"holds {len(others) + 1} video streams, of which the first is read")
        self._notes += [*_picture_notes(first, aspect), *_start_notes(scan)]
        if not exact:
            self._notes.append(
                "the number of frames is the container's word; decoding may find fewer"
            )
        grey = self._format.startswith("gray")
        if options.color == "auto" and not grey:
            grey = self._looks_grey(picture, frames)
        holes, uneven = missing_frames(times)
        self._notes += _time_notes(holes, uneven)
        self._describe(
            "video",
            frames,
            (*picture.shape[:2], 1 if grey else 3),
            picture.dtype,
            exact=exact,
            fps=scan.fps,
            breaks=tuple(hole for hole in holes if hole < frames),
            pixel_aspect=1 / aspect if first.rotation % 180 != 0 else aspect,
        )
        if self.info.dtype == "uint8":
            self._settle_range()

    def _count(self, scan: PacketScan) -> tuple[int, bool, Sequence[int]]:
        """How many frames there are, whether that is sure, and their times where known."""
        keep_readable = self._options.keep_readable
        if scan.exact and not keep_readable:
            return scan.frames, True, scan.times
        if scan.frames > DECODED_COUNT_LIMIT and not keep_readable:
            return scan.frames, False, ()
        times: list[int | None] = []
        decoded = self._decoded(0)
        if keep_readable:
            count, damage = readable_start(times.append(frame.pts) for frame in decoded)
            problem = scan.problem or damage
            if not problem and scan.exact and count < scan.frames:
                problem = f"{scan.frames} frames are announced"
            self._leave_out(count, problem)
        else:
            times.extend(frame.pts for frame in decoded)
        rising = None not in times and all(a < b for a, b in pairwise(times))
        return len(times), True, times if rising else ()

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        last = numbers[-1] - numbers.start
        frames = itertools.islice(self._decoded(numbers.start), 0, last + 1, numbers.step)
        yield from map(UprightPixels(self._format), frames)

    def _decoded(self, start: int) -> Iterator[av.VideoFrame]:
        """Yield frame `start` and those after it; CorruptSourceError where decoding fails."""
        with ExitStack() as files:
            number, frames = self._sought(files, start)
            try:
                for frame in frames:
                    if number == 0 and self._comes_too_early(frame):
                        continue
                    if number >= start:
                        if frame.is_corrupt:
                            raise CutShortError(self._path, number, "its data are damaged")
                        yield frame
                    number += 1
            except av.FFmpegError as error:
                raise CutShortError(self._path, number, error_reason(error)) from error

    def _comes_too_early(self, frame: av.VideoFrame) -> bool:
        """Return whether a decoded frame comes before the first one that can be shown."""
        if self._starts_late and frame.pts is not None and frame.pts < self._times[0]:
            return True
        # A recording of a running broadcast: decoders show what they guess before a key frame.
        return not self._times and frame.is_corrupt and not frame.key_frame

    def _sought(self, files: ExitStack, start: int) -> tuple[int, Iterator[av.VideoFrame]]:
        """Frames from a key frame at or before `start` on, with the first one's number.

        From the very start where seeking leads past `start`: MPEG streams have no index.
        """
        container = files.enter_context(_open(self._path))
        stream = _video_streams(container)[0]
        stream.thread_type = "AUTO"
        keyframe = max((k for k in self._keyframes if k <= start), default=0)
        if keyframe > 0:
            container.seek(self._times[keyframe], stream=stream)
        frames = _frames(container, stream)
        if keyframe == 0:
            return 0, frames
        try:
            head = next(frames)
            number = self._times.index(head.pts, 0, start + 1)
        except (StopIteration, ValueError, av.FFmpegError):
            self._keyframes = ()
            return self._sought(files, start)
        return number, itertools.chain([head], frames)

    def _looks_grey(self, first: np.ndarray, frames: int) -> bool:
        """Probe frames across the video, or its start where seeking is not exact."""
        if not looks_grey(first):
            return False
        count = min(GREY_PROBES, frames)
        picked = range(0, frames, -(-frames // count)) if self._keyframes else range(count)
        for number in picked:
            if not all(looks_grey(frame) for frame in self._decode(range(number, number + 1))):
                return False
        self._notes.append(f"read as grey: no colour in {counted(len(picked), 'frame')} looked at")
        return True


def pixel_format(stored: av.VideoFormat) -> str:
    """The format that pixels are converted to: grey or RGB, with alpha, 8 or 16 bits."""
    parts = stored.components
    deep = max(part.bits for part in parts) > 8
    if stored.has_palette or any(part.is_alpha for part in parts):
        return "rgba64le" if deep else "rgba"
    if len(parts) == 1 and not stored.is_bayer:
        return "gray16le" if deep else "gray"
    return "rgb48le" if deep else "rgb24"


class UprightPixels:
    """Turns decoded frames into pixels (H, W, C) as shown: turned, mirrored, alpha on black.

    Through FFmpeg's filters, which heed where a video says that its chroma samples lie; PyAV's own
    conversion does not, and its bilinear one overflows in 10-bit video of odd widths.
    `wanted` is a pixel format; None: `pixel_format` of each frame.
    """

    def __init__(self, wanted: str | None = None) -> None:
        self._wanted, self._like = wanted, None
        self._graph: Graph

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        like = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range)
        if like != self._like:
            self._like, self._graph = like, self._conversion(frame)
        self._graph.push(frame)
        pixels = self._graph.pull().to_ndarray()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return _turned(on_black(pixels) if pixels.shape[2] == 4 else pixels, frame)

    def _conversion(self, frame: av.VideoFrame) -> Graph:
        stored = frame.format
        steps = [self._wanted or pixel_format(stored)]
        if stored.name.endswith("be") and max(part.bits for part in stored.components) < 8:
            # FFmpeg 8 takes rgb565be and its kin for little-endian on the direct way to 8 bits.
            steps.insert(0, stored.name.replace("be", "le"))
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=stored.name, time_base=Fraction(1, 1000)
        )
        graph.link_nodes(
            source, *(graph.add("format", step) for step in steps), graph.add("buffersink")
        ).configure()
        return graph


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    if name := _alpha_decoder(stream):
        decoder = av.CodecContext.create(name, "r")
        return (frame for packet in container.demux(stream) for frame in decoder.decode(packet))
    return container.decode(stream)


def _alpha_decoder(stream: VideoStream) -> str:
    """The decoder for a WebM with opacity, which FFmpeg's own leave out; "" where there is none."""
    if stream.metadata.get("alpha_mode") != "1":
        return ""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name, "")
    return name if name in av.codecs_available else ""


def _picture_notes(first: av.VideoFrame, aspect: Fraction) -> Iterator[str]:
    depth = max(part.bits for part in first.format.components)
    if depth > 8:
        yield f"pixels have {depth} bits, read as 16"
    if any(part.is_alpha for part in first.format.components):
        yield TRANSPARENT_NOTE
    if first.interlaced_frame:
        yield "interlaced: each frame holds two moments, read as one"
    if int(first.color_trc or 0) in HDR_TRANSFERS:
        yield "HDR: brightness is read as stored, without tone mapping"
    if aspect != 1:
        yield f"its pixels are {aspect} times as wide as high, which an MP4 result keeps"


def _start_notes(scan: PacketScan) -> Iterator[str]:
    if scan.lost_start:
        lost = counted(scan.lost_start, "frame")
        about = "" if scan.exact else "about "  # counted in packets, some of which hold half a one
        yield f"starts between two key frames: {about}its first {lost} cannot be decoded"


def _time_notes(holes: Mapping[int, int], uneven: bool) -> list[str]:
    """What `missing_frames` has found, in words."""
    found = [f"{are(n, 'frame')} missing by time before frame {k}" for k, n in holes.items()]
    varies = ["the frame rate varies; frames are taken as they come"] if uneven else []
    return shorten(found, "holes") + varies


def _open(path: Path) -> InputContainer:
    """Open a video file; SourceError when it is none, CorruptSourceError when its start is all
    there is of it."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        # The absolute path, since FFmpeg would take a name such as "a:b.mp4" for a protocol.
        container = av.open(
            str(path.absolute()), container_options={"format_whitelist": CONTAINERS}, **ANY_TITLES
        )
    except av.FFmpegError as error:
        if head[4:8] in MP4_STARTS or head[:4] in OTHER_STARTS:
            raise CutShortError(path, 0, "the file is cut short: its index is missing") from error
        found = "is not a video file" if head else "is empty"
        raise SourceError(f"{path}: {found}", remedy="check what the file is") from error
    streams = _video_streams(container)
    codec = streams[0].codec_context if streams else None
    if codec is None:
        container.close()
        raise SourceError(
            f"{path}: has no video stream that FFmpeg knows",
            remedy="give a file with pictures, or convert it to H.264 MP4",
        )
    if head[:4] == PNG_START:
        codec.options = {"err_detect": "crccheck+explode"}  # damage would go unnoticed
    check_memory(path, 3 * codec.width * codec.height)
    return container


def _video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams of a file, without the picture on the cover of a song or film."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def _turned(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Apply the container's display matrix: quarter turns and mirrors.

    Rows a b, c d of the matrix: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2).
    """
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return pixels
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, rows, columns = pixels.swapaxes(0, 1), b, c
    else:
        rows, columns = d, a
    return pixels[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1]
