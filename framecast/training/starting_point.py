"""Where the weights of a new run come from: the pretrained ones where they fit, or chance."""

from __future__ import annotations

from torch import Tensor

from framecast.config.loading import Config
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.model_files import PRETRAINED_FILE

FIRST_SHARE, QUARTER = 0.75, 0.25
"""Share of what fine-tuning changes in pretrained weights that is kept at first, and by how much it
changes where that lowers the held-out error: a part of the way back to where they started forecasts
later frames better (Wortsman et al. 2022, arXiv:2109.01903)."""


def pretrained_weights(config: Config) -> dict[str, Tensor] | None:
    """The weights that framecast ships, where the settings want them and describe their network."""
    if config.train.from_scratch or not PRETRAINED_FILE.is_file():
        return None
    shipped = load_checkpoint(PRETRAINED_FILE)
    # These give the weights their shapes; they do not depend on frame sizes or channels.
    made, wanted = (
        (model.name, model.filters, model.kernel_sizes)
        for model in (shipped.config.model, config.model)
    )
    return shipped.weights if made == wanted else None
