"""The picture: where a pixel is felt, what a larger frame costs, what training reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, NullLocator

from ..shared.figure import PALE, STYLE
from .costs import NETWORKS, Cost
from .scores import Score

COLORS = {
    "convlstm": "#009E73",
    "frame-convlstm": "#A8508A",
    "shi2015": "#3AA0DA",
    "flow-convlstm": "#0060A0",
    "cnn-lstm": "#D98E00",
    "fc-lstm": "#CC4E00",
}
"""After Okabe and Ito's palette, which colour-blind readers tell apart; darker, to be read."""

PAPER = "#ecece8"
LARGE = STYLE | {"font.size": 13, "axes.titlesize": 14}
Ends = list[tuple[str, float]]
"""Names of a panel's lines and the heights they end at."""

FAINTEST = 1e-6
"""Influence, as a share of a map's largest, from which on it has a colour of its own."""


def draw(
    path: Path,
    maps: Mapping[str, Mapping[int, np.ndarray]],
    costs: Sequence[Cost],
    scores: Sequence[Score],
) -> None:
    """Write the picture as PNG; without `scores`, without their panels."""
    clips = list(dict.fromkeys(score.clip for score in scores))
    with mpl.rc_context(LARGE):
        figure = Figure(figsize=(13, 11), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1), wspace=0.04)
        _influence(left, maps)
        panels = np.atleast_1d(right.subplots(1 + len(clips), 1))
        ends = [_costs(panels[0], costs)]
        for panel, clip in zip(panels[1:], clips, strict=True):
            ends.append(_curves(panel, clip, [score for score in scores if score.clip == clip]))
        for panel, named in zip(panels, ends, strict=True):
            _name_lines(panel, named, gap=0.028 * len(panels))
        if clips:
            panels[-1].set_xlabel("minutes of training")
        figure.savefig(path, dpi=130, facecolor="white")


def _influence(figure: SubFigure, maps: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """One row of maps per network, the changed pixel growing older to the right."""
    ages = list(next(iter(maps.values())))
    grid = figure.subplots(len(maps), len(ages))
    shown = mpl.colormaps["YlGnBu"].with_extremes(bad=PAPER)
    for row, (name, by_age) in zip(grid, maps.items(), strict=True):
        row[0].set_ylabel(name, color=COLORS[name], fontweight="bold")
        for panel, (age, map_HW) in zip(row, by_age.items(), strict=True):
            felt = np.ma.masked_equal(map_HW / map_HW.max(), 0).clip(min=FAINTEST)
            drawn = panel.imshow(
                felt, cmap=shown, norm=LogNorm(FAINTEST, 1), interpolation="nearest"
            )
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            panel.set_xlabel(f"{(map_HW > 0).mean():.0%}", labelpad=2, fontsize=11, color=PALE)
            if name == next(iter(maps)):
                panel.set_title(f"{age} frames", loc="center", fontsize=12)
    figure.suptitle("Where a pixel is felt in the forecast, so many frames later", fontsize=14)
    bar = figure.colorbar(drawn, ax=grid, location="bottom", shrink=0.6, aspect=45, pad=0.01)
    bar.set_ticks([FAINTEST, 1e-4, 1e-2, 1], labels=["1e-6", "1e-4", "1e-2", "most"])
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("influence on a pixel; grey: exactly none; below: share of the frame")


def _costs(panel: Axes, costs: Sequence[Cost]) -> Ends:
    """Parameters against the side of the frame, both in equal ratios; returns where lines end."""
    ends = []
    for name in NETWORKS:
        points = [(cost.side, cost.parameters / 1e6) for cost in costs if cost.network == name]
        wide = 4.5 if name in ("convlstm", "cnn-lstm") else 2  # to be seen beneath the next
        panel.plot(*zip(*points, strict=True), "o-", color=COLORS[name], lw=wide, ms=5)
        ends.append((name, points[-1][1]))
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    sides = sorted({cost.side for cost in costs})
    panel.set_xticks(sides, labels=[str(side) for side in sides])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} M"))
    panel.set_title("Parameters, as the frame grows")
    panel.set_xlabel("side of the frame, pixels", labelpad=1)
    return ends


def _curves(panel: Axes, clip: str, scores: Sequence[Score]) -> Ends:
    """The lowest held-out error so far by minutes of training, beside the classical guesses.

    Returns where lines end.
    """
    ends, last = [], max(score.minutes for score in scores)
    for score in scores:
        minutes, errors = np.array(score.curve).T
        best = np.minimum.accumulate(errors)
        panel.step(
            [*minutes, last], [*best, best[-1]], where="post", color=COLORS[score.network], lw=2.2
        )
        ends.append((score.network, best[-1]))
    for label, value in (
        ("last frame", scores[0].persistence_mse),
        ("optical flow", scores[0].flow_mse),
    ):
        panel.axhline(value, color=PALE, lw=1.2, ls=(0, (4, 3)))
        ends.append((label, value))
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(FuncFormatter(_only_2_and_5))
    panel.set_xlim(0, last)
    panel.set_title(f"Held-out squared error, {clip}")
    return ends


def _only_2_and_5(value: float, _: int) -> str:
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _name_lines(panel: Axes, ends: Ends, gap: float) -> None:
    """Name lines at their right ends, at least `gap` of the panel's height apart."""
    low, high = np.log(panel.get_ylim())
    ranked = sorted(ends, key=lambda end: end[1])
    heights = (np.log([value for _, value in ranked]) - low) / (high - low)
    for _ in range(200):
        for below in range(len(heights) - 1):
            overlap = gap - (heights[below + 1] - heights[below])
            if overlap > 0:
                heights[below] -= overlap / 2
                heights[below + 1] += overlap / 2
        heights += max(0, -heights[0]) - max(0, heights[-1] - 1)
    for (name, _), height in zip(ranked, heights, strict=True):
        panel.text(
            1.03,
            height,
            name,
            transform=panel.transAxes,
            color=COLORS.get(name, PALE),
            va="center",
            fontweight="bold" if name in COLORS else "normal",
        )
