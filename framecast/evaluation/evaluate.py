"""A model and the baselines on the same windows, score by score, and a summary at the end.

Clips are read as streams, with no more than one batch of windows in memory. What is scored are the
frames that `predict` would write, rounded to the clip's own pixel values, at the size the model
works at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from framecast.config.loading import to_dict
from framecast.data.training_frames import TrainingOverlap
from framecast.data.windows import Window, spread
from framecast.evaluation.metrics import PeakSignalToNoise, make_metrics
from framecast.evaluation.report import MODEL, Report, ScoredClip
from framecast.evaluation.request import PROTOCOLS
from framecast.evaluation.skill import compare
from framecast.evaluation.task import Task
from framecast.evaluation.window_scores import WindowScores, stream_batches
from framecast.prediction.baselines import BASELINES
from framecast.prediction.predict_clip import beyond_training
from framecast.prediction.rollout import Predictor
from framecast.runtime.distributed import Group
from framecast.runtime.text import counted
from framecast.runtime.versions import versions

# Windows of a budget's first round, and how many times those already scored a later one has
FIRST_ROUND, GROWTH = 2, 4

# Share of a budget that is left for the report
RESERVE = 0.1


def evaluate_task(
    task: Task,
    baselines: Mapping[str, Predictor] = BASELINES,
    on_windows: Callable[[int, int], None] = lambda total, more: None,
    group: Group | None = None,
    started: float | None = None,
) -> Report:
    """Let the model and the baselines forecast every window of a task, and compare them.

    With `minutes` in the request, as many windows as fit until then; they count from `started` on,
    on the monotonic clock, None: from now. Of several processes, each scores its share of the
    windows; all get the report of them all. `on_windows` is called after each batch with the
    windows there will be in all, and those of the batch. Raises what reading and predicting raise.
    """
    group = group or Group(task.forecaster.device)
    started = time.monotonic() if started is None else started
    make = partial(make_metrics, task.request.protocol, task.shape.horizon, task.thresholds)
    predictors = {MODEL: task.forecaster.extrapolate, **baselines}
    scores, scored = {name: WindowScores(make()) for name in predictors}, []
    for windows, total in rounds(task.windows, task.request.minutes, started, group):
        own = group.part(windows)
        _score_windows(task, own, predictors, scores, partial(on_windows, total))
        scored += own
    (scores, scored), *others = group.gather((scores, scored))
    for other_scores, other_scored in others:
        scored = scored + other_scored
        for name, merged in scores.items():
            merged.merge(other_scores[name])
    # Back in order of clip and time, in which neighbours tell how far windows depend on each other.
    order = sorted(range(len(scored)), key=scored.__getitem__)
    for score in scores.values():
        score.reorder(order)
    return _make_report(replace(task, windows=tuple(scored[row] for row in order)), scores)


def rounds(
    windows: Sequence[Window], minutes: float | None, started: float, group: Group
) -> Iterator[tuple[Sequence[Window], int]]:
    """Yield the windows to score in rounds, each evenly spread, and how many there will be in all.

    Without `minutes` there is one round of all. Else the first has FIRST_ROUND windows, which tell
    how long one takes, and later ones grow, so that the estimate is good when it matters.
    """
    if minutes is None:
        yield windows, len(windows)
        return
    begun, done, left = time.monotonic(), 0, windows
    fitting = min(FIRST_ROUND, len(left))
    while left and fitting > 0:
        part = spread(left, min(fitting, GROWTH * done or FIRST_ROUND))
        yield part, done + fitting
        left, done = sorted(set(left) - set(part)), done + len(part)
        now = time.monotonic()
        room = started + 60 * minutes * (1 - RESERVE) - now
        # The clock of one process for all of them, else they would wait for each other.
        fitting = group.broadcast(int(min(room * done / (now - begun), len(left))))


def _score_windows(
    task: Task,
    windows: Sequence[Window],
    predictors: Mapping[str, Predictor],
    scores: Mapping[str, WindowScores],
    on_windows: Callable[[int], None],
) -> None:
    """Add the scores of every forecaster, by name, on these windows of a task."""
    shape = task.shape
    for batch, levels in stream_batches(task.sources, task.sizes, windows, shape):
        # All forecast the same batch, so that it is decoded once
        for name, predictor in predictors.items():
            scores[name].update(batch, predictor(batch.context_BTCHW, shape.horizon), levels)
        on_windows(len(batch.target_BTCHW))


def _make_report(task: Task, scores: Mapping[str, WindowScores]) -> Report:
    shape, request = task.shape, task.request
    errors_NT = {name: score.squared_errors() for name, score in scores.items()}
    model_NT = errors_NT.pop(MODEL)
    # Two windows are independent only when neither predicts a frame that the other does.
    covered = shape.horizon * shape.frame_step
    metrics = scores[MODEL].metrics
    return Report(
        protocol=request.protocol,
        protocol_definition=PROTOCOLS[request.protocol],
        context_length=shape.context_length,
        horizon=shape.horizon,
        frame_step=shape.frame_step,
        stride=task.stride,
        clips=tuple(_scored_clips(task)),
        windows=task.windows,
        windows_found=len(task.found),
        includes_training=request.include_training and any(clip.trained for clip in task.known),
        scores={name: score.by_lead_time() for name, score in scores.items()},
        definitions={metric.name: metric.definition for metric in metrics},
        titles={metric.name: metric.title for metric in metrics},
        factors={metric.name: metric.display_factor for metric in metrics},
        window_mse={name: score.mse() for name, score in scores.items()},
        comparison=compare(model_NT, errors_NT, task.windows, covered),
        notes=(*_task_notes(task), *_perfect_frames(scores)),
        settings=to_dict(task.forecaster.config),
        versions=versions(),
    )


def _scored_clips(task: Task) -> Iterator[ScoredClip]:
    for number, (source, size, clip) in enumerate(
        zip(task.sources, task.sizes, task.known, strict=True)
    ):
        yield ScoredClip(
            name=source.info.name,
            path=str(source.info.path),
            frames=source.info.frames,
            height=size[0],
            width=size[1],
            trained=tuple((part.start, part.stop) for part in clip.trained),
            windows=sum(window.clip == number for window in task.windows),
        )


def _task_notes(task: Task) -> Iterator[str]:
    """What a reader of the scores has to know about the clips and the model."""
    forecaster = task.forecaster
    if forecaster.fallback_note is not None:
        yield forecaster.fallback_note
    if forecaster.match:
        yield (
            f"the model's frames are moved {forecaster.match:.0%} of the way to the last "
            "context frame's distribution of brightness"
        )
    if forecaster.trained_on is None:
        yield (
            "the model file does not say which clips it was trained on, so their frames could not "
            "be left out"
        )
    yield from beyond_training(task.shape.horizon, forecaster.trained_horizon)
    if len(task.windows) < len(task.found):
        budget = task.request.minutes
        asked = min(len(task.found), task.request.windows or len(task.found))
        limit = ""
        if budget is not None and len(task.windows) < asked:
            limit = f", as many as fit into {counted(budget, 'minute')}"
        used = f"{len(task.windows):,} of {counted(len(task.found), 'window')}"
        yield f"the scores come from {used}, evenly spread{limit}"
    # Last, since there may be thousands
    for source, size, clip in zip(task.sources, task.sizes, task.known, strict=True):
        info = source.info
        yield from info.notes
        yield from _training_overlap(info.name, clip, task.request.include_training)
        if size != (info.height, info.width):
            yield (
                f"{info.name} is scored at {size[0]}x{size[1]}, the size the model works at, "
                f"not at its own {info.height}x{info.width}"
            )


def _training_overlap(name: str, clip: TrainingOverlap, included: bool) -> Iterator[str]:
    if clip.trained:
        parts = " and ".join(f"{part.start} to {part.stop - 1}" for part in clip.trained)
        fate = "scored too, which says nothing about new frames" if included else "left out"
        yield f"{name}: the model was trained on frames {parts}, which are {fate}"
    if clip.known and not included:
        # The held-out part is not trained on, but the best epoch was chosen by it.
        yield f"{name}: its held-out frames chose the best epoch, so a new clip may fare worse"


def _perfect_frames(scores: Mapping[str, WindowScores]) -> Iterator[str]:
    for name, score in scores.items():
        for metric in score.metrics:
            if isinstance(metric, PeakSignalToNoise) and metric.perfect:
                yield f"PSNR leaves out {counted(metric.perfect, 'frame')} of {name} without error"
