"""A model and the classical guesses on the same windows, score by score; a verdict in the end.

Clips are read as streams, no more of them in memory than one batch of windows. What is scored are
the frames that `predict` would write, rounded to the clip's own pixel values, at the size the model
works at.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

import framecast
from framecast.baselines import BASELINES
from framecast.cache import cache_folder
from framecast.config import to_dict
from framecast.dataset import WindowShape
from framecast.distributed import Group
from framecast.errors import SourceError, UsageError
from framecast.metrics import PeakSignalToNoise
from framecast.plan import spread
from framecast.protocols import PROTOCOLS, make_metrics
from framecast.provenance import Acquaintance, recognise, unseen
from framecast.report import MODEL, Report, ScoredClip
from framecast.rollout import Predictor
from framecast.scenes import split_scenes
from framecast.scoring import Scores, stream_batches
from framecast.targets import check_target, write_whole
from framecast.thresholds import Threshold, default_thresholds, read_scale, read_threshold
from framecast.trained import LoadedForecaster, load_forecaster
from framecast.verdict import compare
from framecast.video.base import FrameSource
from framecast.video.sizes import target_size
from framecast.video.sources import open_sources
from framecast.windows import Window, plan_windows, window_span


@dataclass(frozen=True)
class Request:
    """What to score.

    `horizon` in frames and `stride` between window starts, None: as trained. At most `windows`
    windows, evenly spread; None: all. `thresholds` are written like `20 dBZ`, `0.4` or `109/255`,
    `scale` like `-10..60 dBZ`; None: the one the model was trained with. `include_training` scores
    frames the model was trained on too. `seed` is that of the bootstrap.
    """

    horizon: int | None = None
    stride: int | None = None
    windows: int | None = None
    protocol: str = "pixel"
    thresholds: tuple[str, ...] = ()
    scale: str | None = None
    include_training: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("horizon", "stride", "windows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value}: nothing to score", remedy="use 1 or more")
        make_metrics(self.protocol, 1)


@dataclass(frozen=True)
class Task:
    """An evaluation worked out from headers and file contents, before a frame is decoded.

    `sizes` are the (H, W) each clip is scored at, `known` what the model knows of it, `found` all
    windows that may be scored, `windows` those that will be.
    """

    forecaster: LoadedForecaster
    sources: tuple[FrameSource, ...]
    request: Request
    shape: WindowShape
    stride: int
    thresholds: tuple[Threshold, ...]
    sizes: tuple[tuple[int, int], ...]
    known: tuple[Acquaintance, ...]
    found: tuple[Window, ...]
    windows: tuple[Window, ...]


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
            from framecast.page import render  # noqa: PLC0415  (it draws with matplotlib)

            write_whole(self.page, render(report, task).encode(), PAGE, self.overwrite)


def evaluate(
    forecaster: LoadedForecaster,
    sources: Sequence[FrameSource],
    request: Request | None = None,
    baselines: Mapping[str, Predictor] = BASELINES,
    on_window: Callable[[int], None] = lambda total: None,
) -> Report:
    """Score a model and the baselines on the same windows of clips.

    `on_window` is called with the number of windows for each that is scored. Raises what `prepare`,
    reading and predicting raise.
    """
    return score(prepare(forecaster, sources, request or Request()), baselines, on_window)


def open_task(
    model: Path,
    paths: Sequence[Path],
    request: Request,
    color: Literal["gray", "rgb"] | None = None,
    keep_readable: bool = False,
    device: str = "auto",
    match: float = 0.0,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
) -> Task:
    """Load a model, open clips, look for cuts and `prepare`; `color` None: as it was trained.

    `on_frame` is called for every frame looked at for cuts, with what is done and their number.
    """
    forecaster = load_forecaster(model, device, match=match)
    wanted = color or forecaster.config.data.color
    sources = open_sources(paths, color=wanted, keep_readable=keep_readable)
    data = forecaster.config.data
    if data.scene_cuts:
        split_scenes(sources, cache_folder() if data.cache_gb else None, on_frame)
    return prepare(forecaster, sources, request)


def prepare(forecaster: LoadedForecaster, sources: Sequence[FrameSource], request: Request) -> Task:
    """Plan an evaluation; windows with a frame the model was trained on only where requested.

    Raises SourceError when no window is left, CheckpointError for clips of other channels than the
    model's, UsageError for thresholds and protocols that do not fit.
    """
    data = forecaster.config.data
    scale = read_scale(request.scale or data.scale)
    thresholds = tuple(read_threshold(text, scale) for text in request.thresholds)
    if request.protocol == "nowcast" and not thresholds:
        thresholds = default_thresholds(scale)
    sizes = tuple(
        target_size(source.info.height, source.info.width, data.resize) for source in sources
    )
    _check(forecaster, sources, sizes, request.protocol)
    shape = WindowShape(data.context_length, request.horizon or int(data.horizon), data.frame_step)
    stride = request.stride or data.stride
    known = tuple(recognise(source, forecaster.trained_on or ()) for source in sources)
    found = _plan(sources, known, shape, stride, request.include_training)
    windows = found if request.windows is None else spread(found, request.windows)
    return Task(
        forecaster,
        tuple(sources),
        request,
        shape,
        stride,
        thresholds,
        sizes,
        known,
        found,
        windows,
    )


def score(
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
        versions=_versions(),
    )


def _check(
    forecaster: LoadedForecaster,
    sources: Sequence[FrameSource],
    sizes: Sequence[tuple[int, int]],
    protocol: str,
) -> None:
    """Refuse clips that cannot be scored, or not together."""
    for source in sources:
        forecaster.check_channels(source.info)
    for source, size in zip(sources, sizes, strict=True):
        if protocol == "openstl" and size != sizes[0]:
            raise UsageError(
                f"protocol openstl sums over the pixels of a frame, but {sources[0].info.path} and "
                f"{source.info.path} have different sizes",
                remedy="evaluate them one by one, or use --protocol pixel",
            )


def _plan(
    sources: Sequence[FrameSource],
    known: Sequence[Acquaintance],
    shape: WindowShape,
    stride: int,
    include_training: bool,
) -> tuple[Window, ...]:
    """All windows that may be scored, in order of clip and time; SourceError if there is none."""
    span = window_span(shape.context_length, shape.horizon, shape.frame_step)
    windows: list[Window] = []
    for number, (source, clip) in enumerate(zip(sources, known, strict=True)):
        info = source.info
        for part in unseen(info.frames, () if include_training else clip.trained):
            windows += plan_windows(part, number, span, stride, info.breaks)
    if windows:
        return tuple(windows)
    first, needs = sources[0].info.path, f"a window of {span} frames"
    if any(clip.trained for clip in known) and not include_training:
        raise SourceError(
            f"{first}: the model was trained on it, and beside those frames {needs} does not fit",
            remedy="give a clip it has not seen, or score it anyway with --include-training",
        )
    longest = max(source.info.frames for source in sources)
    interrupted = " with gaps or cuts" if longest >= span else ""
    raise SourceError(
        f"{first}: {needs} in a row ({shape.context_length} of context, {shape.horizon} ahead) "
        f"does not fit, the longest clip has {longest}{interrupted}",
        remedy="give a longer clip or a smaller --horizon",
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


def _versions() -> dict[str, str]:
    return {
        "framecast": framecast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
