"""Radar: a model against the classical forecasts and pysteps, on clips it saw the start of.

python -m tests.benchmarks.radar --data FOLDER [--leave-out | --model MODEL]

FOLDER holds a folder of frames for each event. Needs pysteps for its methods.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from framecast.config.brightness_scale import read_scale

from .shared.clips import read_clips
from .shared.contest import Rules, add_options, hold
from .shared.output import run
from .shared.pysteps_methods import pysteps_methods


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.radar")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--scale", default="-10..60 dBZ", help="black and full brightness")
    parser.add_argument("--threshold", default="20 dBZ", help="event of the CSI (default 20 dBZ)")
    parser.add_argument("--leave-out", action="store_true", help="score clips left out of training")
    add_options(parser, "radar")
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write, print."""
    peers = pysteps_methods(read_scale(options.scale))
    rules = Rules(options.windows, peers, options.threshold, options.scale)
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips([options.data], Path(scratch), "gray")
        hold("radar", options, clips, rules, options.leave_out)


if __name__ == "__main__":
    main()
