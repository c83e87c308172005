"""What the default network knows of its context before its layers have seen it: all classical.

Axes: B batch, T time, C image channels, H rows, W columns of frames; h rows and w columns at
working size; X the grid of the layers, 8 x 8 pixels per cell.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.forecasters.flow.candidates import blurs, hindcast, shrink, squash
from framecast.nn.forecasters.flow.constants import (
    MOTION_ERRORS,
    MOVING,
    NEWEST,
    PATCH,
    WINDOW_SIGMAS,
    padded_size,
    working_scale,
)
from framecast.nn.forecasters.flow.optical_flow import lucas_kanade

LOG_UNIT = 8.0
"""Log error that is one as an input of the network."""


class Scene(NamedTuple):
    """Features of the context, the same for all lead times.

    At full size the last frame and the context's mean; at working size both again, blurs of the
    former, both in grey, what is carried along (last residual, log errors of candidates that move,
    uncertainty), log errors of those that stay, both velocities, and hints on the grid.
    """

    last_BCHW: Tensor
    mean_BCHW: Tensor
    last_BChw: Tensor
    mean_BChw: Tensor
    blurs_BChw: tuple[Tensor, ...]
    still_B2hw: Tensor
    moving_B8hw: Tensor
    log_errors_B3hw: Tensor
    velocities_B4hw: Tensor
    velocities_B4XX: Tensor
    log_errors_B9XX: Tensor
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
    grey_BThw, last_BChw = shrink(grey_BTHW, scale), shrink(last_BCHW, scale)
    wide_B2hw = lucas_kanade(grey_BThw, WINDOW_SIGMAS[0])
    newest_B2hw = lucas_kanade(grey_BThw[:, -NEWEST:], WINDOW_SIGMAS[1])
    estimates = (wide_B2hw, newest_B2hw)
    tried = hindcast(grey_BThw, torch.cat(estimates, dim=1))
    residual_BThw = squash(tried.residual_BThw)
    log_errors_B9hw = tried.log_errors_B9hw
    motions = [_surest(estimates, log_errors_B9hw[:, tries]) for tries in MOTION_ERRORS]
    velocities_B4hw = torch.cat(motions, dim=1)
    still_B2hw = torch.stack((grey_BThw[:, -1], grey_BThw.mean(dim=1)), dim=1)
    cells_B4XX = shrink(velocities_B4hw, PATCH)
    moving = (residual_BThw[:, -1:], log_errors_B9hw[:, :MOVING], tried.uncertainty_B1hw)
    scene = Scene(
        last_BCHW,
        mean_BCHW,
        last_BChw,
        shrink(mean_BCHW, scale),
        blurs(last_BChw),
        still_B2hw,
        torch.cat(moving, dim=1),
        log_errors_B9hw[:, MOVING:],
        velocities_B4hw,
        cells_B4XX / (1 + cells_B4XX.abs()),
        shrink(log_errors_B9hw, PATCH) / LOG_UNIT + 1,
        size,
        scale,
    )
    maps = (grey_BThw - 0.5, residual_BThw, squash(tried.change_BThw))
    return scene, torch.stack(maps, dim=2).flatten(0, 1)


def _surest(estimates: tuple[Tensor, Tensor], log_errors_B3hw: Tensor) -> Tensor:
    """Both estimates of a velocity and 0, weighted by the inverse squares of their errors."""
    # A softmax of logs: the combination of forecasts of Bates & Granger (1969).
    weights_B3hw = torch.softmax(-2 * log_errors_B3hw, dim=1)
    first_B2hw, second_B2hw = estimates
    return weights_B3hw[:, :1] * first_B2hw + weights_B3hw[:, 1:2] * second_B2hw
