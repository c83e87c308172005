"""The networks that forecast: all encode a context into a state and step it one frame at a time.

Axes: B batch, T time, N any leading axis, C image channels, H rows, W columns; on the network's
grid of patch x patch pixels per cell: E embedding, F filters, with H and W the rows and columns of
cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framecast.nn.stack import ConvLSTMStack, States
from framecast.nn.widths import paint_side, stem_widths
from framecast.sections import ModelConfig


class Forecaster(nn.Module):
    """A network that turns a context into a state, and the state into future frames, one by one.

    `encode` takes (B, Tc, C, H, W) in [0, 1], any Tc >= 1, H and W; `step` returns the next frame
    (B, C, H, W) and the next state, a (nested) tuple of tensors. In eval mode frames lie in [0, 1].
    """

    recordable = True
    """Whether a CUDA graph can hold a training step: nothing in it waits for the device."""

    def encode(self, context_BTCHW: Tensor) -> Any:
        raise NotImplementedError

    def step(self, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def agree(self, states: Sequence[Any]) -> Sequence[Any]:
        """Make states of tiles of one frame agree on what they tell of the frame as a whole."""
        return states

    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set what has a closed-form best value on sample (context, target)s, before training."""

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """Return the `horizon` frames after the context as (B, horizon, C, H, W).

        In training a network may put forecasts of the context's last frames before them.
        """
        return self.unroll(self.encode(context_BTCHW), horizon)

    def unroll(self, state: Any, horizon: int) -> Tensor:
        """The frames (B, horizon, C, H, W) of so many steps."""
        frames = []
        for _ in range(horizon):
            frame_BCHW, state = self.step(state)
            frames.append(frame_BCHW)
        return torch.stack(frames, dim=1)

    def bounded(self, frame_BCHW: Tensor) -> Tensor:
        """Clip to [0, 1], except in training, where that would hide gradients."""
        return frame_BCHW if self.training else frame_BCHW.clamp(0, 1)


class Stem(nn.Sequential):
    """Strided 3x3 convolutions from patch x patch pixels to one cell; pads H and W to whole cells.

    (N, C, H, W) -> (N, E, ceil(H / patch), ceil(W / patch)).
    """

    def __init__(self, channels: int, patch: int, embedding: int) -> None:
        widths = [channels, *stem_widths(patch, embedding)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers.append(nn.Conv2d(before, after, 3, stride=min(patch, 2), padding=1))
            layers.append(nn.LeakyReLU(0.1))
        super().__init__(*layers)
        self.patch = patch

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        return super().forward(pad_to_grid(frames_NCHW, self.patch))


def grid_stack(
    channels: int,
    filters: Sequence[int],
    kernel_sizes: Sequence[int],
    *,
    peephole: bool = False,
) -> ConvLSTMStack:
    """ConvLSTM2D layers that keep the grid's size, run over sequences or stepped together."""
    shared = {
        "padding": "same",
        "data_format": "channels_first",
        "return_sequences": True,
        "peephole": peephole,
    }
    layers = [
        {"filters": width, "kernel_size": side, **shared}
        for width, side in zip(filters, kernel_sizes, strict=True)
    ]
    return ConvLSTMStack(layers, in_channels=channels, return_state=True)


def state_behind(stack: ConvLSTMStack, cells_BTEHW: Tensor) -> States:
    """h and c of all layers behind a sequence, zeros behind an empty one."""
    if cells_BTEHW.shape[1] == 0:
        batch, _, *shape = cells_BTEHW.shape
        return stack.zero_state(cells_BTEHW.new_empty(batch, *shape))
    return stack(cells_BTEHW)[1]


def pad_to_grid(frames_NCHW: Tensor, patch: int) -> Tensor:
    """Repeat the last rows and columns until both sides are whole numbers of patches."""
    H, W = frames_NCHW.shape[-2:]
    return F.pad(frames_NCHW, (0, -W % patch, 0, -H % patch), mode="replicate")


class ToPixels(nn.Module):
    """Paint cells (N, F, H, W) as pixels (N, C, *size), the grid's padding cropped off.

    Each cell paints a patch of twice its own side that fades out linearly, so that neighbours blend
    and no edges show; a transposed convolution. Starts out painting zeros.
    """

    def __init__(self, filters: int, channels: int, patch: int) -> None:
        super().__init__()
        side = paint_side(patch)
        self.patch = patch
        self.weight = nn.Parameter(torch.zeros(filters, channels, side, side))
        self.bias = nn.Parameter(torch.zeros(channels))
        ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() / patch
        self.register_buffer("taper", ramp * ramp.unsqueeze(1), persistent=False)

    def forward(self, cells_NFHW: Tensor, size: tuple[int, int]) -> Tensor:
        pixels_NCHW = F.conv_transpose2d(
            cells_NFHW,
            self.weight * self.taper,
            self.bias,
            stride=self.patch,
            padding=self.patch // 2,
        )
        return pixels_NCHW[..., : size[0], : size[1]]


def over_time(function: Callable[[Tensor], Tensor], frames_BTCHW: Tensor) -> Tensor:
    """Apply an image function to all time steps in one call: (B, T, ...) -> (B, T, ...)."""
    return function(frames_BTCHW.flatten(0, 1)).unflatten(0, frames_BTCHW.shape[:2])


def zero_conv(channels: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution that starts out giving zeros."""
    conv = nn.Conv2d(channels, outputs, 1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


class PlainState(NamedTuple):
    """What the plain forecaster carries: the newest frame and each layer's (h, c)."""

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
        layers = state_behind(self.stack, over_time(self.stem, context_BTCHW)[:, :-1])
        # A copy, since a view would hold on to the whole context.
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
        # In float32: near 1 the steps of bfloat16 are as large as those of 8-bit pixels.
        return torch.sigmoid(self.paint(h_BFHW, last_BCHW.shape[-2:]).float())

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Start from the mean brightness of the targets instead of from grey."""
        self.paint.bias.fill_(mean_logit(windows))


def mean_logit(windows: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """What a sigmoid makes the mean brightness of the targets, within 0.01 and 0.99."""
    means = torch.stack([target_BTCHW.mean() for _, target_BTCHW in windows])
    return torch.logit(means.mean().clamp(0.01, 0.99))
