"""The picture of a contest: a column for each clip, error and CSI by lead time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
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
COLORS = {
    "last frame": "#808080",
    "context mean": "#B8B8B8",
    "linear trend": "#D4C9A8",
    "optical flow": "#D98E00",
    "pysteps extrapolation": "#CC4E00",
    "S-PROG": "#009E73",
    "S-PROG unmatched": "#7FCFB5",
    "ANVIL": "#7B4FA3",
}
"""After Okabe and Ito's palette, which colour-blind readers tell apart; other peers take more."""

MORE = ("#3AA0DA", "#8C564B", "#BCBD22")
OFF_THE_SCALE = "linear trend"
"""So far from all others that its line may leave the panel."""

MODEL_COLOR = "#0060A0"
OWN_STYLES = ("-", ":", "--")
"""Of the model, and of its forecasts made otherwise."""
BARS = ("#0060A0", "#3AA0DA", "#009E73", "#D98E00", "#CC4E00")


def draw(path: Path, entries: Sequence[Mapping[str, Any]], csi_title: str | None) -> None:
    """Write a PNG with a column for each clip, and a row for error (one more for CSI) for each kind
    of match and budget.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        title = f"{entry['kind']}, {entry['minutes']:g} minutes"
        groups.setdefault(title, []).extend(entry["clips"])
    kinds = [("mse", "squared error, 0..255")] + ([("csi", csi_title)] if csi_title else [])
    rows = [(title, clips, *kind) for title, clips in groups.items() for kind in kinds]
    columns = max(len(clips) for clips in groups.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 3.6 * columns, 0.8 + 2.7 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for panels, (title, clips, kind, label) in zip(grid, rows, strict=True):
            for panel in panels[len(clips) :]:
                panel.set_axis_off()
            for panel, clip in zip(panels, clips, strict=False):
                _lines(panel, clip["scores"], kind, 255**2 if kind == "mse" else 1)
                panel.set_title(clip["clip"])
            panels[0].set_ylabel(f"{title}\n{label}")
        for panel in grid[-1]:
            panel.set_xlabel("frames ahead")
        handles = {line.get_label(): line for panel in grid.flat for line in panel.get_lines()}
        ranked = sorted(handles.items(), key=lambda item: item[0] != MODEL)
        figure.legend(
            [line for _, line in ranked],
            [name for name, _ in ranked],
            loc="outside lower center",
            ncols=min(5, 2 * columns),
            frameon=False,
        )
        figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight")


def draw_digits(
    path: Path, entries: Sequence[Mapping[str, Any]], published: Mapping[str, Mapping[str, float]]
) -> None:
    """Write a PNG with a panel for each budget: squared error by lead time, summed over a frame.

    What was published is a mean over lead times, drawn as a level.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.6 * len(entries), 5.2), layout="constrained")
        for panel, entry in zip(
            figure.subplots(1, len(entries), squeeze=False)[0], entries, strict=True
        ):
            _lines(panel, entry["scores"], "mse", 1)
            levels = sorted(row["mse"] for row in published.values())
            for level in levels:
                panel.axhline(level, color=PALE, lw=1, ls=(0, (4, 3)))
            panel.annotate(
                f"published, {levels[0]:.0f} to {levels[-1]:.0f}",
                (1, levels[-1]),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color=PALE,
            )
            panel.set_title(entry["title"])
            panel.set_xlabel("frames ahead")
        figure.axes[0].set_ylabel("squared error, sum over a frame")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight")


def draw_parts(path: Path, gains: Mapping[str, Mapping[str, float]]) -> None:
    """Write a PNG of bars: by how much each change raises the error, a group for each clip."""
    clips = list(next(iter(gains.values())))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.2 + 0.55 * len(gains)), layout="constrained")
        panel = figure.subplots()
        height = 0.8 / len(clips)
        for number, clip in enumerate(clips):
            places = np.arange(len(gains)) + (number - (len(clips) - 1) / 2) * height
            values = [100 * gain[clip] for gain in gains.values()]
            panel.barh(places, values, height=height * 0.9, color=BARS[number % 5], label=clip)
        panel.axvline(0, color=INK, lw=0.8)
        panel.set_yticks(range(len(gains)), labels=list(gains))
        panel.invert_yaxis()
        panel.set_xlabel("change of the squared error against the default, %")
        figure.legend(loc="outside lower center", ncols=min(len(clips), 4), frameon=False)
        figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight")


def color_of(name: str, number: int) -> str:
    """The colour of a forecaster's line; `number` tells unknown ones apart."""
    return MODEL_COLOR if name.startswith(MODEL) else COLORS.get(name, MORE[number % len(MORE)])


def _lines(
    panel: Axes,
    scores: Mapping[str, Mapping[str, Sequence[float | None]]],
    kind: str,
    factor: float,
) -> None:
    ours = [name for name in scores if name.startswith(MODEL)]
    for number, (name, figures) in enumerate(reversed(scores.items())):
        values = np.array([np.nan if v is None else v for v in figures[kind]], float) * factor
        width = 2.8 if name == MODEL else 1.5
        leads = np.arange(1, len(values) + 1)
        style = OWN_STYLES[ours.index(name)] if name in ours else "-"
        panel.plot(leads, values, color=color_of(name, number), lw=width, ls=style, label=name)
    shown = [
        factor * max(value for value in figures[kind] if value is not None)
        for name, figures in scores.items()
        if name != OFF_THE_SCALE and any(value is not None for value in figures[kind])
    ]
    panel.set_ylim(0, 1.08 * max(shown, default=1) or 1)
    panel.set_xticks(range(1, len(values) + 1, 1 if len(values) < 8 else 3))
