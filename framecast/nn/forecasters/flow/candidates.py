"""What the default network's forecast is blended from, and how well that did on the context itself.

Axes: B batch, T time, K candidates, C image channels, H rows, W columns of frames, h rows and w
columns at working size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.autocast import as_given
from framecast.nn.forecasters.flow.constants import (
    BLURS,
    ERROR_SIGMA,
    FINE,
    HINDCASTS,
    SHARP,
    WIDE_SIGMA,
    WITHHELD,
)
from framecast.nn.forecasters.flow.optical_flow import (
    advance,
    advect,
    carried_velocity,
    gaussian_blur,
    is_traced,
    warp,
)

LOG_FLOOR = 1e-5
"""Mean squared error, frames in [0, 1], below which a hindcast counts as perfect: 0.8 grey levels
of 255."""

UNKNOWN = 1e-4
"""Mean squared error assumed of all hindcasts where one frame is the whole context."""

SMALL = 80
"""Side up to which maps are enlarged by matrix products on a CPU."""


class Hindcast(NamedTuple):
    """How the context would have been forecast: residuals and errors, at working size.

    `residual_BThw` is each frame minus its predecessor carried along, `change_BThw` minus its
    predecessor in place, both 0 for the first frame; on the fine grid `log_errors_B14HW` are the
    logs of mean squared errors nearby, in the order of `HINDCASTS`, and `uncertainty_B1HW` is the
    root of the first, from a wider window.
    """

    residual_BThw: Tensor
    change_BThw: Tensor
    log_errors_B14HW: Tensor
    uncertainty_B1HW: Tensor


def hindcast(grey_BThw: Tensor, wide_RB2hw: Tensor, newest_RB2hw: Tensor) -> Hindcast:
    """Try the candidates that `HINDCASTS` counts on the context.

    Both motions are given as estimated from all frames, then without the newest of `WITHHELD`.
    """
    T = grey_BThw.shape[1]
    if T == 1:  # one frame shows no error
        still = torch.zeros_like(grey_BThw)
        errors_B14HW = torch.full_like(shrink(still, FINE).expand(-1, HINDCASTS, -1, -1), UNKNOWN)
        return Hindcast(still, still, (errors_B14HW + LOG_FLOOR).log(), errors_B14HW[:, :1].sqrt())
    older_BThw, newer_BThw, last_B1hw = grey_BThw[:, :-1], grey_BThw[:, 1:], grey_BThw[:, -1:]
    carried_BThw, crossed_BThw = (advance(older_BThw, r[0]) for r in (wide_RB2hw, newest_RB2hw))
    near, far = (
        _extrapolated(grey_BThw, *motions, min(number, T - 1))
        for *motions, number in zip(wide_RB2hw[1:], newest_RB2hw[1:], WITHHELD, strict=True)
    )
    misses = [
        newer_BThw - carried_BThw,
        *(newer_BThw - gaussian_blur(carried_BThw, sigma) for sigma in BLURS[:2]),
        newer_BThw - crossed_BThw,
        *(last_B1hw - frame_B1hw for frame_B1hw in (*near[:2], *far[:2])),
        *(last_B1hw - gaussian_blur(far[0], sigma) for sigma in reversed(BLURS[:2])),
        newer_BThw - older_BThw,
        grey_BThw - grey_BThw.mean(dim=1, keepdim=True),
        last_B1hw - near[2],
        last_B1hw - far[2],
    ]
    errors = [miss_BThw.square().mean(dim=1, keepdim=True) for miss_BThw in misses]
    errors_B14HW = shrink(torch.cat(errors, dim=1), FINE)
    log_errors_B14HW = (gaussian_blur(errors_B14HW, ERROR_SIGMA) + LOG_FLOOR).log()
    uncertainty_B1HW = (gaussian_blur(errors_B14HW[:, :1], WIDE_SIGMA) + 1e-6).sqrt()
    # The first frame has no predecessor: 0 keeps as many maps as frames.
    residual_BThw, change_BThw = (F.pad(misses[i], (0, 0, 0, 0, 1, 0)) for i in (0, 10))
    return Hindcast(residual_BThw, change_BThw, log_errors_B14HW, uncertainty_B1HW)


def _extrapolated(
    grey_BThw: Tensor, wide_B2hw: Tensor, newest_B2hw: Tensor, lead: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The newest frame as forecast `lead` frames before, (B, 1, h, w): carried along the wide
    estimate, along the newest, and in place.
    """
    last_B1hw = grey_BThw[:, -1 - lead : -lead]
    traced_B2hw = torch.zeros_like(wide_B2hw)
    for _ in range(lead):
        traced_B2hw = advect(traced_B2hw, wide_B2hw)
    lead_B = torch.full_like(grey_BThw[:, 0, 0, 0], lead)
    taken_B2hw, _ = taken_along(newest_B2hw, lead_B)
    return warp(last_B1hw, traced_B2hw), warp(last_B1hw, -lead * taken_B2hw), last_B1hw


def taken_along(velocity_B2hw: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """Where velocities are after some frames, when everything keeps its own (see
    `carried_velocity`); and how much arrives at each cell of the fine grid, (B, 1, H, W).

    Carried along are means over fine cells; what these lack of the field follows them.
    """
    mean_B2HW = shrink(velocity_B2hw, FINE)
    carried_B2HW, arriving_B1HW = carried_velocity(mean_B2HW / FINE, frames_B)
    carried_B2hw = enlarge(FINE * carried_B2HW, FINE)
    detail_B2hw = velocity_B2hw - enlarge(mean_B2HW, FINE)
    detail_B2hw = warp(detail_B2hw, -frames_B.view(-1, 1, 1, 1) * carried_B2hw)
    return carried_B2hw + detail_B2hw, arriving_B1HW


def blurs(image_BChw: Tensor) -> tuple[Tensor, ...]:
    """An image (B, C, h, w) blurred by each width of `BLURS`."""
    soft_BChw, blurred_BChw = (gaussian_blur(image_BChw, sigma) for sigma in BLURS[:2])
    # On the coarse grid the widest blur is 2.5 cells wide, so it is cheap.
    wide_BChw = enlarge(gaussian_blur(shrink(image_BChw, FINE), BLURS[2] / FINE), FINE)
    return soft_BChw, blurred_BChw, wide_BChw


def at_full_size(candidates: Sequence[Tensor], number: int, scale: int) -> Tensor:
    """One of K candidates, those of `SHARP` (B, C, H, W), others (B, C, h, w): (B, C, H, W)."""
    return candidates[number] if number in SHARP else enlarge(candidates[number], scale)


def blended(
    weights_BKhw: Tensor, candidates: Sequence[Tensor], added_B1hw: Tensor, scale: int
) -> Tensor:
    """The weighted sum of K candidates, as `at_full_size` takes them, plus what is added to all
    channels: (B, C, H, W).
    """
    weights = weights_BKhw.split(1, dim=1)
    blurred = [number for number in range(len(weights)) if number not in SHARP]
    frame_BChw = added_B1hw.repeat(1, candidates[0].shape[1], 1, 1)
    # One candidate at a time and in place: what is worked on stays in the processor's cache.
    for number in blurred:
        frame_BChw.addcmul_(weights[number], candidates[number])
    frame_BCHW = enlarge(frame_BChw, scale)
    for number in SHARP:
        frame_BCHW.addcmul_(enlarge(weights[number], scale), candidates[number])
    return frame_BCHW


def squash(difference: Tensor) -> Tensor:
    """From -1 to 1, and steepest at 0: a grey level of 255 counts as much as a tenth of white."""
    return difference / (difference.abs() + 0.05)


def shrink(maps_BCHW: Tensor, factor: int) -> Tensor:
    """Means over squares of `factor` pixels a side."""
    if factor == 1:
        return maps_BCHW
    if is_traced() or torch.is_grad_enabled() or maps_BCHW.device.type != "cpu":
        return F.avg_pool2d(maps_BCHW, factor)
    # Row by row, then column by column: an eighth of the time, but slower backward.
    rows = reduce(torch.add, (maps_BCHW[..., first::factor, :] for first in range(factor)))
    sums = reduce(torch.add, (rows[..., first::factor] for first in range(factor)))
    return sums.div_(factor**2)


def enlarge(maps_BCHW: Tensor, factor: int) -> Tensor:
    """Interpolate bilinearly to `factor` pixels for one along each side."""
    if factor == 1:
        return maps_BCHW
    if is_traced() or maps_BCHW.device.type != "cpu":
        return F.interpolate(maps_BCHW, scale_factor=factor, mode="bilinear")
    if max(maps_BCHW.shape[-2:]) > SMALL:
        # As images of one channel: of three channels, PyTorch copies its input and output, too.
        maps_M1HW = maps_BCHW.flatten(0, 1).unsqueeze(1)
        enlarged_M1HW = F.interpolate(maps_M1HW, scale_factor=factor, mode="bilinear")
        return enlarged_M1HW.view(*maps_BCHW.shape[:2], *enlarged_M1HW.shape[2:])
    # Rows times maps times columns takes a fifth of the time, forward and backward.
    with as_given(maps_BCHW.device):
        rows, columns = (
            F.interpolate(
                torch.eye(side, dtype=maps_BCHW.dtype)[None], scale_factor=factor, mode="linear"
            )[0]
            for side in maps_BCHW.shape[-2:]
        )
        return rows.mT @ maps_BCHW @ columns


def to_cells(maps_BCHW: Tensor, side: int) -> Tensor:
    """`F.pixel_unshuffle`, whose own kernel takes up to twice as long on a CPU."""
    cells_BChsws = maps_BCHW.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return cells_BChsws.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
