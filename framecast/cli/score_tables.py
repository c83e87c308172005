"""An evaluation as tables: errors per lead time beside the baselines', then all other metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from framecast.evaluation.report import format_score

if TYPE_CHECKING:
    from framecast.evaluation.report import Report
    from framecast.evaluation.skill import Skill


def errors_by_lead(report: Report) -> Table:
    """MSE (or what the protocol has for it) of every forecaster per lead time, and the skill."""
    comparison, metric = report.comparison, next(iter(report.titles))
    table = _numbers(("lead", *report.scores, "skill"))
    for (lead, values), skill in zip(
        report.rows(metric), (*comparison.skills, comparison.overall), strict=True
    ):
        if lead == "mean":
            table.add_section()
        table.add_row(lead, *_best_in_bold(values), _skill(skill))
    return table


def other_figures(report: Report) -> Table:
    """The protocol's other metrics, at the first and last lead time and in the mean."""
    table = _numbers(("metric", "lead", *report.scores))
    for metric in list(report.titles)[1:]:
        title = report.titles[metric]
        for lead, values in report.rows(metric):
            if lead in ("1", str(report.horizon), "mean"):
                table.add_row(title, lead, *map(format_score, values))
                title = ""
        table.add_section()
    return table


def headline(report: Report) -> str:
    """What the first table shows."""
    count, title = len(report.windows), next(iter(report.titles.values()))
    return (
        f"{title} of {count} window{'s' if count > 1 else ''} of {report.context_length} + "
        f"{report.horizon} frames; skill is against the best baseline"
    )


def _numbers(columns: Iterable[str]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right")
    return table


def _best_in_bold(values: Sequence[float | None]) -> list[Text]:
    """Errors, the lowest of them in bold."""
    lowest = min((value for value in values if value is not None), default=None)
    return [
        Text(format_score(value), "bold" if value is not None and value == lowest else "")
        for value in values
    ]


def _skill(skill: Skill) -> str:
    if skill.value is None:
        return "-"
    if skill.low is None or skill.high is None:
        return f"{skill.value:.1%}"
    return f"{skill.value:.1%} ({skill.low:.1%} to {skill.high:.1%})"
