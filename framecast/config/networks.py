"""What each network is like, by the name that `model.name` has for it: no torch, no module.

Whatever depends on a network's kind asks here, so that a new network is one entry here, its module
in `nn/forecasters/registry.py` and its shapes in `nn/cost_model/network.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

PATCH = 8
"""Side in pixels of a cell of the default network's grid."""

PATCH_2015 = 4
"""Side of the patches that Shi et al. 2015, section 4.1, fold into channels."""


@dataclass(frozen=True)
class NetworkTraits:
    """Properties of a network that settings, checks and reports depend on.

    `summary` says in a line what it is. `gives_probabilities`: frames come out of a sigmoid,
    strictly between 0 and 1, as binary cross-entropy needs. `tied_to_size`: it has weights for
    every place of a frame, and so works at one size. `patch`: side in pixels of a cell of its grid,
    None where `model.patch` sets it. `peephole`: its layers see their cell state, as in Shi et al.
    2015. `uses_motion`: it needs two context frames to see motion. `falls_back`: a classical
    forecast that did better in training takes its place; the others are there to be compared as
    they are.
    `halves_grid`: each layer's cells are twice as large as those of the layer before.
    """

    summary: str
    gives_probabilities: bool = False
    tied_to_size: bool = False
    patch: int | None = None
    peephole: bool = False
    uses_motion: bool = False
    falls_back: bool = False
    halves_grid: bool = False


NETWORKS: dict[str, NetworkTraits] = {
    "flow-convlstm": NetworkTraits(
        "the default: ConvLSTM2D on motion",
        patch=PATCH,
        uses_motion=True,
        falls_back=True,
        halves_grid=True,
    ),
    "convlstm": NetworkTraits(
        "ConvLSTM2D, adds to the last frame",
    ),
    "frame-convlstm": NetworkTraits("ConvLSTM2D, paints whole frames", gives_probabilities=True),
    "cnn-lstm": NetworkTraits("CNN, then LSTM; one frame size only", tied_to_size=True),
    # 1: a fully connected LSTM has no grid, each pixel is an input.
    "fc-lstm": NetworkTraits(
        "LSTM of pixels; one frame size only",
        tied_to_size=True,
        patch=1,
        peephole=True,
    ),
    "shi2015": NetworkTraits(
        "encoder-forecaster, Shi et al. 2015",
        gives_probabilities=True,
        patch=PATCH_2015,
        peephole=True,
    ),
}
