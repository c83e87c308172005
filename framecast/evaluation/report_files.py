"""The files an evaluation leaves: scores as CSV, and one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framecast.evaluation.report import Report
from framecast.evaluation.task import Task
from framecast.runtime.output_files import check_target, write_whole

CSV, PAGE = "CSV file", "HTML page"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report is written to; the targets are checked before anything slow begins.

    Raises OutputError for a target that cannot be written, or exists and `overwrite` is not set.
    """

    csv: Path | None = None
    page: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for path, kind in ((self.csv, CSV), (self.page, PAGE)):
            if path is not None:
                check_target(path, kind, self.overwrite)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.csv, self.page) if path is not None)

    def write(self, report: Report, task: Task) -> None:
        """Write each file whole, or not at all."""
        if self.csv is not None:
            write_whole(self.csv, report.to_csv().encode(), CSV, self.overwrite)
        if self.page is not None:
            from framecast.evaluation.html_report import render  # noqa: PLC0415  (loads a template)

            write_whole(self.page, render(report, task).encode(), PAGE, self.overwrite)
