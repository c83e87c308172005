"""What `inspect-shapes` prints: a clip's tensors, or layers given as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from framecast.cli.console import results, show_json, show_notes, show_warnings
from framecast.inspection.tensor_table import COLUMNS, Inspection

if TYPE_CHECKING:
    from framecast.inspection.layer_report import StackReport


def show_inspection(report: Inspection, as_json: bool) -> None:
    """Print the tensors from file to forecast in tables, or as one JSON document."""
    if as_json:
        show_json(report.to_dict())
        return
    lines = [line.cells for section in report.sections for line in section.lines]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *lines, strict=True)]
    for section in report.sections:
        results.print(Text(section.title, "bold"))
        results.print(Text(_aligned(COLUMNS, widths), "dim"))
        for line in section.lines:
            results.print(Text(_aligned(line.cells, widths)))
            results.print(Text(f"    {line.remark}", "dim"))
        results.print()
    for _, _, sentence in report.figures:
        results.print(Text(sentence))
    show_warnings(report.warnings)
    show_notes(report.notes)


def show_layers(report: StackReport, as_json: bool) -> None:
    """Print a stack of ConvLSTM2D layers, or one JSON document."""
    if as_json:
        show_json(report.to_dict())
        return
    for number, layer in enumerate(report.layers, start=1):
        results.print(Text(f"layer {number}: ConvLSTM2D", "bold"))
        for line in layer.lines:
            results.print(Text(f"  {line}"))
    show_warnings(report.warnings)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Join cells in columns, of which the last is aligned to the right."""
    *texts, number = cells
    columns = (text.ljust(width) for text, width in zip(texts, widths, strict=False))
    return "  ".join((*columns, number.rjust(widths[-1])))
