"""What scripts and notebooks call: read, train, predict, evaluate and write, as the commands do.

Results are small objects that show themselves in a notebook and save themselves to files.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from framecast.config.argument_types import as_path
from framecast.errors import UsageError
from framecast.runtime.text import aligned, counted

if TYPE_CHECKING:
    import torch

    from framecast.config.schema import DataConfig
    from framecast.evaluation.report import Report
    from framecast.evaluation.task import Task
    from framecast.prediction.frame_forecaster import FrameForecaster
    from framecast.training.events import Event, TrainingResult

PathLike = str | Path

SHOWN_SIDE = 320
"""Pixels of the longer side of a picture in a notebook; small ones are enlarged in whole steps."""

SHOWN_FRAMES = 60
"""Frames at most that it plays, evenly spread: some seconds of work, and a few MB."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames (T, H, W, C), uint8 or uint16, at `fps` per second; `notes` say what was assumed.

    Raises UsageError for what is no array of frames, and for a rate that is no number.

    Arrays given to `predict` come back with their own axes, type and range; `value_range` has
    black and white of floats, None: 0 to 1. A clip out of a file remembers the type and range of
    its values and the shape of its pixels, and saves them where a format keeps them.
    """

    frames: np.ndarray
    fps: float
    notes: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    _look: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        from framecast.prediction.frame_arrays import as_clips  # noqa: PLC0415

        _check_rate(self.fps)
        clips_BTHWC, as_given = as_clips(self.frames)
        object.__setattr__(self, "frames", as_given(clips_BTHWC))

    def save(self, path: PathLike, *, fps: float | None = None, overwrite: bool = False) -> Path:
        """Write a GIF, MP4, WebM, NPY, ... or a folder of PNGs, as the path's ending says."""
        return write(path, self, fps=fps, overwrite=overwrite)

    def to_json(self) -> str:
        """Shape, type, rate and notes as one JSON document; the frames are for files."""
        about = {"shape": self.frames.shape, "dtype": str(self.frames.dtype)}
        return json.dumps(about | {"fps": float(self.fps), "notes": self.notes})

    def __len__(self) -> int:
        return len(self.frames)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.frames, dtype=dtype, copy=bool(copy) or dtype is not None)

    def __repr__(self) -> str:
        return f"Clip({self.frames.shape} {self.frames.dtype}, {self.fps:g} frames/s)"

    def _repr_html_(self) -> str:
        """A playing picture."""
        from framecast.prediction.frame_arrays import as_clips, to_pixels  # noqa: PLC0415
        from framecast.video.frame_style import FrameStyle  # noqa: PLC0415

        clips_BTHWC, _ = as_clips(self.frames)
        stride = -(-clips_BTHWC.shape[1] // SHOWN_FRAMES)
        clips_BTHWC = clips_BTHWC[:1, ::stride]
        is_float = clips_BTHWC.dtype.kind == "f"
        scale = (self.value_range or _range_of(clips_BTHWC)) if is_float else None
        pixels_THWC = to_pixels(clips_BTHWC, scale)[0]
        factor = SHOWN_SIDE / max(pixels_THWC.shape[1:3])
        style = FrameStyle(enlarge=min(16, int(factor)) if factor >= 1 else max(0.05, factor))
        shown = np.stack(list(style.show(pixels_THWC)))
        with TemporaryDirectory(prefix="framecast-") as scratch:
            data = write(Path(scratch, "clip.gif"), shown, fps=self.fps / stride).read_bytes()
        caption = repr(self) if stride == 1 else f"{self!r}, one frame in {stride} is shown"
        return _figure({counted(len(shown), "frame"): ("gif", data)}, caption)


@dataclass(frozen=True, eq=False)
class Training:
    """A finished training: its run folder, its errors, the best model."""

    folder: Path
    result: TrainingResult
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The best model's file, for `predict`, `evaluate` and the command line."""
        return self.folder / "best.pt"

    def table(self) -> str:
        """Held-out MSE x 1000 by lead time, of the model and of the baselines."""
        result = self.result
        columns = (result.validation_mse_T, result.persistence_mse_T, result.flow_mse_T)
        rows = [
            (str(lead), *(f"{1000 * error:.3f}" for error in errors))
            for lead, errors in enumerate(zip(*columns, strict=True), start=1)
        ]
        return _table(("lead", "framecast", "last frame", "optical flow"), *rows)

    def to_json(self) -> str:
        """The run folder, steps, minutes and errors by lead time as one JSON document."""
        from dataclasses import asdict  # noqa: PLC0415

        return json.dumps({"folder": str(self.folder), **asdict(self.result)})

    def __repr__(self) -> str:
        return f"Training({str(self.folder)!r}, best epoch {self.result.epoch})"

    def _repr_html_(self) -> str:
        """The curves and the preview of a held-out window."""
        files = {name: name.rpartition(".")[2] for name in ("curves.png", "preview.gif")}
        read = {name: (kind, (self.folder / name).read_bytes()) for name, kind in files.items()}
        return _figure(read, repr(self))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a model and of the baselines on the same windows; `summary` is one sentence."""

    report: Report
    _task: Task = field(repr=False)

    @property
    def summary(self) -> str:
        return self.report.summary

    def table(self, metric: str | None = None) -> str:
        """One metric by lead time, None the first: `mse`, `psnr`, `csi 20 dBZ`, ...

        Raises UsageError for a metric that was not scored.
        """
        from framecast.evaluation.report import format_score  # noqa: PLC0415

        titles = self.report.titles
        metric = next(iter(titles)) if metric is None else metric
        if metric not in titles:
            raise UsageError(
                f"no metric is called {metric!r}", remedy=f"there are {', '.join(titles)}"
            )
        rows = [(lead, *map(format_score, values)) for lead, values in self.report.rows(metric)]
        return f"{titles[metric]}\n{_table(('lead', *self.report.scores), *rows)}"

    def to_json(self) -> str:
        """Everything as one JSON document."""
        return json.dumps(self.report.to_dict())

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Write the report as .html, .csv or .json; UsageError for another ending."""
        from framecast.evaluation.report_files import ReportFiles  # noqa: PLC0415
        from framecast.runtime.output_files import check_target, write_whole  # noqa: PLC0415

        path = as_path(path)
        kind = path.suffix.lower()
        kinds = {".html": "page", ".csv": "csv"}
        if kind == ".json":
            check_target(path, "JSON file", overwrite)
            write_whole(path, self.to_json(), "JSON file", overwrite)
        elif kind in kinds:
            files = ReportFiles(**{kinds[kind]: path}, overwrite=overwrite)
            files.write(self.report, self._task)
        else:
            raise UsageError(f"{path}: no report is of this kind", remedy="use .html, .csv, .json")
        return path

    def __repr__(self) -> str:
        return f"Evaluation({self.summary!r})"

    def _repr_html_(self) -> str:
        return f"<p><strong>{escape(self.summary)}</strong></p><pre>{escape(self.table())}</pre>"


def read(
    path: PathLike,
    *,
    color: Literal["auto", "gray", "rgb"] = "auto",
    keep_readable: bool = False,
    **options: str,
) -> Clip:
    """Read all frames of a folder of images, a video, a GIF, an array, ... into memory.

    `color` converts, `keep_readable` leaves out what is damaged; `options` are `axes`, `variable`
    and `range`, as the settings of these names. Raises SourceError for what cannot be read,
    UsageError for other options.
    """
    from framecast.prediction.request import READING  # noqa: PLC0415
    from framecast.video.readers.open import open_source  # noqa: PLC0415
    from framecast.video.writers.open import DEFAULT_FPS  # noqa: PLC0415

    _check_options(options, READING)
    source = open_source(as_path(path), color=color, keep_readable=keep_readable, **options)
    info = source.info
    frames_THWC = np.stack(list(source.read()))
    assumed = f"{path} has no frame rate: {DEFAULT_FPS:g} per second is assumed"
    notes = info.notes if info.fps else (*info.notes, assumed)
    return Clip(frames_THWC, info.fps or DEFAULT_FPS, notes, _look=info.look)


def write(
    path: PathLike,
    frames: Clip | Iterable[np.ndarray] | np.ndarray,
    *,
    fps: float | None = None,
    value_range: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write frames (T, H, W) or (T, H, W, C) as GIF, MP4, WebM, NPY, ... or a folder of PNGs.

    uint8, uint16, or floats in `value_range` (low, high), which NPY, TIFF and NetCDF keep. `fps`
    and `value_range` None are the clip's own, else 10, and 0 to 1. Raises UsageError for other
    arrays, OutputError for a target that exists.
    """
    from framecast.prediction.frame_arrays import (  # noqa: PLC0415
        as_clips,
        to_pixels,
        values_of,
    )
    from framecast.video.writers.open import DEFAULT_FPS, write_frames  # noqa: PLC0415

    look: Mapping[str, Any] = {}
    if isinstance(frames, Clip):
        fps = frames.fps if fps is None else fps
        value_range = frames.value_range if value_range is None else value_range
        look, frames = frames._look, frames.frames
    rate = DEFAULT_FPS if fps is None else fps
    _check_rate(rate)
    clips_BTHWC, _ = as_clips(frames)
    if len(clips_BTHWC) > 1:
        raise UsageError(
            f"one file holds one clip; received {len(clips_BTHWC)}", remedy="write them one by one"
        )
    pixels_THWC = to_pixels(clips_BTHWC, value_range)[0]
    if clips_BTHWC.dtype.kind == "f":
        look = {**look, "values": values_of(clips_BTHWC.dtype, value_range)}
    return write_frames(as_path(path), pixels_THWC, fps=rate, overwrite=overwrite, **look)


def train(
    paths: PathLike | Sequence[PathLike],
    *,
    minutes: float | None = None,
    runs: PathLike = "runs",
    on_event: Callable[[Event], None] = lambda event: None,
    **settings: Any,
) -> Training:
    """Train on clips and return the finished run, as `framecast train` does.

    `settings` are named as in framecast.yaml, with or without their section: `epochs=5`,
    `model="convlstm"`, `**{"train.lr": 1e-3}`; `weights` may be a finished training to start from;
    `minutes` counts from the call. Raises ConfigError for settings and SourceError for clips that
    cannot be used.
    """
    started = time.monotonic()
    import torch  # noqa: PLC0415

    from framecast.config.loading import load_config  # noqa: PLC0415
    from framecast.runtime.device import cpu_by_default  # noqa: PLC0415
    from framecast.training import pipeline  # noqa: PLC0415
    from framecast.training.preparation import prepare  # noqa: PLC0415

    if minutes is not None:
        settings["minutes"] = minutes
    config = load_config(None, [_setting(*item) for item in settings.items()], {})
    session = prepare(_paths(paths), config)
    # Also in a notebook that has switched gradients off
    with cpu_by_default(), torch.inference_mode(False), torch.enable_grad():
        outcome = pipeline.train(session, as_path(runs), on_event, started)
    return Training(outcome.run.path, outcome.result, outcome.notes)


def predict(
    source: PathLike | Clip | np.ndarray,
    model: PathLike | Training | FrameForecaster = "pretrained",
    *,
    horizon: int | None = None,
    start: int | None = None,
    value_range: tuple[float, float] | None = None,
    device: str | torch.device = "auto",
    **options: Any,
) -> Clip:
    """Forecast the frames after a clip's last ones, or after a context from frame `start` on.

    `source` is a path, or frames as `FrameForecaster.predict` takes them, of which the newest
    context is used; `value_range` is that of floats. `model` is the pretrained one, a run folder, a
    model file (.pt, .safetensors, .onnx), a finished training or a loaded forecaster. `options` say
    how a path is read: `color`, `axes`, `variable`, `range`, `keep_readable`. Raises what
    `framecast predict` reports as an error.
    """
    from framecast.prediction.predict_clip import forecast_source, open_clip  # noqa: PLC0415
    from framecast.prediction.request import READING, PredictionRequest  # noqa: PLC0415
    from framecast.video.writers.open import DEFAULT_FPS  # noqa: PLC0415

    _check_options(options, READING)
    forecaster = _forecaster(model, device)
    request = PredictionRequest(horizon, start, **options)
    if isinstance(source, str | Path):
        if value_range is not None:
            raise UsageError(
                f"value_range is for arrays of floats; received {source}",
                remedy='give range="LOW..HIGH" for files',
            )
        clip = open_clip(forecaster, as_path(source), request)
        forecast = forecast_source(forecaster, clip, request)
        future_THWC = np.stack(list(forecast.frames))
        return Clip(future_THWC, forecast.fps, forecast.notes, _look=clip.info.look)
    if options:
        first = next(iter(options))
        raise UsageError(f"{first} says how files are read", remedy="leave it out for frames")
    given = source if isinstance(source, Clip) else Clip(source, DEFAULT_FPS)
    scale = given.value_range if value_range is None else value_range
    data = forecaster.config.data
    context, notes = newest_context(given.frames, data, start)
    future = forecaster.predict(context, horizon, scale)
    notes += () if forecaster.fallback_note is None else (forecaster.fallback_note,)
    return Clip(future, given.fps / data.frame_step, notes, scale, given._look)


def evaluate(
    model: PathLike | Training,
    paths: PathLike | Sequence[PathLike],
    *,
    device: str | torch.device = "auto",
    **options: Any,
) -> Evaluation:
    """Compare a model with the baselines on frames it was not trained on.

    `options` are those of `EvaluationRequest`: `horizon`, `stride`, `windows`, `minutes` (counted
    from the call), `protocol`, `thresholds`, `scale`, `include_training`, and of how clips are read
    `color`, `axes`, `variable`, `range` and `keep_readable`. Raises what `framecast evaluate`
    reports as an error.
    """
    from framecast.evaluation.evaluate import evaluate_task  # noqa: PLC0415
    from framecast.evaluation.request import EvaluationRequest  # noqa: PLC0415
    from framecast.evaluation.task import open_task  # noqa: PLC0415
    from framecast.runtime.device import cpu_by_default  # noqa: PLC0415

    started = time.monotonic()
    path = model.folder if isinstance(model, Training) else as_path(model)
    _check_options(options, EvaluationRequest.__dataclass_fields__)
    task = open_task(path, _paths(paths), EvaluationRequest(**options), device=device)
    with cpu_by_default():
        report = evaluate_task(task, started=started)
    return Evaluation(report, task)


def newest_context(
    frames: Any, data: DataConfig, start: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The context out of an array of frames: its newest ones, or those from frame `start` on; and a
    note where it is shorter than that of the training.

    Raises UsageError where there are fewer.
    """
    from framecast.prediction.frame_arrays import as_clips  # noqa: PLC0415
    from framecast.prediction.predict_clip import context_there, shorter_context  # noqa: PLC0415

    clips_BTHWC, as_given = as_clips(frames)
    there = clips_BTHWC.shape[1]
    length = context_there(there, data) if start is None else data.context_length
    span = (length - 1) * data.frame_step + 1
    first = there - span if start is None else start
    if first < 0 or first + span > there:
        asked = "" if start is None else f" and start {start}"
        raise UsageError(
            f"a context of {counted(length, 'frame')} spans {span}; received "
            f"{counted(there, 'frame')}{asked}",
            remedy="give more frames" if start is None else "give more frames or an earlier start",
        )
    context_BTHWC = clips_BTHWC[:, first : first + span : data.frame_step]
    return as_given(context_BTHWC), tuple(shorter_context("the clip", length, data))


def _forecaster(model: Any, device: str | torch.device) -> FrameForecaster:
    from framecast.prediction.frame_forecaster import FrameForecaster  # noqa: PLC0415
    from framecast.prediction.onnx_forecaster import open_forecaster  # noqa: PLC0415

    if isinstance(model, FrameForecaster):
        return model
    return open_forecaster(model.model if isinstance(model, Training) else as_path(model), device)


def _check_options(options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise UsageError for an option that is none of those that are known."""
    for name in options:
        if name not in known:
            raise UsageError(f"{name}: unknown option", remedy=f"there are {', '.join(known)}")


def _paths(paths: Any) -> list[Path]:
    """One path or several; UsageError for anything else."""
    if isinstance(paths, str | Path):
        return [as_path(paths)]
    if isinstance(paths, np.ndarray) or not isinstance(paths, Iterable):
        raise UsageError(
            f"expected paths; received {type(paths).__name__}",
            remedy="give a str, a Path or a list of them; framecast.write makes files of frames",
        )
    return [*map(as_path, paths)]


def _check_rate(fps: Any) -> None:
    if not isinstance(fps, Real):
        raise UsageError(f"fps must be a number; received {fps!r:.60}", remedy="give 10, say")


def _setting(name: str, value: Any) -> tuple[str, Any, str]:
    """A setting by its full name, its value, and what an error calls it; ConfigError if unknown."""
    from framecast.config.loading import fields  # noqa: PLC0415

    given = f"{name}={value!r:.60}"
    for spec in fields():
        if name in (spec.name, spec.dotted) or f"--{name}" == spec.flag:  # model is model.name
            plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
            if isinstance(value, Training):
                plain = str(value.model)
            elif spec.dotted == "train.device" or isinstance(value, Path):
                plain = str(value)  # a torch.device is called by its name
            return spec.dotted, list(plain) if isinstance(plain, tuple) else plain, given
    return name, value, given


def _range_of(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low, max(high, low + 1e-6)  # a still picture has no range of its own


def _figure(pictures: Mapping[str, tuple[str, bytes]], caption: str) -> str:
    """Pictures by what they show, each a kind of file and its bytes, no wider than a cell."""
    images = (
        f'<img alt="{name}" style="display:block;max-width:100%" '
        f'src="data:image/{kind};base64,{b64encode(data).decode()}">'
        for name, (kind, data) in pictures.items()
    )
    figure = f'<figure style="margin:0">{"".join(images)}'
    return f"{figure}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(*rows: Sequence[str]) -> str:
    """Columns of numbers under their titles."""
    return "\n".join(aligned(rows, right=range(len(rows[0]))))
