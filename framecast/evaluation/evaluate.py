"""A model and the classical guesses on the same windows, score by score; a verdict in the end.

Clips are read as streams, no more of them in memory than one batch of windows. What is scored are
the frames that `predict` would write, rounded to the clip's own pixel values, at the size the model
works at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from framecast.config.loading import to_dict
from framecast.data.training_frames import Acquaintance
from framecast.evaluation.metrics import PeakSignalToNoise
from framecast.evaluation.protocols import PROTOCOLS, make_metrics
from framecast.evaluation.report import MODEL, Report, ScoredClip
from framecast.evaluation.skill import compare
from framecast.evaluation.task import EvaluationRequest, Task, plan_evaluation
from framecast.evaluation.window_scores import Scores, stream_batches
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.rollout import Predictor
from framecast.runtime.distributed import Group
from framecast.runtime.output_files import check_target, write_whole
from framecast.runtime.versions import versions
from framecast.video.readers.base import FrameSource

CSV, PAGE = "CSV file", "HTML page"


@dataclass(frozen=True)
class Outputs:
    """The files a report goes to, checked before anything slow begins.

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
            from framecast.evaluation.html_report import render  # noqa: PLC0415  (it draws with matplotlib)

            write_whole(self.page, render(report, task).encode(), PAGE, self.overwrite)


def evaluate(
    forecaster: LoadedForecaster,
    sources: Sequence[FrameSource],
    request: EvaluationRequest | None = None,
    baselines: Mapping[str, Predictor] = BASELINES,
    on_window: Callable[[int], None] = lambda total: None,
) -> Report:
    """Score a model and the baselines on the same windows of clips.

    `on_window` is called with the number of windows for each that is scored. Raises what `prepare`,
    reading and predicting raise.
    """
    task = plan_evaluation(forecaster, sources, request or EvaluationRequest())
    return score_task(task, baselines, on_window)


def score_task(
    task: Task,
    baselines: Mapping[str, Predictor] = BASELINES,
    on_window: Callable[[int], None] = lambda total: None,
    group: Group | None = None,
) -> Report:
    """Let the model and the baselines forecast every window of a task, and compare them.

    Of several processes, each does its part of the windows; all have the report of them together.
    """
    group = group or Group(task.forecaster.device)
    shape, request, channels = task.shape, task.request, task.forecaster.channels
    windows = group.part(task.windows)
    predictors = {MODEL: task.forecaster.extrapolate, **baselines}
    scores = {
        name: Scores(make_metrics(request.protocol, shape.horizon, task.thresholds))
        for name in predictors
    }
    for batch, levels in stream_batches(task.sources, task.sizes, channels, windows, shape):
        for name, predictor in predictors.items():
            frames = predictor(batch.context_BTCHW, shape.horizon)
            scores[name].update(batch, frames, levels)
        for _ in batch.target_BTCHW:
            on_window(len(windows))
    scores, *others = group.gather(scores)
    for other in others:
        for name, kept in scores.items():
            kept.merge(other[name])
    squares = {name: kept.squares() for name, kept in scores.items()}
    model_NT = squares.pop(MODEL)
    covered = shape.horizon * shape.frame_step
    return Report(
        protocol=request.protocol,
        protocol_definition=PROTOCOLS[request.protocol],
        context_length=shape.context_length,
        horizon=shape.horizon,
        frame_step=shape.frame_step,
        stride=task.stride,
        clips=tuple(_clips(task)),
        windows=task.windows,
        windows_found=len(task.found),
        includes_training=_includes_training(task),
        scores={name: kept.figures() for name, kept in scores.items()},
        definitions={metric.name: metric.definition for metric in scores[MODEL].metrics},
        titles={metric.name: metric.title for metric in scores[MODEL].metrics},
        factors={metric.name: metric.display_factor for metric in scores[MODEL].metrics},
        window_mse={name: kept.mse() for name, kept in scores.items()},
        comparison=compare(model_NT, squares, task.windows, covered, request.seed),
        notes=tuple(_notes(task, scores)),
        settings=to_dict(task.forecaster.config),
        versions=versions(),
    )


def _includes_training(task: Task) -> bool:
    return task.request.include_training and any(clip.trained for clip in task.known)


def _clips(task: Task) -> Iterator[ScoredClip]:
    for number, (source, size, clip) in enumerate(
        zip(task.sources, task.sizes, task.known, strict=True)
    ):
        yield ScoredClip(
            path=str(source.info.path),
            frames=source.info.frames,
            height=size[0],
            width=size[1],
            trained=tuple((part.start, part.stop) for part in clip.trained),
            windows=sum(window.clip == number for window in task.windows),
        )


def _notes(task: Task, scores: Mapping[str, Scores]) -> Iterator[str]:
    for source, size, clip in zip(task.sources, task.sizes, task.known, strict=True):
        info = source.info
        yield from info.notes
        yield from _acquaintance(info.path.name, clip, task.request.include_training)
        if size != (info.height, info.width):
            yield (
                f"{info.path.name} is scored at {size[0]}x{size[1]}, the size the model works at, "
                f"not at its own {info.height}x{info.width}"
            )
    if task.forecaster.fallback_note is not None:
        yield task.forecaster.fallback_note
    if task.forecaster.match:
        yield (
            f"the model's frames are moved {task.forecaster.match:.0%} of the way to the last "
            "context frame's distribution of brightness"
        )
    if task.forecaster.trained_on is None:
        yield (
            "the model file does not say which clips it was trained on, so their frames could not "
            "be left out"
        )
    trained_horizon = int(task.forecaster.config.data.horizon)
    if task.shape.horizon > trained_horizon:
        yield (
            f"horizon {task.shape.horizon} goes beyond the {trained_horizon} frames the model was "
            "trained on"
        )
    if len(task.windows) < len(task.found):
        yield f"{len(task.windows)} of {len(task.found)} windows are scored, evenly spread"
    for name, kept in scores.items():
        for metric in kept.metrics:
            if isinstance(metric, PeakSignalToNoise) and metric.perfect:
                yield f"{metric.perfect} frames of {name} have no error; PSNR leaves them out"


def _acquaintance(name: str, clip: Acquaintance, included: bool) -> Iterator[str]:
    if clip.trained:
        parts = " and ".join(f"{part.start} to {part.stop - 1}" for part in clip.trained)
        fate = "scored too, which says nothing of new frames" if included else "left out"
        yield f"{name}: the model was trained on frames {parts}, which are {fate}"
    if clip.known and not included:
        yield f"{name}: its held-out frames chose the best epoch, so a new clip may fare worse"
