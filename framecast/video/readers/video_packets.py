"""Frames, times and gaps of a video from its packets, without decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from framecast.video.readers.animated_image import count_pictures

# Codecs of which each packet gives one frame, so counting packets counts frames. VP8 hides
# reference frames in separate packets, and MPEG-4 in AVI may pack two frames into one.
ONE_PACKET_PER_FRAME = frozenset(
    {
        *("h264", "hevc", "av1", "vp9", "mjpeg", "ffv1", "png", "prores", "dnxhd", "huffyuv"),
        *("rawvideo", "apng"),
    }
)

# Multiple of the usual time between frames above which frames are missing.
GAP = 1.5

# Share of times between frames that have to be the usual one for longer ones to be holes.
STEADY = 0.8


@dataclass(frozen=True)
class PacketScan:
    """Frames, times and gaps that the packets of a video show."""

    frames: int
    exact: bool
    # Presentation time of each frame in stream ticks, ascending; empty where unreliable.
    times: tuple[int, ...]
    # Frame numbers from which decoding can start; empty where unreliable.
    keyframes: tuple[int, ...]
    # Frames before the first key frame, which nothing can decode; 0 where there is none.
    lost_start: int
    # The first frame whose data are missing from a file that is cut short.
    cut_at: int | None
    problem: str
    fps: float | None


def scan_packets(container: InputContainer, stream: VideoStream) -> PacketScan:
    """Read all packets of a video once."""
    times: list[int | None] = []
    key_times: list[int | None] = []
    total = lost = 0
    end = 0.0
    cut_at: int | None = None
    problem = ""
    has_keys = stream.codec_context.name in ONE_PACKET_PER_FRAME
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            # Of all streams: sound may go on after the last picture of a whole file.
            end = max(end, _end_time(packet))
            if packet.stream.index != stream.index:
                continue
            total += 1
            if packet.is_keyframe:
                if not key_times:
                    lost = total - 1
                    times = [] if has_keys else times
                key_times.append(packet.pts)
            if packet.is_corrupt and cut_at is None:
                cut_at, problem = len(times), "its data end in the middle"
            # An MP4 cut without encoding begins with frames that are decoded and not shown.
            if not packet.is_discard:
                times.append(packet.pts)
    except av.FFmpegError as error:
        cut_at, problem = len(times), error_reason(error)
    if cut_at is None and (announced := _announced(container, stream, total, end)):
        cut_at, problem = len(times), f"the file ends here, but announces {announced}"
    known = sorted({time for time in times if time is not None})
    # Intra-refresh streams may have no key frames at all; those are decoded from where they start.
    exact = len(known) == len(times) and has_keys and bool(key_times)
    keys = sorted({time for time in key_times if time is not None}) if exact else []
    # B-frames shown before the first key frame refer to pictures that are not there.
    shown = [time for time in known if not keys or time >= keys[0]]
    reachable = sorted({*keys} & {*shown})
    return PacketScan(
        frames=len(shown) if exact else len(times),
        exact=exact,
        times=tuple(shown) if exact else (),
        keyframes=tuple(int(i) for i in np.searchsorted(shown, reachable)),
        lost_start=lost + len(known) - len(shown),
        cut_at=cut_at,
        problem=problem,
        fps=_rate(known, stream),
    )


def missing_frames(times: Sequence[int]) -> tuple[dict[int, int], bool]:
    """Where frames are missing: frame number after a hole to how many; and whether time is uneven.

    `times` ascend, in ticks. Where less than 80 % of the times between frames are the usual one,
    give or take a quarter or the rounding of the clock, no gap is reported.
    """
    spacing = np.diff(times)
    if len(spacing) < 3:
        return {}, False
    usual, near = _usual(spacing)
    if near.mean() < STEADY:
        return {}, True
    # At least one tick more than usual, so that rounding in coarse clocks is no hole.
    holes = np.flatnonzero(spacing > np.maximum(GAP * usual, usual + 1))
    found = {int(i) + 1: max(1, round(float(spacing[i] / usual)) - 1) for i in holes}
    return found, not near.all() and not found


def _usual(spacing: np.ndarray) -> tuple[float, np.ndarray]:
    """The usual time between frames, and which times are near it by the clock's resolution."""
    usual = float(np.median(spacing))
    return usual, np.abs(spacing - usual) <= max(1, 0.25 * usual)


def error_reason(error: av.FFmpegError) -> str:
    """FFmpeg's error message, as the end of a sentence."""
    return (error.strerror or "broken data").lower()


def _rate(times: Sequence[int], stream: VideoStream) -> float | None:
    """Frames per second by the usual time between frames, or by the header if that agrees.

    Headers are wrong in browser recordings, and their averages wherever frames are missing. Clocks
    in milliseconds round 1/23.976 s, so the mean of the usual times is taken, not their median; of
    all of them where none is usual.
    """
    stated = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate]
    spacing = np.diff(times)
    if len(spacing) < 3 or not stream.time_base:
        return float(stated[0]) if stated else None
    _, is_near = _usual(spacing)
    near = spacing[is_near] if is_near.mean() >= STEADY else spacing
    mean = float(near.mean())
    # Ticks: all errors but the first and the last cancel, unless every step is cut to the same.
    rounding = 1 if (near == near[0]).all() else 1 / len(near)
    # The header's fraction (30000/1001) is better than a mean of rounded times that it agrees with.
    for rate in stated:
        if abs(float(1 / (rate * stream.time_base)) - mean) <= rounding:
            return float(rate)
    return 1 / (mean * float(Fraction(stream.time_base)))


def _announced(
    container: InputContainer, stream: VideoStream, total: int, end: float
) -> str | None:
    """Return what the header promises beyond the packets that were found, or None."""
    if container.format.name == "apng":
        pictures = count_pictures(Path(container.name))
        return f"{pictures} frames" if pictures > total else None
    if "mp4" in container.format.name:
        missing = stream.frames > total and stream.frames > _packets_in_all(container.name, stream)
        return f"{stream.frames} frames" if missing else None
    if not {"matroska", "avi"} & set(container.format.name.split(",")):
        return None  # MPEG streams have no header to hold them to
    seconds = (container.duration or 0) / av.time_base
    slack = 3 / float(stream.average_rate or 10)
    return f"{seconds:.1f} seconds" if seconds - end > slack else None


def _packets_in_all(name: str, stream: VideoStream) -> int:
    """Packets of an MP4's stream, those included that its edit list leaves out."""
    with av.open(name, container_options={"ignore_editlist": "1"}) as container:
        try:
            packets = (
                packet for packet in container.demux() if packet.stream.index == stream.index
            )
            return sum(packet.size > 0 for packet in packets)
        except av.FFmpegError:
            return 0


def _end_time(packet: av.Packet) -> float:
    """Return when a packet's content ends, in seconds from the start of the file."""
    start = packet.pts if packet.pts is not None else packet.dts
    if start is None or not packet.time_base:
        return 0.0
    return float((start + (packet.duration or 0)) * packet.time_base)
