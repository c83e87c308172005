"""Compare every pixel format that ffmpeg writes with ffmpeg's own decoding, from start and middle.

Run: python -m tests.benchmarks.pixel_formats [FORMAT ...]   (needs the program ffmpeg)

Prints a Markdown table: largest and mean difference of 255 levels over all containers and both an
even and an odd size; "refused" where framecast says in one line that it cannot read a file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from framecast.errors import SourceError
from framecast.video.readers.base import FrameSource, on_black
from framecast.video.readers.open import open_source

CONTAINERS, CODECS = ("mkv", "avi", "mov"), ("ffv1", "rawvideo")
SIZES = ((48, 64), (49, 65))  # H, W
FRAMES = 6


def main(wanted: list[str]) -> int:
    """Print the table; 1 when a difference is above one level or a file crashes the reader."""
    print("| format | files | largest | mean | refused |\n| --- | --- | --- | --- | --- |")
    worst = 0.0
    for name in wanted or output_formats():
        found = compare(name)
        if not found:
            continue
        known = [difference for difference in found if difference is not None]
        largest = max((high for high, _ in known), default=0)
        mean = max((mean for _, mean in known), default=0)
        worst = max(worst, largest)
        refused = len(found) - len(known)
        print(f"| {name} | {len(found)} | {largest:.2f} | {mean:.3f} | {refused} |", flush=True)
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
        for container in CONTAINERS:
            for codec in CODECS:
                for height, width in SIZES:
                    path = Path(scratch, f"{codec}-{height}.{container}")
                    picture = f"testsrc2=s={width}x{height}:r=10:d={FRAMES / 10}"
                    made = ffmpeg(
                        "-f", "lavfi", "-i", picture, "-c:v", codec, "-pix_fmt", name, path
                    )
                    if made is None or stored_format(path) != name:
                        continue
                    found.append(difference(path))
    return found


def stored_format(path: Path) -> str:
    """The format of a file's stream: encoders may have taken another one."""
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0"]
    done = subprocess.run([*probe, path], check=False, capture_output=True)
    return done.stdout.decode().split("\n")[0].strip(", ")


def difference(path: Path) -> tuple[float, float] | None:
    """Largest and mean difference from ffmpeg of 255 levels, whole and frame by frame."""
    try:
        source = open_source(path, color="rgb")
        whole = np.stack([*source.read()])
        alone = np.stack([next(source.read(k, k + 1)) for k in range(source.info.frames)])
    except SourceError:
        return None
    expected = decoded_by_ffmpeg(path, source)
    top = np.iinfo(whole.dtype).max
    away = [np.abs(found.astype(float) - expected) * (255 / top) for found in (whole, alone)]
    return max(a.max() for a in away), max(a.mean() for a in away)


def decoded_by_ffmpeg(path: Path, source: FrameSource) -> np.ndarray:
    """The frames (T, H, W, 3) as the program decodes them, transparent pixels on black."""
    deep = source.info.dtype == "uint16"
    raw = ffmpeg("-i", path, "-pix_fmt", "rgba64le" if deep else "rgba", "-f", "rawvideo", "-")
    pixels = np.frombuffer(raw, np.uint16 if deep else np.uint8)
    return on_black(pixels.reshape(-1, source.info.height, source.info.width, 4))


def ffmpeg(*arguments: str | Path) -> bytes | None:
    """What ffmpeg writes to standard output; None where it fails."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
