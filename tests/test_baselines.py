"""The classical forecasts: repeating the last frame, and optical flow on frames of any size."""

import numpy as np
import pytest
import torch

from framecast.baselines import optical_flow, persistence


def drifting(height, width, frames=3, speed=1.0):
    """A smooth pattern that moves right by `speed` pixels per frame: (1, T, 1, H, W)."""
    row, column = np.mgrid[:height, :width].astype(np.float32)
    pictures = [
        0.5 + 0.4 * np.sin(0.35 * (column - speed * t)) * np.cos(0.3 * row) for t in range(frames)
    ]
    return torch.from_numpy(np.stack(pictures)[None, :, None].astype(np.float32))


def test_persistence_repeats_the_last_frame():
    clip_BTCHW = drifting(5, 7)
    frames = list(persistence(clip_BTCHW, 4))
    assert len(frames) == 4
    assert all(torch.equal(frame, clip_BTCHW[:, -1]) for frame in frames)


def test_optical_flow_carries_the_pattern_on():
    clip_BTCHW = drifting(48, 64, frames=6)
    truth_BTCHW = clip_BTCHW[:, 3:]
    flow = torch.stack(list(optical_flow(clip_BTCHW[:, :3], 3)), dim=1)
    still = torch.stack(list(persistence(clip_BTCHW[:, :3], 3)), dim=1)
    inner = (..., slice(8, -8), slice(8, -8))
    error, reference = ((x - truth_BTCHW)[inner].square().mean() for x in (flow, still))
    assert error < 0.1 * reference


# The sizes that OpenCV's DIS refuses, 12 x 2000 among them.
@pytest.mark.parametrize("size", [(1, 1), (1, 32), (32, 1), (3, 5), (11, 11), (12, 2000)])
def test_optical_flow_takes_frames_of_any_size(size):
    frames = list(optical_flow(drifting(*size), 2))
    assert [frame.shape for frame in frames] == [(1, 1, *size)] * 2
    assert all(torch.isfinite(frame).all() for frame in frames)


def test_one_context_frame_stands_still():
    clip_BTCHW = drifting(24, 20, frames=1)
    for frame_BCHW in optical_flow(clip_BTCHW, 2):
        torch.testing.assert_close(frame_BCHW, clip_BTCHW[:, 0], atol=1e-6, rtol=0)
