"""Peak memory of a training step of ConvLSTM2D beside its peers: python -m tests.benchmarks.memory

Every step, forward and backward to input and weights, is done in a process of its own, right after
one of the same layer on few pixels that loads what libraries load once. Its memory is the highest
resident set during the step above that before it, when input and weights were there: on Linux
VmHWM of /proc/self/status, set back through /proc/self/clear_refs, elsewhere the growth of
ru_maxrss. Writes memory.json and memory.png into --output.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .shared import resident
from .shared.figure import BARS, INK, PALE, STYLE
from .shared.layers import LOOP, NDRPLZ, OURS, RECOMPUTE, SHAPES, THREADS, TINY, Shape, layer_names
from .shared.record import machine, write_json
from .shared.resident import measure

LENGTHS = (10, 20, 40)
"""T of the last of SHAPES, drawn on the right."""
GOAL = 0.5


def measure_all(
    shapes: Sequence[Shape], checkout: Path | None, repeats: int, threads: int
) -> list[dict[str, Any]]:
    """Interleaved rounds over all competitors and shapes; MB of each round, medians, ratios."""
    layers = layer_names(checkout)
    found: dict[tuple[str, Shape], list[dict[str, float]]] = defaultdict(list)
    # A server that has loaded PyTorch, and used nothing of it yet, forks a process for each step.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([resident.__name__, mpl.figure.__name__])
    with context.Pool(1, maxtasksperchild=1) as pool:
        for _, shape, name in product(range(repeats), shapes, layers):
            found[name, shape].append(pool.apply(measure, (name, shape, checkout, threads)))
            print(f"{name}: {_name(shape)}: {found[name, shape][-1]['peak']:.1f} MB", flush=True)
    return [row(shape, {name: found[name, shape] for name in layers}) for shape in shapes]


def row(shape: Shape, figures: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """What a shape's record says of each competitor."""
    peaks = {name: statistics.median(f["peak"] for f in found) for name, found in figures.items()}
    return {
        "shape": list(shape),
        "peak_mb": peaks,
        "after_forward_mb": {
            name: statistics.median(f["after_forward"] for f in found)
            for name, found in figures.items()
        },
        "peak_mb_of_rounds": {name: [f["peak"] for f in found] for name, found in figures.items()},
        "to_plain_loop": {name: peak / peaks[LOOP] for name, peak in peaks.items()},
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["MB (of the plain loop's)", *rows[0]["peak_mb"]]
    lines = [head, ["---"] * len(head)]
    for entry in rows:
        cells = [
            f"{peak:.1f} ({entry['to_plain_loop'][name]:.2f})"
            for name, peak in entry["peak_mb"].items()
        ]
        lines.append([", ".join(map(str, entry["shape"])), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(path: Path, rows: Sequence[Mapping[str, Any]], lengths: Sequence[Shape]) -> None:
    """Bars of the ratio to the plain loop, and the peaks against T."""
    colors = dict(zip((OURS, RECOMPUTE, LOOP, NDRPLZ), (*BARS[:2], PALE, BARS[4]), strict=True))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        bars, lines = figure.subplots(1, 2, width_ratios=(3, 2))
        shown = [entry for entry in rows if tuple(entry["shape"]) not in lengths[1:]]
        _bars(bars, shown, colors)
        longer = [entry for entry in rows if tuple(entry["shape"]) in lengths]
        for name, color in colors.items():
            if name in longer[0]["peak_mb"]:
                steps = [entry["shape"][-1] for entry in longer]
                lines.plot(steps, [e["peak_mb"][name] for e in longer], "o-", color=color)
        lines.set(xlabel="T", ylabel="MB", title=f"peak, {_name(longer[0]['shape'][:-1])}, T")
        lines.set_ylim(0)
        figure.legend(*bars.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.savefig(path, dpi=110, facecolor="white")


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]], colors: Mapping[str, str]) -> None:
    layers = list(rows[0]["to_plain_loop"])
    width = 0.8 / len(layers)
    for number, name in enumerate(layers):
        places = [place + (number - (len(layers) - 1) / 2) * width for place in range(len(rows))]
        ratios = [entry["to_plain_loop"][name] for entry in rows]
        drawn = axes.bar(places, ratios, width * 0.9, color=colors[name], label=name)
        axes.bar_label(drawn, fmt="%.2f", fontsize=8)
    axes.axhline(GOAL, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.set_xticks(range(len(rows)), [_name(entry["shape"]) for entry in rows], fontsize=9)
    axes.set(ylabel="of the plain loop's", title="peak memory of a training step")


def _name(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory")
    parser.add_argument("--output", type=Path, default=Path("runs/memory"), metavar="DIR")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument(
        "--ndrplz", type=Path, metavar="DIR", help="checkout of ndrplz/ConvLSTM_pytorch"
    )
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try it out")
    given = parser.parse_args()
    shapes = [TINY] if given.tiny else SHAPES
    lengths = [(*shapes[-1][:-1], steps) for steps in (LENGTHS[:1] if given.tiny else LENGTHS)]
    wanted = list(dict.fromkeys([*shapes, *lengths]))
    made_with = machine() | {"threads": given.threads}
    rows = measure_all(wanted, given.ndrplz, given.repeats, given.threads)
    absent = [] if given.ndrplz else [NDRPLZ]
    record = {"machine": made_with, "method": resident.METHOD, "absent": absent, "rows": rows}
    given.output.mkdir(parents=True, exist_ok=True)
    write_json(given.output / "memory.json", record)
    draw(given.output / "memory.png", rows, lengths)
    print("\n" + table(rows))
    print(f"\nAbsent: {', '.join(absent) or 'none'}; method: {resident.METHOD}")


if __name__ == "__main__":
    main()
