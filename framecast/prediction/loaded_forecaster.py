"""A trained model, ready to forecast NumPy frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from framecast.config.argument_types import as_path
from framecast.errors import CheckpointError, UsageError
from framecast.nn.cost_model.memory import fitting_tile
from framecast.nn.forecasters.grid import SMALLEST_TILE
from framecast.prediction.baselines import BASELINES
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint
from framecast.prediction.frame_forecaster import FrameForecaster
from framecast.prediction.model_files import PRETRAINED
from framecast.prediction.probability_matching import matched
from framecast.prediction.rollout import rollout, tiled_rollout
from framecast.runtime.device import (
    autocast,
    explained_memory,
    pick_device,
    pick_precision,
    placed,
    prediction_memory,
)
from framecast.video.frame_size import target_size


class LoadedForecaster(FrameForecaster):
    """A trained model, ready to forecast NumPy frames."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        tile: int | None = None,
        match: float = 0.0,
        *,
        any_channels: bool = False,
    ) -> None:
        """`tile`: side in pixels of the tiles that larger frames are predicted in; None: whole
        frames, or tiles where memory does not hold them. `match`: how far, 0..1, each frame's
        distribution of brightness is moved to that of the last context frame. `any_channels`:
        whether it takes grey and RGB frames alike, not only what it was trained on.

        Raises UsageError for a `match` out of range, and for tiles that are too small or of a
        network that is tied to its frame size.
        """
        self.config = checkpoint.config
        self.channels, self.any_channels = checkpoint.clip["channels"], any_channels
        self.device = pick_device(device)
        self.precision = pick_precision(self.config.train.precision, self.device)
        self.network = placed(checkpoint.forecaster(), self.device)
        self.trained_on, self.fallback = checkpoint.trained_on, checkpoint.fallback
        self.tile, self.match = tile, match
        if not 0 <= match <= 1:
            raise UsageError(f"--match {match:g}: out of range", remedy="use 0 to 1")
        if tile is not None:
            self._check_tile(tile)

    def forecast_unit(self, context_TCHW: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        for frame_BCHW in self.extrapolate(torch.from_numpy(context_TCHW)[None], horizon):
            yield frame_BCHW[0].cpu().numpy()

    def extrapolate(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """The model as a `rollout.Predictor`: float32 frames (B, C, H, W), large ones in tiles.

        By the network, or by the classical forecast that did better in its training (`fallback`).
        A channel that is constant in the context, in space and time, stays so to the bit. Raises
        CheckpointError when a frame is not finite, ResourceError when memory runs out.
        """
        if self.fallback is not None:
            frames = BASELINES[self.fallback](context_BTCHW, horizon)
        else:
            frames = self._network_frames(context_BTCHW, horizon)
        last_BCHW = context_BTCHW[:, -1]
        # Networks that serve as comparisons show their own forecast.
        flat_BC11 = _constant_channels(context_BTCHW) & self.config.model.traits.falls_back
        for lead in range(1, horizon + 1):
            # Left before every yield: the caller computes between two frames, without autocast.
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
            frame_BCHW = frame_BCHW.float()
            if self.match > 0:
                frame_BCHW = matched(frame_BCHW, last_BCHW.to(frame_BCHW.device), self.match)
            if flat_BC11.any():
                # Blending weights sum to 1 within rounding, which adds up over the lead times.
                frame_BCHW = torch.where(
                    flat_BC11.to(frame_BCHW.device), last_BCHW.to(frame_BCHW), frame_BCHW
                )
            yield frame_BCHW

    def _network_frames(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        _, context_length, _, height, width = context_BTCHW.shape
        side = self.tile_side(height, width, context_length, horizon)
        if side is None:
            return rollout(self.network, context_BTCHW.to(self.device), horizon)
        return tiled_rollout(self.network, context_BTCHW, horizon, side)

    @property
    def fallback_note(self) -> str | None:
        """The note about a model that falls back; None for any other."""
        if self.fallback is None:
            return None
        return (
            f"the network did not beat the {self.fallback} on the held-out frames of its training; "
            f"so the {self.fallback} makes the forecast; training for longer may help"
        )

    def tile_side(self, height: int, width: int, context_length: int, horizon: int) -> int | None:
        """Side of the tiles that frames of this size are predicted in; None: they are whole.

        Raises ResourceError for frames that memory does not hold in tiles either.
        """
        size = target_size(height, width, self.config.data.resize)
        if self.tile is not None:
            # A frame that one tile covers is predicted whole.
            return self.tile if self.tile < max(size) else None
        memory = prediction_memory(self.device)
        if memory is None:  # unknown: assume that it suffices
            return None
        return fitting_tile(
            self.config.model,
            self.channels,
            size,
            context_length=context_length,
            horizon=horizon,
            memory=memory,
        )

    def _check_tile(self, tile: int) -> None:
        if self.config.model.traits.tied_to_size:
            raise UsageError(
                f"--tile {tile}: {self.config.model.name} is tied to frames of "
                f"{self.config.data.resize}, which it cannot see in parts",
                remedy="leave out --tile",
            )
        if tile < SMALLEST_TILE:
            raise UsageError(
                f"--tile {tile}: smaller than what neighbouring tiles share",
                remedy=f"use {SMALLEST_TILE} or more",
            )


def load_forecaster(
    path: str | Path = PRETRAINED, device: str = "auto", tile: int | None = None, match: float = 0.0
) -> LoadedForecaster:
    """Load a model file, a run folder's best model, or the pretrained one that framecast ships.

    `device` is auto, cpu, cuda, cuda:N or mps; `tile` and `match` as for LoadedForecaster.
    Raises CheckpointError when the path is none of these.
    """
    checkpoint = load_checkpoint(as_path(path))
    try:
        # The pretrained network shares its weights between the channels of a frame.
        any_channels = str(path) == PRETRAINED
        return LoadedForecaster(checkpoint, device, tile, match, any_channels=any_channels)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", remedy=error.remedy) from error


def _constant_channels(context_BTCHW: Tensor) -> Tensor:
    """Whether each channel has one value in all pixels of all frames, (B, C, 1, 1)."""
    # Two reductions hold no array of the context's size, as a comparison of all pixels would.
    low_BC, high_BC = context_BTCHW.amin(dim=(1, 3, 4)), context_BTCHW.amax(dim=(1, 3, 4))
    return (low_BC == high_BC)[:, :, None, None]
