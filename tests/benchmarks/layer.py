"""Time of ConvLSTM2D beside its peers and its bare convolutions: python -m tests.benchmarks.layer

Rounds are interleaved over all competitors; the tables have medians. Writes layer.json, after each
shape anew, and layer.png into --output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from .shared.figure import STYLE
from .shared.layers import (
    NDRPLZ,
    OURS,
    SHAPES,
    THREADS,
    TINY,
    Shape,
    build,
    forward,
    frames,
    layer_names,
)
from .shared.record import machine, write_json

BARE = "bare convolutions"
PEERS = (NDRPLZ, "Keras on torch", "Keras on TensorFlow")
KINDS = {"training step": True, "inference": False}
Run = Callable[[bool], float]
"""Seconds of one step of training, or of inference."""


def timed(module: nn.Module, x: Tensor) -> Run:
    """Seconds of forward and backward to input and weights, or of forward alone."""

    def run(training: bool) -> float:
        module.zero_grad(set_to_none=True)
        leaf = x.clone().requires_grad_(training)
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            output = forward(module, leaf)
            if training:
                output.sum().backward()
        return time.perf_counter() - started

    return run


def bare(shape: Shape) -> Run:
    """Seconds of the input's convolution of all steps and the state's of all but the first."""
    channels, filters, kernel, size, batch, steps = shape
    x = torch.rand(batch * steps, channels, size, size)
    h = torch.rand(batch, filters, size, size)
    inputs = nn.Conv2d(channels, 4 * filters, kernel, padding="same")
    state = nn.Conv2d(filters, 4 * filters, kernel, padding="same", bias=False)
    run_inputs, run_state = timed(inputs, x), timed(state, h)
    return lambda training: (
        run_inputs(training) + sum(run_state(training) for _ in range(steps - 1))
    )


class KerasWorker:
    """Keras' own layer, in a process of its own for each backend."""

    def __init__(self, python: str, backend: str) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("keras_worker.py"))],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, shape: Sequence[int], training: bool) -> float:
        self.process.stdin.write(json.dumps([*shape, training]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return float(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def keras_workers(tensorflow_python: str | None) -> dict[str, KerasWorker]:
    workers = {}
    if importlib.util.find_spec("keras"):
        workers["Keras on torch"] = KerasWorker(sys.executable, "torch")
    if tensorflow_python:
        workers["Keras on TensorFlow"] = KerasWorker(tensorflow_python, "tensorflow")
    return workers


def competitors(
    shape: Shape, ndrplz: Path | None, workers: dict[str, KerasWorker]
) -> dict[str, Run]:
    x = frames(shape)
    found = {name: timed(build(name, shape, ndrplz), x) for name in layer_names(ndrplz)}
    found |= {name: partial(worker.ask, shape) for name, worker in workers.items()}
    return found | {BARE: bare(shape)}


def measure(runs: dict[str, Run], rounds: int, training: bool) -> dict[str, list[float]]:
    """Milliseconds of each round, after one that does not count."""
    ms: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            ms[name].append(round(1000 * run(training), 3))
    return {name: found[1:] for name, found in ms.items()}


def medians(ms: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(found) for name, found in ms.items()}


def ratios(row: dict[str, float]) -> tuple[float, float]:
    """The fastest peer's time over ours, and ours over the bare convolutions'."""
    peers = [ms for name, ms in row.items() if not name.startswith(OURS) and name != BARE]
    return min(peers) / row[OURS], row[OURS] / row[BARE]


def table(kind: str, shapes: list[tuple[int, ...]], rows: list[dict[str, float]]) -> str:
    head = [kind, *rows[0], "fastest peer / ours", "ours / bare"]
    lines = [head, ["---"] * len(head)]
    both = [ratios(row) for row in rows]
    for shape, row, (faster, dearer) in zip(shapes, rows, both, strict=True):
        figures = [f"{ms:.0f}" for ms in row.values()]
        lines.append([", ".join(map(str, shape)), *figures, f"{faster:.2f}", f"{dearer:.2f}"])
    means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*both, strict=True)]
    lines.append(["geometric mean", *[""] * len(rows[0]), *means])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(results: dict[str, list[dict[str, float]]], shapes: Sequence[Sequence[int]], path: Path):
    """A panel for each kind: bars of each competitor's time over that of the bare convolutions."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        panels = figure.subplots(1, len(results), squeeze=False)[0]
        for axes, (kind, rows) in zip(panels, results.items(), strict=True):
            names = [name for name in rows[0] if name != BARE]
            for n, name in enumerate(names):
                places = [p + n / (len(names) + 1) for p in range(len(rows))]
                heights = [row[name] / row[BARE] for row in rows]
                axes.bar(places, heights, 0.9 / (len(names) + 1), label=name)
            axes.axhline(1, color="black", lw=0.8)
            middle = (len(names) - 1) / 2 / (len(names) + 1)
            axes.set_xticks(
                [p + middle for p in range(len(rows))],
                [", ".join(map(str, shape)) for shape in shapes],
                fontsize=9,
            )
            axes.set(title=kind, ylabel="time / bare convolutions' time")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/layer"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ndrplz", type=Path, help="checkout of ndrplz/ConvLSTM_pytorch")
    parser.add_argument("--tensorflow-python", help="python that has TensorFlow and Keras")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the shapes, from 1")
    parser.add_argument("--tiny", action="store_true", help="one small shape, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    workers = keras_workers(given.tensorflow_python)
    shapes = [SHAPES[n - 1] for n in given.only or range(1, len(SHAPES) + 1)]
    shapes = [TINY] if given.tiny else shapes
    given.output.mkdir(parents=True, exist_ok=True)
    rounds: dict[str, list[dict[str, list[float]]]] = {kind: [] for kind in KINDS}
    for shape in shapes:
        runs = competitors(shape, given.ndrplz, workers)
        for kind, training in KINDS.items():
            rounds[kind].append(measure(runs, given.rounds, training))
            row = medians(rounds[kind][-1])
            print(shape, kind, {name: round(ms) for name, ms in row.items()}, flush=True)
        absent = [name for name in PEERS if name not in runs]
        done = shapes[: len(rounds["inference"])]
        record = {"machine": machine(), "shapes": done, "absent": absent, "ms_of_rounds": rounds}
        write_json(given.output / "layer.json", record)
    for worker in workers.values():
        worker.close()
    results = {kind: [medians(row) for row in rows] for kind, rows in rounds.items()}
    for kind, rows in results.items():
        print("\n" + table(kind, shapes, rows))
    print(f"\nAbsent: {', '.join(absent) or 'none'}")
    draw(results, shapes, given.output / "layer.png")


if __name__ == "__main__":
    main()
