"""Compare every pixel format that ffmpeg writes with ffmpeg's own decoding, from start and middle.

Run: python -m tests.benchmarks.pixel_formats [FORMAT ...]   (needs the program ffmpeg)

Prints a Markdown table: largest and mean difference of 255 levels over all containers and both an
even and an odd size; "refused" where framecast says in one line that it cannot read a file.
Formats that no container takes as they are go through the codecs of `FALLBACK_CODECS`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from framecast.errors import SourceError
from framecast.video.readers.base import FrameSource, on_black
from framecast.video.readers.open import open_source
from framecast.video.readers.video_file import pixel_format

from .shared.output import table

CONTAINERS, CODECS = ("mkv", "avi", "mov"), ("ffv1", "rawvideo")
FALLBACK_CODECS = ("png", "ffvhuff", "mjpeg", "libx264", "libx265", "prores_ks", "qtrle")
SIZES = ((48, 64), (49, 65))  # H, W
FRAMES = 4


def main(wanted: list[str]) -> int:
    """Print the table; 1 when a difference is above one level or a file crashes the reader."""
    unwritten, worst = [], 0.0
    print(table(["format", "files", "largest", "mean", "refused"], []))
    for name in wanted or output_formats():
        if not (found := compare(name)):
            unwritten.append(name)
            continue
        known = [each for each in found if each is not None]
        largest, mean = np.max([(0, 0), *known], axis=0)
        worst, refused = max(worst, largest), len(found) - len(known)
        print(f"| {name} | {len(found)} | {largest:.2f} | {mean:.3f} | {refused} |", flush=True)
    if unwritten:
        print(f"\nNo file could be made of {len(unwritten)} formats: {', '.join(unwritten)}")
    return int(worst > 1)


def output_formats() -> list[str]:
    """Names of the formats that ffmpeg can convert to."""
    listing = subprocess.run(
        ["ffmpeg", "-v", "error", "-pix_fmts"], check=True, capture_output=True
    )
    rows = listing.stdout.decode().split("-----\n")[1].splitlines()
    return [row.split()[1] for row in rows if row[1] == "O"]


def compare(name: str) -> list[tuple[float, float] | None]:
    """Largest and mean difference of every file that ffmpeg can make in a format; None: refused."""
    found: list[tuple[float, float] | None] = []
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        for codec in (*CODECS, *FALLBACK_CODECS):
            if codec in FALLBACK_CODECS and found:
                break
            for container in CONTAINERS:
                for height, width in SIZES:
                    path = Path(scratch, f"{codec}-{height}.{container}")
                    if not written(path, name, codec, f"{width}x{height}"):
                        continue
                    away = difference(path, name)
                    # Some files that ffmpeg writes it cannot read either, such as rgb444 in AVI.
                    if away or ffmpeg("-xerror", "-i", path, "-f", "null", "-") is not None:
                        found.append(away)
    return found


def written(path: Path, name: str, codec: str, size: str) -> bool:
    """Whether ffmpeg makes a file of a format: containers refuse some, encoders change others."""
    # Cut from a larger picture: testsrc2 rounds odd sizes down.
    crop = f"format=gbrp,crop={size.replace('x', ':')}:0:0:exact=1"
    picture = f"testsrc2=s=100x80:r=10:d={FRAMES / 10},{crop}"
    # Matroska holds raw RGB only on request, in the way of AVI.
    extra = ["-allow_raw_vfw", "1"] if path.suffix == ".mkv" else []
    made = ffmpeg("-f", "lavfi", "-i", picture, "-c:v", codec, "-pix_fmt", name, *extra, path)
    return made is not None and stored_format(path) == name


def stored_format(path: Path) -> str | None:
    """The format of a file's stream: encoders may have taken another one."""
    with av.open(str(path)) as container:
        stored = container.streams.video[0].format
    return stored and stored.name


def difference(path: Path, name: str) -> tuple[float, float] | None:
    """Largest and mean difference from ffmpeg of 255 levels, whole and frame by frame."""
    try:
        source = open_source(path, color="rgb")
        whole = np.stack([*source.read()])
        alone = np.stack([next(source.read(k, k + 1)) for k in range(source.info.frames)])
    except SourceError:
        return None
    expected = decoded_by_ffmpeg(path, name, source)
    top = np.iinfo(whole.dtype).max
    away = [np.abs(found.astype(float) - expected) * (255 / top) for found in (whole, alone)]
    return max(a.max() for a in away), max(a.mean() for a in away)


def decoded_by_ffmpeg(path: Path, name: str, source: FrameSource) -> np.ndarray:
    """The frames (T, H, W, 3) as the program decodes them, transparent pixels on black."""
    # Only what has alpha is asked for with alpha: swscale converts 4:1:0, 4:4:0, NV12 and NV21 to
    # rgba by faster arithmetic, up to 4 levels away from what it makes of them as rgb24.
    wanted = pixel_format(av.VideoFormat(name)).replace("gray16", "rgb48").replace("gray", "rgb24")
    raw = ffmpeg("-i", path, "-pix_fmt", wanted, "-f", "rawvideo", "-")
    pixels = np.frombuffer(raw, source.info.dtype)
    pixels = pixels.reshape(-1, source.info.height, source.info.width, 4 if "a" in wanted else 3)
    return on_black(pixels) if "a" in wanted else pixels


def ffmpeg(*arguments: str | Path) -> bytes | None:
    """What ffmpeg writes to standard output; None where it fails."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
