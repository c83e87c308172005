"""What `predict` does: refuse what is wrong before PyTorch is loaded, load the model, forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from framecast.cli.console import show_error, show_network, show_notes, show_outputs
from framecast.cli.progress import Display
from framecast.config.schema import DataConfig
from framecast.errors import FramecastError, InterruptedRunError, PartialFailureError, UsageError
from framecast.prediction.frame_forecaster import FrameForecaster
from framecast.prediction.model_files import PRETRAINED, split_model
from framecast.prediction.model_header import check_early
from framecast.prediction.predict_clip import name_outputs, needed_frames, predict_file
from framecast.prediction.predict_stream import nowcast_file
from framecast.prediction.request import Computing, PredictionRequest, asked_reading, check_tile
from framecast.runtime.output_files import check_distinct, check_inputs, check_outside
from framecast.runtime.text import listed
from framecast.video.readers.base import FrameSource
from framecast.video.readers.live import is_live
from framecast.video.readers.open import expand_clips
from framecast.video.writers.open import DEFAULT_FPS, check_rate, open_writer

OF_PRETRAINED = "forecast by the pretrained model; `framecast train` adapts it to clips like yours"


@dataclass(frozen=True)
class Asked:
    """A model, and for each source the files that its forecast goes to; nothing is known wrong.

    `opened` is the clip where one source was opened to be checked: large videos take 0.1 s.
    """

    model: Path
    sources: tuple[tuple[str, list[str]], ...]
    opened: FrameSource | None
    request: PredictionRequest
    overwrite: bool


def check(
    paths: Sequence[Path],
    model: Path | None,
    outputs: Sequence[str],
    kind: str | None,
    request: PredictionRequest,
    computing: Computing,
    overwrite: bool,
) -> Asked:
    """Refuse now what a model, a source or an output would only raise after seconds of loading.

    Raises what `split_model`, `check_early`, `name_outputs` and `open_writer` raise.
    """
    chosen, sources = split_model(paths, model)
    named = expand_clips(sources)
    # Options that a source cannot have, before any is opened
    for source in named:
        request.check_source(source)
    # Of several sources the others are still predicted where one is wrong.
    alone = [] if len(named) > 1 else [source for source in named if not is_live(source)]
    header, opened = check_early(chosen, alone, **asked_reading(request))
    check_tile(computing.tile, header and header.config)
    if header is not None:
        _check_fit(request, header.config.data, opened)
    rate = DEFAULT_FPS if request.fps is None else request.fps
    check_rate(rate)
    targets = name_outputs(named, outputs, kind, overwrite)
    named_by_time = any(
        file.endswith("/") or not Path(file).suffix for files in targets for file in files
    )
    shows_time = request.labels or request.compare or named_by_time
    if request.step_minutes is not None and not shows_time:
        raise UsageError(
            "--step-minutes is for labels and the names of PNGs",
            remedy="add --labels, or leave it out",
        )
    for files in targets:
        check_distinct(files)
        for file in files:
            check_inputs(Path(file), [chosen, *map(Path, named)])
            check_outside(Path(file), map(Path, named))
            # Of several sources the others are still predicted where one result exists.
            if len(named) == 1:
                open_writer(file, fps=rate, overwrite=overwrite)
    clip = opened[0] if len(opened) == 1 else None
    return Asked(chosen, tuple(zip(named, targets, strict=True)), clip, request, overwrite)


def _check_fit(request: PredictionRequest, data: DataConfig, clips: Sequence[FrameSource]) -> None:
    """Refuse colours that do not fit a model's settings or the clips, and clips too short."""
    if request.colormap is not None:
        style = request.style(data)
        for clip in clips:
            style.paint(np.zeros((1, 1, clip.info.channels), np.uint8))
    if not request.stream:
        for clip in clips:
            needed_frames(clip.info, request, data)


def predict_all(asked: Asked, computing: Computing) -> None:
    """Forecast every source, although some fail; the error of a single one is raised as it is.

    Raises what `open_forecaster` raises, PartialFailureError in the end where some of several
    sources failed.
    """
    with Display() as display:
        display.show("loading the model")
        from framecast.prediction.onnx_forecaster import open_forecaster

        forecaster = open_forecaster(asked.model, computing.device, computing.tile, computing.match)
    failures, is_first = [], True
    for source, files in asked.sources:
        try:
            notes = _predict(forecaster, source, files, asked)
        except FramecastError as error:
            if len(asked.sources) == 1 or isinstance(error, InterruptedRunError):
                raise
            show_error(error)
            failures.append(source)
            continue
        if is_first:  # printed with the first forecast, so that an error stays one line
            show_network(forecaster)
            if str(asked.model) == PRETRAINED:
                show_notes([OF_PRETRAINED])
            is_first = False
        show_notes(notes)
        show_outputs(files)
    if failures:
        raise PartialFailureError(
            f"{len(failures)} of {len(asked.sources)} sources failed: {listed(failures)}"
        )


def _predict(
    forecaster: FrameForecaster, source: str, files: Sequence[str], asked: Asked
) -> tuple[str, ...]:
    """Write one source's forecast and return notes for the user."""
    write = nowcast_file if asked.request.stream else partial(predict_file, opened=asked.opened)
    with Display() as display:
        display.show(f"reading {Path(source).name}")

        def tell(name: str, written: int, total: int | None) -> None:
            display.show(f"forecasting {name}", written, total)

        return write(forecaster, source, files, asked.request, asked.overwrite, tell)
