"""Time and memory of ConvLSTM2D, other projects' layers and its bare convolutions.

python -m tests.benchmarks.layer [--bfloat16]

Rounds are interleaved over all competitors; the tables have medians. Peak memory is that of one
training step, above what was there before it. Writes layer.json into --output after each shape.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from .shared.layers import (
    LOOP,
    NDRPLZ,
    OURS,
    SHAPES,
    THREADS,
    TINY,
    Shape,
    bare_convolutions,
    build,
    forward,
    frames,
    layer_names,
)
from .shared.output import machine, write_json
from .shared.output import table as markdown
from .shared.resident import peak_memory

BARE = "bare convolutions"
PEERS = (NDRPLZ, "Keras on torch", "Keras on TensorFlow")
KINDS = {"training step": True, "inference": False}
Run = Callable[[bool], float]
"""Seconds of one step of training, or of inference."""


def timed(module: nn.Module, x: Tensor, bfloat16: bool = False) -> Run:
    """Seconds of forward and backward to input and weights, or of forward alone."""

    def run(training: bool) -> float:
        module.zero_grad(set_to_none=True)
        leaf = x.clone().requires_grad_(training)
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                output = forward(module, leaf)
            if training:
                output.sum().backward()
        return time.perf_counter() - started

    return run


def bare(shape: Shape, bfloat16: bool) -> Run:
    """Seconds of the input's convolution of all steps and the state's of all but the first."""
    inputs, state = (timed(*each, bfloat16) for each in bare_convolutions(shape))
    return lambda training: inputs(training) + sum(state(training) for _ in range(shape[-1] - 1))


class KerasWorker:
    """Keras' own layer, in a process of its own for each backend."""

    def __init__(self, python: str, backend: str, policy: str) -> None:
        self.process = subprocess.Popen(
            [python, "-m", "tests.benchmarks.keras_worker", policy],
            cwd=Path(__file__).parents[2],
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


def keras_workers(tensorflow_python: str | None, bfloat16: bool) -> dict[str, KerasWorker]:
    workers, policy = {}, "mixed_bfloat16" if bfloat16 else "float32"
    if importlib.util.find_spec("keras"):
        workers["Keras on torch"] = KerasWorker(sys.executable, "torch", policy)
    if tensorflow_python:
        workers["Keras on TensorFlow"] = KerasWorker(tensorflow_python, "tensorflow", policy)
    return workers


def competitors(
    shape: Shape, ndrplz: Path | None, workers: dict[str, KerasWorker], bfloat16: bool
) -> dict[str, Run]:
    x, found = frames(shape), {}
    for name in layer_names(ndrplz):
        layer = build(name, shape, ndrplz)
        if name == LOOP and bfloat16:  # which is then its fastest way
            layer = layer.to(memory_format=torch.channels_last)
        found[name] = timed(layer, x, bfloat16)
    found |= {name: partial(worker.ask, shape) for name, worker in workers.items()}
    return found | {BARE: bare(shape, bfloat16)}


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


def table(kind: str, shapes: Sequence[Shape], rows: Sequence[dict[str, float]]) -> str:
    """Milliseconds of each competitor by shape, with the two ratios and their geometric means."""
    both = [ratios(row) for row in rows]
    body = [
        [_name(shape), *(f"{ms:.0f}" for ms in row.values()), *(f"{ratio:.2f}" for ratio in pair)]
        for shape, row, pair in zip(shapes, rows, both, strict=True)
    ]
    means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*both, strict=True)]
    body.append(["geometric mean", *[""] * len(rows[0]), *means])
    return markdown([kind, *rows[0], "fastest peer / ours", "ours / bare"], body)


def _name(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def peaks(shape: Shape, ndrplz: Path | None) -> dict[str, float]:
    """Peak MB of a training step of each layer that runs on PyTorch, a new process for each."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return {
            name: pool.apply(peak_memory, (name, shape, ndrplz, THREADS))
            for name in layer_names(ndrplz)
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/layer"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ndrplz", type=Path, help="checkout of ndrplz/ConvLSTM_pytorch")
    parser.add_argument("--tensorflow-python", help="python that has TensorFlow and Keras")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the shapes, from 1")
    parser.add_argument("--bfloat16", action="store_true", help="autocast; Keras' mixed_bfloat16")
    parser.add_argument("--tiny", action="store_true", help="one small shape, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    workers = keras_workers(given.tensorflow_python, given.bfloat16)
    shapes = [SHAPES[n - 1] for n in given.only or range(1, len(SHAPES) + 1)]
    shapes = [TINY] if given.tiny else shapes
    given.output.mkdir(parents=True, exist_ok=True)
    rounds: dict[str, list[dict[str, list[float]]]] = {kind: [] for kind in KINDS}
    for shape in shapes:
        runs = competitors(shape, given.ndrplz, workers, given.bfloat16)
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
    for kind, found in results.items():
        print("\n" + table(kind, shapes, found))
    print(f"\nAbsent: {', '.join(absent) or 'none'}")
    memory = [peaks(shape, given.ndrplz) for shape in shapes]
    rows = [
        [_name(shape), *(f"{mb:.0f} ({mb / row[LOOP]:.2f})" for mb in row.values())]
        for shape, row in zip(shapes, memory, strict=True)
    ]
    print("\n" + markdown(["peak MB (of the plain loop's)", *memory[0]], rows))
    write_json(given.output / "layer.json", record | {"peak_mb": memory})


if __name__ == "__main__":
    main()
