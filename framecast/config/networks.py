"""Properties of each network by its name, `model.name`: no torch, no module.

Whatever depends on a network's kind asks here, so that a new network is one entry here, its module
in `nn/forecasters/registry.py` and its shapes in `nn/cost_model/network.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

# Side in pixels of a cell of the default network's grid
PATCH = 8
# Shi et al. 2015, section 4.1, fold 4 x 4 pixels into channels
PATCH_2015 = 4


@dataclass(frozen=True)
class NetworkTraits:
    """Properties of a network that settings, checks and reports depend on."""

    summary: str
    # Frames come out of a sigmoid, strictly between 0 and 1, as binary cross-entropy needs
    gives_probabilities: bool = False
    # It has weights for every place of a frame, and so works at one size
    tied_to_size: bool = False
    # Side in pixels of a cell of its grid; None if `model.patch` sets it
    patch: int | None = None
    # Its gates see the cell state, Shi et al. 2015, eq. 3
    peephole: bool = False
    # It needs two context frames to see motion
    uses_motion: bool = False
    # A classical forecast that did better in training takes its place
    falls_back: bool = False
    # Each layer's cells are twice as large as those of the layer before
    halves_grid: bool = False


NETWORKS: dict[str, NetworkTraits] = {
    "flow-convlstm": NetworkTraits(
        "the default: ConvLSTM2D on motion",
        patch=PATCH,
        uses_motion=True,
        falls_back=True,
        halves_grid=True,
    ),
    "convlstm": NetworkTraits("ConvLSTM2D, adds to the last frame"),
    "frame-convlstm": NetworkTraits("ConvLSTM2D, paints whole frames", gives_probabilities=True),
    "cnn-lstm": NetworkTraits("CNN, then LSTM; one frame size only", tied_to_size=True),
    # Patch 1: a fully connected LSTM has no grid, each pixel is an input
    "fc-lstm": NetworkTraits(
        "LSTM of pixels; one frame size only", tied_to_size=True, patch=1, peephole=True
    ),
    "shi2015": NetworkTraits(
        "encoder-forecaster, Shi et al. 2015",
        gives_probabilities=True,
        patch=PATCH_2015,
        peephole=True,
    ),
}
