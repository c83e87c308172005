"""Experiments on real modules that show what each network computes for x and for h.

Untrained networks, except that weights which start at zero are drawn, so that no part is idle:
what is found holds for any weights. Axes as in `framecast/nn/forecasters/base.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from framecast.config.schema import ModelConfig
from framecast.errors import CheckpointError
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.nn.recurrence.equations import convolve
from framecast.nn.shapes import ConvGeometry
from framecast.video.readers.open import open_sources

CONTEXT, CELL = 9, 4
"""Frames before the forecast one, and pixels in the side of a cell in all networks with cells."""

AGES = (2, 4, 6, 8)
"""How many frames before the forecast one the pixels are whose influence is mapped."""


def drawn_network(name: str, size: tuple[int, int], **settings: object) -> Forecaster:
    """A network for grey frames in which no weight is zero."""
    small = {"filters": (16, 16), "patch": CELL, "units": (64,)}
    torch.manual_seed(0)
    network = build_forecaster(ModelConfig(name, **(small | settings)), 1, size)
    for name_, weight in network.named_parameters():
        if "bias" not in name_ and not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return network


def showers(sample: Path) -> Tensor:
    """The first frames of a grey clip as a context (1, CONTEXT, 1, H, W) in [0, 1]."""
    (source,) = open_sources([sample], color="gray")
    frames_THWC = np.stack(list(source.read(0, CONTEXT)))
    return torch.from_numpy(frames_THWC).movedim(-1, 1).unsqueeze(0).float() / 255


def influence(
    network: Forecaster, context_BTCHW: Tensor, age: int, pixel: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """How the next frame, and the last layer's h, depend on one pixel `age` frames before it.

    Absolute derivatives: of the frame (H, W), and of h (F, rows, columns), or (U, 1, 1) in an LSTM
    without places. Numbers that the pixel cannot reach are exactly 0. By forward differentiation;
    where PyTorch has none for an operation (warps), by what a change of 0.25 makes, divided by it.
    """
    change_BTCHW = torch.zeros_like(context_BTCHW)
    change_BTCHW[:, -age, :, pixel[0], pixel[1]] = 1

    def forecast(seen_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        frame_BCHW, after = network.step(network.encode(seen_BTCHW))
        return frame_BCHW, after.layers[-1][0]

    network.train()  # in eval mode frames are clipped, which hides influence where it is dark
    try:
        with forward_ad.dual_level():
            found = forecast(forward_ad.make_dual(context_BTCHW, change_BTCHW))
            frame, h = (forward_ad.unpack_dual(tensor).tangent for tensor in found)
    except NotImplementedError:
        before, after = forecast(context_BTCHW), forecast(context_BTCHW + change_BTCHW / 4)
        frame, h = (4 * (new - old) for new, old in zip(after, before, strict=True))
    return frame[0, 0].detach().abs().numpy(), h[0].detach().abs().numpy()


def drifting_waves(size: tuple[int, int], steps: int) -> Tensor:
    """A texture that drifts 0.7 rows and 1.3 columns a frame and closes round the edges.

    (1, steps, 1, H, W) in [0, 1].
    """
    torch.manual_seed(1)
    rows, columns = (torch.arange(length) / length for length in size)
    frames = torch.zeros(steps, *size)
    for down, right, phase in zip(
        torch.randint(-6, 7, (40,)), torch.randint(-6, 7, (40,)), torch.rand(40), strict=True
    ):
        for t in range(steps):
            turns = down * (rows - 0.7 * t / size[0])[:, None] + right * (
                columns - 1.3 * t / size[1]
            )
            frames[t] += torch.cos(2 * torch.pi * (turns + phase))
    frames -= frames.min()
    return (frames / frames.max())[None, :, None]


@torch.no_grad()
def unlike_when_moved(network: Forecaster, size: tuple[int, int], cells: tuple[int, int]) -> float:
    """How far the forecast of a moved clip is from the moved forecast, away from the borders.

    The root mean square of the difference, as a share of the standard deviation of the changes
    forecast: 0 for a network that treats all places alike. The clip moves by whole `cells`.
    """
    context_BTCHW = drifting_waves(size, 3)
    shift = tuple(CELL * number for number in cells)
    moved_BTCHW = torch.roll(context_BTCHW, shift, dims=(-2, -1))
    network.train()
    last = torch.roll(context_BTCHW[:, -1:], shift, dims=(-2, -1))
    expected = torch.roll(network(context_BTCHW, 1), shift, dims=(-2, -1)) - last
    found = network(moved_BTCHW, 1) - moved_BTCHW[:, -1:]
    inside = (..., *(slice(length * 2 // 5, length * 3 // 5) for length in size))
    spread = expected[inside].std()
    if spread < 1e-3:
        raise ValueError("the network forecasts no change whose movement could be seen")
    return ((found - expected)[inside].square().mean().sqrt() / spread).item()


@torch.no_grad()
def at_another_size(network: Forecaster, size: tuple[int, int]) -> str | None:
    """None when the network forecasts frames of this size, else the sentence it refuses them by."""
    try:
        frames_BTCHW = network(torch.rand(1, 2, 1, *size), 1)
    except CheckpointError as error:
        return str(error)
    if frames_BTCHW.shape[-2:] != size:
        raise ValueError(f"asked for frames of {size}, got {tuple(frames_BTCHW.shape[-2:])}")
    return None


@dataclass(frozen=True)
class WrittenOut:
    """A ConvLSTM2D compared with the fully connected LSTM that computes the same.

    `difference` is the largest between their outputs h, `weights` the ConvLSTM2D's own, `entries`
    and `non_zero` those of the LSTM's two matrices and their bias.
    """

    difference: float
    weights: int
    units: int
    entries: int
    non_zero: int


@torch.no_grad()
def written_out(
    filters: int, kernel_size: int, channels: int, size: tuple[int, int], steps: int = 5
) -> WrittenOut:
    """Copy a ConvLSTM2D into a torch.nn.LSTM over frames in a row of cells, and compare them.

    The convolutions become matrices: what a kernel does not cover is 0, what it covers is the same
    weight at every place. With 1x1 kernels and frames of one cell nothing is left out.
    """
    torch.manual_seed(2)
    layer = ConvLSTM2D(
        filters,
        kernel_size,
        padding="same",
        data_format="channels_first",
        in_channels=channels,
        return_sequences=True,
    )
    torch.nn.init.normal_(layer.bias)
    cells = size[0] * size[1]
    lstm = torch.nn.LSTM(channels * cells, filters * cells, batch_first=True)
    lstm.weight_ih_l0.copy_(_as_matrix(layer.kernel, channels, size))
    lstm.weight_hh_l0.copy_(_as_matrix(layer.recurrent_kernel, filters, size))
    lstm.bias_ih_l0.copy_(layer.bias.repeat_interleave(cells))
    lstm.bias_hh_l0.zero_()
    x_BTCHW = torch.randn(2, steps, channels, *size)
    h_BTFHW, (h_BTD, _) = layer(x_BTCHW), lstm(x_BTCHW.flatten(2))
    matrices = (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0)
    return WrittenOut(
        difference=(h_BTFHW.flatten(2) - h_BTD).abs().max().item(),
        weights=sum(weight.numel() for weight in layer.parameters()),
        units=filters * cells,
        entries=sum(matrix.numel() for matrix in matrices),
        non_zero=sum(int(matrix.count_nonzero()) for matrix in matrices),
    )


def _as_matrix(kernel: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """The matrix (4F H W, C H W) of a convolution that keeps the size, a column for each number."""
    each = torch.eye(channels * size[0] * size[1]).unflatten(1, (channels, *size))
    geometry = ConvGeometry.parse(2, kernel_size=kernel.shape[-1])
    return convolve(each, kernel, None, geometry).flatten(1).T


def moving_network(name: str) -> tuple[Forecaster, tuple[int, int], tuple[int, int]]:
    """A network with the size (H, W) and the shift in cells that it is moved by."""
    if ModelConfig(name).traits.tied_to_size:
        return drawn_network(name, (96, 96)), (96, 96), (1, 2)
    return drawn_network(name, (192, 192)), (192, 192), (4, 8)


@dataclass(frozen=True)
class Finding:
    """What the experiments found of one network; shares are of the numbers of a frame.

    `felt_in` says, by how many frames earlier a pixel was, in how much of the next frame it is
    felt; `refusal` is the sentence by which frames of another size are refused.
    """

    network: str
    of_input: str
    of_state: str
    felt_in: dict[int, float]
    unlike_when_moved: float
    refusal: str | None


def transforms(name: str, side: int) -> tuple[str, str]:
    """What the first recurrent layer does to its input x and to its state h, read off its weights.

    "3x3 convolution, 64 to 4 x 64 maps" or "dense, 256 to 4 x 256 numbers", for the four gates.
    """
    config = ModelConfig(name)
    with torch.device("meta"):
        network = build_forecaster(config, 1, (side, side))
    layer = next(module for module in network.modules() if hasattr(module, "recurrent_kernel"))
    return tuple(
        _in_words(tuple(kernel.shape), config.traits.tied_to_size)
        for kernel in (layer.kernel, layer.recurrent_kernel)
    )


def _in_words(shape: tuple[int, ...], dense: bool) -> str:
    gates, inputs, height, width = shape
    sizes = f"{inputs:,} to 4 x {gates // 4:,}"
    return f"dense, {sizes} numbers" if dense else f"{height}x{width} convolution, {sizes} maps"


def examine(name: str, sample: Path) -> tuple[Finding, dict[int, np.ndarray]]:
    """Do all experiments on one network; returns the maps (H, W) of influence by age too."""
    context_BTCHW = showers(sample)
    size = tuple(context_BTCHW.shape[-2:])
    network = drawn_network(name, size)
    pixel = (size[0] // 2, size[1] // 2)
    maps = {age: influence(network, context_BTCHW, age, pixel)[0] for age in AGES}
    found = Finding(
        name,
        *transforms(name, size[0]),
        felt_in={age: float((map_HW > 0).mean()) for age, map_HW in maps.items()},
        # Whole cells of every network; the large frame keeps borders out of what is compared.
        unlike_when_moved=unlike_when_moved(*moving_network(name)),
        refusal=at_another_size(network, (size[0] - 32, size[1] - 16)),
    )
    return found, maps
