"""Time until a command that computes nothing is done: python -m tests.benchmarks.startup

Each round runs every command once; medians count, and beside them the ratio to Python doing
nothing. Which packages a command imports is asked of `python -X importtime` in runs of their own.
Writes startup.json and startup.png into --output.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .shared.commands import Cost, imported, run
from .shared.figure import BARS, INK, STYLE
from .shared.record import machine, write_json

NOTHING, HELP = "python -c pass", "framecast --help"
COMMANDS = {
    NOTHING: ["-c", "pass"],
    'python -c "import framecast"': ["-c", "import framecast"],
    HELP: ["-m", "framecast", "--help"],
    "framecast inspect-shapes --input ... --layer ...": [
        *("-m", "framecast", "inspect-shapes"),
        *("--input", "8,10,64,64,1", "--layer", "filters=64 kernel=5 strides=2"),
    ],
}
HEAVY = ("torch", "cv2", "av", "numpy", "matplotlib", "imageio", "PIL", "rich")
DEAREST = 8
"""Packages named with their own import time."""
GOAL = 0.3


def measure(rounds: int) -> dict[str, list[Cost]]:
    """What each command took in each round, after one that does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            costs[name].append(run([sys.executable, *arguments]))
    return {name: found[1:] for name, found in costs.items()}


def rows(
    costs: Mapping[str, Sequence[Cost]], imports: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """A record for each command: medians, ratios to Python alone, what is imported."""
    least = statistics.median(cost.seconds for cost in costs[NOTHING])
    found = []
    for name, measured in costs.items():
        seconds = statistics.median(cost.seconds for cost in measured)
        packages = imports[name]
        found.append(
            {
                "command": name,
                "seconds": seconds,
                "processor_seconds": statistics.median(c.processor_seconds for c in measured),
                "to_python_alone": seconds / least,
                "heavy_imports": [package for package in HEAVY if package in packages],
                "dearest_imports_ms": dict(list(packages.items())[:DEAREST]),
                "rounds": [asdict(cost) for cost in measured],
            }
        )
    return found


def table(found: Sequence[Mapping[str, Any]]) -> str:
    head = ["command", "seconds", "of a processor", "times Python alone", "imports of note"]
    lines = [head, ["---"] * len(head)]
    for entry in found:
        lines.append(
            [
                f"`{entry['command']}`",
                f"{entry['seconds']:.3f}",
                f"{entry['processor_seconds']:.3f}",
                f"{entry['to_python_alone']:.1f}",
                ", ".join(entry["heavy_imports"]) or "none",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Bars of the seconds, beside the goal for --help."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.8), layout="constrained")
        axes = figure.subplots()
        names = [entry["command"] for entry in found]
        for shift, (key, label) in enumerate(
            (("seconds", "until it is done"), ("processor_seconds", "of a processor"))
        ):
            places = [place + 0.38 * (shift - 0.5) for place in range(len(found))]
            values = [entry[key] for entry in found]
            bars = axes.barh(places, values, 0.34, color=BARS[shift], label=label)
            axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
        axes.axvline(GOAL, color=INK, lw=0.8, ls=(0, (4, 3)))
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("seconds")
        axes.invert_yaxis()
        axes.legend(frameon=False, loc="upper right")
        figure.savefig(path, dpi=110, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.startup")
    parser.add_argument("--output", type=Path, default=Path("runs/startup"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tiny", action="store_true", help="a single round, to try it out")
    given = parser.parse_args()
    made_with = machine()
    costs = measure(1 if given.tiny else given.rounds)
    imports = {name: imported([sys.executable, *line]) for name, line in COMMANDS.items()}
    found = rows(costs, imports)
    given.output.mkdir(parents=True, exist_ok=True)
    write_json(given.output / "startup.json", {"machine": made_with, "goal": GOAL, "rows": found})
    draw(given.output / "startup.png", found)
    print(table(found))


if __name__ == "__main__":
    main()
