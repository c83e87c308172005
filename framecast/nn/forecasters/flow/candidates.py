"""What the default network's forecast is blended from, and how well that did on the context itself.

Axes: B batch, T time, K candidates, C image channels, H rows, W columns of frames, h rows and w
columns at working size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.forecasters.flow.constants import (
    BLURS,
    ERROR_SIGMA,
    FINE,
    HINDCASTS,
    WIDE_SIGMA,
)
from framecast.nn.forecasters.flow.optical_flow import advance, gaussian_blur

LOG_FLOOR = 1e-5
"""Mean squared error, frames in [0, 1], below which a hindcast counts as perfect: 0.8 grey levels
of 255."""

UNKNOWN = 1e-4
"""Mean squared error assumed of all hindcasts where one frame is the whole context."""


class Hindcast(NamedTuple):
    """How the context would have been forecast: residuals and errors, at working size.

    `residual_BThw` is each frame minus its predecessor carried along, `change_BThw` minus its
    predecessor in place, both 0 for the first frame; `log_errors_B6hw` the logs of mean squared
    errors nearby; `uncertainty_B1hw` the root of the first, from a wider window.
    """

    residual_BThw: Tensor
    change_BThw: Tensor
    log_errors_B6hw: Tensor
    uncertainty_B1hw: Tensor


def hindcast(grey_BThw: Tensor, velocities_B4hw: Tensor) -> Hindcast:
    """Try the candidates that `HINDCASTS` counts on every step of the context."""
    T = grey_BThw.shape[1]
    if T == 1:  # one frame shows no error
        errors_B6hw = torch.full_like(grey_BThw.expand(-1, HINDCASTS, -1, -1), UNKNOWN)
        still = torch.zeros_like(grey_BThw)
        return Hindcast(still, still, (errors_B6hw + LOG_FLOOR).log(), errors_B6hw[:, :1].sqrt())
    older_BThw, newer_BThw = grey_BThw[:, :-1], grey_BThw[:, 1:]
    carried_BThw = advance(older_BThw, velocities_B4hw[:, :2])
    elsewhere_BThw = advance(older_BThw, velocities_B4hw[:, 2:])
    soft_BThw, blurred_BThw = (gaussian_blur(carried_BThw, sigma) for sigma in BLURS[:2])
    tried = (carried_BThw, soft_BThw, blurred_BThw, elsewhere_BThw, older_BThw)
    misses = [newer_BThw - frames_BThw for frames_BThw in tried]
    misses.append(grey_BThw - grey_BThw.mean(dim=1, keepdim=True))
    errors = [miss_BThw.square().mean(dim=1, keepdim=True) for miss_BThw in misses]
    log_errors_B6hw = (gaussian_blur(torch.cat(errors, dim=1), ERROR_SIGMA) + LOG_FLOOR).log()
    # On the coarse grid a window of 12 pixels is 3 cells wide, so the blur is cheap.
    wide_B1hw = enlarge(gaussian_blur(shrink(errors[0], FINE), WIDE_SIGMA), FINE)
    # The first frame has no predecessor: 0 keeps as many maps as frames.
    residual_BThw, change_BThw = (F.pad(misses[i], (0, 0, 0, 0, 1, 0)) for i in (0, 4))
    return Hindcast(residual_BThw, change_BThw, log_errors_B6hw, (wide_B1hw + 1e-6).sqrt())


def blurs(image_BCHW: Tensor, scale: int) -> tuple[Tensor, ...]:
    """An image (B, C, H, W) blurred by each width of `BLURS`, in pixels at working size."""
    soft_BCHW, blurred_BCHW = (gaussian_blur(image_BCHW, scale * sigma) for sigma in BLURS[:2])
    # The widest is too wide to convolve at full size.
    cell = FINE * scale
    wide_BCHW = enlarge(gaussian_blur(shrink(image_BCHW, cell), BLURS[2] / FINE), cell)
    return soft_BCHW, blurred_BCHW, wide_BCHW


def squash(difference: Tensor) -> Tensor:
    """From -1 to 1, and steepest at 0: a grey level of 255 counts as much as a tenth of white."""
    return difference / (difference.abs() + 0.05)


def shrink(maps_BCHW: Tensor, factor: int) -> Tensor:
    """Means over squares of `factor` pixels a side."""
    return maps_BCHW if factor == 1 else F.avg_pool2d(maps_BCHW, factor)


def enlarge(maps_BCHW: Tensor, factor: int) -> Tensor:
    """Interpolate bilinearly to `factor` pixels for one along each side."""
    if factor == 1:
        return maps_BCHW
    return F.interpolate(maps_BCHW, scale_factor=factor, mode="bilinear")
