"""What the context tells of each place: how fast it moves, how surely, and what forecasts it well.

By these maps the mix of guesses leans place by place. All are numbers from -1 to 1.

Axes: B batch, T time, C image channels, G signs, H rows, W columns in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from framecast.nn.forecasters.flow.constants import BLURS, SIGN_ENERGIES, SIGN_SIGMA
from framecast.nn.forecasters.flow.optical_flow import gaussian_blur, moved_on

QUIET = 1e-5
"""Energy per pixel, frames in [0, 1], below which there is nothing to tell from."""

NEWEST = 2
"""Pairs of frames, the newest, on which two motions are compared."""

WIDE, FINE = 0, 1
"""Which of the motions are compared."""


def read_signs(context_BTCHW: Tensor, surprise_BTCHW: Tensor, velocities_BM2HW: Tensor) -> Tensor:
    """Read the signs (B, 6, H, W): pace, surprise, haze, detail; and motion and habit.

    Pace is (s - 1) / (s + 1) of s pixels per frame. Surprise compares what the motion failed to
    explain in the last frame with how much that frame varies nearby: 1 is all, -1 nothing. The
    others compare how well two guesses would have done on the context's own frames, from 1 where
    the first made no error to -1 where the second made none: haze, the frame before blurred and as
    it is, both moved along; detail, moved along the fine and the wide motion; motion, moved along
    and standing still; habit, the mean of all before and the frame before.
    """
    if context_BTCHW.shape[1] == 1:  # one frame is taken for one that stays
        context_BTCHW, surprise_BTCHW = (
            frames.repeat(1, 2, 1, 1, 1) for frames in (context_BTCHW, surprise_BTCHW)
        )
    older_BTCHW, newer_BTCHW = context_BTCHW[:, :-1], context_BTCHW[:, 1:]
    last_BCHW, unexplained_BTCHW = context_BTCHW[:, -1], surprise_BTCHW[:, 1:]
    wide_B2HW, fine_B2HW = velocities_BM2HW[:, WIDE], velocities_BM2HW[:, FINE]
    energies = (
        _energy(unexplained_BTCHW),
        _energy(newer_BTCHW - older_BTCHW),
        _energy(newer_BTCHW - moved_on(_hazy(older_BTCHW), wide_B2HW)),
        _energy(newer_BTCHW - _means(older_BTCHW)),
        _energy(unexplained_BTCHW[:, -NEWEST:]),
        _energy(newer_BTCHW[:, -NEWEST:] - moved_on(older_BTCHW[:, -NEWEST:], fine_B2HW)),
        _energy(unexplained_BTCHW[:, -1:]),
        _energy(last_BCHW.unsqueeze(1)),
    )
    nearby_BPHW = gaussian_blur(torch.cat((*energies, last_BCHW), dim=1), SIGN_SIGMA)
    energy_BPHW, mean_BCHW = nearby_BPHW.tensor_split((SIGN_ENERGIES,), dim=1)
    moved, still, hazy, mean, wide, fine, newest, squared = energy_BPHW.unbind(dim=1)
    variance_BHW = (squared - mean_BCHW.square().mean(dim=1)).clamp(min=0)
    speed_BHW = wide_B2HW.square().sum(dim=1).sqrt()
    signs = (
        (speed_BHW - 1) / (speed_BHW + 1),
        2 * newest / (newest + variance_BHW + QUIET) - 1,
        _better(hazy, moved),
        _better(fine, wide),
        _better(moved, still),
        _better(mean, still),
    )
    return torch.stack(signs, dim=1)


def within(signs_BGHW: Tensor, usual_2G: Tensor) -> Tensor:
    """Shift each sign as a whole until its mean lies no farther from the usual ones than these from
    each other.

    They reach from the first row to the second. Nobody knows how to lean on what is quite unlike
    all that was seen.
    """
    mean_BG11 = signs_BGHW.mean(dim=(2, 3), keepdim=True)
    least_G11, most_G11 = usual_2G[..., None, None].unbind()
    spread_G11 = most_G11 - least_G11
    kept_BG11 = torch.clamp(mean_BG11, least_G11 - spread_G11, most_G11 + spread_G11)
    return signs_BGHW + (kept_BG11 - mean_BG11)


def _better(first: Tensor, second: Tensor) -> Tensor:
    """From 1 where only the second made errors, to -1 where only the first did."""
    return (second - first) / (second + first + QUIET)


def _hazy(frames_BTCHW: Tensor) -> Tensor:
    """Every frame blurred, to the least of the widths that are guesses."""
    blurred = gaussian_blur(frames_BTCHW.flatten(1, 2), BLURS[0])
    return blurred.unflatten(1, frames_BTCHW.shape[1:3])


def _means(frames_BTCHW: Tensor) -> Tensor:
    """The mean of each frame and all before it."""
    counts_T = torch.arange(1, frames_BTCHW.shape[1] + 1, device=frames_BTCHW.device)
    return frames_BTCHW.cumsum(dim=1) / counts_T.view(-1, 1, 1, 1)


def _energy(frames_BTCHW: Tensor) -> Tensor:
    """The mean square of frames and channels, (B, 1, H, W)."""
    return frames_BTCHW.square().mean(dim=(1, 2)).unsqueeze(1)
