"""ConvLSTM2D and the layers that it is measured against, by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from framecast.nn.convlstm.layer import ConvLSTM2D

Shape = tuple[int, int, int, int, int, int]
"""In-channels, filters, kernel, size, batch, T."""
SHAPES: list[Shape] = [
    (64, 64, 3, 64, 4, 10),
    (1, 64, 5, 64, 4, 10),
    (128, 128, 5, 16, 16, 10),
    (16, 64, 3, 16, 16, 10),
]
TINY: Shape = (3, 6, 3, 8, 2, 5)
THREADS = 2
OURS, RECOMPUTE, LOOP, NDRPLZ = "framecast", "framecast, recompute", "plain loop", "ndrplz"


class PlainLoop(nn.Module):
    """x and h put together, one convolution, step by step."""

    def __init__(self, channels: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.filters = filters
        self.conv = nn.Conv2d(channels + filters, 4 * filters, kernel, padding="same")

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        h = c = x_BTCHW.new_zeros(len(x_BTCHW), self.filters, *x_BTCHW.shape[3:])
        outputs = []
        for x_BCHW in x_BTCHW.unbind(1):
            i, f, g, o = self.conv(torch.cat((x_BCHW, h), 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1)


def layer_names(ndrplz: Path | None) -> list[str]:
    """The layers that run on PyTorch; ndrplz's only with a checkout of it."""
    return [OURS, RECOMPUTE, LOOP, *([NDRPLZ] if ndrplz else [])]


def build(name: str, shape: Shape, ndrplz: Path | None) -> nn.Module:
    """The layer of that name; `ndrplz` is a checkout of ndrplz/ConvLSTM_pytorch."""
    channels, filters, kernel, *_ = shape
    if name == LOOP:
        return PlainLoop(channels, filters, kernel)
    if name == NDRPLZ:
        spec = importlib.util.spec_from_file_location("ndrplz", ndrplz / "convlstm.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.ConvLSTM(channels, filters, (kernel, kernel), 1, batch_first=True)
    return ConvLSTM2D(
        filters,
        kernel,
        in_channels=channels,
        padding="same",
        data_format="channels_first",
        return_sequences=True,
        recompute=name == RECOMPUTE,
    )


def bare_convolutions(shape: Shape) -> list[tuple[nn.Module, Tensor]]:
    """The convolution of the input of all steps and that of the state, each with what it reads."""
    channels, filters, kernel, size, batch, steps = shape
    return [
        (
            nn.Conv2d(channels, 4 * filters, kernel, padding="same"),
            torch.rand(batch * steps, channels, size, size),
        ),
        (
            nn.Conv2d(filters, 4 * filters, kernel, padding="same", bias=False),
            torch.rand(batch, filters, size, size),
        ),
    ]


def frames(shape: Shape) -> Tensor:
    channels, _, _, size, batch, steps = shape
    return torch.rand(batch, steps, channels, size, size)


def forward(module: nn.Module, x: Tensor) -> Tensor:
    """The output of all steps."""
    output = module(x)
    return output[0][0] if isinstance(output, tuple) else output
