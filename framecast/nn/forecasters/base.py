"""The networks that forecast: all encode a context into a state and step it one frame at a time.

Axes: B batch, T time, N any leading axis, C image channels, H rows, W columns; on the network's
grid of patch x patch pixels per cell: E embedding, F filters, with H and W the rows and columns of
cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Forecaster(nn.Module):
    """A network that turns a context into a state, and the state into future frames, one by one.

    `encode` takes (B, Tc, C, H, W) in [0, 1], any Tc >= 1, H and W; `step` returns the next frame
    (B, C, H, W) and the next state, a (nested) tuple of tensors. In eval mode frames lie in [0, 1].
    """

    # Whether a CUDA graph can hold a training step: nothing in it waits for the device
    recordable = True

    def encode(self, context_BTCHW: Tensor) -> Any:
        raise NotImplementedError

    def step(self, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def graph_of(self, height: int, width: int) -> object:
        """A value that is equal for two frame sizes if they run the same operations.

        A traced graph holds for all sizes that have the value of the one it was traced at.
        """
        # The same operations at every size
        return None

    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set what has a closed-form best value on sample (context, target)s, before training."""

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """Return the `horizon` frames after the context as (B, horizon, C, H, W).

        In training a network may put forecasts of the context's last frames before them.
        """
        return self.unroll(self.encode(context_BTCHW), horizon)

    def unroll(self, state: Any, horizon: int) -> Tensor:
        """The frames (B, horizon, C, H, W) of `horizon` steps."""
        frames = []
        for _ in range(horizon):
            frame_BCHW, state = self.step(state)
            frames.append(frame_BCHW)
        return torch.stack(frames, dim=1)

    def bounded(self, frame_BCHW: Tensor) -> Tensor:
        """Clip to [0, 1], except in training, where that would hide gradients."""
        return frame_BCHW if self.training else frame_BCHW.clamp(0, 1)
