"""A diagram of layers as boxes with their sizes, from top to bottom, drawn with Matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framecast.errors import OutputError
from framecast.runtime.output_files import check_target, write_whole
from framecast.runtime.text import encodable
from framecast.video.plot_style import own_style

FORMATS = (".svg", ".pdf", ".png")
BOXES_A_COLUMN = 14
_WIDTH, _HEIGHT, _GAP = 3.3, 0.62, 0.28  # inches of a box, and between boxes
_EDGE, _FILL, _WRONG, _WARN = "#44546a", "#eef3fa", "#c0392b", "#b9770e"
# Names come from the user's code, where a $ is no formula
_WORDS = {"fontsize": 8, "va": "center", "parse_math": False}


@dataclass(frozen=True)
class Box:
    """One layer: its name, what it returns and how many parameters it has.

    `mark` is "mistake", "warning" or ""; `inputs` are the numbers of the boxes whose output it
    reads.
    """

    name: str
    output: str
    detail: str
    mark: str
    inputs: tuple[int, ...]


@own_style()
def draw(boxes: Sequence[Box], title: str, path: Path, overwrite: bool) -> None:
    """Write the boxes, in columns of equal height.

    Raises OutputError for an unknown format, and a file that exists or cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(
            f"{path}: diagrams are drawn as {', '.join(FORMATS)}", remedy="use e.g. shapes.svg"
        )
    check_target(path, "diagram", overwrite)
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow to load)

    # Equal columns: a page wider than one column and lower than all boxes in a row
    columns = -(-len(boxes) // BOXES_A_COLUMN)
    rows = -(-len(boxes) // columns)
    size = (columns * (_WIDTH + 0.6) + 0.2, rows * (_HEIGHT + _GAP) + 0.9)
    figure = Figure(figsize=size, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, size[0])
    # Inches from the top left, so that boxes are placed as they are read
    axes.set_ylim(size[1], 0)
    axes.axis("off")
    # About 12 characters of 8 points to an inch
    lines = textwrap.wrap(encodable(title), int(size[0] * 12))[:2]
    axes.text(0.3, 0.3, "\n".join(lines), fontweight="bold", **_WORDS)
    places = [
        (0.3 + number // rows * (_WIDTH + 0.6), 0.65 + number % rows * (_HEIGHT + _GAP))
        for number in range(len(boxes))
    ]
    for number, (box, place) in enumerate(zip(boxes, places, strict=True)):
        _draw_box(axes, box, *place)
        for producer in box.inputs:
            _draw_arrow(axes, places[producer], place, near=producer == number - 1)
    # Into memory first, so that an error leaves no half a file
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, content.getvalue(), "diagram", overwrite)


def _draw_box(axes: object, box: Box, left: float, top: float) -> None:
    from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415

    colour = {"mistake": _WRONG, "warning": _WARN}.get(box.mark, _EDGE)
    look = {"facecolor": _FILL, "edgecolor": colour, "linewidth": 1.8 if box.mark else 1}
    corners = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((left, top), _WIDTH, _HEIGHT, boxstyle=corners, **look))
    first, second = top + 0.2, top + 0.44
    name = textwrap.shorten(encodable(box.name), 26, placeholder="...")
    axes.text(left + 0.1, first, name, fontweight="bold", color=colour, **_WORDS)
    axes.text(left + _WIDTH - 0.1, first, box.detail, ha="right", color="#555555", **_WORDS)
    axes.text(left + 0.1, second, textwrap.shorten(box.output, 52, placeholder="..."), **_WORDS)
    axes.text(left + _WIDTH - 0.1, second, box.mark, ha="right", color=colour, **_WORDS)


def _draw_arrow(
    axes: object, start: tuple[float, float], end: tuple[float, float], *, near: bool
) -> None:
    """To the box below or in the next column; around the boxes between, on their right."""
    (left, top), (to_left, to_top) = start, end
    arrow = {"arrowstyle": "->", "color": _EDGE, "shrinkA": 0, "shrinkB": 0}
    middle, to_middle = top + _HEIGHT / 2, to_top + _HEIGHT / 2
    if left != to_left:
        places = (left + _WIDTH, middle), (to_left, to_middle)
    elif near:
        places = (left + _WIDTH / 2, top + _HEIGHT), (left + _WIDTH / 2, to_top)
    else:
        places = (left + _WIDTH, middle), (left + _WIDTH, to_middle)
        # An arc as deep as the margin, however long
        arrow["connectionstyle"] = f"arc3,rad={-0.5 / max(to_middle - middle, 1):.2f}"
    axes.annotate("", xy=places[1], xytext=places[0], arrowprops=arrow)
