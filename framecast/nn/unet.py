"""A U-Net of ConvLSTM2D layers: an encoder-forecaster on several scales at once.

Shi et al., 2017 (arXiv:1706.03458), section 3.2: each layer of the encoder works on a coarser grid
than the one below and hands its state to the forecaster's layer of the same grid, which is led by
the coarser one above. Here each layer's input is normalised (Ba et al., 2016) and its output added
to it, so that what is seen reaches the last frame however many layers lie between; and the
forecaster reads no frames, its own or others, so that all lead times are computed in one pass.

Axes as in `forecaster.py`; every level has a grid and filters of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from framecast.nn.convlstm import ConvLSTM2D
from framecast.nn.forecaster import Forecaster, Stem, ToPixels, over_time
from framecast.nn.recurrence import State
from framecast.nn.stack import States
from framecast.nn.widths import REFINEMENTS
from framecast.sections import ModelConfig


class ChannelNorm(nn.LayerNorm):
    """Mean 0 and variance 1 over the channels of each place, then scaled and shifted: (N,F,H,W).

    Place by place, so that a moved picture gives the moved result and a tile what the whole gives.
    """

    def forward(self, x_NFHW: Tensor) -> Tensor:
        return super().forward(x_NFHW.movedim(1, -1)).movedim(-1, 1)


class Refinement(nn.Sequential):
    """Two 3x3 convolutions whose result is added to what they are given; nothing at first."""

    def __init__(self, filters: int) -> None:
        last = nn.Conv2d(filters, filters, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Conv2d(filters, filters, 3, padding=1), nn.LeakyReLU(0.1), last)

    def forward(self, x_NFHW: Tensor) -> Tensor:
        return x_NFHW + super().forward(x_NFHW)


class Level(nn.Module):
    """A ConvLSTM2D layer with a norm before and refinements behind, all of them residual."""

    def __init__(self, filters: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(filters)
        self.layer = ConvLSTM2D(
            filters,
            kernel_size,
            padding="same",
            data_format="channels_first",
            return_sequences=True,
            return_state=True,
            in_channels=filters,
        )
        self.refine = nn.Sequential(*(Refinement(filters) for _ in range(REFINEMENTS)))

    def forward(self, x_BTFHW: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T, F, H, W) in, the same and h and c of the last step out."""
        h_BTFHW, *last = self.layer(over_time(self.norm, x_BTFHW), state)
        return over_time(self.refine, x_BTFHW + h_BTFHW), (last[0], last[1])


class UNetState(NamedTuple):
    """What the forecaster carries: the last frame, what each level of the encoder said of it, and
    (h, c) of each level; coarsest first."""

    last_BCHW: Tensor
    seen: tuple[Tensor, ...]
    layers: States


class UNetConvLSTM(Forecaster):
    """ConvLSTM2D layers on ever coarser grids, twice: an encoder and, from its states, a forecaster.

    `filters` and `kernel_sizes` are those of the levels, the finest, of `patch` x `patch` pixels to
    a cell, first. Gives the last frame times 1 + a map plus another map, both zero at first: an
    untrained network is persistence.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        filters, kernels = config.filters, config.kernel_sizes
        self.stem = Stem(channels, config.patch, filters[0])
        self.encoder = _levels(filters, kernels)
        self.down = nn.ModuleList(_halve(fine, coarse) for fine, coarse in pairwise(filters))
        self.forecaster = _levels(filters[::-1], kernels[::-1])
        self.up = nn.ModuleList(_double(coarse, fine) for coarse, fine in pairwise(filters[::-1]))
        self.norm = ChannelNorm(filters[0])
        self.paint = ToPixels(filters[0], 2 * channels, config.patch)

    def encode(self, context_BTCHW: Tensor) -> UNetState:
        x_BTFHW = over_time(self.stem, context_BTCHW)
        seen, layers = [], []
        for number, level in enumerate(self.encoder):
            if number:
                x_BTFHW = over_time(self.down[number - 1], x_BTFHW)
            x_BTFHW, state = level(x_BTFHW)
            seen.append(x_BTFHW[:, -1].clone())  # a view would hold on to all the others
            layers.append(state)
        return UNetState(context_BTCHW[:, -1], tuple(seen[::-1]), tuple(layers[::-1]))

    def step(self, state: UNetState) -> tuple[Tensor, UNetState]:
        frames_B1CHW, after = self._forecast(state, 1)
        return frames_B1CHW[:, 0], after

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """All lead times in one pass, as (B, horizon, C, H, W): the frames of as many steps."""
        return self._forecast(self.encode(context_BTCHW), horizon)[0]

    def _forecast(self, state: UNetState, n: int) -> tuple[Tensor, UNetState]:
        """The next `n` frames (B, n, C, H, W), and the state behind the last of them."""
        x_BnFHW = state.seen[0].unsqueeze(1).repeat(1, n, 1, 1, 1)
        layers = []
        for number, (level, before) in enumerate(zip(self.forecaster, state.layers, strict=True)):
            if number:
                x_BnFHW = over_time(self.up[number - 1], x_BnFHW)
                H, W = state.seen[number].shape[-2:]
                x_BnFHW = x_BnFHW[..., :H, :W] + state.seen[number].unsqueeze(1)
            x_BnFHW, after = level(x_BnFHW, before)
            layers.append(after)
        cells_NFHW = self.norm(x_BnFHW.flatten(0, 1))
        maps_NCHW = self.paint(cells_NFHW, state.last_BCHW.shape[-2:]).float()
        times_BnCHW, plus_BnCHW = maps_NCHW.unflatten(0, (-1, n)).chunk(2, dim=2)
        frames_BnCHW = state.last_BCHW.unsqueeze(1) * (1 + times_BnCHW) + plus_BnCHW
        return self.bounded(frames_BnCHW), state._replace(layers=tuple(layers))


def _levels(filters: Sequence[int], kernel_sizes: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(Level(f, k) for f, k in zip(filters, kernel_sizes, strict=True))


def _halve(channels: int, filters: int) -> nn.Sequential:
    """To a grid of half the resolution, rounded up."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, stride=2, padding=1), nn.LeakyReLU(0.1)
    )


def _double(channels: int, filters: int) -> nn.Sequential:
    """To a grid of twice the resolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, filters, 4, stride=2, padding=1), nn.LeakyReLU(0.1)
    )
