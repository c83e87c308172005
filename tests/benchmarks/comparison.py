"""What each network computes for x and for h: experiments on real modules, a table and a picture.

python -m tests.benchmarks.comparison

Untrained networks, except that weights which start at zero are drawn, so that no part is idle:
what is found holds for any weights. Axes as in `framecast/nn/forecasters/base.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor
from torch.autograd import forward_ad

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.video.readers.open import open_sources
from tests.support.textures import translating

from .shared.output import command_line, table, write_json

RAIN = Path(__file__).parents[2] / "sample_data/rain"
INK, PALE = "#333333", "#808080"
CONTEXT, CELL = 9, 4
"""Frames before the forecast one, and pixels in the side of a cell in all networks with cells."""

AGES = (2, 4, 6, 8)
"""How many frames before the forecast one the pixels are whose influence is mapped."""

FAINTEST = 1e-6
"""Influence, as a share of a map's largest, from which on it has a colour of its own."""


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
) -> np.ndarray:
    """How the next frame depends on one pixel `age` frames before it: absolute derivatives (H, W).

    Where the pixel is not felt they are exactly 0. By forward differentiation; where PyTorch has
    none for an operation (warps), by what a change of 0.25 makes, divided by it.
    """
    change_BTCHW = torch.zeros_like(context_BTCHW)
    change_BTCHW[:, -age, :, pixel[0], pixel[1]] = 1
    network.train()  # in eval mode frames are clipped, which hides influence where it is dark
    try:
        with forward_ad.dual_level():
            frame_BTCHW = network(forward_ad.make_dual(context_BTCHW, change_BTCHW), 1)
            felt_BTCHW = forward_ad.unpack_dual(frame_BTCHW).tangent
    except NotImplementedError:
        after_BTCHW = network(context_BTCHW + change_BTCHW / 4, 1)
        felt_BTCHW = 4 * (after_BTCHW - network(context_BTCHW, 1))
    # The last one: in training frame-convlstm forecasts the context's frames, too.
    return felt_BTCHW[0, -1, 0].detach().abs().numpy()


@torch.no_grad()
def unlike_when_moved(name: str) -> float:
    """How far the forecast of a moved clip is from the moved forecast, away from the borders.

    The root mean square of the difference, as a share of the standard deviation of the changes
    forecast: 0 for a network that treats all places alike. The clip moves by whole cells.
    """
    # Borders reach farther into the frame where cells pass on what they see.
    side, shift = (96, (4, 8)) if ModelConfig(name).traits.tied_to_size else (192, (16, 32))
    network, size = drawn_network(name, (side, side)), (side, side)
    context_BTCHW = translating(3, *size, (1.3, 0.7))[None, :, None]
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


def transforms(name: str, side: int) -> tuple[str, str]:
    """What the first recurrent layer does to its input x and to its state h, read off its weights.

    "3x3 convolution, 64 to 4 x 64 maps" or "dense, 256 to 4 x 256 numbers", for the four gates.
    """
    config = ModelConfig(name)
    with torch.device("meta"):
        network = build_forecaster(config, 1, (side, side))
    layer = next(module for module in network.modules() if hasattr(module, "recurrent_kernel"))
    words = []
    for kernel in (layer.kernel, layer.recurrent_kernel):
        gates, inputs, height, width = kernel.shape
        sizes = f"{inputs:,} to 4 x {gates // 4:,}"
        if config.traits.tied_to_size:
            words.append(f"dense, {sizes} numbers")
        else:
            words.append(f"{height}x{width} convolution, {sizes} maps")
    return tuple(words)


def experiments(name: str) -> tuple[list[object], dict[int, np.ndarray]]:
    """A network's row of the table, and the maps (H, W) of influence by age."""
    context_BTCHW = showers(RAIN)
    size = tuple(context_BTCHW.shape[-2:])
    network, pixel = drawn_network(name, size), (size[0] // 2, size[1] // 2)
    maps = {age: influence(network, context_BTCHW, age, pixel) for age in AGES}
    felt = [f"{(maps[age] > 0).mean():.0%}" for age in (AGES[0], AGES[-1])]
    # That the networks take other sizes or refuse them is tested in tests/nn/test_comparison.py
    sizes = "refused" if ModelConfig(name).traits.tied_to_size else "works"
    off = _share(unlike_when_moved(name))
    return [f"`{name}`", *transforms(name, size[0]), ", ".join(felt), off, sizes], maps


def _share(value: float) -> str:
    """0%, 0.05% or 143%; what float32 rounds away is 0%."""
    return f"{value:.2%}" if 1e-5 < value < 0.1 else f"{value:.0%}"


def draw(path: Path, maps: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Write a PNG: a row for each network, where one pixel is felt ever more frames later."""
    ages = list(next(iter(maps.values())))
    shown = mpl.colormaps["YlGnBu"].with_extremes(bad="#ecece8")
    with mpl.rc_context({"font.size": 11, "text.color": INK, "axes.labelcolor": INK}):
        figure = Figure(figsize=(1.9 * len(ages), 1.75 * len(maps) + 0.8), layout="constrained")
        grid = figure.subplots(len(maps), len(ages))
        for row, (name, by_age) in zip(grid, maps.items(), strict=True):
            row[0].set_ylabel(name, fontweight="bold")
            for panel, (age, map_HW) in zip(row, by_age.items(), strict=True):
                felt = np.ma.masked_equal(map_HW / map_HW.max(), 0).clip(min=FAINTEST)
                drawn = panel.imshow(felt, cmap=shown, norm=LogNorm(FAINTEST, 1))
                panel.set(xticks=[], yticks=[])
                panel.set_xlabel(f"{(map_HW > 0).mean():.0%}", labelpad=2, color=PALE)
                if panel.get_subplotspec().is_first_row():
                    panel.set_title(f"{age} frames later", loc="center", fontsize=11)
        bar = figure.colorbar(drawn, ax=grid, location="bottom", shrink=0.6, aspect=45, pad=0.01)
        bar.set_label("influence on the forecast; grey: exactly none; below: share of the frame")
        figure.savefig(path, dpi=110, facecolor="white")


def main() -> None:
    folder = command_line("comparison", __doc__).parse_args().output
    found = {name: experiments(name) for name in NETWORKS}
    header = ["", "x", "h", f"a pixel is felt {AGES[0]} and {AGES[-1]} frames later in"]
    header += ["forecast of a shifted clip is off by", "another frame size"]
    rows = [row for row, _ in found.values()]
    record = {"rows": [dict(zip(header, row, strict=True)) for row in rows]}
    write_json(folder / "comparison.json", record)
    draw(folder / "comparison.png", {name: maps for name, (_, maps) in found.items()})
    print(table(header, rows))


if __name__ == "__main__":
    main()
