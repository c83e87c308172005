"""The tables of `inspect-shapes`: sums, one line for each layer, then what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.text import Text

from framecast.cli.console import (
    counted,
    one_line,
    results,
    show_json,
    show_line,
    show_notes,
    show_warnings,
)
from framecast.errors import FramecastError
from framecast.inspection.diagram import Box, check_diagram, draw
from framecast.inspection.model_report import ModelReport
from framecast.inspection.model_table import boxes, sums, table
from framecast.inspection.tensor_table import COLUMNS, Inspection, cells, remark, row

# Column from which a terminal shows the rest of what stands below a layer
DETAIL = 6


def show_model(
    report: ModelReport, diagram: Path | None, *, as_json: bool, verbose: bool, overwrite: bool
) -> None:
    """Print a model's layers, or one JSON document; FramecastError where it cannot work."""
    if diagram is not None:
        check_diagram(diagram, overwrite)
        draw(boxes(report), next(sums(report)), diagram)
    if as_json:
        show_json(report.to_dict())
    else:
        _print_table(sums(report), table(report, verbose=verbose))
        for finding in sorted(report.findings, key=lambda each: not each.fatal):
            word, style = ("mistake:", "bold red") if finding.fatal else ("warning:", "bold yellow")
            results.print(Text.assemble((word, style), f" {one_line(str(finding))}"))
        show_notes(report.notes)
    mistakes = sum(finding.fatal for finding in report.findings)
    if mistakes:
        raise FramecastError(
            f"this model cannot work as it stands: {counted(mistakes, 'mistake')}",
            remedy="make the changes named above",
        )


def show_inspection(
    report: Inspection, diagram: Path | None, *, as_json: bool, verbose: bool, overwrite: bool
) -> None:
    """Print the tensors from file to forecast, a line each, or one JSON document."""
    if diagram is not None:
        check_diagram(diagram, overwrite)
        layers = [line for section in report.sections for line in section.lines]
        drawn = [Box(*row(line)[:3]) for line in layers]
        draw(drawn, report.figures[0][2], diagram)
    if as_json:
        show_json(report.to_dict())
        return
    for _, _, sentence in report.figures:
        show_line(sentence)
    show_line("")
    if verbose:
        _print_sections(report)
    else:
        _print_lines(report)
    show_warnings(report.warnings)
    show_notes(report.notes)


def _print_table(sentences: Iterable[str], lines: Iterable[str]) -> None:
    for sentence in sentences:
        show_line(sentence)
    show_line("")
    last = 0
    for number, line in enumerate(lines):
        if number == 0:
            last = line.rindex("  ") + 2  # where the last column of the header begins
        detail = line.startswith("    ")
        show_line(line, "dim" if number == 0 or detail else "", DETAIL if detail else last)


def _print_lines(report: Inspection) -> None:
    """One line a tensor: name, output, parameters, and what happens."""
    rows = [row(line) for section in report.sections for line in section.lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for section in report.sections:
        show_line(section.title, "bold")
        for line in section.lines:
            name, output, count, operation = row(line)
            columns = (name.ljust(widths[0]), output.ljust(widths[1]), count.rjust(widths[2]))
            start = f"  {'  '.join(columns)}  "
            show_line(f"{start}{operation}".rstrip(), column=len(start))


def _print_sections(report: Inspection) -> None:
    lines = [cells(line) for section in report.sections for line in section.lines]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *lines, strict=True)]
    for section in report.sections:
        show_line(section.title, "bold")
        show_line(_aligned(COLUMNS, widths), "dim")
        for line in section.lines:
            show_line(_aligned(cells(line), widths), column=DETAIL)
            show_line(f"    {remark(line)}", "dim", DETAIL)
        show_line("")


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Join texts in columns, of which the last is aligned to the right."""
    *texts, number = texts
    columns = (text.ljust(width) for text, width in zip(texts, widths, strict=False))
    return "  ".join((*columns, number.rjust(widths[-1])))
