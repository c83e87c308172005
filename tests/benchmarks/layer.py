"""Time of ConvLSTM2D, of layers that compute the same, and of its bare convolutions.

python -m tests.benchmarks.layer [--bfloat16] [--device cuda]

Rounds are interleaved over all competitors; the tables have medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from framecast.runtime.device import placed

from .shared.layers import (
    LAYERS,
    LOOP,
    OURS,
    SHAPES,
    TINY,
    Shape,
    bare_run,
    build,
    frames,
    run_step,
)
from .shared.output import command_line, table, write_json
from .shared.timing import Run, interleaved, median_milliseconds

THREADS = 2
BARE = "bare convolutions"
KINDS = {"training step": True, "inference": False}
Rows = dict[str, dict[str, float]]
"""A figure of each competitor, by the shape's numbers."""


def competitors(shape: Shape, device: str, precision: str, training: bool) -> dict[str, Run]:
    """One step of each layer, and of the bare convolutions."""
    x, runs = frames(shape).to(device), {}
    for name in LAYERS:
        layer = placed(build(name, shape), device)
        if name == LOOP and precision == "bfloat16":  # in which it is then the fastest
            layer = layer.to(memory_format=torch.channels_last)
        runs[name] = partial(run_step, layer, x, precision, training)
    return runs | {BARE: bare_run(shape, device, precision, training)}


def ratios(row: Mapping[str, float]) -> tuple[float, float]:
    """The fastest other's time over ours, and ours over the bare convolutions'."""
    others = [ms for name, ms in row.items() if name not in (OURS, BARE)]
    return min(others) / row[OURS], row[OURS] / row[BARE]


def time_table(kind: str, rows: Rows) -> str:
    """Milliseconds of each competitor by shape, with the two ratios and their geometric means."""
    both = [ratios(row) for row in rows.values()]
    body = [
        [shape, *(f"{ms:.0f}" for ms in row.values()), *(f"{ratio:.2f}" for ratio in pair)]
        for (shape, row), pair in zip(rows.items(), both, strict=True)
    ]
    names = list(next(iter(rows.values())))
    means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*both, strict=True)]
    body.append(["geometric mean", *[""] * len(names), *means])
    return table([kind, *names, "fastest other / ours", "ours / bare"], body)


def benchmark(
    shapes: Sequence[Shape], device: str, precision: str, rounds: int, output: Path
) -> None:
    """Measure, write layer.json after each shape, print the tables."""
    times: dict[str, Rows] = {kind: {} for kind in KINDS}
    for shape in shapes:
        name = ", ".join(map(str, shape))
        for kind, training in KINDS.items():
            runs = competitors(shape, device, precision, training)
            times[kind][name] = median_milliseconds(interleaved(runs, rounds))
            print(name, kind, {each: round(ms) for each, ms in times[kind][name].items()})
        write_json(output / "layer.json", {"precision": precision, "ms": times})
    for kind, rows in times.items():
        print("\n" + time_table(kind, rows))


def main() -> None:
    parser = command_line("layer", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast")
    parser.add_argument("--tiny", action="store_true", help="one small shape, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    precision = "bfloat16" if given.bfloat16 else "float32"
    shapes = [TINY] if given.tiny else SHAPES
    benchmark(shapes, given.device, precision, given.rounds, given.output)


if __name__ == "__main__":
    main()
