"""The files that an evaluation writes: scores as CSV, and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framecast.config.brightness_scale import read_scale
from framecast.config.schema import DataConfig
from framecast.errors import UsageError
from framecast.evaluation.report import Report
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import Task
from framecast.runtime.output_files import check_distinct, check_target, write_whole
from framecast.video.frame_style import RADAR, FrameStyle
from framecast.video.frame_times import check_step
from framecast.video.plot_style import imported_matplotlib
from framecast.video.readers.base import FrameSource

CSV, PAGE = "CSV file", "HTML page"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report is written to; the targets are checked before anything slow begins.

    Frames on the page are painted in `colormap`, its lead times are minutes with `step_minutes`.
    Raises OutputError for a target that cannot be written, or exists and `overwrite` is not set,
    UsageError for two targets that are one, a page that is not named .html, what is for a page
    without one, an unknown colour map and minutes of no length.
    """

    csv: Path | None = None
    page: Path | None = None
    overwrite: bool = False
    colormap: str | None = None
    step_minutes: float | None = None

    def __post_init__(self) -> None:
        check_distinct(self.paths)
        for path, kind in ((self.csv, CSV), (self.page, PAGE)):
            if path is not None:
                check_target(path, kind, self.overwrite)
        if self.page is not None and self.page.suffix.lower() != ".html":
            raise UsageError(f"{self.page}: is no name of a page", remedy="end it in .html")
        check_step(self.step_minutes)
        of_page = {"colormap": self.colormap, "step-minutes": self.step_minutes}
        for name, value in of_page.items():
            if value is not None and self.page is None:
                raise UsageError(
                    f"--{name} is for the page that --report writes",
                    remedy="add --report report.html, or leave it out",
                )
        if self.colormap not in (None, RADAR):  # radar needs the model's scale, which comes later
            FrameStyle(self.colormap)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.csv, self.page) if path is not None)

    def check(
        self, request: EvaluationRequest, data: DataConfig, sources: Sequence[FrameSource]
    ) -> None:
        """Raise UsageError for colours that do not fit what is scored, and an idle scale.

        Also where matplotlib cannot be loaded, which draws the plots of a page.
        """
        in_units = request.thresholds or request.protocol == "nowcast" or self.colormap
        if request.scale and not in_units:
            raise UsageError(
                "--scale is for thresholds and the colours of a page",
                remedy="add --threshold, or leave it out",
            )
        style = self._style(request, data)
        for source in sources:
            style.paint(np.zeros((1, 1, source.info.channels), np.uint8))
        if self.page is not None:
            imported_matplotlib()

    def _style(self, request: EvaluationRequest, data: DataConfig) -> FrameStyle:
        return FrameStyle(self.colormap, read_scale(request.scale or data.scale))

    def write(self, report: Report, task: Task) -> None:
        """Write each file whole, or not at all."""
        if self.csv is not None:
            write_whole(self.csv, report.to_csv(), CSV, self.overwrite)
        if self.page is not None:
            from framecast.evaluation.html_report import render  # noqa: PLC0415  (loads a template)

            style = self._style(task.request, task.forecaster.config.data)
            page = render(report, task, style, self.step_minutes)
            write_whole(self.page, page, PAGE, self.overwrite)
