"""Plain ConvLSTM2D forecasters: one paints changes, one paints whole frames."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from framecast.config.schema import ModelConfig
from framecast.nn.convlstm.stack import States
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.layers import (
    Stem,
    ToPixels,
    grid_stack,
    mean_logit,
    over_time,
    state_after,
)


class PlainState(NamedTuple):
    """The newest frame and each layer's (h, c)."""

    last_BCHW: Tensor
    layers: States


class PlainConvLSTM(Forecaster):
    """A ConvLSTM2D encoder-forecaster that reads its own frames and predicts the change from the
    last.

    Nothing classical inside; the head starts at zero, so an untrained network is persistence.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.stem = Stem(channels, config.patch, config.filters[0])
        self.stack = grid_stack(config.filters[0], config.filters, config.kernel_sizes)
        self.paint = ToPixels(config.filters[-1], channels, config.patch)

    def encode(self, context_BTCHW: Tensor) -> PlainState:
        layers = state_after(self.stack, over_time(self.stem, context_BTCHW)[:, :-1])
        # A copy, since a view would keep the whole context; the first step reads this frame
        return PlainState(context_BTCHW[:, -1].clone(), layers)

    def step(self, state: PlainState) -> tuple[Tensor, PlainState]:
        h_BFHW, layers = self.stack.step(self.stem(state.last_BCHW), state.layers)
        frame_BCHW = self.frame(h_BFHW, state.last_BCHW)
        return frame_BCHW, PlainState(frame_BCHW, layers)

    def frame(self, h_BFHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """The frame after `last_BCHW`."""
        return self.bounded(last_BCHW + self.paint(h_BFHW, last_BCHW.shape[-2:]))


class FrameConvLSTM(PlainConvLSTM):
    """A ConvLSTM2D network that reads frames and paints each next one whole, through a sigmoid.

    In training it forecasts the context's frames too, each from those before it, so that a step
    learns from frames as they are before it has to live on its own: the recipe of the recurrent
    networks in OpenSTL, whose ConvLSTM-S has four such layers of 128 filters. What it starts from
    is the mean brightness.
    """

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """(B, horizon, C, H, W); in training, where T > 1, (B, T - 1 + horizon, C, H, W), the
        forecasts of the context's second to last frames first."""
        if not self.training or context_BTCHW.shape[1] == 1:
            return super().forward(context_BTCHW, horizon)
        h_BTFHW, layers = self.stack(over_time(self.stem, context_BTCHW)[:, :-1])
        first_BTCHW = over_time(partial(self.frame, last_BCHW=context_BTCHW[:, -1]), h_BTFHW)
        future_BTCHW = self.unroll(PlainState(context_BTCHW[:, -1], layers), horizon)
        return torch.cat((first_BTCHW, future_BTCHW), dim=1)

    def frame(self, h_BFHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """The frame after `last_BCHW`, of which only the size counts."""
        # In float32: near 1 the steps of bfloat16 are as large as those of 8-bit pixels
        return torch.sigmoid(self.paint(h_BFHW, last_BCHW.shape[-2:]).float())

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Start from the mean brightness of the targets instead of from grey."""
        self.paint.bias.fill_(mean_logit(windows))
