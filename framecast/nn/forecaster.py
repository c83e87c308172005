"""The networks that forecast: all encode a context into a state and step it one frame at a time.

Axes: B batch, T time, N any leading axis, C image channels, H rows, W columns; on the network's
grid of patch x patch pixels per cell: E embedding, F filters, with H and W the rows and columns of
cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framecast.config import ModelConfig
from framecast.nn.motion import advect, coverage, lucas_kanade, warp
from framecast.nn.stack import ConvLSTMStack, States
from framecast.nn.widths import FLOW_HINTS, FLOW_MAPS, paint_side, stem_widths


class Forecaster(nn.Module):
    """A network that turns a context into a state, and the state into future frames, one by one.

    `encode` takes (B, Tc, C, H, W) in [0, 1], any Tc >= 1, H and W; `step` returns the next frame
    (B, C, H, W) and the next state, a (nested) tuple of tensors. In eval mode frames lie in [0, 1].
    """

    def encode(self, context_BTCHW: Tensor) -> Any:
        raise NotImplementedError

    def step(self, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set what has a closed-form best value on sample (context, target)s, before training."""

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """Return the `horizon` frames after the context as (B, horizon, C, H, W)."""
        state, frames = self.encode(context_BTCHW), []
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
    """ConvLSTM2D layers that keep the grid's size, stepped together."""
    shared = {"padding": "same", "data_format": "channels_first", "peephole": peephole}
    layers = [
        {"filters": width, "kernel_size": side, **shared}
        for width, side in zip(filters, kernel_sizes, strict=True)
    ]
    return ConvLSTMStack(layers, in_channels=channels)


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
        embedded_BTEHW = over_time(self.stem, context_BTCHW)
        layers = self.stack.zero_state(embedded_BTEHW[:, 0])
        for x_BEHW in embedded_BTEHW[:, :-1].unbind(dim=1):
            _, layers = self.stack.step(x_BEHW, layers)
        return PlainState(context_BTCHW[:, -1], layers)

    def step(self, state: PlainState) -> tuple[Tensor, PlainState]:
        h_BFHW, layers = self.stack.step(self.stem(state.last_BCHW), state.layers)
        change_BCHW = self.paint(h_BFHW, state.last_BCHW.shape[-2:])
        frame_BCHW = self.bounded(state.last_BCHW + change_BCHW)
        return frame_BCHW, PlainState(frame_BCHW, layers)


class FlowState(NamedTuple):
    """What the flow forecaster carries: the last frame seen, how far it has moved, and the layers.

    `surprise_BCHW` is what the motion failed to explain in the last frame, `displacement_B2HW`
    points from a pixel of the newest forecast back to where it was in the last frame, `lead_B1HW`
    counts the frames forecast so far (on the grid).
    """

    last_BCHW: Tensor
    surprise_BCHW: Tensor
    velocity_B2HW: Tensor
    displacement_B2HW: Tensor
    lead_B1HW: Tensor
    layers: States


class FlowConvLSTM(Forecaster):
    """Optical-flow extrapolation whose motion, blending, gain and residual ConvLSTM2D layers learn.

    The encoder reads every context frame beside what the estimated motion fails to explain in it.
    At each lead time the layers see the extrapolated frame and give, per grid cell: a correction of
    the velocity, the weight between the moved and the unmoved last frame, and a gain; per pixel: a
    residual. The head starts at zero: an untrained network is a fixed blend of persistence and
    optical flow.
    """

    BLEND_SCALE = 8.0
    """Makes the blend's logit, which must travel farther than the other outputs, learn faster."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.patch, embedding = config.patch, config.filters[0]
        self.stem = Stem(2 * channels, config.patch, embedding)
        self.stack = grid_stack(embedding + FLOW_HINTS, config.filters, config.kernel_sizes)
        self.head = zero_conv(config.filters[-1], FLOW_MAPS)
        self.paint = ToPixels(config.filters[-1], channels, config.patch)

    def encode(self, context_BTCHW: Tensor) -> FlowState:
        device = context_BTCHW.device.type
        # Meta tensors, which carry shapes only, have no autocast of their own.
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):
            velocity_B2HW = lucas_kanade(context_BTCHW.float().mean(dim=2))
            surprise_BTCHW = self._surprises(context_BTCHW.float(), velocity_B2HW)
        embedded_BTEHW = over_time(self.stem, torch.cat((context_BTCHW, surprise_BTCHW), dim=2))
        layers = self.stack.zero_state(embedded_BTEHW[:, 0])
        lead_B1HW = torch.zeros_like(embedded_BTEHW[:, 0, :1])
        still_B2HW = torch.zeros_like(velocity_B2HW)
        hints = self._hints(velocity_B2HW, still_B2HW, lead_B1HW)
        for x_BEHW in embedded_BTEHW.unbind(dim=1):
            _, layers = self.stack.step(torch.cat((x_BEHW, hints), dim=1), layers)
        return FlowState(
            context_BTCHW[:, -1],
            surprise_BTCHW[:, -1],
            velocity_B2HW,
            still_B2HW,
            lead_B1HW,
            layers,
        )

    def step(self, state: FlowState) -> tuple[Tensor, FlowState]:
        lead_B1HW = state.lead_B1HW + 1
        expected_B2HW = advect(state.displacement_B2HW, state.velocity_B2HW)
        seen_BCHW = warp(torch.cat((state.last_BCHW, state.surprise_BCHW), dim=1), expected_B2HW)
        hints = self._hints(state.velocity_B2HW, expected_B2HW, lead_B1HW)
        x_BEHW = torch.cat((self.stem(seen_BCHW), hints), dim=1)
        h_BFHW, layers = self.stack.step(x_BEHW, state.layers)
        size = state.last_BCHW.shape[-2:]
        maps_B4HW = self._spread(self.head(h_BFHW).float(), size)
        turn, logit, gain = maps_B4HW.tensor_split((2, 3), dim=1)

        velocity_B2HW = state.velocity_B2HW + turn
        displacement_B2HW = advect(state.displacement_B2HW, velocity_B2HW)
        moved_BCHW = warp(state.last_BCHW, displacement_B2HW)
        weight = torch.sigmoid(self.BLEND_SCALE * logit)
        blend_BCHW = state.last_BCHW + weight * (moved_BCHW - state.last_BCHW)
        frame_BCHW = (1 + gain) * blend_BCHW + self.paint(h_BFHW, size).float()
        after = state._replace(
            velocity_B2HW=velocity_B2HW,
            displacement_B2HW=displacement_B2HW,
            lead_B1HW=lead_B1HW,
            layers=layers,
        )
        return self.bounded(frame_BCHW), after

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Start from the blend of persistence and flow with the least squared error on these."""
        along, length = 0.0, 0.0
        for context_BTCHW, target_BTCHW in windows:
            state = self.encode(context_BTCHW)
            displacement_B2HW = state.displacement_B2HW
            for truth_BCHW in target_BTCHW.unbind(dim=1):
                displacement_B2HW = advect(displacement_B2HW, state.velocity_B2HW)
                change_BCHW = warp(state.last_BCHW, displacement_B2HW) - state.last_BCHW
                along += ((truth_BCHW - state.last_BCHW) * change_BCHW).sum().item()
                length += change_BCHW.square().sum().item()
        weight = torch.tensor(along / length if length > 0 else 0.5).clamp(0.02, 0.98)
        self.head.bias[2] = torch.logit(weight) / self.BLEND_SCALE

    def _surprises(self, context_BTCHW: Tensor, velocity_B2HW: Tensor) -> Tensor:
        """Each frame minus its predecessor moved along; the first frame has none: zeros."""
        B, T, _, H, W = context_BTCHW.shape
        if T == 1:
            return torch.zeros_like(context_BTCHW)
        older = context_BTCHW[:, :-1].flatten(0, 1)
        shift = velocity_B2HW.unsqueeze(1).expand(B, T - 1, 2, H, W).flatten(0, 1)
        explained = warp(older, -shift).unflatten(0, (B, T - 1))
        return F.pad(context_BTCHW[:, 1:] - explained, (0, 0, 0, 0, 0, 0, 1, 0))

    def _hints(self, velocity_B2HW: Tensor, displacement_B2HW: Tensor, lead_B1HW: Tensor) -> Tensor:
        """What the layers are told beside the picture, on the grid: (B, 4, H, W).

        Velocity in cells per frame, lead time / 12, and how much of a cell came from inside the
        frame.
        """
        fields = torch.cat((velocity_B2HW / self.patch, coverage(displacement_B2HW)), dim=1)
        on_grid = F.avg_pool2d(pad_to_grid(fields, self.patch), self.patch)
        return torch.cat((on_grid, lead_B1HW / 12), dim=1)

    def _spread(self, maps_BMHW: Tensor, size: tuple[int, int]) -> Tensor:
        """Interpolate per-cell maps to pixels, the padding cropped off."""
        if self.patch > 1:
            maps_BMHW = F.interpolate(maps_BMHW, scale_factor=self.patch, mode="bilinear")
        return maps_BMHW[..., : size[0], : size[1]]
