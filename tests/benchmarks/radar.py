"""Radar: default settings against classical guesses and pysteps, on clips seen and on a new one.

python -m tests.benchmarks.radar --data FOLDER

FOLDER holds a folder of frames for each event. In-domain: one model of the first 70 % of all clips,
scored on windows (6 frames in, 12 out) whose targets lie in the last 30 %; their context may reach
back before the cut, a past that is known when the forecast is made. Leave out: a model of the
other clips, scored on windows spread over the clip it never saw.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from framecast.config.brightness_scale import read_scale

from .shared.clips import read_clips
from .shared.contest import Rules
from .shared.matches import add_match_options, add_options, choose, plan_matches, play, run, show
from .shared.pysteps_peers import pysteps_peers, pysteps_version

SHARES = (0.25, 1.0)
"""How far `--match` moves the model's frames to the last one's distribution, beside not at all."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.radar")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="a folder of frames per event"
    )
    parser.add_argument(
        "--scale",
        default="-10..60 dBZ",
        metavar="TEXT",
        help="reflectivity of black and full brightness (default -10..60 dBZ)",
    )
    parser.add_argument(
        "--threshold", default="20 dBZ", metavar="TEXT", help="event of the CSI (default 20 dBZ)"
    )
    add_options(parser, "radar")
    add_match_options(parser)
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write, print."""
    peers = pysteps_peers(read_scale(options.scale))
    rules = Rules(options.windows, peers, options.threshold, options.scale, SHARES)
    facts = {
        "scale": options.scale,
        "threshold": options.threshold,
        "pysteps": pysteps_version() or "absent: its methods are not among the peers",
    }
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips([options.data], Path(scratch), "gray")
        matches = choose(plan_matches(clips, leave_out=True), options)
        show(play("radar", options, rules, matches, facts))


if __name__ == "__main__":
    main()
