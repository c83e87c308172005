"""Autoregression as a generator: one predicted frame at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from framecast.nn.forecasters.base import Forecaster

Predictor = Callable[[Tensor, int], Iterator[Tensor]]
"""Everything that forecasts: context (B, Tc, C, H, W) and horizon in, (B, C, H, W) frames out."""


def rollout(forecaster: Forecaster, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Yield the `horizon` frames (B, C, H, W) in [0, 1] after the context; computes no gradients.

    Puts the forecaster into eval mode. Holds one state and one frame, whatever the horizon.
    """
    forecaster.eval()
    with torch.inference_mode():
        state = forecaster.encode(context_BTCHW)
    for _ in range(horizon):
        with torch.inference_mode():
            frame_BCHW, state = forecaster.step(state)
        yield frame_BCHW
