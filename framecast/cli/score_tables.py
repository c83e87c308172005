"""What `evaluate` prints: errors per lead time next to the baselines', then all other metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from framecast.cli.console import counted, messages, open_table, show_json, show_notes
from framecast.evaluation.report import format_score

if TYPE_CHECKING:
    from framecast.evaluation.report import Report
    from framecast.evaluation.skill import Skill


def show_evaluation(report: Report, as_json: bool) -> None:
    """Print the errors of model and baselines and a summary, or one JSON document."""
    if as_json:
        show_json(report.to_dict())
        return
    messages.print(headline(report), markup=False)
    messages.print(errors_by_lead(report))
    if len(report.titles) > 1:
        messages.print(other_metrics(report))
    messages.print(f"protocol {report.protocol}: {report.protocol_definition}", markup=False)
    for name, definition in report.definitions.items():
        messages.print(f"  {name}: {definition}", markup=False)
    show_notes(report.notes)
    messages.print(Text(report.summary, "bold"))


def headline(report: Report) -> str:
    """Say what the first table shows."""
    title = next(iter(report.titles.values()))
    return (
        f"{title} of {counted(len(report.windows), 'window')} of {report.context_length} + "
        f"{report.horizon} frames; skill is against the best baseline"
    )


def errors_by_lead(report: Report) -> Table:
    """MSE (or what the protocol has for it) of every forecaster per lead time, and the skill."""
    comparison, metric = report.comparison, next(iter(report.titles))
    table = open_table("lead", *report.scores, "skill", left=0)
    skills = (*comparison.skills, comparison.overall)
    for (lead, values), skill in zip(report.rows(metric), skills, strict=True):
        if lead == "mean":
            table.add_section()
        table.add_row(lead, *_lowest_in_bold(values), _skill(skill))
    return table


def other_metrics(report: Report) -> Table:
    """The protocol's other metrics, at the first and last lead time and in the mean."""
    table = open_table("metric", "lead", *report.scores)
    for metric in list(report.titles)[1:]:
        title = report.titles[metric]
        for lead, values in report.rows(metric):
            if lead in ("1", str(report.horizon), "mean"):
                table.add_row(title, lead, *map(format_score, values))
                title = ""  # named once, in the first of its lines
        table.add_section()
    return table


def _lowest_in_bold(values: Sequence[float | None]) -> list[Text]:
    lowest = min((value for value in values if value is not None), default=None)
    return [
        Text(format_score(value), "bold" if value is not None and value == lowest else "")
        for value in values
    ]


def _skill(skill: Skill) -> str:
    """Percent, with the 95 % interval where there is one."""
    if skill.value is None:
        return "-"
    if skill.low is None or skill.high is None:
        return f"{skill.value:.1%}"
    return f"{skill.value:.1%} ({skill.low:.1%} to {skill.high:.1%})"
