"""Time of ConvLSTM2D beside its peers and its bare convolutions: python -m tests.benchmarks.layer

Rounds are interleaved over all competitors; the table has medians. Writes layer.json and layer.png
into --output.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from framecast.nn.convlstm import ConvLSTM2D

SHAPES = [
    (64, 64, 3, 64, 4, 10),
    (1, 64, 5, 64, 4, 10),
    (128, 128, 5, 16, 16, 10),
    (16, 64, 3, 16, 16, 10),
]
"""In-channels, filters, kernel, size, batch, T."""
THREADS = 2
OURS, BARE = "framecast", "bare convolutions"
Run = Callable[[bool], float]


class PlainLoop(nn.Module):
    """x and h put together, one convolution, step by step."""

    def __init__(self, channels: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.filters = filters
        self.conv = nn.Conv2d(channels + filters, 4 * filters, kernel, padding="same")

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        h = c = x_BTCHW.new_zeros(len(x_BTCHW), self.filters, *x_BTCHW.shape[3:])
        outputs = []
        for x_BCHW in x_BTCHW.unbind(1):
            i, f, g, o = self.conv(torch.cat((x_BCHW, h), 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1)


def timed(module: nn.Module, x: Tensor) -> Run:
    """Seconds of forward and backward to input and weights, or of forward alone."""

    def run(training: bool) -> float:
        module.zero_grad(set_to_none=True)
        leaf = x.clone().requires_grad_(training)
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            output = module(leaf)
            output = output[0][0] if isinstance(output, tuple) else output
            if training:
                output.sum().backward()
        return time.perf_counter() - started

    return run


def bare(shape: tuple[int, ...]) -> Run:
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


def keras_worker(python: str, backend: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, str(Path(__file__).with_name("keras_worker.py"))],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ask(worker: subprocess.Popen[str], shape: tuple[int, ...]) -> Run:
    def run(training: bool) -> float:
        worker.stdin.write(json.dumps([*shape, training]) + "\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    return run


def competitors(
    shape: tuple[int, ...], ndrplz: Path | None, workers: dict[str, subprocess.Popen[str]]
) -> dict[str, Run]:
    channels, filters, kernel, size, batch, steps = shape
    x = torch.rand(batch, steps, channels, size, size)
    settings = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
    found = {
        OURS: timed(ConvLSTM2D(filters, kernel, in_channels=channels, **settings), x),
        "framecast, recompute": timed(
            ConvLSTM2D(filters, kernel, in_channels=channels, recompute=True, **settings), x
        ),
        "plain loop": timed(PlainLoop(channels, filters, kernel), x),
    }
    if ndrplz is not None:
        spec = importlib.util.spec_from_file_location("ndrplz", ndrplz / "convlstm.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        peer = module.ConvLSTM(channels, filters, (kernel, kernel), 1, batch_first=True)
        found["ndrplz"] = timed(peer, x)
    found |= {name: ask(worker, shape) for name, worker in workers.items()}
    return found | {BARE: bare(shape)}


def measure(runs: dict[str, Run], rounds: int, training: bool) -> dict[str, float]:
    """Median milliseconds, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            seconds[name].append(run(training))
    return {name: 1000 * statistics.median(found[1:]) for name, found in seconds.items()}


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


def draw(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only the figure needs it

    figure, panels = plt.subplots(1, len(results), figsize=(12, 4), layout="constrained")
    for axes, (kind, rows) in zip(panels, results.items(), strict=True):
        for n, name in enumerate(rows[0]):
            places = [p + n / (len(rows[0]) + 1) for p in range(len(rows))]
            axes.bar(places, [row[name] for row in rows], 1 / (len(rows[0]) + 1), label=name)
        axes.set(title=kind, ylabel="ms", yscale="log", xlabel="shape")
    panels[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ndrplz", type=Path, help="checkout of ndrplz/ConvLSTM_pytorch")
    parser.add_argument("--tensorflow-python", help="python that has TensorFlow and Keras")
    parser.add_argument("--tiny", action="store_true", help="one small shape, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    workers = {}
    if importlib.util.find_spec("keras"):
        workers["Keras on torch"] = keras_worker(sys.executable, "torch")
    if given.tensorflow_python:
        workers["Keras on TensorFlow"] = keras_worker(given.tensorflow_python, "tensorflow")
    shapes = [(3, 6, 3, 8, 2, 5)] if given.tiny else SHAPES
    results: dict[str, list[dict[str, float]]] = {"training step": [], "inference": []}
    for shape in shapes:
        runs = competitors(shape, given.ndrplz, workers)
        for kind, rows in results.items():
            rows.append(measure(runs, given.rounds, kind == "training step"))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    for kind, rows in results.items():
        print(table(kind, shapes, rows), end="\n\n")
    names = ("ndrplz", "Keras on torch", "Keras on TensorFlow")
    absent = [name for name in names if name not in results["inference"][0]]
    if absent:
        print("Absent:", ", ".join(absent))
    given.output.mkdir(parents=True, exist_ok=True)
    report = {"shapes": shapes, "rounds": given.rounds, "ms": results, "absent": absent}
    (given.output / "layer.json").write_text(json.dumps(report, indent=2) + "\n")
    draw(results, given.output / "layer.png")


if __name__ == "__main__":
    main()
