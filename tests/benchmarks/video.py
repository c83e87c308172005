"""Video: default settings against classical guesses on the end of videos whose beginning was seen.

python -m tests.benchmarks.video clip.mp4 other.mp4 --color gray

One model of the first 70 % of all videos, scored on windows (6 frames in, 12 out) whose targets lie
in the last 30 %; their context may reach back before the cut, a past that is known when the
forecast is made. Give one video for a model of that alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .shared.clips import read_clips
from .shared.contest import Rules
from .shared.matches import (
    add_match_options,
    add_options,
    choose,
    frame_size,
    plan_matches,
    play,
    run,
    show,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.video")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--color", choices=("gray", "rgb"), default="gray")
    parser.add_argument(
        "--size",
        type=frame_size,
        default=(96, 160),
        metavar="HEIGHTxWIDTH",
        help="size that all frames are scaled to first (default 96x160)",
    )
    add_options(parser, "video")
    add_match_options(parser)
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write, print."""
    facts = {"color": options.color, "size": list(options.size)}
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips(options.videos, Path(scratch), options.color, options.size)
        matches = choose(plan_matches(clips, leave_out=False), options)
        show(play("video", options, Rules(options.windows, {}), matches, facts))


if __name__ == "__main__":
    main()
