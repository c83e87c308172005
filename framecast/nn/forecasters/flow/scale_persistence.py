"""How long what is seen at each scale lasts, place by place, told from the context alone.

The idea is that of S-PROG (Seed, 2003, J. Appl. Meteor. 42, 381-388): in the frame of the motion
the small scales are forgotten first, so each is damped at the pace at which the past forgot it.
There the pace is one number per scale for the whole frame; here it is a map.

Axes: B batch, T time, C image channels, S scales, H rows, W columns in pixels; I rows, J columns of
cells of CELL x CELL pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.forecasters.flow.constants import CELL, MEMORY_LAG, MEMORY_SIGMA, SCALES
from framecast.nn.forecasters.flow.optical_flow import advect, coverage, gaussian_blur, warp

PRIOR = 1e-5
"""Energy per pixel, frames in [0, 1], of an everlasting pattern taken to be everywhere as well:
where nothing is to be seen, nothing is forgotten."""

LEAST = 1e-3
"""Correlations are kept above this."""


class Memory(NamedTuple):
    """What is left of each scale after one frame, and of that after each frame more; in (0, 1]."""

    first_BSIJ: Tensor
    decay_BSIJ: Tensor

    def after(self, lead_Bn: Tensor) -> Tensor:
        """The share (B, n, S, I, J) that is left `lead_Bn` >= 1 frames ahead."""
        frames_Bn111 = (lead_Bn - 1)[..., None, None, None]
        return self.first_BSIJ.unsqueeze(1) * self.decay_BSIJ.unsqueeze(1) ** frames_Bn111

    def overall(self) -> Tensor:
        """The share that is left after one frame, the mean over scales and cells: (B,)."""
        return self.first_BSIJ.mean(dim=(1, 2, 3))


def recall(context_BTCHW: Tensor, velocity_B2HW: Tensor) -> Memory:
    """Compare each frame with those one and `MEMORY_LAG` before it, moved along to it.

    The share is the slope of a regression without an intercept, scale by scale over a window of a
    cell's width. One frame has nothing to compare with: all is kept.
    """
    B, T, _, H, W = context_BTCHW.shape
    if T == 1:
        ones_BSIJ = context_BTCHW.new_ones(B, len(SCALES) + 1, -(-H // CELL), -(-W // CELL))
        return Memory(ones_BSIJ, ones_BSIJ)
    lag = min(MEMORY_LAG, T - 1)
    displacement_B2HW, shares = torch.zeros_like(velocity_B2HW), []
    for frames in range(1, lag + 1):
        displacement_B2HW = advect(displacement_B2HW, velocity_B2HW)
        if frames in (1, lag):
            shares.append(_share_left(context_BTCHW, displacement_B2HW, frames))
    first_BSIJ = shares[0]
    if lag == 1:
        return Memory(first_BSIJ, first_BSIJ)
    left_BSIJ = (shares[-1] / first_BSIJ).clamp(LEAST, 1.0)
    return Memory(first_BSIJ, left_BSIJ ** (1 / (lag - 1)))


def remembered(scales_BSCHW: Tensor, share_BnSIJ: Tensor) -> Tensor:
    """A frame put together again from what is left of its scales at each time, (B, n, C, H, W).

    `scales_BSCHW` holds the frame and its blurs to `SCALES`; what lies between two of them is one
    scale, and the widest blur is the last.
    """
    H, W = scales_BSCHW.shape[-2:]
    share_NSHW = F.interpolate(share_BnSIJ.flatten(0, 1), scale_factor=CELL, mode="bilinear")
    share_BnSHW = share_NSHW[..., :H, :W].unflatten(0, share_BnSIJ.shape[:2])
    gain_BnSHW = share_BnSHW - F.pad(share_BnSHW, (0, 0, 0, 0, 1, 0))[:, :, :-1]
    return (scales_BSCHW.unsqueeze(1) * gain_BnSHW.unsqueeze(3)).sum(dim=2)


def _share_left(context_BTCHW: Tensor, displacement_B2HW: Tensor, frames: int) -> Tensor:
    """How much of each scale of a frame is found again `frames` later: (B, S, I, J)."""
    B, T = context_BTCHW.shape[:2]
    pairs = T - frames
    way_N2HW = displacement_B2HW.repeat_interleave(pairs, dim=0)
    seen_N1HW = coverage(way_N2HW)
    older_NCHW = warp(context_BTCHW[:, :pairs].flatten(0, 1), way_N2HW) * seen_N1HW
    newer_NCHW = context_BTCHW[:, frames:].flatten(0, 1) * seen_N1HW
    common_BSIJ, own_BSIJ = (
        gaussian_blur(
            _energies(older_NCHW, other_NCHW).unflatten(0, (B, pairs)).mean(dim=1), MEMORY_SIGMA
        )
        for other_NCHW in (newer_NCHW, older_NCHW)
    )
    return ((common_BSIJ + PRIOR) / (own_BSIJ + PRIOR)).clamp(LEAST, 1.0)


def _energies(first_NCHW: Tensor, second_NCHW: Tensor) -> Tensor:
    """Mean product of two frames in each cell, split by scale: (N, S, I, J).

    A scale is the difference of the means over blocks of 2^s and of 2^(s+1) pixels: blocks nest, so
    that the products of two scales cancel and those of one are differences of mean products.
    """
    H, W = first_NCHW.shape[-2:]
    first, second = (
        F.pad(frame_NCHW, (0, -W % CELL, 0, -H % CELL)) for frame_NCHW in (first_NCHW, second_NCHW)
    )
    side, products = CELL, []
    while True:
        products.append(F.avg_pool2d((first * second).mean(dim=1, keepdim=True), side))
        if side == 1:
            break
        first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        side //= 2
    mean_NSIJ = torch.cat(products, dim=1)
    return torch.cat((mean_NSIJ[:, :-1] - mean_NSIJ[:, 1:], mean_NSIJ[:, -1:]), dim=1)
