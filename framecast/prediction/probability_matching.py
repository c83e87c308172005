"""Probability matching: restores the distribution of brightness that blurring narrows."""

from __future__ import annotations

import torch
from torch import Tensor


def matched(frame_BCHW: Tensor, like_BCHW: Tensor, share: float) -> Tensor:
    """Move a frame's pixels `share` (0..1) of the way to the distribution of another, (B, C, H, W).

    With a share of 1 each channel has the other's values in its own order: the brightest pixel gets
    the brightest value. Equal pixels stay equal and get the lowest value of their ranks, so that an
    empty background is not lifted.

    Source: pysteps, postprocessing.probmatching.nonparam_match_empirical_cdf, which has a
    rule of its own for the lowest pixels; here it is one for all equal pixels.
    """
    pixels_BCN = frame_BCHW.flatten(2).contiguous()
    # Rank of each pixel in its channel; searchsorted finds the first of equal values.
    ranks_BCN = torch.searchsorted(pixels_BCN.sort(dim=-1).values, pixels_BCN)
    values_BCN = like_BCHW.flatten(2).sort(dim=-1).values.gather(-1, ranks_BCN)
    return frame_BCHW.lerp(values_BCN.view_as(frame_BCHW), share)
