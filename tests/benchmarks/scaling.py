"""How the cost of training grows: python -m tests.benchmarks.scaling

The seconds of a training step of ConvLSTM2D, while T, the side of the frames, the filters or the
batch grow alone, and the exponents of power laws through them; and the windows a second that
`framecast train` does as one process and as two under torchrun, one thread each, on the same
batches. Rounds are interleaved; medians count. Writes scaling.json and scaling.png into --output.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from framecast.config.loading import load_config
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.training.events import StepDone
from framecast.training.pipeline import SessionEvent, prepare, train

from .layer import timed
from .shared.figure import BARS, INK, STYLE
from .shared.record import machine, write_json

BASE = {"T": 10, "side": 32, "filters": 32, "batch": 4}
GROWN = {
    "T": (5, 10, 20, 40),
    "side": (16, 32, 64, 128),
    "filters": (16, 32, 64, 128),
    "batch": (2, 4, 8, 16),
}
TINY = dict.fromkeys(BASE, (2, 4))
CHANNELS, KERNEL = 16, 3
PROCESSES = (1, 2)
BATCH, STEPS = 8, 12
"""Of the trainings: windows a step, and steps, of which the first two do not count."""
SETTINGS = ["model.name=convlstm", "data.context_length=4", "data.horizon=6", "train.epochs=1"]
SETTINGS += [f"train.batch_size={BATCH}", "train.device=cpu", "data.cache_gb=0"]


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of a line through the logarithms: a of seconds = b * size ** a."""
    return statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    ).slope


def fit(sizes: Sequence[float], rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Median seconds of each size, their exponent, and the least and greatest of single rounds."""
    medians = [statistics.median(found) for found in zip(*rounds, strict=True)]
    slopes = [exponent(sizes, found) for found in rounds]
    return {
        "sizes": list(sizes),
        "seconds": medians,
        "exponent": exponent(sizes, medians),
        "spread": [min(slopes), max(slopes)],
        "local_exponents": [
            exponent(sizes[n : n + 2], medians[n : n + 2]) for n in range(len(sizes) - 1)
        ],
        "rounds": [list(found) for found in rounds],
    }


def step_seconds(name: str, size: int) -> float:
    """One training step of a layer, of BASE's sizes but for the one named; the second counts."""
    sizes = BASE | {name: size}
    settings = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
    layer = ConvLSTM2D(sizes["filters"], KERNEL, in_channels=CHANNELS, **settings)
    run = timed(layer, torch.rand(sizes["batch"], sizes["T"], CHANNELS, *2 * [sizes["side"]]))
    run(True)
    return run(True)


def grow(grown: Mapping[str, Sequence[int]], rounds: int) -> dict[str, dict[str, Any]]:
    """What `fit` says of each size that grows alone."""
    found: dict[str, list[list[float]]] = {name: [] for name in grown}
    for _ in range(rounds):
        for name, sizes in grown.items():
            found[name].append([step_seconds(name, size) for size in sizes])
    return {name: fit(sizes, found[name]) for name, sizes in grown.items()}


def one_training(clip: Path, runs: Path, steps: int) -> float | None:
    """Train in this process, one of those torchrun started; the main one's median step seconds."""
    ends: list[float] = []

    def watch(event: SessionEvent) -> None:
        if isinstance(event, StepDone):
            ends.append(time.perf_counter())

    config = load_config(None, [*SETTINGS, f"train.steps_per_epoch={steps}"], {})
    train(prepare([clip], config), runs, watch)
    gaps = [after - before for before, after in itertools.pairwise(ends[1:])]
    return statistics.median(gaps) if gaps else None


def start_training(processes: int, folder: Path, steps: int) -> float:
    """Seconds of a step of a training by so many processes with one thread each."""
    runs = tempfile.mkdtemp(dir=folder)
    starter = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    worker = [
        "-m",
        "tests.benchmarks.scaling",
        "--train",
        str(folder / "clip.npy"),
        runs,
        str(steps),
    ]
    done = subprocess.run(
        [sys.executable, *starter, *worker],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{processes} processes: {done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def share_out(side: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    """Windows a second of trainings by one and by several processes."""
    seconds: dict[int, list[float]] = {count: [] for count in PROCESSES}
    with tempfile.TemporaryDirectory(prefix="framecast-") as name:
        t, row, column = np.mgrid[0:40, 0:side, 0:side]
        waves = 127 + 100 * np.sin(0.2 * row + 0.1 * column - 0.3 * t)
        np.save(f"{name}/clip.npy", waves.astype(np.uint8))
        for _ in range(rounds):
            for count in PROCESSES:
                seconds[count].append(start_training(count, Path(name), steps))
    rates = {count: BATCH / statistics.median(found) for count, found in seconds.items()}
    return [
        {
            "processes": count,
            "windows_per_second": rates[count],
            "speedup": rates[count] / rates[1],
            "step_seconds": found,
        }
        for count, found in seconds.items()
    ]


def table(fits: Mapping[str, Mapping[str, Any]], shared: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| grows | sizes | ms | exponent | of single rounds |", "|---|---|---|---|---|"]
    for name, found in fits.items():
        sizes = ", ".join(map(str, found["sizes"]))
        ms = ", ".join(f"{1000 * value:.1f}" for value in found["seconds"])
        low, high = found["spread"]
        lines.append(
            f"| {name} | {sizes} | {ms} | {found['exponent']:.2f} | {low:.2f}..{high:.2f} |"
        )
    lines += ["", "| processes | windows a second | speedup |", "|---|---|---|"]
    for entry in shared:
        rate, speedup = entry["windows_per_second"], entry["speedup"]
        lines.append(f"| {entry['processes']} | {rate:.2f} | {speedup:.2f} |")
    return "\n".join(lines)


def draw(
    path: Path, fits: Mapping[str, Mapping[str, Any]], shared: Sequence[Mapping[str, Any]]
) -> None:
    """Seconds against each size over that of the base, and the throughput of processes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        lines, bars = figure.subplots(1, 2, width_ratios=(3, 1))
        for (name, found), color in zip(fits.items(), BARS, strict=False):
            grown = [size / found["sizes"][0] for size in found["sizes"]]
            label = f"{name}: exponent {found['exponent']:.2f}"
            slower = [value / found["seconds"][0] for value in found["seconds"]]
            lines.plot(grown, slower, "o-", color=color, label=label)
        lines.set_xscale("log", base=2)
        lines.set_yscale("log", base=2)
        for axis in (lines.xaxis, lines.yaxis):
            axis.set_major_formatter("{x:g}")
        lines.set(xlabel="size, over the smallest")
        lines.set(ylabel="seconds, over the least", title="training step of ConvLSTM2D")
        lines.legend(frameon=False)
        names = [str(entry["processes"]) for entry in shared]
        drawn = bars.bar(names, [entry["windows_per_second"] for entry in shared], color=BARS[0])
        bars.bar_label(drawn, fmt="%.1f", color=INK)
        bars.set(xlabel="processes, one thread each", title="windows a second")
        figure.savefig(path, dpi=110, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling")
    parser.add_argument("--output", type=Path, default=Path("runs/scaling"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trainings", type=int, default=3, help="of each number of processes")
    parser.add_argument("--tiny", action="store_true", help="small sizes, one round, to try it out")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        clip, runs, steps = given.train
        seconds = one_training(Path(clip), Path(runs), int(steps))
        if seconds is not None:
            print(seconds)
        return
    made_with = machine()
    fits = grow(TINY if given.tiny else GROWN, 1 if given.tiny else given.rounds)
    shared = share_out(*((8, 3, 1) if given.tiny else (64, STEPS, given.trainings)))
    given.output.mkdir(parents=True, exist_ok=True)
    base = BASE | {"channels": CHANNELS, "kernel": KERNEL}
    record = {"machine": made_with, "base": base, "grown": fits, "processes": shared}
    write_json(given.output / "scaling.json", record)
    draw(given.output / "scaling.png", fits, shared)
    print(table(fits, shared))


if __name__ == "__main__":
    main()
