"""The command: experiments on every network, as a table and a picture."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from framecast.config.networks import NETWORKS

from ..shared.figure import PALE, STYLE
from ..shared.output import machine, table, write_json
from .evidence import Finding, examine, written_out

RAIN = Path(__file__).parents[3] / "sample_data/rain"
SIDES = (32, 64, 128, 256, 512)
FAINTEST = 1e-6
"""Influence, as a share of a map's largest, from which on it has a colour of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.comparison")
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"), metavar="DIR")
    options = parser.parse_args()
    examined = {name: examine(name, RAIN) for name in NETWORKS}
    limits = {"one cell": written_out(16, 1, 8, (1, 1)), "12x12": written_out(16, 3, 8, (12, 12))}
    record = {
        "machine": machine(),
        "findings": [asdict(finding) for finding, _ in examined.values()],
        "written_out": {name: asdict(limit) for name, limit in limits.items()},
    }
    write_json(options.output / "comparison.json", record)
    draw(options.output / "comparison.png", {name: maps for name, (_, maps) in examined.items()})
    print(evidence_table([finding for finding, _ in examined.values()]))
    for name, limit in limits.items():
        print(f"\nConvLSTM2D written out as an LSTM, {name}: {limit}")


def evidence_table(findings: list[Finding]) -> str:
    """What each network computes for x and h, and what follows from it."""
    new, old = min(findings[0].felt_in), max(findings[0].felt_in)
    header = ["", "x", "h", f"a pixel is felt {new} and {old} frames later in"]
    header += ["forecast of a shifted clip is off by", "another frame size"]
    rows = [
        [
            f"`{found.network}`",
            found.of_input,
            found.of_state,
            f"{found.felt_in[new]:.0%}, {found.felt_in[old]:.0%}",
            _share(found.unlike_when_moved),
            "works" if found.refusal is None else "refused",
        ]
        for found in findings
    ]
    return table(header, rows)


def _share(value: float) -> str:
    """0%, 0.05% or 143%; what float32 rounds away is 0%."""
    return f"{value:.2%}" if 1e-5 < value < 0.1 else f"{value:.0%}"


def draw(path: Path, maps: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Write a PNG: a row for each network, where one pixel is felt ever more frames later."""
    ages = list(next(iter(maps.values())))
    shown = mpl.colormaps["YlGnBu"].with_extremes(bad="#ecece8")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * len(ages), 1.75 * len(maps) + 0.8), layout="constrained")
        grid = figure.subplots(len(maps), len(ages))
        for row, (name, by_age) in zip(grid, maps.items(), strict=True):
            row[0].set_ylabel(name, fontweight="bold")
            for panel, (age, map_HW) in zip(row, by_age.items(), strict=True):
                felt = np.ma.masked_equal(map_HW / map_HW.max(), 0).clip(min=FAINTEST)
                drawn = panel.imshow(felt, cmap=shown, norm=LogNorm(FAINTEST, 1))
                panel.set(xticks=[], yticks=[])
                panel.set_xlabel(f"{(map_HW > 0).mean():.0%}", labelpad=2, color=PALE)
                if panel.get_subplotspec().is_first_row():
                    panel.set_title(f"{age} frames later", loc="center", fontsize=11)
        bar = figure.colorbar(drawn, ax=grid, location="bottom", shrink=0.6, aspect=45, pad=0.01)
        bar.set_label("influence on the forecast; grey: exactly none; below: share of the frame")
        figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
