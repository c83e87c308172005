"""A model and a clip in, the clip's future out: at its own size, colours and rate."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framecast.config.schema import DataConfig
from framecast.errors import OutputError, SourceError, UsageError
from framecast.prediction.request import PredictionRequest, asked_reading
from framecast.runtime.memory import return_freed_memory
from framecast.runtime.text import counted
from framecast.video.comparison_figures import comparison_video
from framecast.video.frame_times import lead_label, lead_names
from framecast.video.readers.base import FrameSource, SourceInfo
from framecast.video.readers.live import is_live, live_name
from framecast.video.readers.open import distinct_names, open_source
from framecast.video.scene_detection import NEIGHBOURS, newest_scene
from framecast.video.writers.open import DEFAULT_FPS, STANDARD_OUTPUT, WRITERS, open_writer

if TYPE_CHECKING:  # an exported model is predicted with without torch
    from framecast.prediction.frame_forecaster import FrameForecaster

NAME_BYTES = 200
"""Bytes of a clip's name that its prediction keeps: systems take 255, suffixes included."""


@dataclass(frozen=True)
class Forecast:
    """Future frames and how to show them: `frames` yields `count` of (H, W, C) at rate `fps`.

    `names` are those of frames that become separate files.
    """

    frames: Iterator[np.ndarray]
    count: int
    fps: float
    notes: tuple[str, ...]
    names: list[str]


def predict_file(
    forecaster: FrameForecaster,
    path: str | Path,
    targets: Sequence[str | Path],
    request: PredictionRequest,
    overwrite: bool = False,
    tell: Callable[[str, int, int], None] = lambda name, written, total: None,
    opened: FrameSource | None = None,
) -> tuple[str, ...]:
    """Predict one clip into files or PNG folders, all at once, and return notes for the user.

    `opened` is the clip where `check_early` has opened it for this model and request.
    `tell` is called once the context is read and after each frame, with the clip's name, how many
    frames are written and how many there will be.
    Raises what reading, predicting and writing raise; a target is never left half written.
    """
    source = open_clip(forecaster, path, request, opened)
    forecast = forecast_source(forecaster, source, request)
    name = source.info.path.name
    # Frames in tiles are all computed before the first one comes
    tell(name, 0, forecast.count)
    look = {"fps": forecast.fps, "names": forecast.names, **shown_as(source, request)}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(open_writer(target, overwrite=overwrite, **look))
            for target in targets
        ]
        # One pass, since frames are computed as they are asked for.
        for written, frame_HWC in enumerate(forecast.frames, 1):
            for writer in writers:
                writer.write(frame_HWC)
            tell(name, written, forecast.count)
    return (*forecast.notes, *(note for writer in writers for note in writer.notes))


def shown_as(source: FrameSource, request: PredictionRequest) -> dict[str, Any]:
    """What a result keeps of its source: values and pixel aspect; a comparison is a picture."""
    return {} if request.paints else source.info.look


def model_notes(forecaster: FrameForecaster, info: SourceInfo, horizon: int) -> tuple[str, ...]:
    """Say where frames are predicted by a classical forecast, at another size, or in tiles."""
    if forecaster.fallback_note is not None:
        return (forecaster.fallback_note,)
    config, size = forecaster.config, f"{info.height}x{info.width}"
    if config.model.traits.tied_to_size and size != config.data.resize:
        return (
            f"{config.model.name} works at {config.data.resize} only: {info.path} is resized from "
            f"{size}, and its prediction back",
        )
    side = forecaster.tile_side(info.height, info.width, config.data.context_length, horizon)
    return () if side is None else (f"predicted in tiles of {side} x {side} pixels",)


def assumptions(
    request: PredictionRequest, horizon: int, name: str | Path, fps: float | None, trained: int
) -> Iterator[str]:
    """Notes on what was chosen because nobody said otherwise.

    `fps` is the source's own, `trained` the horizon that the model was trained with.
    """
    if fps is None and request.fps is None:
        yield f"{name} has no frame rate: {DEFAULT_FPS:g} per second is assumed, --fps sets another"
    yield from beyond_training(horizon, trained)


def beyond_training(horizon: int, trained: int) -> Iterator[str]:
    """The note on a horizon beyond the `trained` one."""
    if horizon > trained:
        frames = counted(trained, "frame")
        yield f"horizon {horizon} goes beyond the {frames} the model was trained on"


def open_clip(
    forecaster: FrameForecaster,
    path: str | Path,
    request: PredictionRequest,
    opened: FrameSource | None = None,
) -> FrameSource:
    """Open a clip in the model's colours and range; a grey model takes the luma of colours."""
    asked = asked_reading(request)
    source = opened or open_source(path, forecaster.reading, **asked)
    fit_to_model(forecaster, source, asked)
    return source


def fit_to_model(
    forecaster: FrameForecaster, source: FrameSource, asked: Mapping[str, Any]
) -> None:
    """Say how a clip is read for a model; give it its own range where the model's does not fit.

    `asked` is what the user asked of how it is read. Raises CheckpointError when its channels are
    not the model's.
    """
    # A clip of another sensor has its own range; one that the user sets holds.
    if "range" not in asked and forecaster.config.data.range != "auto":
        source.fit_range()
    forecaster.check_channels(source.info)
    if "color" not in asked and source.info.stored_channels not in (0, source.info.channels):
        said = "grey: the brightness of its colours" if forecaster.channels == 1 else "RGB"
        source.add_note(f"{source.info.path.name} is read as {said}, as the model was trained")


def name_outputs(
    sources: Sequence[str | Path],
    outputs: Sequence[str],
    kind: str | None,
    overwrite: bool = False,
) -> list[list[str]]:
    """Where each prediction goes: of one source to `outputs`, of several into that one folder.

    With a `kind` of files, the output is a folder for one source, too. Without an output: in the
    working directory, named after the clip (and its folders, where several clips have its name),
    and with a number where that exists. Folders are made;
    names end in a slash where PNGs go into a folder. Raises UsageError when two sources would get
    the same name, OutputError when the folder cannot be made.
    """
    if len(sources) == 1 and outputs and kind is None:
        return [list(outputs)]
    if len(outputs) > 1:
        raise UsageError(
            f"{len(outputs)} outputs for {counted(len(sources), 'source')}",
            remedy="name one folder with -o",
        )
    if outputs and outputs[0] == STANDARD_OUTPUT:
        raise UsageError(
            "standard output holds the PNGs of one prediction",
            remedy="predict clips one by one, without --format",
        )
    ending = "/" if kind == "png" else f".{kind or 'gif'}"
    folder = Path(outputs[0] if outputs else "")
    # Clips of one name would overwrite each other, so they are named after their folders, too.
    told_apart = zip(distinct_names([*map(Path, sources)]), sources, strict=True)
    names = ("-".join((*name.split("/")[:-1], _clip_name(clip))) for name, clip in told_apart)
    stems = [f"{folder / _shortened(name.strip('-'))}-prediction" for name in names]
    if twice := [stem for stem, times in Counter(stems).items() if times > 1]:
        raise UsageError(
            f"several sources would be written to {twice[0]}{ending}",
            remedy="predict them one by one",
        )
    if folder.suffix.lower() in WRITERS.keys() - {""} and not folder.is_dir():
        several = len(sources) > 1
        raise UsageError(
            f"{folder}: -o names a folder {'for several clips' if several else 'with --format'}",
            remedy=f"name one, or {'predict them one by one' if several else 'leave --format out'}",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: no folder can be made here ({error.strerror})",
            remedy="give another one with -o",
        ) from error
    # In a folder that the user named, a file that exists is an error, not a reason for a number.
    keep_name = bool(outputs) or overwrite
    return [[stem + ending if keep_name else _free_name(stem, ending)] for stem in stems]


def _free_name(stem: str, ending: str) -> str:
    """The name itself, or the first of name-2, name-3, ... that does not exist."""
    names = (stem + ending if n == 1 else f"{stem}-{n}{ending}" for n in count(1))
    return next(name for name in names if not Path(name).exists())


def _shortened(name: str) -> str:
    """A name with room left for what is put after it; none of its characters is cut in two."""
    while len(os.fsencode(name)) > NAME_BYTES:
        name = name[:-1]
    return name


def _clip_name(source: str | Path) -> str:
    """A folder's name, a file's name without its suffix, or what a live source is called."""
    if is_live(str(source)):
        return live_name(str(source))
    # Not resolved: "." has no name, but a link has its own
    path = Path(os.path.abspath(source))  # noqa: PTH100
    name = path.name if os.path.isdir(path) else path.stem  # noqa: PTH112  (never raises)
    return re.sub(r"[*?\[\]]+", "", name).strip("-_. ") or path.parent.name  # of a quoted glob


def forecast_source(
    forecaster: FrameForecaster, source: FrameSource, request: PredictionRequest
) -> Forecast:
    """Predict a clip's frames after its last ones, or after `request.start`.

    Raises SourceError when the clip is too short for the context (or for the truth, with
    `compare`).
    """
    info, trained = source.info, forecaster.config.data
    horizon = request.horizon or int(trained.horizon)
    data, needed = needed_frames(info, request, trained)
    start, reach = needed.start, len(needed)
    context_THWC, scene = _read_context(source, start, data)
    frames = _without_leftovers(forecaster.stream(context_THWC, horizon))
    leads = range(1, horizon + 1)
    step = request.model_step(data, info.step_minutes)
    if request.compare:
        first = start + data.context_length * data.frame_step
        truth = source.read(first, start + reach, data.frame_step)
        scene += tuple(
            f"{info.path.name} has a break before frame {b}, among the true frames"
            for b in info.breaks
            if first - data.frame_step < b < start + reach
        )
        style = request.style(data)
        pictures = comparison_video(
            context_THWC,
            frames,
            truth,
            paint=style.paint,
            label=partial(lead_label, step_minutes=step),
        )
        frames = style.beside_legend(pictures)
        leads = range(1 - len(context_THWC), horizon + 1)
    elif request.paints:
        labels = [lead_label(lead, step) for lead in leads]
        frames = request.style(data).show(frames, labels if request.labels else None)
    fps = request.fps
    if fps is None:  # frames of the forecast lie `frame_step` apart
        fps = (info.fps or DEFAULT_FPS) / data.frame_step
    assumed = assumptions(request, horizon, info.path, info.fps, forecaster.trained_horizon)
    short = shorter_context(info.path.name, data.context_length, trained)
    notes = (*info.notes, *short, *scene, *assumed, *model_notes(forecaster, info, horizon))
    last_seen = start + (data.context_length - 1) * data.frame_step
    names = lead_names(leads, step, info.moments[last_seen] if info.moments else None)
    return Forecast(frames, len(leads), fps, notes, names)


def _without_leftovers(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same frames; what reading and encoding the context took is given back after the first."""
    first_HWC = next(frames)
    return_freed_memory()
    yield first_HWC
    del first_HWC
    yield from frames


def context_there(frames: int, data: DataConfig, future: int = 0) -> int:
    """Context frames that a clip has before `future` others: as in training, or what there is.

    Two at least, which show motion.
    """
    there = -(-frames // data.frame_step) - future
    return min(data.context_length, max(there, 2))


def shorter_context(name: str, context_length: int, trained: DataConfig) -> Iterator[str]:
    """The note on a context that is shorter than that of the training."""
    if context_length < trained.context_length:
        frames = counted(context_length, "frame")
        yield f"{name} is short: the context is {frames}, not {trained.context_length}"


def needed_frames(
    info: SourceInfo, request: PredictionRequest, data: DataConfig
) -> tuple[DataConfig, range]:
    """The frames from the first of the context to the last of the context, or of the truth; and the
    settings, with a shorter context where the clip, used to its end, has no longer one.

    Raises SourceError when the clip has not all of them.
    """
    future = (request.horizon or int(data.horizon)) if request.compare else 0
    if request.start is None:
        data = replace(data, context_length=context_there(info.frames, data, future))
    # From the first one needed to the last one, both included.
    reach = (data.context_length + future - 1) * data.frame_step + 1
    start = _usual_start(info, reach, request.compare) if request.start is None else request.start
    if start < 0 or start + reach > info.frames:
        raise SourceError(
            f"{info.path}: has {counted(info.frames, 'frame')}, {max(start, 0) + reach} are needed "
            f"({_needs(data, max(start, 0), future)})",
            remedy=_remedy(request),
        )
    return data, range(start, start + reach)


def _usual_start(info: SourceInfo, reach: int, compare: bool) -> int:
    """Where the last `reach` frames begin; with `compare` the last ones without a break, if any."""
    last = info.frames - reach
    if not compare or last < 0:
        return last
    breaks = (0, *info.breaks, info.frames)
    starts = (end - reach for begin, end in reversed([*pairwise(breaks)]) if end - begin >= reach)
    return next(starts, last)


def _read_context(
    source: FrameSource, start: int, data: DataConfig
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The context (Tc, H, W, C) from frame `start` on, and notes if it is shorter than asked for.

    After a break in time or a cut to another scene only the frames from there on count: the others
    have no future.
    """
    info, notes = source.info, []
    wanted = range(start, start + data.context_length * data.frame_step, data.frame_step)

    def left_from(number: int, what: str) -> range:
        left = wanted[-(-(number - wanted.start) // data.frame_step) :]
        notes.append(
            f"{info.path.name} {what} frame {number}: the context is the "
            f"{counted(len(left), 'frame')} from there on, not {data.context_length}"
        )
        return left

    broken = max((b for b in info.breaks if start < b <= wanted[-1]), default=0)
    if broken:
        wanted = left_from(broken, "has a break before")
    # A cut is detected by how much its neighbours change, so reading begins some frames earlier.
    before = max(broken, wanted.start - NEIGHBOURS) if data.scene_cuts else wanted.start
    # Filled in place: a list of 1080p frames and their stack would be in memory together.
    context_THWC = np.empty((len(wanted), info.height, info.width, info.channels), info.dtype)

    def read() -> Iterator[np.ndarray]:
        for number, frame_HWC in enumerate(source.read(before, wanted[-1] + 1), before):
            if number in wanted:
                context_THWC[wanted.index(number)] = frame_HWC
            yield frame_HWC

    if not data.scene_cuts:
        deque(read(), maxlen=0)
    elif (scene := before + newest_scene(read(), wanted.start - before)) > wanted.start:
        wanted = left_from(scene, "cuts to another scene at")
    return context_THWC[-len(wanted) :], (*notes,)


def _needs(data: DataConfig, start: int, future: int) -> str:
    parts = [f"{start} before the start"] if start else []
    parts.append(f"{data.context_length} of context")
    parts += [f"{future} of truth"] if future else []
    step = f", {data.frame_step} frames apart" if data.frame_step > 1 else ""
    return " + ".join(parts) + step


def _remedy(request: PredictionRequest) -> str:
    options = ["an earlier --start"] if request.start else []
    options += ["a smaller --horizon"] if request.compare else []
    return "use " + " or ".join([*options, "a longer clip"])
