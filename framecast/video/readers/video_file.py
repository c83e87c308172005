"""A video file as one clip, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from framecast.errors import SourceError
from framecast.video.readers.base import (
    Color,
    CutShortError,
    FrameSource,
    SourceInfo,
    choose_channels,
    kept_note,
    looks_grey,
    readable_start,
    unreadable,
)

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v"
"""FFmpeg's demuxers that may open a file; text, images and playlists (which name other files)
are none of them, whatever the file is called."""

ONE_PACKET_PER_FRAME = frozenset(
    {"h264", "hevc", "av1", "vp9", "mjpeg", "ffv1", "png", "prores", "dnxhd", "huffyuv", "rawvideo"}
)
"""Codecs of which each packet gives one frame, so counting packets counts frames. VP8 hides
reference frames in packets of their own, and MPEG-4 in AVI may pack two frames into one."""

DECODED_COUNT_LIMIT = 5000
"""Packets up to which other codecs are counted by decoding, some seconds of work at most."""

GREY_PROBES = 5

MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"wide", b"free")
OTHER_STARTS = (b"\x1a\x45\xdf\xa3", b"RIFF")
"""Matroska and AVI, as the first bytes of the file."""


@dataclass(frozen=True)
class PacketScan:
    """What the packets of a video say, without decoding."""

    frames: int
    exact: bool
    times: tuple[int, ...]
    """Presentation time of each frame in stream ticks, ascending; empty where unreliable."""
    keyframes: tuple[int, ...]
    """Frame numbers from which decoding can start; empty where unreliable."""
    cut_at: int | None
    """The first frame whose data are missing from a file that is cut short."""
    problem: str


class VideoSource(FrameSource):
    """The frames of a video file; reading seeks to the key frame before the first one wanted."""

    def __init__(self, path: Path, color: Color, keep_readable: bool) -> None:
        """Read all packets, decode a few frames.

        keep_readable decodes the whole video once to find where it stops being readable.
        Raises SourceError when it is no video, CorruptSourceError when it is cut short.
        """
        self._path = path
        notes: list[str] = []
        with _open(path) as container:
            stream = container.streams.video[0]
            scan = _scan_packets(container, stream)
            if scan.cut_at is not None and not keep_readable:
                raise CutShortError(path, scan.cut_at, scan.problem)
            if stream.format is None:
                raise CutShortError(path, 0, scan.problem or "no frame can be decoded")
            parts = stream.format.components
            grey = stream.format.name.startswith("gray")
            fps = stream.average_rate or stream.guessed_rate
        depth = max(part.bits for part in parts)
        self._format = ("gray" if grey else "rgb24", "gray16le" if grey else "rgb48le")[depth > 8]
        self._times, self._keyframes = scan.times, scan.keyframes
        frames, exact = scan.frames, scan.exact
        if keep_readable or (not exact and frames <= DECODED_COUNT_LIMIT):
            frames, exact = self._count_by_decoding(scan, keep_readable, notes), True
        first = next(self._frames_from(0), None)
        if first is None:
            raise CutShortError(path, 0, "no frame can be decoded")
        if depth > 8:
            notes.append(f"pixels have {depth} bits, read as 16")
        if any(part.is_alpha for part in parts):
            notes.append("transparency is dropped")
        if not exact:
            notes.append("the number of frames is the container's word; decoding may find fewer")
        if color == "auto" and not grey:
            grey = self._looks_grey(first, frames, notes)
        if _varies(scan.times):
            notes.append("the frame rate varies; frames are taken as they come")
        self.info = SourceInfo(
            path=path,
            kind="video",
            frames=frames,
            exact=exact,
            height=first.shape[0],
            width=first.shape[1],
            channels=choose_channels(color, 1 if grey else 3),
            dtype="uint16" if depth > 8 else "uint8",
            fps=float(fps) if fps else None,
            notes=tuple(notes),
        )

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        expected = numbers.start
        span = itertools.islice(self._frames_from(numbers.start), numbers[-1] + 1 - numbers.start)
        for expected, frame in enumerate(span, numbers.start + 1):
            if expected - 1 in numbers:
                yield frame
        if expected <= numbers[-1]:
            raise CutShortError(self._path, expected, "the video ends before it")

    def _frames_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield frame `start` and those after it; CorruptSourceError where decoding fails."""
        with _open(self._path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            number, frames = self._seek(container, stream, start)
            try:
                for frame in frames:
                    if number >= start:
                        if frame.is_corrupt:
                            raise CutShortError(self._path, number, "its data are damaged")
                        pixels = frame.to_ndarray(format=self._format)
                        yield _upright(pixels.reshape(*pixels.shape[:2], -1), frame.rotation)
                    number += 1
            except av.FFmpegError as error:
                raise CutShortError(self._path, number, _reason(error)) from error

    def _seek(
        self, container: InputContainer, stream: VideoStream, start: int
    ) -> tuple[int, Iterator[av.VideoFrame]]:
        """Go to a key frame at or before `start`; return the first decoded frame's number too."""
        keyframe = max((k for k in self._keyframes if k <= start), default=0)
        if keyframe == 0:
            return 0, container.decode(stream)
        container.seek(self._times[keyframe], stream=stream)
        frames = container.decode(stream)
        try:
            head = next(frames)
            number = self._times.index(head.pts, 0, start + 1)
        except (StopIteration, ValueError, av.FFmpegError):
            container.seek(self._times[0], stream=stream)
            return 0, container.decode(stream)
        return number, itertools.chain([head], frames)

    def _count_by_decoding(self, scan: PacketScan, keep_readable: bool, notes: list[str]) -> int:
        if not keep_readable:
            return sum(1 for _ in self._frames_from(0))
        count, reason = readable_start(self._frames_from(0))
        problem = scan.problem or reason
        if not problem and scan.exact and count < scan.frames:
            problem = f"{scan.frames} frames are announced"
        if problem:
            notes.append(kept_note(self._path, count, problem))
        return count

    def _looks_grey(self, first: np.ndarray, frames: int, notes: list[str]) -> bool:
        """Probe frames across the video, or its start where seeking is not exact."""
        if not looks_grey(first):
            return False
        count = min(GREY_PROBES, frames)
        picked = range(0, frames, -(-frames // count)) if self._keyframes else range(count)
        for number in picked:
            if not all(looks_grey(frame) for frame in self._decode(range(number, number + 1))):
                return False
        notes.append(f"read as grey, as the {len(picked)} frames looked at are")
        return True


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
            str(path.absolute()), container_options={"format_whitelist": CONTAINERS}
        )
    except av.FFmpegError as error:
        if head[4:8] in MP4_STARTS or head[:4] in OTHER_STARTS:
            raise CutShortError(path, 0, "the file is cut short: its index is missing") from error
        found = "is not a video file" if head else "is empty"
        raise SourceError(f"{path}: {found}", remedy="check what the file is") from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path}: has no video stream", remedy="give a file with pictures")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise SourceError(
            f"{path}: its video codec is unknown to FFmpeg", remedy="convert it to H.264 MP4"
        )
    return container


def _scan_packets(container: InputContainer, stream: VideoStream) -> PacketScan:
    times: list[int | None] = []
    key_times: list[int | None] = []
    total = 0
    end = 0.0
    cut_at: int | None = None
    problem = ""
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            end = max(end, _end_time(packet))
            if packet.stream.index != stream.index:
                continue
            total += 1
            if packet.is_corrupt and cut_at is None:
                cut_at, problem = total - 1, "its data end in the middle"
            if not packet.is_discard:
                times.append(packet.pts)
                if packet.is_keyframe:
                    key_times.append(packet.pts)
    except av.FFmpegError as error:
        cut_at, problem = total, _reason(error)
    if cut_at is None and (announced := _announced(container, stream, total, end)):
        cut_at, problem = total, f"the file ends here, but announces {announced}"
    known = [time for time in times if time is not None]
    in_order = tuple(sorted(set(known)))
    exact = len(in_order) == len(times) and stream.codec_context.name in ONE_PACKET_PER_FRAME
    keys = {time for time in key_times if time is not None} if exact else set()
    return PacketScan(
        frames=len(times),
        exact=exact,
        times=in_order if exact else (),
        keyframes=tuple(i for i, time in enumerate(in_order) if time in keys),
        cut_at=cut_at,
        problem=problem,
    )


def _announced(
    container: InputContainer, stream: VideoStream, total: int, end: float
) -> str | None:
    """Return what the header promises beyond the packets that were found, or None."""
    if "mp4" in container.format.name:
        return f"{stream.frames} frames" if stream.frames > total else None
    if not {"matroska", "avi"} & set(container.format.name.split(",")):
        return None  # MPEG streams have no header to hold them to
    seconds = (container.duration or 0) / av.time_base
    slack = 3 / float(stream.average_rate or 10)
    return f"{seconds:.1f} seconds" if seconds - end > slack else None


def _end_time(packet: av.Packet) -> float:
    """Return when a packet's content ends, in seconds from the start of the file."""
    start = packet.pts if packet.pts is not None else packet.dts
    if start is None or packet.time_base is None:
        return 0.0
    return float((start + (packet.duration or 0)) * packet.time_base)


def _varies(times: Sequence[int]) -> bool:
    """Tell whether frames are unevenly spaced, beyond the rounding of the stream's clock."""
    spacing = np.diff(times)
    if len(spacing) < 2:
        return False
    usual = np.median(spacing)
    return bool((np.abs(spacing - usual) > np.maximum(1, 0.25 * usual)).any())


def _upright(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Turn a frame the way the container says it is to be shown (counter-clockwise degrees)."""
    return np.rot90(pixels, round(degrees / 90) % 4)


def _reason(error: av.FFmpegError) -> str:
    return (error.strerror or "broken data").lower()
