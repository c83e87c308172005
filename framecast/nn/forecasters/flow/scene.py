"""What the default network knows of its context before its layers have seen it: all classical.

Axes: B batch, T time, C image channels, H rows, W columns of frames; h rows and w columns at
working size; X the grid of the layers, 8 x 8 pixels per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.forecasters.flow.candidates import (
    blurs,
    enlarge,
    hindcast,
    shrink,
    squash,
)
from framecast.nn.forecasters.flow.constants import (
    FINE,
    MOTION_TRIALS,
    MOVING,
    NEWEST,
    PATCH,
    SURENESS,
    WINDOW_SIGMAS,
    WITHHELD,
    padded_size,
    working_scale,
)
from framecast.nn.forecasters.flow.optical_flow import lucas_kanade

LOG_UNIT = 8.0
"""Log error that is one as an input of the network."""


class Scene(NamedTuple):
    """Features of the context, the same for all lead times.

    At full size the last frame and the context's mean; at working size blurs of the former, both in
    grey, the last residual and both velocities; on the fine grid what is carried along (log errors
    of candidates that move, uncertainty) and log errors of those that stay; and hints on the grid.
    """

    last_BCHW: Tensor
    mean_BCHW: Tensor
    blurs_BChw: tuple[Tensor, ...]
    still_B2hw: Tensor
    residual_B1hw: Tensor
    velocities_B4hw: Tensor
    moving_B11HW: Tensor
    log_errors_B4HW: Tensor
    velocities_B4XX: Tensor
    log_errors_B14XX: Tensor
    size: tuple[int, int]
    scale: int


def survey(seen_BTCHW: Tensor, layers: int) -> tuple[Scene, Tensor]:
    """Everything classical: the scene, and context frames as maps (B T, 3, h, w)."""
    size = (seen_BTCHW.shape[-2], seen_BTCHW.shape[-1])
    scale = working_scale(*size)
    padded = padded_size(*size, layers)
    margin = (0, padded[1] - size[1], 0, padded[0] - size[0])
    # Padded are only the frames that are needed at full size, which saves a copy of all.
    grey_BTHW, last_BCHW, mean_BCHW = (
        F.pad(frames, margin, mode="replicate")
        for frames in (seen_BTCHW.mean(dim=2), seen_BTCHW[:, -1], seen_BTCHW.mean(dim=1))
    )
    grey_BThw = shrink(grey_BTHW, scale)
    windows = [*zip(WINDOW_SIGMAS, (None, NEWEST), strict=True)]
    wide_RB2hw, newest_RB2hw = lucas_kanade(grey_BThw, windows, (0, *WITHHELD))
    tried = hindcast(grey_BThw, wide_RB2hw, newest_RB2hw)
    residual_BThw = squash(tried.residual_BThw)
    log_errors_B14HW = tried.log_errors_B14HW
    estimates = (wide_RB2hw[0], newest_RB2hw[0])
    # The second motion leaves out the errors 3 ahead: it follows what changed of late.
    velocities_B4hw = torch.cat(
        [
            _surest(estimates, log_errors_B14HW, trials)
            for trials in (MOTION_TRIALS, MOTION_TRIALS[:2])
        ],
        dim=1,
    )
    still_B2hw = torch.stack((grey_BThw[:, -1], grey_BThw.mean(dim=1)), dim=1)
    cells_B4XX = shrink(velocities_B4hw, PATCH)
    moving = (log_errors_B14HW[:, :MOVING], tried.uncertainty_B1HW)
    scene = Scene(
        last_BCHW,
        mean_BCHW,
        blurs(shrink(last_BCHW, scale)),
        still_B2hw,
        residual_BThw[:, -1:],
        velocities_B4hw,
        torch.cat(moving, dim=1),
        log_errors_B14HW[:, MOVING:],
        cells_B4XX / (1 + cells_B4XX.abs()),
        shrink(log_errors_B14HW, PATCH // FINE) / LOG_UNIT + 1,
        size,
        scale,
    )
    maps = (grey_BThw - 0.5, residual_BThw, squash(tried.change_BThw))
    return scene, torch.stack(maps, dim=2).flatten(0, 1)


def _surest(
    estimates: tuple[Tensor, Tensor], log_errors_B14HW: Tensor, trials: Sequence[tuple[int, ...]]
) -> Tensor:
    """Both estimates of a velocity and 0, weighted by a power of their inverse errors in trials."""
    log_errors_B3HW = torch.stack([log_errors_B14HW[:, tried] for tried in trials]).mean(dim=0)
    # A softmax of logs is that of powers.
    weights_B3HW = torch.softmax(-SURENESS * log_errors_B3HW, dim=1)
    weights_B3hw = enlarge(weights_B3HW, FINE)
    first_B2hw, second_B2hw = estimates
    return weights_B3hw[:, :1] * first_B2hw + weights_B3hw[:, 1:2] * second_B2hw
