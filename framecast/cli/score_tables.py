"""The tables of `evaluate`: errors per lead time of model and baselines, then other metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from framecast.cli.console import messages, open_table, show_json, show_notes, show_table
from framecast.evaluation.report import format_score
from framecast.runtime.text import counted

if TYPE_CHECKING:
    from framecast.evaluation.report import Report
    from framecast.evaluation.skill import Skill


def show_evaluation(report: Report, as_json: bool) -> None:
    """Print the errors of model and baselines and a summary, or one JSON document."""
    if as_json:
        show_json(report.to_dict())
        return
    messages.print(headline(report), markup=False)
    show_table(messages, errors_by_lead(report))
    if len(report.titles) > 1:
        show_table(messages, other_metrics(report))
    messages.print(f"protocol {report.protocol}: {report.protocol_definition}", markup=False)
    for name, definition in report.definitions.items():
        messages.print(f"  {name}: {definition}", markup=False)
    show_notes(report.notes)
    messages.print(Text(report.summary, "bold"))


def headline(report: Report) -> str:
    """The caption of the first table."""
    title = next(iter(report.titles.values()))
    scored = counted(len(report.windows), "window")
    if len(report.windows) < report.windows_found:
        scored = f"{len(report.windows)} of {counted(report.windows_found, 'window')}"
    return (
        f"{title}, {scored} of {report.context_length} + {report.horizon} frames; "
        "skill against the best baseline"
    )


def errors_by_lead(report: Report) -> Table:
    """MSE (or what the protocol has for it) of every forecaster per lead time, and the skill."""
    comparison, metric = report.comparison, next(iter(report.titles))
    # One a lead time, then the one of the line of means
    skills = (*comparison.skills, comparison.overall)
    # With too few windows there are no intervals, and no column of them
    shown = 2 if any(skill.low is not None for skill in skills) else 1
    columns = ["skill", "95\N{NO-BREAK SPACE}% interval"][:shown]
    table = _narrow("lead", *report.scores, *columns)
    for (lead, values), skill in zip(report.rows(metric), skills, strict=True):
        if lead == "mean":
            table.add_section()
        cells = [_percent(skill.value), _interval(skill)][:shown]
        table.add_row(lead, *_lowest_in_bold(values), *cells)
    return table


def other_metrics(report: Report) -> Table:
    """The protocol's other metrics, at the first and last lead time and in the mean."""
    table = _narrow("metric", "lead", *report.scores)
    table.columns[0].justify = "left"
    for metric in list(report.titles)[1:]:
        title = report.titles[metric]
        for lead, values in report.rows(metric):
            # In between they change evenly; the report and the CSV file have them all
            if lead in ("1", str(report.horizon), "mean"):
                table.add_row(title, lead, *map(format_score, values))
                title = ""  # named once, in the first of its lines
        table.add_section()
    return table


def _narrow(*columns: str) -> Table:
    """A table of numbers whose titles break between words, so that seven columns fit a terminal."""
    return open_table(*(column.replace(" ", "\n", 1) for column in columns), left=0, lines=False)


def _lowest_in_bold(values: Sequence[float | None]) -> list[Text]:
    lowest = min((value for value in values if value is not None), default=None)
    return [
        Text(format_score(value), "bold" if value is not None and value == lowest else "")
        for value in values
    ]


def _percent(share: float | None, digits: int = 1) -> str:
    """A share in percent; below -100 % the errors next to it say more than the number would."""
    if share is None:
        return "-"
    return "< -100 %" if share < -1 else f"{100 * share:.{digits}f} %"


def _interval(skill: Skill) -> str:
    if skill.low is None or skill.high is None:
        return "-"
    return f"{_percent(skill.low, 0).removesuffix(' %')} to {_percent(skill.high, 0)}"
