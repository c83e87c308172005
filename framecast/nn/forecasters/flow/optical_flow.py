"""Motion of a frame sequence and extrapolation along it, as differentiable tensor operations.

The classical half of the default forecaster: dense optical flow (Lucas & Kanade 1981, coarse to
fine, over all context frames at once) and semi-Lagrangian extrapolation as used in nowcasting
(Germann & Zawadzki 2002). Plain convolutions and grid sampling, so it runs on any device, at any
size, and inside an exported graph. Vectors are (x, y) in pixels per frame, pointing where things
go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.nn.forecasters.flow.constants import (
    GAP_SIGMA,
    ITERATIONS,
    PYRAMID_SIGMA,
    blur_radius,
    pyramid_levels,
)

DAMPING = 1e-3
"""Added to the structure tensor's diagonal: where nothing is seen, the coarser motion stays."""

MEMORY = 0.7
"""Weight of each older frame pair relative to the next newer one."""

LEAST_ARRIVING = 0.25
"""How many velocities have at least to arrive at a place for their mean to count in full."""

STILL_WEIGHT, COVERING_SPEED = 0.05, 0.25
"""Weight of what stands still where something that moves arrives, too; and the speed, in pixels per
frame, from which on something covers rather than is covered."""


def warp(image_BCHW: Tensor, displacement_B2HW: Tensor) -> Tensor:
    """Sample an image bilinearly at `position + displacement`; (B, C, H, W) and (B, 2, H, W) in
    pixels.

    Outside the frame the nearest border pixel counts.
    """
    return sample(image_BCHW, places(displacement_B2HW))


def advance(image_BCHW: Tensor, velocity_B2HW: Tensor) -> Tensor:
    """Carry an image (B, C, H, W) one frame ahead: sample it at `position - velocity`."""
    return sample(image_BCHW, places(velocity_B2HW, -1))


def advect(displacement_B2HW: Tensor, velocity_B2HW: Tensor) -> Tensor:
    """Lengthen backward trajectories by one frame: d'(x) = d(x - v) - v (semi-Lagrangian)."""
    return advance(displacement_B2HW, velocity_B2HW) - velocity_B2HW


def coverage(displacement_B2HW: Tensor) -> Tensor:
    """1 where `position + displacement` lies inside the frame, else 0: (B, 1, H, W)."""
    displacement_B2HW = displacement_B2HW.detach()  # a step has no slope
    _, _, H, W = displacement_B2HW.shape
    kind = {"dtype": displacement_B2HW.dtype, "device": displacement_B2HW.device}
    x_BHW = torch.arange(W, **kind) + displacement_B2HW[:, 0]
    y_BHW = torch.arange(H, **kind).unsqueeze(1) + displacement_B2HW[:, 1]
    inside_BHW = (x_BHW == x_BHW.clamp(0, W - 1)) & (y_BHW == y_BHW.clamp(0, H - 1))
    return inside_BHW.unsqueeze(1).to(displacement_B2HW.dtype)


def carried_velocity(velocity_B2HW: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """Where velocities (B, 2, H, W) are after some frames, when everything keeps its own.

    Forward splatting with bilinear weights (Niklaus & Liu 2020): a thing that moves reaches places
    that stand still now, which trajectories traced back from there through this field never show.
    Returns the mean of what arrives, where what moves covers what stands still, 0 where nothing
    arrives; and how much does, (B, 1, H, W) from 0 to 1.
    """
    B, _, H, W = velocity_B2HW.shape
    kind = {"dtype": velocity_B2HW.dtype, "device": velocity_B2HW.device}
    shift_B2HW = velocity_B2HW * frames_B.view(-1, 1, 1, 1)
    # On a canvas with a rim, which takes what leaves the frame and is cut off.
    x_BHW = (torch.arange(1, W + 1, **kind) + shift_B2HW[:, 0]).clamp(0, W + 1)
    y_BHW = (torch.arange(1, H + 1, **kind).unsqueeze(1) + shift_B2HW[:, 1]).clamp(0, H + 1)
    left_BHW, top_BHW = x_BHW.floor(), y_BHW.floor()
    right_BHW, low_BHW = x_BHW - left_BHW, y_BHW - top_BHW
    first_BHW = (top_BHW * (W + 3) + left_BHW).long()
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    cells_BN = torch.cat([(first_BHW + (W + 3) * y + x).flatten(1) for y, x in corners], dim=1)
    columns, rows = (1 - right_BHW, right_BHW), (1 - low_BHW, low_BHW)
    shares_BN = torch.cat([(rows[y] * columns[x]).flatten(1) for y, x in corners], dim=1)
    squares_B1HW = velocity_B2HW.square().sum(dim=1, keepdim=True)
    weight_B1HW = STILL_WEIGHT + squares_B1HW / (squares_B1HW + COVERING_SPEED**2)
    parts = (velocity_B2HW * weight_B1HW, weight_B1HW, torch.ones_like(weight_B1HW))
    arriving_B4N = torch.cat(parts, dim=1).flatten(2).repeat(1, 1, 4) * shares_BN.unsqueeze(1)
    canvas_B4N = velocity_B2HW.new_zeros(B, 4, (H + 3) * (W + 3))
    canvas_B4N = canvas_B4N.scatter_add(2, cells_BN.unsqueeze(1).expand(-1, 4, -1), arriving_B4N)
    landed_B4HW = canvas_B4N.unflatten(2, (H + 3, W + 3))[..., 1 : H + 1, 1 : W + 1]
    # Where things move apart there are gaps between them.
    smooth_B4HW = gaussian_blur(landed_B4HW, GAP_SIGMA)
    sum_B2HW, weights_B1HW, count_B1HW = smooth_B4HW.split((2, 1, 1), dim=1)
    mean_B2HW = sum_B2HW / weights_B1HW.clamp(min=1e-6)
    return mean_B2HW * (count_B1HW / LEAST_ARRIVING).clamp(max=1), count_B1HW.clamp(max=1)


def places(shift_B2HW: Tensor, factor: float = 1) -> Tensor:
    """Where `position + factor * shift` is, (B, H, W, 2), from -1 to 1 inside the frame.

    In few operations, since exported graphs hold a hundred of these. x and y stay apart in memory:
    interleaving them would take longer than sampling does.
    """
    _, _, H, W = shift_B2HW.shape
    kind = {"dtype": shift_B2HW.dtype, "device": shift_B2HW.device}
    x_HW = torch.linspace(-1, 1, W, **kind).expand(H, W)
    y_HW = torch.linspace(-1, 1, H, **kind).unsqueeze(1).expand(H, W)
    pixels_11 = [torch.full((1, 1), 2 * factor / max(side - 1, 1), **kind) for side in (W, H)]
    places_B2HW = torch.addcmul(torch.stack((x_HW, y_HW)), shift_B2HW, torch.stack(pixels_11))
    return places_B2HW.permute(0, 2, 3, 1)


def sample(image_BCHW: Tensor, places_BHW2: Tensor) -> Tensor:
    """Interpolate bilinearly at `places`, borders repeated."""
    return F.grid_sample(image_BCHW, places_BHW2, padding_mode="border", align_corners=True)


def lucas_kanade(
    frames_BTHW: Tensor,
    windows: Sequence[tuple[float, int | None]],
    withheld: Sequence[int] = (0,),
) -> Tensor:
    """Estimate velocity fields (E, R, B, 2, H, W) that explain the steps between the given frames.

    `frames_BTHW` are grey frames in [0, 1]; newer pairs weigh more. Each of the E `windows` is the
    width in pixels, at every level, of the Gaussian that a velocity is estimated over (wide ones
    are sure and coarse, narrow ones follow small things), and the number of newest frames that it
    looks at, None for all. Of each there is an estimate for each number of frames `withheld`, the
    newest, but two frames are always seen. One frame alone has no motion: zeros.
    """
    (B, T, H, W), E, R = frames_BTHW.shape, len(windows), len(withheld)
    if T == 1:
        return frames_BTHW.new_zeros(E, R, B, 2, H, W)
    older, owner, weights_NP = _pairs(T, [frames for _, frames in windows], withheld)
    newer = [frame + 1 for frame in older]
    kind = {"dtype": frames_BTHW.dtype, "device": frames_BTHW.device}
    weights_BNP = torch.tensor(weights_NP, **kind).repeat(B, 1, 1)
    pyramid = [frames_BTHW]
    for _ in range(pyramid_levels(H, W) - 1):
        # Blurred first: every second pixel alone would alias.
        blurred = gaussian_blur(pyramid[-1], PYRAMID_SIGMA)
        pyramid.append(F.avg_pool2d(blurred, 2, ceil_mode=True, count_include_pad=False))
    # Estimates are independent of each other: those of a clip stand in the batch, M = B E R.
    velocity_M2HW = pyramid[-1].new_zeros(B * E * R, 2, *pyramid[-1].shape[-2:])
    for level in reversed(range(len(pyramid))):
        size = pyramid[level].shape[-2:]
        if velocity_M2HW.shape[-2:] != size:
            # A pixel of this level is half a pixel of the coarser one.
            velocity_M2HW = 2 * F.interpolate(velocity_M2HW, size=size, mode="bilinear")
        older_BPHW, newer_BPHW = (pyramid[level][:, frames] for frames in (older, newer))
        for _ in range(ITERATIONS[level]):
            moments_BN5HW = _moments(older_BPHW, newer_BPHW, velocity_M2HW, owner, weights_BNP)
            increments = [
                _increment(part_BR5HW, sigma)
                for part_BR5HW, (sigma, _) in zip(
                    moments_BN5HW.chunk(E, dim=1), windows, strict=True
                )
            ]
            del moments_BN5HW  # which takes as much as 30 frames
            velocity_M2HW = velocity_M2HW + torch.cat(increments, dim=1).flatten(0, 1)
    return velocity_M2HW.unflatten(0, (B, E, R)).permute(1, 2, 0, 3, 4, 5)


def _pairs(
    T: int, looked_at: Sequence[int | None], withheld: Sequence[int]
) -> tuple[list[int], list[int], list[list[float]]]:
    """The older frame of each of P pairs, the one of N estimates that looks at it, and how much
    it counts there: (N, P), 0 in all other estimates and 1 in all.
    """
    older, owner, weights = [], [], []
    for estimate, (frames, number) in enumerate(product(looked_at, withheld)):
        newest = T - 2 - min(number, T - 2)
        pairs = range(max(0, newest + 2 - (frames or T)), newest + 1)
        shares = [MEMORY ** (newest - frame) for frame in pairs]
        older += pairs
        owner += [estimate] * len(pairs)
        weights += [share / sum(shares) for share in shares]
    counted = [*zip(owner, weights, strict=True)]
    weights_NP = [
        [weight if mine == estimate else 0.0 for mine, weight in counted]
        for estimate in range(owner[-1] + 1)
    ]
    return older, owner, weights_NP


def _moments(
    older_BPHW: Tensor,
    newer_BPHW: Tensor,
    velocity_M2HW: Tensor,
    owner: Sequence[int],
    weights_BNP: Tensor,
) -> Tensor:
    """Products xx, xy, yy, xt and yt of what frames change along x, y and, moved along, in time:
    weighted means over the pairs of each estimate, (B, N, 5, H, W).
    """
    places_BNHW2 = places(velocity_M2HW, -1).unflatten(0, weights_BNP.shape[:2])
    older_Q1HW = older_BPHW.flatten(0, 1).unsqueeze(1)
    moved_Q1HW = sample(older_Q1HW, places_BNHW2[:, owner].flatten(0, 1))
    moved_BPHW = moved_Q1HW.view_as(older_BPHW)
    gt = newer_BPHW - moved_BPHW
    gx, gy = _slopes(moved_BPHW + newer_BPHW)
    del moved_Q1HW, moved_BPHW  # each of these takes as much as all frames
    # With the number of slopes in each, which are four times as steep as they should be.
    factors = ((gx, gx, 2), (gx, gy, 2), (gy, gy, 2), (gx, gt, 1), (gy, gt, 1))
    # One after another: a stack of all five would be copied and read twice.
    moments = [
        torch.bmm(weights_BNP / 4**slopes, (one * other).flatten(2))
        for one, other, slopes in factors
    ]
    moments_BN5HW = torch.stack(moments, dim=2).unflatten(3, older_BPHW.shape[-2:])
    del gx, gy, gt, factors, moments
    # What came from outside the frame is a repeated border, which says nothing about motion.
    x_BNHW, y_BNHW = places_BNHW2.abs().unbind(dim=-1)
    return moments_BN5HW.mul_((torch.maximum(x_BNHW, y_BNHW) <= 1).unsqueeze(2))


def _slopes(sum_BTHW: Tensor) -> tuple[Tensor, Tensor]:
    """Four times the slopes along x and along y of the mean of two frames, given their sum: central
    differences are over two pixels.
    """
    padded = F.pad(sum_BTHW, (1, 1, 1, 1), mode="replicate")
    wide, high = padded[..., 1:-1, :], padded[..., 1:-1]
    return wide[..., 2:] - wide[..., :-2], high[..., 2:, :] - high[..., :-2, :]


def _increment(moments_BR5HW: Tensor, sigma: float) -> Tensor:
    """Solve the least-squares problem in a Gaussian window for what the velocities miss, at most 2
    pixels: (B, R, 2, H, W).
    """
    smooth_BMHW = gaussian_blur(moments_BR5HW.flatten(1, 2), sigma)
    xx, xy, yy, xt, yt = smooth_BMHW.view_as(moments_BR5HW).unbind(dim=2)
    xx, yy = xx + DAMPING, yy + DAMPING
    # Cramer's rule; the damping keeps the determinant above 0 on flat ground and along edges.
    determinant = xx * yy - xy * xy
    dx, dy = (xy * yt - yy * xt) / determinant, (xy * xt - xx * yt) / determinant
    return torch.stack((dx, dy), dim=2).clamp(-2, 2)


def gaussian_blur(image_BCHW: Tensor, sigma: float) -> Tensor:
    """Blur every channel with a Gaussian of `sigma` pixels, borders replicated; same shape out."""
    radius, (B, C, H, W) = blur_radius(sigma), image_BCHW.shape
    # As channels of one image, images take a third of the time. Exported convolutions need a fixed
    # number of channels, while B may be free.
    folded = image_BCHW if is_traced() else image_BCHW.reshape(1, B * C, H, W)
    channels = int(folded.shape[1])
    kernel_C11K = _gaussian(sigma, channels, like=image_BCHW)
    # A Gaussian is separable: 2 passes over a line of pixels, not one over a square. Each pads its
    # own direction, so that the first one does not blur rows that are copies of the border.
    wide = F.pad(folded, (radius, radius, 0, 0), mode="replicate")
    rows = F.conv2d(wide, kernel_C11K, groups=channels)
    high = F.pad(rows, (0, 0, radius, radius), mode="replicate")
    return F.conv2d(high, kernel_C11K.transpose(2, 3), groups=channels).view_as(image_BCHW)


def is_traced() -> bool:
    """Whether a graph is being made, which must hold for other batches and sizes, too."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def _gaussian(sigma: float, channels: int, like: Tensor) -> Tensor:
    """The samples of a Gaussian, 1 in all, as a kernel along the columns of every channel."""
    radius = blur_radius(sigma)
    samples = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-radius, radius + 1)]
    weights = [[[sample / sum(samples) for sample in samples]]]
    return torch.tensor([weights], dtype=like.dtype, device=like.device).expand(channels, 1, 1, -1)
