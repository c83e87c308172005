"""An evaluation, planned from headers and file contents before a frame is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.config.brightness_scale import read_scale
from framecast.config.schema import DataConfig
from framecast.data.plan import common_channels
from framecast.data.reading_limits import limit_reading
from framecast.data.training_frames import TrainingOverlap, find_overlap, untrained_parts
from framecast.data.windows import Window, WindowShape, plan_windows, spread
from framecast.errors import SourceError, UsageError
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.thresholds import Threshold, default_thresholds, read_threshold
from framecast.prediction.predict_clip import fit_to_model
from framecast.prediction.request import asked_reading
from framecast.video.frame_size import target_size
from framecast.video.readers.base import FrameSource
from framecast.video.readers.open import open_sources
from framecast.video.scene_detection import split_scenes

if TYPE_CHECKING:
    from framecast.prediction.loaded_forecaster import LoadedForecaster


@dataclass(frozen=True)
class Task:
    """A planned evaluation; `model` is the run folder or file of the forecaster, where known.

    `sizes` are the (H, W) each clip is scored at, `known` what the model knows of it, `found` all
    windows that may be scored, `windows` those that will be.
    """

    forecaster: LoadedForecaster
    sources: tuple[FrameSource, ...]
    request: EvaluationRequest
    shape: WindowShape
    stride: int
    thresholds: tuple[Threshold, ...]
    sizes: tuple[tuple[int, int], ...]
    known: tuple[TrainingOverlap, ...]
    found: tuple[Window, ...]
    windows: tuple[Window, ...]
    model: Path | None = None


def open_task(
    model: Path,
    paths: Sequence[Path],
    request: EvaluationRequest,
    device: str = "auto",
    match: float = 0.0,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
    opened: Sequence[FrameSource] = (),
) -> Task:
    """Load a model, open clips, look for cuts and plan.

    `opened` are the clips where `check_early` has opened them for this model and request.
    `on_frame` is called for every frame looked at for cuts, with what is done and their number.
    """
    # Loading it loads PyTorch, which takes longer than refusing a request.
    from framecast.prediction.loaded_forecaster import load_forecaster  # noqa: PLC0415

    forecaster = load_forecaster(model, device, match=match)
    asked = asked_reading(request)
    sources = opened or open_sources(paths, forecaster.reading, **asked)
    for source in sources:
        fit_to_model(forecaster, source, asked)
    data = forecaster.config.data
    if data.scene_cuts:
        if request.minutes is not None:
            span = _window_shape(request, data).span
            sources, _ = limit_reading(sources, request.minutes, span, passes=1)
        split_scenes(sources, on_frame)
    return replace(plan_evaluation(forecaster, sources, request), model=model)


def plan_evaluation(
    forecaster: LoadedForecaster, sources: Sequence[FrameSource], request: EvaluationRequest
) -> Task:
    """Plan an evaluation; windows with a frame the model was trained on only where requested.

    Raises SourceError when no window is left, CheckpointError for clips of other channels than the
    model's, UsageError for thresholds and protocols that do not fit.
    """
    data = forecaster.config.data
    thresholds = _chosen_thresholds(request, data)
    # Scored at the size the model works at: resizing back would blur truth and forecast alike
    sizes = tuple(
        target_size(source.info.height, source.info.width, data.resize) for source in sources
    )
    _check_clips(forecaster, sources, sizes, request.protocol)
    shape = _window_shape(request, data)
    stride = request.stride or data.stride
    known = tuple(find_overlap(source, forecaster.trained_on or ()) for source in sources)
    found = _windows_to_score(sources, known, shape, stride, request.include_training)
    windows = spread(found, request.windows) if request.windows else found
    return Task(
        forecaster, tuple(sources), request, shape, stride, thresholds, sizes, known, found, windows
    )


def check_fit(request: EvaluationRequest, data: DataConfig, sources: Sequence[FrameSource]) -> None:
    """Raise what planning would raise, where a model's settings and the clips' headers tell it."""
    _chosen_thresholds(request, data)
    shape = _window_shape(request, data)
    if sources and all(source.info.frames < shape.span for source in sources):
        raise _too_short(sources, shape)


def _window_shape(request: EvaluationRequest, data: DataConfig) -> WindowShape:
    return WindowShape(data.context_length, request.horizon or int(data.horizon), data.frame_step)


def _chosen_thresholds(request: EvaluationRequest, data: DataConfig) -> tuple[Threshold, ...]:
    """The thresholds asked for, or those of the protocol; UsageError for those that do not fit."""
    scale = read_scale(request.scale or data.scale)
    if request.protocol == "nowcast" and not request.thresholds:
        return default_thresholds(scale)
    return tuple(read_threshold(text, scale) for text in request.thresholds)


def _check_clips(
    forecaster: LoadedForecaster,
    sources: Sequence[FrameSource],
    sizes: Sequence[tuple[int, int]],
    protocol: str,
) -> None:
    """Refuse clips that cannot be scored, or not together."""
    for source in sources:
        forecaster.check_channels(source.info)
    common_channels([source.info for source in sources], "auto")
    for source, size in zip(sources, sizes, strict=True):
        # A sum over more pixels is larger, whatever the forecast
        if protocol == "openstl" and size != sizes[0]:
            raise UsageError(
                f"protocol openstl sums over the pixels of a frame, but {sources[0].info.path} and "
                f"{source.info.path} have different sizes",
                remedy="evaluate them one by one, or use --protocol pixel",
            )


def _windows_to_score(
    sources: Sequence[FrameSource],
    known: Sequence[TrainingOverlap],
    shape: WindowShape,
    stride: int,
    include_training: bool,
) -> tuple[Window, ...]:
    """All windows that may be scored, in order of clip and time; SourceError if there is none."""
    span = shape.span

    def planned(with_trained: bool) -> tuple[Window, ...]:
        # Windows lie inside one part each, so that none spans a gap, a cut or a frame trained on.
        windows: list[Window] = []
        for number, (source, clip) in enumerate(zip(sources, known, strict=True)):
            info = source.info
            for part in untrained_parts(info.frames, () if with_trained else clip.trained):
                used = range(max(part.start, info.used.start), part.stop)
                windows += plan_windows(used, number, span, stride, info.breaks)
        return tuple(windows)

    if windows := planned(include_training):
        return windows
    first, needs = sources[0].info.path, f"a window of {span} frames"
    if planned(with_trained=True):
        raise SourceError(
            f"{first}: the model was trained on it, and {needs} does not fit into the frames that "
            "are left",
            remedy="give a clip it has not seen, or score it anyway with --include-training",
        )
    raise _too_short(sources, shape)


def _too_short(sources: Sequence[FrameSource], shape: WindowShape) -> SourceError:
    """The error for clips of which none has room for a window."""
    span, longest = shape.span, max(len(source.info.used) for source in sources)
    limited = any(source.info.first for source in sources)
    interrupted = " with gaps or cuts" if longest >= span else ""
    parts = f"{shape.context_length} of context, {shape.horizon} ahead"
    return SourceError(
        f"{sources[0].info.path}: a window of {span} frames in a row ({parts}) does not fit, the "
        f"longest clip has {longest}{interrupted}",
        remedy=f"give {'more --minutes' if limited else 'a longer clip'} or a smaller --horizon",
    )
