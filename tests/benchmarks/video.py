"""Video: a model against the classical forecasts, on the end of videos it saw the start of.

python -m tests.benchmarks.video clip.mp4 other.mp4 [--each] [--color gray] [--model MODEL]

The pretrained model is among the peers: what training on a clip adds to it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.video.frame_size import parse_size

from .shared.clips import read_clips
from .shared.contest import Rules, add_options, hold
from .shared.output import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.video")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--color", choices=("gray", "rgb"), default="gray")
    parser.add_argument("--size", default="96x160", help="all frames' size (default 96x160)")
    add_options(parser, "video")
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write, print."""
    size = parse_size(options.size, "--size: expected HEIGHTxWIDTH")
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips(options.videos, Path(scratch), options.color, size)
        peers = {"pretrained": load_forecaster("pretrained").extrapolate}
        hold("video", options, clips, Rules(options.windows, peers), leave_out=False)


if __name__ == "__main__":
    main()
