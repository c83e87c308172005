"""The tables of `inspect-shapes`: sums, one line for each layer, then what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.text import Text

from framecast.cli.console import one_line, results, show_json, show_line, show_notes, show_warnings
from framecast.errors import FramecastError
from framecast.inspection.diagram import Box, draw
from framecast.inspection.model_report import ModelReport, boxes, sums, table
from framecast.inspection.tensor_table import Inspection, details, row
from framecast.runtime.text import aligned, counted

# Column from which a terminal shows the rest of what stands below a layer
DETAIL = 6


def show_model_report(
    report: ModelReport, diagram: Path | None, *, as_json: bool, verbose: bool, overwrite: bool
) -> None:
    """Print a model's layers, or one JSON document; FramecastError where it cannot work."""
    if diagram is not None:
        draw(boxes(report), next(sums(report)), diagram, overwrite)
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
        rows = enumerate(row(line) for lines in report.sections.values() for line in lines)
        # Each tensor is made of the one before
        drawn = [Box(*words[:3], "", (n - 1,) if n else ()) for n, words in rows]
        draw(drawn, report.figures[0][2], diagram, overwrite)
    if as_json:
        show_json(report.to_dict())
        return
    for _, _, sentence in report.figures:
        show_line(sentence)
    show_line("")
    _print_lines(report, verbose)
    show_warnings(report.warnings)
    show_notes(report.notes)


def _print_table(sentences: Iterable[str], lines: Iterable[str]) -> None:
    for sentence in sentences:
        show_line(sentence)
    show_line("")
    header, *rest = lines
    last = header.rindex("  ") + 2  # where its last column begins
    show_line(header, "dim", last)
    for line in rest:
        detail = line.startswith("    ")
        show_line(line, "dim" if detail else "", DETAIL if detail else last)


def _print_lines(report: Inspection, verbose: bool) -> None:
    """One line a tensor: name, output, parameters, and what happens; details below if `verbose`."""
    rows = [row(line) for lines in report.sections.values() for line in lines]
    starts = iter(aligned([columns[:-1] for columns in rows], right={2}))
    for title, lines in report.sections.items():
        show_line(title, "bold")
        for line, start in zip(lines, starts, strict=False):
            show_line(f"  {start}  {row(line)[-1]}".rstrip(), column=len(start) + 4)
            for detail in details(line) if verbose else ():
                show_line(f"    {detail}", "dim", DETAIL)
