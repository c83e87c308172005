"""Read every picture, video and array of a folder, such as a library's own test files.

Run: python -m tests.benchmarks.read_folder FOLDER ...   (Linux, or another system with fork)

Each file is read alone in a child with limits on time and memory. Prints what was refused with its
one line, what crashed, and how many files there were of each; 1 when any crashed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

import framecast.video.readers.video_file  # noqa: F401  (before the fork, so that children share it)
from framecast.errors import FramecastError
from framecast.video.readers.folder_listing import CLIP_SUFFIXES, IMAGE_SUFFIXES
from framecast.video.readers.open import open_sources
from tests.benchmarks.fuzz.children import Limits, faults, run_child

FRAMES = 40
"""Frames of a clip that are read at most."""


def main(folders: list[str]) -> int:
    known = IMAGE_SUFFIXES | CLIP_SUFFIXES
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*"))]
    counts: Counter[str] = Counter()
    for file in files:
        if not file.is_file() or file.suffix.lower() not in known:
            continue
        with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
            # Alone in a folder, since a single image is a clip of one frame only there.
            place = Path(scratch, "clip")
            place.mkdir()
            (place / file.name).symlink_to(file.resolve())
            outcome = run_child(lambda at=place: read(at), place, Limits(seconds=60))
            said = outcome.err.strip().replace(f"{place}/", "")
            found = faults(outcome, Limits(seconds=60), {}, {})
        kind = "crashed" if found else "refused" if outcome.code else "read"
        counts[kind] += 1
        if kind != "read":
            print(f"{kind}: {file.name}: {'; '.join(found) or said}", flush=True)
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("read", "refused", "crashed")))
    return int(counts["crashed"] > 0)


def read(path: Path) -> int:
    """Read the frames of all clips at a path; the exit code of the error that this ends in."""
    try:
        for source in open_sources([path]):
            for _ in islice(source.read(), FRAMES):
                pass
    except FramecastError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
