"""What a training waits for: python -m tests.benchmarks.pipeline CLIP... [--steps 40]

Trains on every clip twice with `--profile`, with an empty cache and with the one it filled, and
writes the seconds until all frames were there and the share of each phase of the loop into
pipeline.json and pipeline.png.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from framecast.config.loading import load_config
from framecast.training.pipeline import ClipsReady, SessionEvent, prepare, train
from framecast.training.profiler import PHASES

from .shared.figure import STYLE
from .shared.record import machine, write_json

SAMPLES = Path(__file__).parents[2] / "sample_data"
COLORS = ("#CC4E00", "#7B4FA3", "#0060A0", "#3AA0DA", "#009E73", "#D98E00", "#808080", "#c8c8c0")


def measure(clip: Path, steps: int, runs: Path) -> dict[str, Any]:
    """Train on the clip once; seconds until its frames were there, and the profile."""
    waited: list[float] = []
    started = time.perf_counter()

    def watch(event: SessionEvent) -> None:
        if isinstance(event, ClipsReady):
            waited.append(time.perf_counter() - started)

    config = load_config(None, [f"train.steps_per_epoch={steps}", "train.epochs=1"], {})
    outcome = train(prepare([clip], config), runs, watch, profile=True)
    profile = json.loads(outcome.run.profile.read_text(encoding="utf-8"))
    return {"clip": clip.name, "seconds_to_frames": waited[0], **profile}


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Bars of the phases' shares, and of the wait for frames."""
    with mpl.rc_context(STYLE):
        _bars(rows).savefig(path, dpi=110, facecolor="white")


def _bars(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(10, 1.6 + 0.6 * len(rows)), layout="constrained")
    shares, waits = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    names = [f"{row['clip']}, {row['cache']} cache" for row in rows]
    left = [0.0] * len(rows)
    for phase, color in zip(PHASES, COLORS, strict=True):
        widths = [100 * row["shares"][phase] for row in rows]
        shares.barh(names, widths, left=left, label=phase, color=color)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    shares.set_xlabel("share of the training loop's time (%)")
    shares.legend(ncols=len(PHASES) // 2, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    bars = waits.barh(names, [row["seconds_to_frames"] for row in rows], color=COLORS[2])
    waits.bar_label(bars, fmt="%.2f")
    waits.set_xlabel("seconds until all frames are there")
    shares.invert_yaxis()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pipeline")
    parser.add_argument("clips", nargs="*", type=Path, default=[SAMPLES / "rain"], metavar="CLIP")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("runs/pipeline"), metavar="DIR")
    options = parser.parse_args()
    made_with, rows = machine(), []
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        os.environ["FRAMECAST_CACHE"] = f"{scratch}/cache"
        for clip in options.clips:
            for cache in ("empty", "filled"):
                rows.append({"cache": cache, **measure(clip, options.steps, Path(scratch))})
                row = rows[-1]
                print(
                    f"{row['clip']}, {cache} cache: {row['seconds_to_frames']:.2f} s to frames, "
                    f"{row['compute_share']:.2%} compute, {row['shares']['data']:.3%} data"
                )
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "pipeline.json", {"machine": made_with, "rows": rows})
    draw(options.output / "pipeline.png", rows)


if __name__ == "__main__":
    main()
