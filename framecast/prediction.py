"""A model and a clip in, the clip's future out: at its own size, colours and rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from framecast.baselines import BASELINES
from framecast.checkpoint import Checkpoint, load_checkpoint
from framecast.config import Config
from framecast.device import (
    autocast,
    explained_memory,
    pick_device,
    pick_precision,
    prediction_memory,
)
from framecast.errors import CheckpointError, OutputError, SourceError, UsageError
from framecast.nn.tiles import TiledForecaster
from framecast.nn.widths import patch_of, smallest_tile
from framecast.plan import fitting_tile
from framecast.rollout import rollout
from framecast.sections import DataConfig
from framecast.video.base import FrameSource, SourceInfo
from framecast.video.figures import comparison_video
from framecast.video.live import STANDARD_INPUT, is_live, live_name
from framecast.video.pixels import from_unit, resize, to_unit
from framecast.video.sizes import target_size
from framecast.video.sources import open_source
from framecast.video.writers import STANDARD_OUTPUT, open_writer

DEFAULT_FPS = 10.0
"""Rate of a prediction whose source knows no time, such as a folder of frames."""


class LoadedForecaster:
    """A trained model, ready to forecast NumPy frames."""

    def __init__(
        self, checkpoint: Checkpoint, device: str = "auto", tile: int | None = None
    ) -> None:
        """`tile` is the side in pixels of the tiles that larger frames are predicted in; None:
        whole, or in tiles where memory does not hold them. Raises UsageError for tiles that are
        too small or of a network that is tied to its frame size."""
        self.config = checkpoint.config
        self.channels = checkpoint.clip["channels"]
        self.device = pick_device(device)
        self.precision = pick_precision(self.config.train.precision, self.device)
        self.network = checkpoint.forecaster(self.device)
        self.trained_on, self.fallback = checkpoint.trained_on, checkpoint.fallback
        self.tile = tile
        if tile is not None:
            _check_tile(self.config, tile)

    def predict(self, context_THWC: np.ndarray, horizon: int) -> np.ndarray:
        """Forecast `horizon` frames (horizon, H, W, C) after a context (Tc, H, W, C), Tc >= 1.

        uint8 or uint16 in, the same out; C is the model's (1 grey, 3 RGB), any H and W. Raises
        CheckpointError for another C, ValueError for another shape or type, UsageError for horizon
        < 1.
        """
        return np.stack(list(self.stream(context_THWC, horizon)))

    def stream(self, context_THWC: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        """Like `predict`, but yield the frames (H, W, C) as they are made, holding only one."""
        self._check(context_THWC, horizon)
        height, width = context_THWC.shape[1:3]
        size = target_size(height, width, self.config.data.resize)
        small_THWC = np.stack([resize(frame, *size) for frame in context_THWC])
        context_BTCHW = torch.from_numpy(to_unit(small_THWC))[None]
        for frame_BCHW in self.extrapolate(context_BTCHW, horizon):
            frame_HWC = from_unit(frame_BCHW[0].cpu().numpy(), context_THWC.dtype)
            yield resize(frame_HWC, height, width)

    def extrapolate(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """The model as a `rollout.Predictor`: float32 frames (B, C, H, W), large ones in tiles.

        By the network, or by the classical forecast that did better in its training (`fallback`).
        Raises CheckpointError when a frame is not finite, ResourceError when memory runs out.
        """
        if self.fallback is not None:
            frames = BASELINES[self.fallback](context_BTCHW, horizon)
        else:
            frames = self._rollout(context_BTCHW, horizon)
        for lead in range(1, horizon + 1):
            # Left before every yield, since whoever reads the frames computes in between.
            with (
                explained_memory("use --device cpu, or train with a smaller data.resize"),
                autocast(self.device, self.precision),
            ):
                frame_BCHW = next(frames)
            if not torch.isfinite(frame_BCHW).all():
                raise CheckpointError(
                    f"the model's prediction {lead} frames ahead is not finite",
                    remedy="use a smaller --horizon, or train again with a smaller --lr",
                )
            yield frame_BCHW.float()

    def _rollout(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """The network's frames, whole or in tiles."""
        _, length, _, height, width = context_BTCHW.shape
        side = self.tile_side(height, width, length)
        if side is None:
            return rollout(self.network, context_BTCHW.to(self.device), horizon)
        return rollout(
            TiledForecaster(self.network, self.config.model, side), context_BTCHW, horizon
        )

    @property
    def fallback_note(self) -> str | None:
        """What to tell of a model that falls back; None of one that does not."""
        if self.fallback is None:
            return None
        return (
            f"the network did not beat the {self.fallback} on the held-out frames of its training; "
            f"so the {self.fallback} makes the forecast; training for longer may help"
        )

    def tile_side(self, height: int, width: int, length: int | None = None) -> int | None:
        """Side of the tiles that frames of this size are predicted in; None: they are whole.

        `length` counts the context frames, None: as trained. Raises ResourceError for frames that
        memory does not hold in tiles either.
        """
        size = target_size(height, width, self.config.data.resize)
        if self.tile is not None:
            return self.tile if self.tile < max(size) else None
        memory = prediction_memory(self.device)
        if memory is None:
            return None
        length = length or self.config.data.context_length
        return fitting_tile(self.config.model, self.channels, size, length, memory)

    def check_channels(self, info: SourceInfo) -> None:
        """Raise CheckpointError when a clip's channels are not the model's."""
        if info.channels != self.channels:
            wanted = "gray" if self.channels == 1 else "rgb"
            raise CheckpointError(
                f"{info.path}: has {info.channels} channels, the model was trained on "
                f"{self.channels}",
                remedy=f"convert the frames with --color {wanted}",
            )

    def _check(self, context_THWC: np.ndarray, horizon: int) -> None:
        if horizon < 1:
            raise UsageError(f"horizon {horizon}: nothing to predict", remedy="use 1 or more")
        if context_THWC.ndim != 4 or context_THWC.size == 0:
            raise ValueError(
                f"context must be (T, H, W, C), none of them 0; received shape {context_THWC.shape}"
            )
        if context_THWC.shape[3] != self.channels:
            raise CheckpointError(
                f"the model works on {self.channels} channels, the frames have "
                f"{context_THWC.shape[3]}",
                remedy=f"convert them with --color {'gray' if self.channels == 1 else 'rgb'}",
            )


def load_forecaster(
    path: str | Path, device: str = "auto", tile: int | None = None
) -> LoadedForecaster:
    """Load a model file or a run folder's best model; CheckpointError when it is neither.

    `tile` is the side in pixels of the tiles that frames are predicted in, None: as memory needs.
    """
    checkpoint = load_checkpoint(Path(path))
    try:
        return LoadedForecaster(checkpoint, device, tile)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", remedy=error.remedy) from error


def _check_tile(config: Config, tile: int) -> None:
    if config.model.tied_to_size:
        raise UsageError(
            f"--tile {tile}: {config.model.name} is tied to frames of {config.data.resize}, which "
            "it cannot see in parts",
            remedy="leave out --tile",
        )
    if tile < smallest_tile(config.model):
        raise UsageError(
            f"--tile {tile}: too small for a model with patches of {patch_of(config.model)}",
            remedy=f"use {smallest_tile(config.model)} or more",
        )


@dataclass(frozen=True)
class Request:
    """What to predict of a clip.

    `horizon` in frames, None: as trained. `start` is the index of the first context frame; None:
    the clip's last frames, or with `compare` the last whose future is known. `fps` None: the clip's
    own. `color` converts the frames before anything else; `keep_readable` accepts damaged clips.
    `stream` asks for a forecast after every frame; `size` (HxW) says that standard input is raw
    frames.
    """

    horizon: int | None = None
    start: int | None = None
    compare: bool = False
    fps: float | None = None
    color: Literal["gray", "rgb"] | None = None
    keep_readable: bool = False
    stream: bool = False
    size: str | None = None

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            raise UsageError(
                f"--horizon {self.horizon}: nothing to predict", remedy="use 1 or more"
            )
        if self.start is not None and self.start < 0:
            raise UsageError(
                f"--start {self.start}: frames are counted from 0", remedy="use 0 or more"
            )
        if self.stream and self.compare:
            raise UsageError(
                "--compare needs frames that a stream has not seen yet", remedy="leave out --stream"
            )

    def check_source(self, source: str) -> None:
        """Raise UsageError where what is asked for and the kind of the source do not fit."""
        live = is_live(source)
        if live and not self.stream:
            raise UsageError(f"{source}: has no last frames to start from", remedy="add --stream")
        if live and (self.start is not None or self.keep_readable):
            raise UsageError(
                f"{source}: --start and --keep-readable are for files", remedy="leave them out"
            )
        if self.size is not None and source != STANDARD_INPUT:
            raise UsageError(
                f"--size is for raw frames on standard input, {source} has a size of its own",
                remedy="leave it out",
            )


@dataclass(frozen=True)
class Forecast:
    """Frames to come and how to show them: `frames` yields `count` of (H, W, C) at rate `fps`."""

    frames: Iterator[np.ndarray]
    count: int
    fps: float
    notes: tuple[str, ...]


def predict_file(
    forecaster: LoadedForecaster,
    path: Path,
    target: str | Path,
    request: Request,
    overwrite: bool = False,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
) -> tuple[str, ...]:
    """Predict one clip into a file or PNG folder and return what is worth noting.

    `on_frame` is called with the clip's name and the number of frames to come, for each of them.
    Raises what reading, predicting and writing raise; a target is never left half written.
    """
    source = open_clip(forecaster, path, request)
    forecast = forecast_source(forecaster, source, request)
    with open_writer(target, fps=forecast.fps, overwrite=overwrite) as writer:
        for frame_HWC in forecast.frames:
            writer.write(frame_HWC)
            on_frame(path.name, forecast.count)
    return (*forecast.notes, *model_notes(forecaster, source.info), *writer.notes)


def model_notes(forecaster: LoadedForecaster, info: SourceInfo) -> tuple[str, ...]:
    """Say where frames are predicted by a classical forecast, or in tiles."""
    if forecaster.fallback_note is not None:
        return (forecaster.fallback_note,)
    side = forecaster.tile_side(info.height, info.width)
    return () if side is None else (f"predicted in tiles of {side} x {side} pixels",)


def open_clip(forecaster: LoadedForecaster, path: Path, request: Request) -> FrameSource:
    """Open a clip as the request and the model want it; CheckpointError where channels differ."""
    color = request.color or forecaster.config.data.color
    source = open_source(path, color=color, keep_readable=request.keep_readable)
    forecaster.check_channels(source.info)
    return source


def name_outputs(sources: Sequence[Path], output: str | None, suffix: str) -> list[str]:
    """Where each prediction goes: `output` itself for one source, inside it for several.

    Without an output: in the working directory, named after the clip. Folders are made; names end
    in a slash where PNGs go into a folder. Raises UsageError when two sources would get the same
    name, OutputError when the folder cannot be made.
    """
    if len(sources) == 1 and output is not None:
        return [output]
    if output == STANDARD_OUTPUT:
        raise UsageError(
            f"standard output holds one prediction, not {len(sources)}",
            remedy="predict them one by one",
        )
    ending = "/" if suffix == "png" else f".{suffix}"
    folder = Path(output or "")
    targets = [f"{folder / _clip_name(source)}-prediction{ending}" for source in sources]
    twice = [target for target, times in Counter(targets).items() if times > 1]
    if twice:
        raise UsageError(
            f"several sources would be written to {twice[0]}", remedy="predict them one by one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: no folder can be made here ({error.strerror})",
            remedy="give another one with -o",
        ) from error
    return targets


def _clip_name(source: Path) -> str:
    """A folder's name, a file's name without its suffix, or what a live source is called."""
    if is_live(str(source)):
        return live_name(str(source))
    path = source.resolve()
    return path.name if path.is_dir() else path.stem


def forecast_source(
    forecaster: LoadedForecaster, source: FrameSource, request: Request
) -> Forecast:
    """Predict a clip's frames after its last ones, or after `request.start`.

    Raises SourceError when the clip is too short for the context (or for the truth, with
    `compare`).
    """
    info, data = source.info, forecaster.config.data
    horizon = request.horizon or int(data.horizon)
    future = horizon if request.compare else 0
    reach = (data.context_length + future - 1) * data.frame_step + 1
    start = info.frames - reach if request.start is None else request.start
    if start < 0 or start + reach > info.frames:
        raise SourceError(
            f"{info.path}: has {info.frames} frames, {max(start, 0) + reach} are needed "
            f"({_needs(data, max(start, 0), future)})",
            remedy=_remedy(request),
        )
    cut = start + data.context_length * data.frame_step
    context_THWC = np.stack(list(source.read(start, cut - data.frame_step + 1, data.frame_step)))
    frames, count = forecaster.stream(context_THWC, horizon), horizon
    if request.compare:
        truth = source.read(cut, start + reach, data.frame_step)
        frames, count = comparison_video(context_THWC, frames, truth), count + data.context_length
    fps = request.fps
    if fps is None:
        fps = (info.fps or DEFAULT_FPS) / data.frame_step
    return Forecast(
        frames, count, fps, (*info.notes, *_notes(request, horizon, info, forecaster.config))
    )


def _needs(data: DataConfig, start: int, future: int) -> str:
    parts = [f"{start} before the start"] if start else []
    parts.append(f"{data.context_length} of context")
    parts += [f"{future} of truth"] if future else []
    step = f", every {data.frame_step}th" if data.frame_step > 1 else ""
    return " + ".join(parts) + step


def _remedy(request: Request) -> str:
    ways = ["an earlier --start"] if request.start else []
    ways += ["a smaller --horizon"] if request.compare else []
    return f"use {', '.join([*ways, 'a longer clip'])}".replace(", a longer", " or a longer")


def _notes(request: Request, horizon: int, info: SourceInfo, config: Config) -> Iterator[str]:
    data, size = config.data, f"{info.height}x{info.width}"
    if config.model.tied_to_size and size != data.resize:
        yield (
            f"{config.model.name} works at {data.resize} alone: {info.path} is resized from {size} "
            "to it, and its prediction back"
        )
    if info.fps is None and request.fps is None:
        yield f"{info.path} knows no frame rate: {DEFAULT_FPS:g} per second, or give --fps"
    if horizon > int(data.horizon):
        yield f"horizon {horizon} goes beyond the {data.horizon} frames the model was trained on"
