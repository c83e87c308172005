"""The results of an evaluation, as plain numbers, JSON, CSV and text tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from framecast.data.windows import Window
from framecast.evaluation.skill import Comparison

# The model's name among the forecasters of a report
MODEL = "framecast"

# One number per lead time; None where it is not defined or infinite
Scores = tuple[float | None, ...]


@dataclass(frozen=True)
class ScoredClip:
    """A clip: what it is called, its path, frames, the size it is scored at, the windows scored.

    `trained` are the [start, stop) frames that the model was trained on.
    """

    name: str
    path: str
    frames: int
    height: int
    width: int
    trained: tuple[tuple[int, int], ...]
    windows: int


@dataclass(frozen=True)
class Report:
    """The results of an evaluation, as plain numbers.

    `scores[forecaster][metric]` is a number per lead time 1 .. horizon; `MODEL` is the model's name
    among the forecasters. `definitions` says what each metric is, `titles` and `factors` how it is
    shown. `window_mse[forecaster]` is (windows, horizon), the mean squared error per pixel.
    """

    protocol: str
    protocol_definition: str
    context_length: int
    horizon: int
    frame_step: int
    stride: int
    clips: tuple[ScoredClip, ...]
    windows: tuple[Window, ...]
    windows_found: int
    includes_training: bool
    scores: Mapping[str, Mapping[str, Scores]]
    definitions: Mapping[str, str]
    titles: Mapping[str, str]
    factors: Mapping[str, float]
    window_mse: Mapping[str, np.ndarray]
    comparison: Comparison
    notes: tuple[str, ...]
    settings: Mapping[str, Mapping[str, object]]
    versions: Mapping[str, str]

    @property
    def summary(self) -> str:
        """One plain sentence, which says so where frames of the training are scored."""
        label = " (scored on frames it was trained on)" if self.includes_training else ""
        return f"{self.comparison.sentence}{label}"

    def mean(self, forecaster: str, metric: str) -> float | None:
        """A metric's mean over the lead times where it is defined."""
        # CSI without an event and PSNR without an error have no value
        values = [value for value in self.scores[forecaster][metric] if value is not None]
        return sum(values) / len(values) if values else None

    def rows(self, metric: str) -> Iterator[tuple[str, list[float | None]]]:
        """Each lead time, then `mean`, with every forecaster's score times the display factor."""
        columns = [
            [*scores[metric], self.mean(name, metric)] for name, scores in self.scores.items()
        ]
        leads = [*map(str, range(1, self.horizon + 1)), "mean"]
        for lead, values in zip(leads, zip(*columns, strict=True), strict=True):
            factor = self.factors[metric]
            yield lead, [None if value is None else value * factor for value in values]

    def to_dict(self) -> dict[str, Any]:
        """Everything as data that JSON holds; scores that are not defined are null."""
        plain = asdict(self)
        plain["summary"] = self.summary
        plain["window_mse"] = {name: mse.tolist() for name, mse in self.window_mse.items()}
        for shown in ("titles", "factors"):
            del plain[shown]
        return plain

    def to_csv(self) -> str:
        """A row per forecaster, metric and lead time; the skill is a metric of the model's."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("forecaster", "metric", "lead", "value"))
        skills = {"skill": tuple(skill.value for skill in self.comparison.skills)}
        for name, scores in self.scores.items():
            metrics = {**scores, **skills} if name == MODEL else scores
            for metric, values in metrics.items():
                for lead, value in enumerate(values, start=1):
                    # repr is the shortest text that reads back as the same float.
                    writer.writerow((name, metric, lead, "" if value is None else repr(value)))
        return text.getvalue()


def format_score(value: float | None) -> str:
    """Four digits, trailing zeros too, so that columns line up; never an exponent; "-" for None."""
    if value is None:
        return "-"
    if abs(value) >= 999.95:  # which four digits would make "1000.", with a bare point
        return f"{value:.1f}"
    # "g" alone drops zeros, and below 0.0001 it writes an exponent
    return f"{value:#.4g}" if abs(value) >= 0.001 else f"{value:.6f}"
