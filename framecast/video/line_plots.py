"""Plots of numbers over lead times and epochs, by matplotlib, as SVG for pages or as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framecast.runtime.output_files import write_whole
from framecast.runtime.text import encodable
from framecast.video.plot_style import own_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A colour nothing else has, which becomes a page's own text colour, light or dark.
INK = "#010203"

MODEL_COLOR = "#2f6fde"
OTHER_COLORS = ("#c2410c", "#7c8594", "#0f9d78", "#a855f7")
# Lines of the others, which take all colours with the first stroke, then with the second, ...
STROKES = ("-", "--", ":", "-.")

NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

Values = Sequence[float | None]


@own_style()
def lines_plot(
    lines: Mapping[str, Values],
    x_label: str,
    y_label: str,
    *,
    from_zero: bool = True,
    band: tuple[Values, Values] | None = None,
    zero_line: bool = False,
    step: float = 1,
) -> Figure:
    """Lines over lead times, the first one thick and in the model's colour; None leaves a gap.

    Values are one `step` apart, the first one at it. `band` shades between low and high values;
    `zero_line` draws where nothing is gained.
    """
    figure, axes = _axes(x_label, y_label)
    numbers = [step * number for number in range(1, max(map(len, lines.values())) + 1)]
    if zero_line:
        axes.axhline(0, color=INK, linewidth=0.9, alpha=0.6)
    if band is not None:
        low, high = np.array(band, float)
        axes.fill_between(numbers, low, high, color=MODEL_COLOR, alpha=0.22, linewidth=0)
    looks = ((stroke, color) for stroke in cycle(STROKES) for color in OTHER_COLORS)
    for place, (name, values) in enumerate(lines.items()):
        if place == 0:
            style = {"color": MODEL_COLOR, "linewidth": 2.6, "zorder": 3}
        else:
            stroke, color = next(looks)
            style = {"color": color, "linewidth": 1.4, "linestyle": stroke}
        axes.plot(numbers, np.array(values, float), label=name, marker="o", ms=3, **style)
    apart = -(-len(numbers) // 6)  # at most 6 lead times are named, each of which is there
    axes.set_xticks(numbers[apart - 1 :: apart])
    if from_zero:
        axes.set_ylim(bottom=0)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


@own_style()
def training_curves(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Loss and held-out error of a training by epoch, from the rows of its metrics.csv.

    Above the held-out MSE with those of persistence and optical flow as level lines and the epoch
    whose model is kept marked, below the training loss.
    """
    figure, (above, below) = _axes("epoch", "held-out MSE x 1000", rows=2)
    epochs = [int(row["epoch"]) for row in rows]
    held_out = [1000 * float(row["validation_mse"]) for row in rows]
    for column, name, color, stroke in (
        ("persistence_mse", "last frame", OTHER_COLORS[0], "--"),
        ("flow_mse", "optical flow", OTHER_COLORS[2], ":"),
    ):
        level = 1000 * float(rows[-1][column])
        above.axhline(level, color=color, linestyle=stroke, linewidth=1.6, label=name)
    above.plot(epochs, held_out, color=MODEL_COLOR, linewidth=2.2, marker="o", ms=3, label="model")
    # A start is replaced only by an epoch that is 1 % better, so the lowest need not be the one.
    better = [place for place, row in enumerate(rows) if row.get("improved") == "True"]
    kept = better[-1] if better else min(range(len(rows)), key=held_out.__getitem__)
    above.plot(
        *(epochs[kept], held_out[kept], "o"),
        color=MODEL_COLOR,
        markersize=10,
        markerfacecolor="none",
        markeredgewidth=2,
        label=f"kept: epoch {epochs[kept]}",
    )
    above.set_ylim(bottom=0)
    above.legend(frameon=False, labelcolor=INK, fontsize=9)
    # The start is validated, too, before there is a training loss.
    losses = [(int(row["epoch"]), float(row["train_loss"])) for row in rows if row["train_loss"]]
    if losses:
        below.plot(*zip(*losses, strict=True), color=INK, linewidth=1.6, marker="o", ms=3)
    below.set_ylabel("training loss", color=INK)
    return figure


@own_style()
def to_svg(figure: Figure) -> str:
    """An <svg> element in the colours of the page that it stands in."""
    from matplotlib import rc_context  # noqa: PLC0415  (slow to load, and only plots need it)

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "framecast"}):
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    drawing = text.getvalue()
    return drawing[drawing.index("<svg") :].replace(INK, "currentColor")


@own_style()
def write_png(path: Path, figure: Figure) -> None:
    """Write a figure on white; raises OutputError or ResourceError when the disk refuses it."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120, facecolor="white")
    write_whole(path, written.getvalue(), "picture")


def _axes(x_label: str, y_label: str, rows: int = 1) -> tuple[Figure, Axes]:
    """An empty plot, or `rows` of them one below the other over one axis."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow to load, and only plots need it)
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    # Inches, of which a page shows more or fewer pixels: as wide as text of 10 points is large
    # enough on a phone, too.
    figure = Figure(figsize=(4.8, 3.1 if rows == 1 else 4.8), layout="constrained")
    made = figure.subplots(rows, sharex=True)
    every = [made] if rows == 1 else list(made)
    for axes in every:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(colors=INK)
        axes.grid(alpha=0.15, color=INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    every[-1].set_xlabel(x_label, color=INK)
    # The unit of a threshold is the user's, and a $ in it begins no formula.
    every[0].set_ylabel(encodable(y_label), color=INK, parse_math=False)
    return figure, made
