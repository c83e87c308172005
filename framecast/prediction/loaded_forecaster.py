"""A trained model, ready to forecast NumPy frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from framecast.config.argument_types import as_path
from framecast.nn.cost_model.memory import fitting_tile
from framecast.prediction.baselines import BASELINES
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint, named
from framecast.prediction.frame_forecaster import FrameForecaster
from framecast.prediction.model_files import PRETRAINED
from framecast.prediction.probability_matching import matched
from framecast.prediction.request import check_match, check_tile
from framecast.prediction.rollout import check_finite, rollout, tiled_rollout
from framecast.runtime.device import (
    autocast,
    cpu_by_default,
    explained_memory,
    pick_device,
    pick_precision,
    placed,
    prediction_memory,
)
from framecast.video.frame_size import target_size
from framecast.video.pixels import full_scale, to_unit


class LoadedForecaster(FrameForecaster):
    """A trained model, ready to forecast NumPy frames."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device = "auto",
        tile: int | None = None,
        match: float = 0.0,
        *,
        any_channels: bool = False,
    ) -> None:
        """`tile`: side in pixels of the tiles that larger frames are predicted in; None: whole
        frames, or tiles where memory does not hold them. `match`: how far, 0..1, each frame's
        distribution of brightness is moved to that of the last context frame. `any_channels`:
        whether it takes grey and RGB frames alike, not only what it was trained on.

        Raises UsageError for a `match` out of range, and for tiles that are no whole number, too
        small, or of a network that is tied to its frame size.
        """
        self.config = checkpoint.config
        self.channels, self.any_channels = checkpoint.clip["channels"], any_channels
        self.device = pick_device(device)
        self.precision = pick_precision(self.config.train.precision, self.device)
        self.network = placed(checkpoint.forecaster(), self.device)
        self.trained_on, self.fallback = checkpoint.trained_on, checkpoint.fallback
        self.tile, self.match = tile, match
        check_match(match)
        check_tile(tile, self.config)

    def forecast_pixels(self, context_THWC: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        side = self._side(*context_THWC.shape[:3], horizon)
        if side is None:
            frames = self.extrapolate(_unit(context_THWC), horizon)
            del context_THWC
        else:
            # Tiles are converted one by one: as float32 a context takes four times its pixels.
            height, width, channels = context_THWC.shape[1:]
            low_C, high_C = context_THWC.min(axis=(0, 1, 2)), context_THWC.max(axis=(0, 1, 2))
            flat_BC11 = torch.from_numpy(low_C == high_C)[None, :, None, None]
            cut, levels = partial(_cut, context_THWC), full_scale(context_THWC.dtype)
            is_needed = self.match > 0 or flat_BC11.any()
            last_BCHW = _unit(context_THWC[-1:])[:, 0] if is_needed else None
            del context_THWC
            shape_BCHW = (1, channels, height, width)
            frames = tiled_rollout(self.network, cut, shape_BCHW, horizon, side, levels)
            del cut
            frames = self._checked(frames, last_BCHW, flat_BC11, horizon)
        # `map` holds no frame while the next one is made.
        yield from map(_pixels, frames)

    def extrapolate(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """The model as a `rollout.Predictor`: float32 frames (B, C, H, W), large ones in tiles.

        By the network, or by the classical forecast that did better in its training (`fallback`).
        A channel that is constant in the context, in space and time, stays so to the bit. Raises
        CheckpointError when a frame is not finite, ResourceError when memory runs out.
        """
        _, length, *shape_CHW = context_BTCHW.shape
        side = self._side(length, *shape_CHW[1:], horizon)
        if self.fallback is not None:
            frames = BASELINES[self.fallback](context_BTCHW, horizon)
        elif side is None:
            frames = rollout(self.network, context_BTCHW.to(self.device), horizon)
        else:
            shape_BCHW, cut = (len(context_BTCHW), *shape_CHW), partial(_tile, context_BTCHW)
            frames = tiled_rollout(self.network, cut, shape_BCHW, horizon, side)
            del cut
        # A copy, so that the other frames are freed once the network has read them.
        last_BCHW, flat_BC11 = context_BTCHW[:, -1].clone(), _constant_channels(context_BTCHW)
        del context_BTCHW
        yield from self._checked(frames, last_BCHW, flat_BC11, horizon)

    def _checked(
        self, frames: Iterator[Tensor], last_BCHW: Tensor | None, flat_BC11: Tensor, horizon: int
    ) -> Iterator[Tensor]:
        """The frames, computed under autocast, finite, matched and constant where the context is.

        `flat_BC11` says which channels have one value in all pixels of the context, whose last
        frame is needed for these, and to match.
        """
        # Networks that serve as comparisons show their own forecast.
        flat_BC11 = flat_BC11 & self.config.model.traits.falls_back
        for lead in range(1, horizon + 1):
            # Left before every yield: the caller computes between two frames, without autocast.
            with (
                cpu_by_default(),
                explained_memory("use --device cpu, or train with a smaller data.resize"),
                autocast(self.device, self.precision),
            ):
                frame_BCHW = next(frames)
            check_finite(frame_BCHW, lead)
            frame_BCHW = frame_BCHW.float()
            if self.match > 0:
                frame_BCHW = matched(frame_BCHW, last_BCHW.to(frame_BCHW.device), self.match)
            if flat_BC11.any():
                # Blending weights sum to 1 within rounding, which adds up over the lead times.
                frame_BCHW = torch.where(
                    flat_BC11.to(frame_BCHW.device), last_BCHW.to(frame_BCHW), frame_BCHW
                )
            yield frame_BCHW
            del frame_BCHW

    def _side(self, length: int, height: int, width: int, horizon: int) -> int | None:
        """Side of the tiles that the network works in; None: it works on whole frames, or not."""
        return None if self.fallback else self.tile_side(height, width, length, horizon)

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


def load_forecaster(
    path: str | Path = PRETRAINED,
    device: str | torch.device = "auto",
    tile: int | None = None,
    match: float = 0.0,
) -> LoadedForecaster:
    """Load a model file, a run folder's best model, or the pretrained one that framecast ships.

    `device` is auto, cpu, cuda, cuda:N, mps or a torch.device; `tile` and `match` as for
    LoadedForecaster. Raises CheckpointError when the path is none of these.
    """
    checkpoint = load_checkpoint(as_path(path))
    # The pretrained network shares its weights between the channels of a frame.
    any_channels = str(path) == PRETRAINED
    with named(path):
        return LoadedForecaster(checkpoint, device, tile, match, any_channels=any_channels)


def _unit(pixels_THWC: np.ndarray) -> Tensor:
    """Pixels as the model reads them, (1, T, C, H, W) in [0, 1]."""
    return torch.from_numpy(to_unit(pixels_THWC))[None]


def _pixels(frame_BCHW: Tensor) -> np.ndarray:
    return frame_BCHW[0].cpu().numpy()


def _cut(pixels_THWC: np.ndarray, rows: slice, columns: slice) -> Tensor:
    return _unit(pixels_THWC[:, rows, columns])


def _tile(context_BTCHW: Tensor, rows: slice, columns: slice) -> Tensor:
    return context_BTCHW[..., rows, columns]


def _constant_channels(context_BTCHW: Tensor) -> Tensor:
    """Whether each channel has one value in all pixels of all frames, (B, C, 1, 1)."""
    # Two reductions hold no array of the context's size, as a comparison of all pixels would.
    low_BC, high_BC = context_BTCHW.amin(dim=(1, 3, 4)), context_BTCHW.amax(dim=(1, 3, 4))
    return (low_BC == high_BC)[:, :, None, None]
