"""Classical forecasts with the model's own signature: what a network has to beat.

Context (B, Tc, C, H, W) in [0, 1] and a horizon in, that many (B, C, H, W) frames out, one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from framecast.nn.forecasters.flow.optical_flow import advect, warp
from framecast.prediction.rollout import Predictor

FLOW_SMOOTHING = 3.0
"""Standard deviation in pixels of the Gaussian that smooths outliers of the DIS flow."""

LEAST_SIDE = 16
"""Side in pixels below which OpenCV's DIS fails; smaller frames are padded with their edges."""


def persistence(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Repeat the last frame."""
    for _ in range(horizon):
        yield context_BTCHW[:, -1]


def optical_flow(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Carry the last frame along the dense optical flow between the last two (OpenCV DIS, medium).

    Extrapolated semi-Lagrangian, as in Germann & Zawadzki (2002). A single context frame stands
    still.
    """
    last_BCHW = context_BTCHW[:, -1]
    velocity_B2HW = _dis_velocity(context_BTCHW).to(last_BCHW)
    # From each pixel backwards to where its value was in the last frame.
    displacement_B2HW = torch.zeros_like(velocity_B2HW)
    for _ in range(horizon):
        displacement_B2HW = advect(displacement_B2HW, velocity_B2HW)
        yield warp(last_BCHW, displacement_B2HW)


def context_mean(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Repeat the mean of the context frames."""
    mean_BCHW = context_BTCHW.mean(dim=1)
    for _ in range(horizon):
        yield mean_BCHW


def linear_trend(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Continue each pixel's least-squares line over the context, clipped to [0, 1].

    A single context frame stands still.
    """
    frames = context_BTCHW.shape[1]
    mean_BCHW = context_BTCHW.mean(dim=1)
    # Time from the middle of the context, so that the mean is the intercept.
    time_T = torch.arange(frames).to(context_BTCHW) - (frames - 1) / 2
    variance = time_T.square().sum().clamp(min=1)  # 0 for a single frame
    slope_BCHW = torch.einsum("t,btchw->bchw", time_T, context_BTCHW) / variance
    for lead in range(1, horizon + 1):
        yield (mean_BCHW + slope_BCHW * ((frames - 1) / 2 + lead)).clamp(0, 1)


BASELINES: dict[str, Predictor] = {
    "last frame": persistence,
    "context mean": context_mean,
    "optical flow": optical_flow,
    "linear trend": linear_trend,
}
"""By the names that reports give them."""


def _dis_velocity(context_BTCHW: Tensor) -> Tensor:
    """Velocity (B, 2, H, W) in pixels per frame from the last two frames."""
    # DIS takes 8-bit grey images (Kroeger et al. 2016); one flow serves all channels.
    grey_BTHW = (context_BTCHW[:, -2:].mean(dim=2) * 255).round().to(torch.uint8).cpu().numpy()
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    fields = []
    height, width = grey_BTHW.shape[2:]
    bottom, right = max(LEAST_SIDE - height, 0), max(LEAST_SIDE - width, 0)
    for pair_THW in grey_BTHW:
        wide_THW = np.pad(pair_THW, ((0, 0), (0, bottom), (0, right)), mode="edge")
        # The first and the last of one or two frames: a single one has no motion.
        flow_HW2 = estimator.calc(wide_THW[0], wide_THW[-1], None)[:height, :width]
        fields.append(cv2.GaussianBlur(flow_HW2, (0, 0), FLOW_SMOOTHING))
    return torch.from_numpy(np.stack(fields)).permute(0, 3, 1, 2)
