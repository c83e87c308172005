"""Baselines against the same method written with SciPy, and on textures whose future is known."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from framecast.prediction.baselines import (
    BASELINES,
    context_mean,
    linear_trend,
    optical_flow,
    persistence,
)
from tests.support.textures import translating

B, T, C, H, W = 2, 5, 3, 41, 54
HORIZON = 4


def clip(velocity, frames=T + HORIZON, size=(H, W), seed=0):
    """A translating texture in three different colours: (1, T, C, H, W)."""
    grey_THW = translating(frames, *size, velocity, seed=seed)
    return torch.stack([grey_THW, 0.6 * grey_THW, 1 - grey_THW], dim=1)[None]


def sample(field_HW, dx, dy):
    y, x = np.mgrid[: field_HW.shape[0], : field_HW.shape[1]]
    return ndimage.map_coordinates(field_HW, [y + dy, x + dx], order=1, mode="nearest")


def extrapolated(context_TCHW, horizon):
    """DIS flow between the last two frames, smoothed, then followed backwards frame by frame."""
    before, last = context_TCHW[-2:].numpy().astype(np.float64)
    grey = [np.rint(frame.mean(axis=0) * 255).astype(np.uint8) for frame in (before, last)]
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow_HW2 = estimator.calc(*grey, None).astype(np.float64)
    # OpenCV mirrors without repeating the edge, and lets the Gaussian end after 4 sigma.
    vx, vy = np.moveaxis(
        ndimage.gaussian_filter(flow_HW2, (3, 3, 0), mode="mirror", truncate=4.0), -1, 0
    )
    dx, dy = -vx, -vy
    for _ in range(horizon):
        yield np.stack([sample(channel, dx, dy) for channel in last])
        dx, dy = sample(dx, -vx, -vy) - vx, sample(dy, -vx, -vy) - vy


def errors(predictor, context, truth):
    """MSE per lead time."""
    frames = predictor(context, truth.shape[1])
    leads = truth.unbind(dim=1)
    return [torch.mean((f - t) ** 2).item() for f, t in zip(frames, leads, strict=True)]


def test_persistence_repeats_the_last_frame():
    context = torch.rand(B, T, C, H, W)
    frames = list(persistence(context, 3))
    assert len(frames) == 3
    assert all(torch.equal(frame, context[:, -1]) for frame in frames)


def test_optical_flow_is_dis_followed_backwards_for_every_clip_of_a_batch():
    context = torch.cat([clip((2.5, 1.5)), clip((-1.2, 0.4), seed=1)])[:, :T]
    frames = list(optical_flow(context, HORIZON))
    assert len(frames) == HORIZON
    for b in range(B):
        for frame, expected in zip(frames, extrapolated(context[b], HORIZON), strict=True):
            np.testing.assert_allclose(frame[b], expected, atol=2e-4)


def test_the_first_frame_is_opencvs_own_remap_of_the_last():
    context = clip((2.5, 1.5))[:, :T]
    grey = (context[0, -2:].mean(dim=1) * 255).round().byte().numpy()
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = cv2.GaussianBlur(estimator.calc(*grey, None), (0, 0), 3.0)
    y, x = np.mgrid[:H, :W].astype(np.float32)
    last_HWC = context[0, -1].permute(1, 2, 0).numpy()
    maps = (x - flow[..., 0], y - flow[..., 1])
    expected = cv2.remap(last_HWC, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    frame = next(optical_flow(context, 1))
    # OpenCV rounds positions to 1/32 of a pixel.
    np.testing.assert_allclose(frame[0].permute(1, 2, 0), expected, atol=0.01)


@pytest.mark.parametrize("velocity", [(0.6, -0.35), (2.5, 1.5)])
def test_optical_flow_is_far_better_than_persistence_where_things_translate(velocity):
    frames = clip(velocity, size=(64, 80))
    context, truth = frames[:, :T], frames[:, T:]
    flow, still = errors(optical_flow, context, truth), errors(persistence, context, truth)
    assert len(flow) == HORIZON
    assert all(f < 0.2 * s for f, s in zip(flow, still, strict=True))


# Sizes that OpenCV's DIS refuses, 12 x 2000 among them.
@pytest.mark.parametrize(
    "size", [(1, 1), (3, 5), (7, 2), (11, 11), (32, 1), (1, 32), (15, 40), (12, 2000)]
)
def test_frames_too_small_for_dis_are_taken(size):
    context = torch.rand(B, 3, C, *size)
    frames = list(optical_flow(context, 2))
    assert [frame.shape for frame in frames] == [(B, C, *size)] * 2
    assert all(((frame >= 0) & (frame <= 1)).all() for frame in frames)


def test_small_frames_still_move():
    frames = clip((1.0, 0.0), size=(9, 30), seed=3)
    context, truth = frames[:, :T], frames[:, T:]
    flow, still = errors(optical_flow, context, truth), errors(persistence, context, truth)
    assert flow[0] < 0.3 * still[0]


def test_one_context_frame_stands_still():
    context = clip((2.5, 1.5))[:, :1]
    for frame in optical_flow(context, 3):
        torch.testing.assert_close(frame, context[:, 0], atol=1e-6, rtol=0)


def test_the_mean_of_the_context_is_repeated():
    context = torch.rand(B, T, C, H, W)
    found = list(context_mean(context, 3))
    assert len(found) == 3
    for frame in found:
        np.testing.assert_allclose(frame, context.numpy().mean(axis=1), rtol=1e-5)


def test_the_trend_is_numpys_line_through_each_pixel_clipped():
    context = torch.rand(B, T, C, 7, 8)
    columns = context.numpy().astype(np.float64).transpose(1, 0, 2, 3, 4).reshape(T, -1)
    slope, start = np.polyfit(np.arange(T), columns, 1)
    found = list(linear_trend(context, HORIZON))
    assert len(found) == HORIZON
    for lead, frame in enumerate(found, start=1):
        line = np.clip(start + slope * (T - 1 + lead), 0, 1).reshape(B, C, 7, 8)
        np.testing.assert_allclose(frame, line, atol=1e-5)
    assert 0 < sum(((f == 0) | (f == 1)).float().mean().item() for f in found) < HORIZON


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_takes_one_context_frame(name):
    context = torch.rand(B, 1, C, 20, 23, generator=torch.Generator().manual_seed(4))
    found = list(BASELINES[name](context, 2))
    assert [frame.shape for frame in found] == [(B, C, 20, 23)] * 2
    for frame in found:
        # Moving by nothing still rounds positions, normalised to [-1, 1] in float32.
        torch.testing.assert_close(frame, context[:, 0], atol=1e-5, rtol=0)
