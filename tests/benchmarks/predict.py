"""Peak memory of predict and evaluate for short and long clips: python -m tests.benchmarks.predict

Each case is a process of its own, whose peak resident memory the system counts. Writes predict.json
and predict.png into --output; exits with 1 when a long clip takes more than 1.1 times the memory
of a short one. All of it takes half an hour on 2 cores, most of that the stream of 10,000 frames.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .shared.commands import run
from .shared.figure import BARS, STYLE
from .shared.record import machine, write_json

SHORT, LONG, LESS = 100, 10_000, 1_000
"""Frames of the short clip and of the long ones, the last for what is slowest per frame."""

TINY = 20, 30, 25
MOST = 1.1
HEIGHT, WIDTH = 64, 80
SETTINGS = ["model.filters=[8]", "data.context_length=6", "data.horizon=12"]

MAKE = """
import sys
from pathlib import Path
import numpy as np
import torch
from framecast.checkpoint import Checkpoint, save_checkpoint
from framecast.config import load_config
from framecast.nn.networks import build_forecaster
from framecast.video.writers.open import write_frames

folder, height, width, counts, settings = eval(sys.argv[1])
config = load_config(None, settings, {})
torch.manual_seed(0)
network = build_forecaster(config.model, 3, (height, width))
clip = {"channels": 3, "height": height, "width": width}
save_checkpoint(Path(folder) / "model.pt", Checkpoint(config, clip, network.state_dict(), {}))
rows, columns, channel = np.mgrid[0:height, 0:width, 0:3]

def frames(count):
    for t in range(count):
        wave = np.sin(0.2 * rows + 0.1 * columns - 0.3 * t + channel)
        yield (127 + 100 * wave).astype(np.uint8)

for count in counts:
    write_frames(f"{folder}/{count}.mp4", frames(count), fps=25)
    write_frames(f"{folder}/{count}/", frames(count), fps=25)
"""


def cases(folder: str, count: int) -> dict[str, list[str]]:
    """The command line for a clip of `count` frames, by what is done with it."""
    future = str(count - 6)  # the rest of the clip behind a context
    video, images = f"{folder}/{count}.mp4", f"{folder}/{count}"
    predict = ["predict", f"{folder}/model.pt"]
    return {
        "video": [*predict, video, "-o", f"{folder}/out.mp4"],
        "folder": [*predict, images, "-o", f"{folder}/out.mp4"],
        "video --stream": [*predict, video, "--stream", "-o", f"{folder}/out.mp4"],
        "folder --stream, GIF": [*predict, images, "--stream", "-o", f"{folder}/out.gif"],
        "video --compare, all of it": [
            *(*predict, video, "--compare", "--horizon", future, "-o", f"{folder}/out.mp4")
        ],
        "folder, horizon as long, PNG": [
            *(*predict, images, "--horizon", future, "-o", f"{folder}/out/")
        ],
        "evaluate": ["evaluate", f"{folder}/model.pt", video, "--csv", f"{folder}/out.csv"],
    }


LONGEST = "video", "folder", "video --stream", "evaluate"


def measure(output: Path, counts: tuple[int, int, int]) -> list[dict[str, Any]]:
    """What every case takes of memory and time, with the short clip and a long one."""
    short_count, long_count, less_count = counts
    with tempfile.TemporaryDirectory(dir=output) as folder:
        made = repr((folder, HEIGHT, WIDTH, counts, SETTINGS))
        subprocess.run([sys.executable, "-c", MAKE, made], check=True)
        rows = []
        for name, short_command in cases(folder, short_count).items():
            count = long_count if name in LONGEST else less_count
            short, long = (
                run([sys.executable, "-m", "framecast", *command, "--overwrite"])
                for command in (short_command, cases(folder, count)[name])
            )
            ratio = long.peak_mb / short.peak_mb
            row = {"case": name, "frames": count, "short": asdict(short), "long": asdict(long)}
            rows.append(row | {"ratio": ratio})
            print(
                f"{name:30} {short.peak_mb:7.1f} MB {long.peak_mb:7.1f} MB  x{ratio:.3f}  "
                f"{count:,} frames in {long.seconds:.0f} s",
                flush=True,
            )
    return rows


def draw(path: Path, rows: Sequence[Mapping[str, Any]], short_count: int) -> None:
    """Bars of the peaks, a pair for each case."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axes = figure.subplots()
        labels = {"short": f"{short_count:,} frames", "long": "many frames"}
        for shift, (key, label) in enumerate(labels.items()):
            places = [place + 0.4 * shift for place in range(len(rows))]
            peaks = [row[key]["peak_mb"] for row in rows]
            bars = axes.barh(places, peaks, 0.36, color=BARS[shift], label=label)
            axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
        names = [f"{row['case']} ({row['frames']:,})" for row in rows]
        axes.set_yticks([place + 0.2 for place in range(len(rows))], names)
        axes.set_xlabel("peak resident memory (MB)")
        axes.invert_yaxis()
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path, dpi=110, facecolor="white")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.predict")
    parser.add_argument("--output", type=Path, default=Path("runs/predict"), metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="short clips only, to try it out")
    given = parser.parse_args()
    counts = TINY if given.tiny else (SHORT, LONG, LESS)
    given.output.mkdir(parents=True, exist_ok=True)
    made_with = machine()
    rows = measure(given.output, counts)
    size = [HEIGHT, WIDTH, 3]
    record = {"machine": made_with, "frames": counts, "size": size, "most": MOST, "cases": rows}
    write_json(given.output / "predict.json", record)
    draw(given.output / "predict.png", rows, counts[0])
    return int(any(row["ratio"] > MOST for row in rows))


if __name__ == "__main__":
    sys.exit(main())
