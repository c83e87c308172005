"""An evaluation as tables: errors per lead time beside the baselines', then all other metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from framecast.evaluation.report import Report
    from framecast.evaluation.skill import Skill


def errors_by_lead(report: Report) -> Table:
    """MSE (or what the protocol has for it) of every forecaster per lead time, and the skill."""
    comparison, metric = report.comparison, next(iter(report.titles))
    table = _numbers(("lead", *report.scores, "skill"))
    factor = report.factors[metric]
    for lead, skill in enumerate(comparison.skills):
        values = [figures[metric][lead] for figures in report.scores.values()]
        table.add_row(str(lead + 1), *_beside_best(values, factor), _skill(skill))
    table.add_section()
    means = [report.mean(name, metric) for name in report.scores]
    table.add_row("mean", *_beside_best(means, factor), _skill(comparison.overall))
    return table


def other_figures(report: Report) -> Table:
    """The protocol's other metrics, at the first and last lead time and in the mean."""
    table = _numbers(("metric", "lead", *report.scores))
    for metric in list(report.titles)[1:]:
        title, factor = report.titles[metric], report.factors[metric]
        rows = {"1": 0, str(report.horizon): -1} if report.horizon > 1 else {"1": 0}
        for lead, place in rows.items():
            values = [figures[metric][place] for figures in report.scores.values()]
            table.add_row(title, lead, *(_figure(value, factor) for value in values))
            title = ""
        means = [report.mean(name, metric) for name in report.scores]
        table.add_row("", "mean", *(_figure(value, factor) for value in means))
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


def _beside_best(values: Sequence[float | None], factor: float) -> list[Text]:
    """Errors, the lowest of them in bold."""
    known = [value for value in values if value is not None]
    return [
        Text(_figure(value, factor), "bold" if known and value == min(known) else "")
        for value in values
    ]


def _figure(value: float | None, factor: float) -> str:
    if value is None:
        return "-"
    shown = value * factor
    return f"{shown:.3f}" if abs(shown) < 1000 else f"{shown:.1f}"


def _skill(skill: Skill) -> str:
    if skill.value is None:
        return "-"
    if skill.low is None or skill.high is None:
        return f"{skill.value:.1%}"
    return f"{skill.value:.1%} ({skill.low:.1%} to {skill.high:.1%})"
