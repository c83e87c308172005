"""The building blocks of forecasters: the stem, the grid of cells, and the way back to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framecast.nn.convlstm.stack import ConvLSTMStack, States
from framecast.nn.forecasters.grid import paint_side, stem_widths


class Stem(nn.Sequential):
    """Strided 3x3 convolutions from patch x patch pixels to one cell; pads H and W to whole cells.

    (N, C, H, W) -> (N, E, ceil(H / patch), ceil(W / patch)).
    """

    def __init__(self, channels: int, patch: int, embedding: int) -> None:
        widths = [channels, *stem_widths(patch, embedding)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            # Each halves the resolution, until a cell is patch x patch pixels
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
    recurrent: Sequence[int] | None = None,
    *,
    peephole: bool = False,
) -> ConvLSTMStack:
    """ConvLSTM2D layers that keep the grid's size, run over sequences or stepped together.

    `recurrent` are the sides of the states' kernels, None: as `kernel_sizes`.
    """
    shared = {
        "padding": "same",
        "data_format": "channels_first",
        "return_sequences": True,
        "peephole": peephole,
    }
    layers = [
        {"filters": width, "kernel_size": side, "recurrent_kernel_size": own, **shared}
        for width, side, own in zip(filters, kernel_sizes, recurrent or kernel_sizes, strict=True)
    ]
    return ConvLSTMStack(layers, in_channels=channels, return_state=True)


def state_after(stack: ConvLSTMStack, cells_BTEHW: Tensor) -> States:
    """h and c of all layers after a sequence, zeros after an empty one."""
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
        # A tent over two cells: tents of neighbours add up to 1 at every pixel
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


def mean_logit(windows: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The logit of the mean brightness of the targets, which is kept within 0.01 and 0.99."""
    means = torch.stack([target_BTCHW.mean() for _, target_BTCHW in windows])
    return torch.logit(means.mean().clamp(0.01, 0.99))
