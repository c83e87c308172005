"""Motion of a frame sequence and extrapolation along it, as differentiable tensor operations.

The classical half of the default forecaster: dense optical flow (Lucas & Kanade 1981, coarse to
fine, over all context frames at once) and semi-Lagrangian extrapolation as used in nowcasting
(Germann & Zawadzki 2002). Plain convolutions and grid sampling, so it runs on any device, at any
size, and inside an exported graph. Vectors are (x, y) in pixels per frame, pointing where things
go.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.widths import (
    COARSEST_SIDE,
    ITERATIONS,
    LEVELS,
    PYRAMID_SIGMA,
    blur_radius,
)

DAMPING = 1e-3
"""Added to the structure tensor's diagonal: where nothing is seen, the coarser motion stays."""

MEMORY = 0.7
"""Weight of each older frame pair relative to the next newer one."""


def warp(image_BCHW: Tensor, displacement_B2HW: Tensor) -> Tensor:
    """Sample an image bilinearly at `position + displacement`; (B, C, H, W) and (B, 2, H, W) in
    pixels.

    Outside the frame the nearest border pixel counts.
    """
    _, _, H, W = image_BCHW.shape
    x_BHW, y_BHW = _positions(displacement_B2HW)
    grid_BHW2 = torch.stack(
        (x_BHW * (2 / max(W - 1, 1)) - 1, y_BHW * (2 / max(H - 1, 1)) - 1), dim=-1
    )
    return F.grid_sample(image_BCHW, grid_BHW2, padding_mode="border", align_corners=True)


def coverage(displacement_B2HW: Tensor) -> Tensor:
    """1 where `position + displacement` lies inside the frame, else 0: (B, 1, H, W)."""
    _, _, H, W = displacement_B2HW.shape
    x_BHW, y_BHW = _positions(displacement_B2HW)
    inside = (x_BHW >= 0) & (x_BHW <= W - 1) & (y_BHW >= 0) & (y_BHW <= H - 1)
    return inside.unsqueeze(1).to(displacement_B2HW.dtype)


def advect(displacement_B2HW: Tensor, velocity_B2HW: Tensor) -> Tensor:
    """Lengthen backward trajectories by one frame: d'(x) = d(x - v) - v (semi-Lagrangian)."""
    return warp(displacement_B2HW, -velocity_B2HW) - velocity_B2HW


def _positions(displacement_B2HW: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows (B, H, W) in pixels that displacements point to."""
    _, _, H, W = displacement_B2HW.shape
    kind = {"dtype": displacement_B2HW.dtype, "device": displacement_B2HW.device}
    x_W, y_H1 = torch.arange(W, **kind), torch.arange(H, **kind).unsqueeze(1)
    return x_W + displacement_B2HW[:, 0], y_H1 + displacement_B2HW[:, 1]


def lucas_kanade(frames_BTHW: Tensor, window_sigma: float) -> tuple[Tensor, Tensor]:
    """Estimate a velocity field (B, 2, H, W) that explains the steps between the given frames.

    Returns it beside the coarser field that was its start on the frames' own resolution, which
    comes from windows twice as wide, and is surer and smoother.

    `frames_BTHW` are grey frames in [0, 1]; newer pairs weigh more. `window_sigma` is the width in
    pixels, at every level, of the Gaussian window that a velocity is estimated over: wide windows
    are sure and coarse, narrow ones follow small things. One frame alone has no motion: zeros.
    """
    B, T, H, W = frames_BTHW.shape
    if T == 1:
        return frames_BTHW.new_zeros(B, 2, H, W), frames_BTHW.new_zeros(B, 2, H, W)
    pyramid = [frames_BTHW]
    while len(pyramid) < LEVELS and min(pyramid[-1].shape[-2:]) >= COARSEST_SIDE:
        blurred = gaussian_blur(pyramid[-1], PYRAMID_SIGMA)
        pyramid.append(F.avg_pool2d(blurred, 2, ceil_mode=True, count_include_pad=False))
    velocity_B2HW = pyramid[-1].new_zeros(B, 2, *pyramid[-1].shape[-2:])
    for level_BTHW in reversed(pyramid):
        size = level_BTHW.shape[-2:]
        if velocity_B2HW.shape[-2:] != size:
            velocity_B2HW = 2 * F.interpolate(velocity_B2HW, size=size, mode="bilinear")
        coarse_B2HW = velocity_B2HW
        for _ in range(ITERATIONS):
            velocity_B2HW = velocity_B2HW + _increment(level_BTHW, velocity_B2HW, window_sigma)
    return velocity_B2HW, coarse_B2HW


def _increment(frames_BTHW: Tensor, velocity_B2HW: Tensor, window_sigma: float) -> Tensor:
    """Solve the windowed least-squares problem for what the velocity misses, at most 2 pixels."""
    B, T, H, W = frames_BTHW.shape
    pairs = T - 1
    older = frames_BTHW[:, :-1].reshape(B * pairs, 1, H, W)
    newer = frames_BTHW[:, 1:].reshape(B * pairs, 1, H, W)
    shift = velocity_B2HW.unsqueeze(1).expand(B, pairs, 2, H, W).reshape(B * pairs, 2, H, W)
    moved = warp(older, -shift)
    around = F.pad((moved + newer) / 2, (1, 1, 1, 1), mode="replicate")
    gx = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    gy = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / 2
    gt = newer - moved
    moments = torch.cat((gx * gx, gx * gy, gy * gy, gx * gt, gy * gt), dim=1)
    # What came from outside the frame is a repeated border, which says nothing about motion.
    moments = moments * coverage(-shift)
    weight_T = torch.tensor([MEMORY ** (pairs - 1 - i) for i in range(pairs)]).to(moments)
    weighted = moments.view(B, pairs, 5, H, W) * (weight_T / weight_T.sum()).view(1, pairs, 1, 1, 1)
    xx, xy, yy, xt, yt = gaussian_blur(weighted.sum(dim=1), window_sigma).unbind(dim=1)
    xx, yy = xx + DAMPING, yy + DAMPING
    determinant = xx * yy - xy * xy
    dx, dy = (xy * yt - yy * xt) / determinant, (xy * xt - xx * yt) / determinant
    return torch.stack((dx, dy), dim=1).clamp(-2, 2)


def gaussian_blur(image_BCHW: Tensor, sigma: float) -> Tensor:
    """Blur every channel with a Gaussian of `sigma` pixels, borders replicated; same shape out."""
    C, radius = image_BCHW.shape[1], blur_radius(sigma)
    offset = torch.arange(-radius, radius + 1).to(image_BCHW)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(C, 1, -1)
    padded = F.pad(image_BCHW, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.unsqueeze(2), groups=C)
    return F.conv2d(rows, kernel.unsqueeze(3), groups=C)
