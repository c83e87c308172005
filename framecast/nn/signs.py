"""What the context tells of each place: how fast it moves, how surely, and whether it moves at all.

By these maps the mix of guesses leans place by place. All are numbers from -1 to 1.

Axes: B batch, T time, C image channels, G signs, H rows, W columns in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from framecast.nn.motion import gaussian_blur
from framecast.nn.widths import SIGN_SIGMA

QUIET = 1e-5
"""Energy per pixel, frames in [0, 1], below which there is nothing to tell from."""


def read_signs(context_BTCHW: Tensor, surprise_BTCHW: Tensor, velocity_B2HW: Tensor) -> Tensor:
    """Read the signs (B, 3, H, W): pace, surprise and motion.

    Pace is (s - 1) / (s + 1) of s pixels per frame. Surprise compares what the motion failed to
    explain in the last frame with how much that frame varies nearby: 1 is all, -1 nothing. Motion
    compares what is explained by moving along with what is by standing still: 1 where all of what
    changes moves, -1 where moving along makes it worse.
    """
    pairs = max(context_BTCHW.shape[1] - 1, 1)  # one frame is taken for one that stays
    last_BCHW = context_BTCHW[:, -1]
    energies = (
        _energy(surprise_BTCHW[:, -pairs:]),
        _energy(context_BTCHW[:, -pairs:] - context_BTCHW[:, :pairs]),
        _energy(surprise_BTCHW[:, -1:]),
        _energy(last_BCHW.unsqueeze(1)),
    )
    nearby_BPHW = gaussian_blur(torch.cat((*energies, last_BCHW), dim=1), SIGN_SIGMA)
    moved, still, newest, squared = nearby_BPHW[:, :4].unbind(dim=1)
    variance_BHW = (squared - nearby_BPHW[:, 4:].square().mean(dim=1)).clamp(min=0)
    speed_BHW = velocity_B2HW.square().sum(dim=1).sqrt()
    pace_BHW = (speed_BHW - 1) / (speed_BHW + 1)
    surprise_BHW = 2 * newest / (newest + variance_BHW + QUIET) - 1
    motion_BHW = (still - moved) / (still + moved + QUIET)
    return torch.stack((pace_BHW, surprise_BHW, motion_BHW), dim=1)


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


def _energy(frames_BTCHW: Tensor) -> Tensor:
    """The mean square of frames and channels, (B, 1, H, W)."""
    return frames_BTCHW.square().mean(dim=(1, 2)).unsqueeze(1)
