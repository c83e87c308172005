"""A model and a clip in, the clip's future out: at its own size, colours and rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from framecast.checkpoint import Checkpoint, load_checkpoint
from framecast.device import autocast, explained_memory, pick_device, pick_precision
from framecast.errors import CheckpointError, SourceError, UsageError
from framecast.rollout import rollout
from framecast.video.base import FrameSource
from framecast.video.figures import comparison_video
from framecast.video.pixels import from_unit, resize, target_size, to_unit

DEFAULT_FPS = 10.0
"""Rate of a prediction whose source knows no time, such as a folder of frames."""


class LoadedForecaster:
    """A trained model, ready to forecast NumPy frames."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.config = checkpoint.config
        self.channels = checkpoint.clip["channels"]
        self.device = pick_device(device)
        self.precision = pick_precision(self.config.train.precision, self.device)
        self.network = checkpoint.forecaster(self.device)

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
        context_BTCHW = torch.from_numpy(to_unit(small_THWC))[None].to(self.device)
        with (
            explained_memory("use --device cpu, or train with a smaller data.resize"),
            autocast(self.device, self.precision),
        ):
            for frame_BCHW in rollout(self.network, context_BTCHW, horizon):
                frame_HWC = from_unit(frame_BCHW[0].float().cpu().numpy(), context_THWC.dtype)
                yield resize(frame_HWC, height, width)

    def _check(self, context_THWC: np.ndarray, horizon: int) -> None:
        if horizon < 1:
            raise UsageError(f"horizon {horizon}: nothing to predict", remedy="use 1 or more")
        if context_THWC.ndim != 4 or len(context_THWC) < 1:
            raise ValueError(
                f"context must be (T, H, W, C) with T >= 1; received shape {context_THWC.shape}"
            )
        if context_THWC.shape[3] != self.channels:
            raise CheckpointError(
                f"the model works on {self.channels} channels, the frames have "
                f"{context_THWC.shape[3]}",
                remedy=f"convert them with --color {'gray' if self.channels == 1 else 'rgb'}",
            )


def load_forecaster(path: str | Path, device: str = "auto") -> LoadedForecaster:
    """Load a model file or a run folder's best model; CheckpointError when it is neither."""
    return LoadedForecaster(load_checkpoint(Path(path)), device)


@dataclass(frozen=True)
class Request:
    """What to predict of a clip.

    `start` is the index of the first context frame; None: the clip's last frames, or with `compare`
    the last whose future is known. `horizon` in frames.
    """

    horizon: int
    start: int | None = None
    compare: bool = False


@dataclass(frozen=True)
class Forecast:
    """Frames to come and how to show them: `frames` yields (H, W, C), `fps` is their rate."""

    frames: Iterator[np.ndarray]
    count: int
    fps: float
    start: int
    notes: tuple[str, ...]


def forecast_source(
    forecaster: LoadedForecaster, source: FrameSource, request: Request
) -> Forecast:
    """Predict a clip's frames after its last ones, or after `request.start`.

    Raises SourceError when the clip is too short for the context (or for the truth, with
    `compare`), CheckpointError when its channels are not the model's.
    """
    info, data = source.info, forecaster.config.data
    if info.channels != forecaster.channels:
        wanted = "gray" if forecaster.channels == 1 else "rgb"
        raise CheckpointError(
            f"{info.path}: has {info.channels} channels, the model was trained on "
            f"{forecaster.channels}",
            remedy=f"convert the frames with --color {wanted}",
        )
    future = request.horizon if request.compare else 0
    reach = (data.context_length + future - 1) * data.frame_step + 1
    start = info.frames - reach if request.start is None else request.start
    if start < 0 or start + reach > info.frames:
        raise SourceError(
            f"{info.path}: frames {max(start, 0)} to {max(start, 0) + reach - 1} are needed "
            f"({data.context_length} of context{', then the truth' if future else ''}), "
            f"the clip has {info.frames}",
            remedy="use a longer clip"
            + (", an earlier --start" if request.start else "")
            + (", or a smaller --horizon" if future else ""),
        )
    cut = start + data.context_length * data.frame_step
    context_THWC = np.stack(list(source.read(start, cut - data.frame_step + 1, data.frame_step)))
    frames = forecaster.stream(context_THWC, request.horizon)
    count = request.horizon
    if request.compare:
        truth = source.read(cut, start + reach, data.frame_step)
        frames = comparison_video(context_THWC, frames, truth)
        count += data.context_length
    notes = []
    if info.fps is None:
        notes.append(f"{info.path} knows no frame rate; shown at {DEFAULT_FPS:g} per second")
    if request.horizon > int(data.horizon):
        notes.append(
            f"horizon {request.horizon} goes beyond the {data.horizon} the model was trained on"
        )
    fps = (info.fps or DEFAULT_FPS) / data.frame_step
    return Forecast(frames, count, fps, start, (*info.notes, *notes))
