"""The interface of all loaded models on NumPy frames. Does not import torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from framecast.errors import CheckpointError, UsageError
from framecast.prediction.frame_arrays import as_clips, from_pixels, to_pixels
from framecast.prediction.model_header import ModelHeader
from framecast.prediction.request import check_horizon
from framecast.runtime.text import counted
from framecast.video.frame_size import target_size
from framecast.video.pixels import DEPTHS, from_unit, resize


class FrameForecaster(ModelHeader, ABC):
    """A model that forecasts NumPy frames."""

    def predict(
        self,
        frames: Any,
        horizon: int | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Forecast the frames after those given, all of which are the context.

        `frames` are (T, H, W), (T, H, W, C) or clips (B, T, H, W, C), any T >= 1, H and W; uint8,
        uint16, or floats in `value_range` (low, high), None: 0 to 1. `horizon` None is the one
        trained with. Returns the frames to come with the axes, type and range of those given.

        Raises UsageError, a ValueError, for anything else, CheckpointError for other channels than
        the model's and when a forecast is not finite.
        """
        horizon = int(self.config.data.horizon) if horizon is None else horizon
        clips_BTHWC, as_given = as_clips(frames)
        pixels_BTHWC = to_pixels(clips_BTHWC, value_range)
        future_BTHWC = np.stack(
            [np.stack(list(self.stream(clip_THWC, horizon))) for clip_THWC in pixels_BTHWC]
        )
        return as_given(from_pixels(future_BTHWC, clips_BTHWC.dtype, value_range))

    def stream(self, context_THWC: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        """Yield the `horizon` frames (H, W, C) after a context (Tc, H, W, C), uint8 or uint16.

        One by one as they are made, at the context's own size; raises as `predict` does.
        """
        self._check_context(context_THWC, horizon)
        (height, width), dtype = context_THWC.shape[1:3], context_THWC.dtype
        # The network works at the size that it was trained at; results have the clip's own.
        size = target_size(height, width, self.config.data.resize)
        if size != (height, width):
            context_THWC = np.stack([resize(frame, *size) for frame in context_THWC])
        frames = self.forecast_pixels(context_THWC, horizon)
        del context_THWC  # tens of MB at 1080p, which only the forecaster may hold
        # `map` holds no frame while the next one is made.
        pixels = map(partial(from_unit, dtype=dtype), frames)
        yield from map(partial(resize, height=height, width=width), pixels)

    @abstractmethod
    def forecast_pixels(self, context_THWC: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        """Yield frames (C, H, W), float32 in [0, 1], after a context (T, H, W, C) of pixels."""

    def _check_context(self, context_THWC: np.ndarray, horizon: int) -> None:
        check_horizon(horizon)
        if not isinstance(context_THWC, np.ndarray) or context_THWC.dtype not in DEPTHS:
            found = getattr(context_THWC, "dtype", type(context_THWC).__name__)
            raise UsageError(
                f"context must be a NumPy array of uint8 or uint16; received {found}",
                remedy="give other arrays to predict()",
            )
        if context_THWC.ndim != 4 or context_THWC.size == 0:
            raise UsageError(
                f"context must be (T, H, W, C), none of them 0; received shape {context_THWC.shape}"
            )
        if not self.takes(context_THWC.shape[3]):
            raise CheckpointError(
                f"the model works on {counted(self.channels, 'channel')}, the frames have "
                f"{context_THWC.shape[3]}",
                remedy=f'read files with framecast.read(path, color="{self.color}")',
            )
