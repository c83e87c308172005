"""The one style of the benchmarks' pictures, and scores by lead time drawn in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from framecast.evaluation.report import MODEL

INK, PALE = "#333333", "#808080"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
COLORS = ("#D98E00", "#CC4E00", "#009E73", "#7FCFB5", "#7B4FA3", "#3AA0DA", "#8C564B", "#BCBD22")
"""After Okabe and Ito's palette, which colour-blind readers tell apart."""

MODEL_COLOR = "#0060A0"
TITLES = {"mse": "mean squared error", "csi": "CSI"}


def draw(
    path: Path, scores: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]
) -> None:
    """Write a PNG: a column for each clip, a row for each metric, a line for each forecaster.

    `scores[clip][forecaster][metric]` has a figure per lead time, None where it is undefined.
    """
    first = next(iter(scores.values()))
    metrics = list(next(iter(first.values())))
    with mpl.rc_context(STYLE):
        size = (0.6 + 3.6 * len(scores), 0.8 + 2.7 * len(metrics))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(metrics), len(scores), squeeze=False)
        for row, metric in zip(panels, metrics, strict=True):
            row[0].set_ylabel(TITLES.get(metric, metric))
            for panel, (clip, by_name) in zip(row, scores.items(), strict=True):
                for number, (name, figures) in enumerate(by_name.items()):
                    values = np.array(figures[metric], float)
                    ours = name == MODEL
                    panel.plot(
                        np.arange(1, len(values) + 1),
                        values,
                        color=MODEL_COLOR if ours else COLORS[number % len(COLORS)],
                        lw=2.8 if ours else 1.5,
                        label=name,
                    )
                panel.set_title(clip)
                # Linear trends leave the picture; what matters lies below the last frame's error.
                top = np.nanmax([np.nan_to_num(line.get_ydata()) for line in panel.get_lines()[:2]])
                panel.set_ylim(0, max(1.1 * top, 1e-9) if metric != "csi" else 1)
        for panel in panels[-1]:
            panel.set_xlabel("lead time, frames")
        handles = panels[0][0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, dpi=110, facecolor="white")
