"""Small models with random weights, as checkpoints."""

import torch

from framecast.config.loading import load_config
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint

SETTINGS = ("model.filters=[6, 5]", "model.patch=4", "data.context_length=5", "data.horizon=4")


def random_checkpoint(channels=3, *settings, progress=None):
    """A network whose every weight is drawn, so that no part of it is idle."""
    config = load_config(None, [*SETTINGS, *settings], {})
    torch.manual_seed(channels + 30)
    network = build_forecaster(config.model, channels, (7, 8))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return Checkpoint(
        config=config,
        clip={"channels": channels, "height": 7, "width": 8},
        weights=network.state_dict(),
        scores={"validation_mse": 0.125, "persistence_mse": 0.5},
        progress=progress,
    )
