"""ConvLSTM2D and the layers that it is measured against, by name."""

from __future__ import annotations

import os
from functools import partial

import torch
from torch import Tensor, nn

from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.runtime.device import autocast, placed

from .timing import Run

Shape = tuple[int, int, int, int, int, int]
"""In-channels, filters, kernel, size, batch, T."""
SHAPES: list[Shape] = [
    (64, 64, 3, 64, 4, 10),
    (1, 64, 5, 64, 4, 10),
    (128, 128, 5, 16, 16, 10),
    (16, 64, 3, 16, 16, 10),
]
TINY: Shape = (3, 6, 3, 8, 2, 5)
OURS, LOOP, KERAS = "framecast", "plain loop", "Keras on torch"
LAYERS = (OURS, LOOP, KERAS)


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


class KerasLayer(nn.Module):
    """Keras' own layer, whose weights are PyTorch's here, with channels last as is its default."""

    def __init__(self, channels: int, filters: int, kernel: int, size: int) -> None:
        super().__init__()
        os.environ["KERAS_BACKEND"] = "torch"
        import keras  # noqa: PLC0415 - the backend must be chosen first

        self.layer = keras.layers.ConvLSTM2D(filters, kernel, padding="same", return_sequences=True)
        self.layer.build((None, None, size, size, channels))

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        return self.layer(x_BTCHW.movedim(2, -1))


def build(name: str, shape: Shape) -> nn.Module:
    """The layer of that name, which returns the states of all time steps."""
    channels, filters, kernel, size, *_ = shape
    if name == LOOP:
        return PlainLoop(channels, filters, kernel)
    if name == KERAS:
        return KerasLayer(channels, filters, kernel, size)
    return ConvLSTM2D(
        filters,
        kernel,
        in_channels=channels,
        padding="same",
        data_format="channels_first",
        return_sequences=True,
    )


def bare_convolutions(shape: Shape) -> list[tuple[nn.Module, Tensor]]:
    """The convolution of the input of all steps and that of the state, each with its input."""
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


def run_step(module: nn.Module, x: Tensor, precision: str, training: bool) -> None:
    """Forward and backward to input and weights, or forward alone; waits for a CUDA device."""
    module.zero_grad(set_to_none=True)
    leaf = x.detach().requires_grad_(training)
    with torch.set_grad_enabled(training), autocast(x.device.type, precision):
        output = module(leaf)
    if training:
        output.float().sum().backward()
    if x.is_cuda:
        torch.cuda.synchronize()


def bare_run(shape: Shape, device: str, precision: str, training: bool) -> Run:
    """The input's convolution of all steps and the state's of all but the first."""
    inputs, state = (
        partial(run_step, placed(module, device), x.to(device), precision, training)
        for module, x in bare_convolutions(shape)
    )

    def run() -> None:
        inputs()
        for _ in range(shape[-1] - 1):
            state()

    return run
