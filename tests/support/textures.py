"""Smooth random pictures that move in a known way, without repeating borders."""

import numpy as np
import torch
from scipy import ndimage

MARGIN = 48
"""Pixels of texture beyond each side of the frame, from which motion brings new content in."""


def moving_texture(frames, height, width, came_from, *, sigma=3, seed=0):
    """Frames (T, H, W) in [0, 1], float32; `came_from(y, x, t)` is where frame t's pixels were."""
    noise = np.random.default_rng(seed).standard_normal((height + 2 * MARGIN, width + 2 * MARGIN))
    texture = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    texture = (texture - texture.min()) / np.ptp(texture)
    y, x = np.mgrid[:height, :width].astype(float)
    places = [came_from(y, x, t) for t in range(frames)]
    clip = [
        ndimage.map_coordinates(texture, [rows + MARGIN, columns + MARGIN], order=3)
        for rows, columns in places
    ]
    return torch.from_numpy(np.stack(clip)).float().clamp(0, 1)


def translating(frames, height, width, velocity, **kind):
    """A texture moving by `velocity` (x, y) pixels a frame: (T, H, W)."""
    vx, vy = velocity
    return moving_texture(frames, height, width, lambda y, x, t: (y - vy * t, x - vx * t), **kind)


def solid_body_rotation(height, width, omega):
    """Velocity (2, H, W), in (x, y), of turning about the frame's centre by `omega` a frame."""
    y, x = np.mgrid[:height, :width].astype(float)
    dy, dx = y - (height - 1) / 2, x - (width - 1) / 2
    return np.stack((-omega * dy, omega * dx))


def turned_back(height, width, omega, t):
    """Where the pixels (y, x) were `t` frames earlier in a solid-body rotation."""
    y, x = np.mgrid[:height, :width].astype(float)
    cy, cx = (height - 1) / 2, (width - 1) / 2
    sin, cos = np.sin(-omega * t), np.cos(-omega * t)
    return cy + sin * (x - cx) + cos * (y - cy), cx + cos * (x - cx) - sin * (y - cy)
