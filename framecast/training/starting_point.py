"""Where the weights of a new run come from: the pretrained ones where they fit, or chance."""

from __future__ import annotations

from framecast.config.loading import Config
from framecast.nn.forecasters.base import Forecaster
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.model_files import PRETRAINED_FILE

FIRST_SHARE, QUARTER = 0.75, 0.25
"""Share of what fine-tuning changes in pretrained weights that is kept at first, and by how much it
changes where that lowers the held-out error: a part of the way back to where they started forecasts
later frames better (Wortsman et al. 2022, arXiv:2109.01903)."""


def starts_pretrained(config: Config) -> bool:
    """Whether the settings describe the network that framecast ships, and want it."""
    if config.train.from_scratch or not PRETRAINED_FILE.is_file():
        return False
    shipped, wanted = load_checkpoint(PRETRAINED_FILE).config.model, config.model
    # These give the weights their shapes; they do not depend on frame sizes or channels.
    same_layers = (shipped.filters, shipped.kernel_sizes) == (wanted.filters, wanted.kernel_sizes)
    return shipped.name == wanted.name and same_layers


def load_pretrained(network: Forecaster) -> None:
    """Give a network the weights that framecast ships, in the precision that it computes in."""
    network.load_state_dict(load_checkpoint(PRETRAINED_FILE).weights)
