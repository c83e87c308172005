"""Motion and extrapolation against SciPy, against geometry and on textures of known motion."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from framecast.nn.forecasters.flow.optical_flow import (
    advance,
    advect,
    carried_velocity,
    coverage,
    gaussian_blur,
    lucas_kanade,
    warp,
)
from tests.support.textures import moving_texture, solid_body_rotation, translating, turned_back


def motion_of(frames_BTHW, window_sigma=5.0):
    return lucas_kanade(frames_BTHW, [(window_sigma, None)])[0, 0]


B, C, H, W = 2, 3, 7, 8
TINY = [(1, 1), (3, 5), (7, 2), (1, 8), (33, 1)]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(velocity, height=H, width=W, batch=1):
    return torch.tensor(velocity).view(1, 2, 1, 1).repeat(batch, 1, height, width)


def sampled(image_BCHW, displacement_B2HW):
    """SciPy's bilinear sampling, borders repeated."""
    y, x = np.mgrid[: image_BCHW.shape[2], : image_BCHW.shape[3]]
    warped = []
    for image, (dx, dy) in zip(image_BCHW.numpy(), displacement_B2HW.numpy(), strict=True):
        place = {"coordinates": [y + dy, x + dx], "order": 1, "mode": "nearest"}
        warped.append([ndimage.map_coordinates(channel, **place) for channel in image])
    return np.array(warped)


@pytest.mark.parametrize("size", [(H, W), *TINY])
@pytest.mark.parametrize("reach", [1.5, 30.0])
def test_warp_is_bilinear_sampling_with_repeated_borders(size, reach):
    image = random(B, C, *size)
    displacement = reach * (2 * random(B, 2, *size, seed=1) - 1)
    warped = warp(image, displacement)
    np.testing.assert_allclose(warped, sampled(image, displacement), atol=3e-6)
    by_opencv = [
        cv2.remap(
            image[b].permute(1, 2, 0).numpy(),
            (np.arange(size[1]) + displacement[b, 0].numpy()).astype(np.float32),
            (np.arange(size[0])[:, None] + displacement[b, 1].numpy()).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for b in range(B)
    ]
    # OpenCV rounds positions to 1/32 of a pixel.
    np.testing.assert_allclose(warped.permute(0, 2, 3, 1), by_opencv, atol=2 / 32)


def test_whole_pixels_move_exactly_and_x_goes_along_columns():
    image = random(1, C, H, W)
    warped = warp(image, uniform((2.0, -1.0)))
    torch.testing.assert_close(warped[..., 1:, :-2], image[..., :-1, 2:])
    torch.testing.assert_close(warped[..., 0, :-2], image[..., 0, 2:])


def test_coverage_is_one_inside_borders_included():
    displacement = torch.zeros(1, 2, H, W)
    displacement[0, 0] = 2.0
    displacement[0, 1] = -1.0
    inside = coverage(displacement)
    assert inside.shape == (1, 1, H, W)
    expected = torch.zeros(H, W)
    expected[1:, : W - 2] = 1
    assert torch.equal(inside[0, 0], expected)


def test_advance_carries_an_image_one_frame_ahead():
    image, velocity = random(B, C, H, W), 3 * random(B, 2, H, W, seed=1) - 1.5
    np.testing.assert_allclose(advance(image, velocity), sampled(image, -velocity), atol=1e-5)


def test_advect_adds_up_a_uniform_motion():
    velocity = uniform((1.5, -0.75), batch=B)
    displacement = torch.zeros(B, 2, H, W)
    for _ in range(5):
        displacement = advect(displacement, velocity)
    torch.testing.assert_close(displacement, -5 * velocity)


def test_advect_follows_a_solid_body_rotation_to_first_order():
    """12 frames of 0.02 rad, exact arcs known: off by omega^2 t r / 2, less than 0.06 pixels.

    A straight step leaves the circle by omega / 2 of its own length; bilinear sampling is exact on
    a linear field.
    """
    height, width, omega, steps = 41, 57, 0.02, 12
    velocity = torch.from_numpy(solid_body_rotation(height, width, omega))[None]
    displacement = torch.zeros_like(velocity)
    for _ in range(steps):
        displacement = advect(displacement, velocity)
    rows, columns = turned_back(height, width, omega, steps)
    y, x = np.mgrid[:height, :width]
    exact = np.stack((columns - x, rows - y))
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    off = np.hypot(*(displacement[0].numpy() - exact))
    never_left = radius < height / 2 - 1
    assert (off[never_left] <= 1.1 * omega**2 * steps / 2 * radius[never_left] + 1e-9).all()
    assert off[never_left].max() < 0.06


def test_advect_looks_up_the_trajectory_where_the_pixel_came_from():
    """Golden: d'(x) = d(x - v) - v along one row, worked out by hand."""
    displacement = torch.zeros(1, 2, 1, 4)
    displacement[0, 0, 0] = torch.tensor([1.0, 2.0, 4.0, 8.0])
    velocity = torch.zeros(1, 2, 1, 4)
    velocity[0, 0, 0] = torch.tensor([1.0, 0.5, -1.0, 2.0])
    after = advect(displacement, velocity)
    assert after[0, 0, 0].tolist() == [1.0 - 1.0, 1.5 - 0.5, 8.0 + 1.0, 2.0 - 2.0]
    assert not after[0, 1].any()


@pytest.mark.parametrize("velocity", [(0.6, -0.35), (2.5, 1.5), (8.0, 0.0), (-5.0, 7.0)])
def test_lucas_kanade_recovers_a_translation(velocity):
    height, width = 96, 131
    frames = torch.stack([translating(4, height, width, velocity, seed=seed) for seed in (0, 1)])
    found = motion_of(frames).numpy()
    assert found.shape == (2, 2, height, width)
    off = np.hypot(found[:, 0] - velocity[0], found[:, 1] - velocity[1])
    # Content leaves and enters by 24 pixels in all; even there the border must not pull.
    assert off.mean() < 0.08
    assert off[:, 12:-12, 12:-12].max() < 0.15
    assert off.max() < 2.5


def test_lucas_kanade_follows_an_eighth_of_the_frame():
    found = motion_of(translating(4, 96, 131, (0.0, 12.0))[None])[0]
    off = torch.hypot(found[0], found[1] - 12.0)
    assert off.median() < 0.06


def test_lucas_kanade_recovers_a_slow_rotation():
    height, width, omega = 96, 131, 0.02
    frames = moving_texture(4, height, width, lambda y, x, t: turned_back(height, width, omega, t))
    found = motion_of(frames[None])[0].numpy()
    truth = solid_body_rotation(height, width, omega)
    off = np.hypot(*(found - truth))
    assert np.hypot(*truth).max() > 1.5
    assert off.mean() < 0.06
    assert off[8:-8, 8:-8].max() < 0.25


def test_lucas_kanade_believes_newer_pairs_more():
    """A texture that speeds up from 1 to 2 pixels: the least squares lean to the newer pair."""
    place = [0.0, 1.0, 3.0]
    frames = moving_texture(3, 64, 80, lambda y, x, t: (y, x - place[t]))
    inner = motion_of(frames[None])[0, 0, 12:-12, 12:-12]
    assert inner.mean().item() == pytest.approx((2 + 0.7 * 1) / 1.7, abs=0.05)


@pytest.mark.parametrize("looked_at", [None, 2, 3])
def test_estimates_without_the_newest_frames_are_those_of_the_frames_before(looked_at):
    frames = torch.stack([translating(6, 48, 56, (1.0, -0.5), seed=seed) for seed in (0, 1)])
    # A second window, wider and of all frames, must not get in the way of the first.
    found = lucas_kanade(frames, [(2.5, looked_at), (5.0, None)], (0, 1, 3, 5))
    assert found.shape == (2, 4, 2, 2, 48, 56)
    # Two frames are always seen, so that 5 withheld are 4.
    for narrow, wide, withheld in zip(*found, (0, 1, 3, 4), strict=True):
        seen = frames[:, : 6 - withheld]
        expected = motion_of(seen[:, -(looked_at or 6) :], 2.5)
        torch.testing.assert_close(narrow, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(wide, motion_of(seen), atol=1e-4, rtol=0)


def test_lucas_kanade_gives_each_clip_its_own_motion():
    slow, fast = translating(3, 48, 56, (1.0, 0.0)), translating(3, 48, 56, (-3.0, 2.0), seed=1)
    together = motion_of(torch.stack((slow, fast)))
    torch.testing.assert_close(together[:1], motion_of(slow[None]), atol=1e-4, rtol=0)
    torch.testing.assert_close(together[1:], motion_of(fast[None]), atol=1e-4, rtol=0)


def test_narrow_windows_follow_small_things_and_wide_ones_are_sure():
    """Narrow: closer to the seam between halves that slide past each other; wide: in noise."""
    up, down = (translating(3, 64, 80, (0.0, v), seed=3)[None] for v in (-1.0, 1.0))
    frames = torch.cat((up[..., :40], down[..., 40:]), dim=-1)
    truth = torch.cat((torch.full((40,), -1.0), torch.ones(40)))
    seam = (0, 1, slice(12, -12), slice(32, 48))
    off = [(motion_of(frames, sigma) - truth)[seam] for sigma in (1.5, 5.0)]
    assert off[0].square().mean() < 0.5 * off[1].square().mean()

    noisy = translating(3, 64, 80, (1.0, -0.5))[None]
    noisy = noisy + 0.03 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(2))
    off = [(motion_of(noisy, sigma) - uniform((1.0, -0.5), 64, 80)) for sigma in (1.5, 5.0)]
    assert off[1].square().mean() < 0.5 * off[0].square().mean()


def test_nothing_to_see_is_no_motion():
    assert not motion_of(torch.full((B, 5, 33, 40), 0.4)).abs().max() > 1e-6
    assert torch.equal(motion_of(random(B, 1, H, W)), torch.zeros(B, 2, H, W))


@pytest.mark.parametrize("size", TINY)
def test_tiny_frames_work(size):
    velocity = motion_of(random(B, 3, *size))
    assert velocity.shape == (B, 2, *size)
    assert torch.isfinite(velocity).all()
    assert torch.isfinite(advect(velocity, velocity)).all()
    assert gaussian_blur(random(B, C, *size), 1.5).shape == (B, C, *size)


@pytest.mark.parametrize("sigma", [0.7, 1.6, 5.0])
@pytest.mark.parametrize("size", [(23, 31), *TINY])
def test_gaussian_blur_is_scipys_with_repeated_borders(sigma, size):
    image = random(B, C, *size, dtype=torch.float64)
    expected = ndimage.gaussian_filter(
        image.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=3.0
    )
    np.testing.assert_allclose(gaussian_blur(image, sigma), expected, atol=1e-12)


def test_gradients_of_warp_and_advect_are_the_numerical_ones():
    image = random(1, 2, 5, 6, dtype=torch.float64).requires_grad_()
    # Off the grid, where bilinear sampling has kinks, and off the border, where it is flat.
    toward_centre = torch.tensor([2.5, 2.0]).view(1, 2, 1, 1) - torch.stack(
        torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="xy")
    )
    start = (0.3 * toward_centre + 0.13).double()
    assert torch.autograd.gradcheck(warp, (image, start.clone().requires_grad_()))
    velocity = (-start).clone().requires_grad_()
    assert torch.autograd.gradcheck(advect, (start.clone().requires_grad_(), velocity))


def test_gradients_of_estimated_motion_are_the_numerical_ones():
    frames = translating(3, 9, 11, (0.7, 0.4))[None].double().requires_grad_()
    assert torch.autograd.gradcheck(motion_of, (frames,), fast_mode=True, eps=1e-7, atol=1e-4)


def test_velocities_are_carried_along_themselves():
    """Against a loop over pixels, each of which lands on four, and SciPy's blur."""
    height, width, frames = 9, 11, (0, 3)
    velocity = 2 * random(2, 2, height, width, seed=5) - 1
    velocity[:, :, 4:] = 0  # part of it stands still and is covered
    found, arriving = carried_velocity(velocity, torch.tensor(frames))
    for b, after in enumerate(frames):
        landed = np.zeros((4, height + 20, width + 20))
        for y in range(height):
            for x in range(width):
                dx, dy = velocity[b, :, y, x].double().numpy()
                weight = 0.05 + (dx**2 + dy**2) / (dx**2 + dy**2 + 0.25**2)
                part = np.array([dx * weight, dy * weight, weight, 1])
                at_x, at_y = 10 + x + after * dx, 10 + y + after * dy
                left, top = int(np.floor(at_x)), int(np.floor(at_y))
                for row, column in (
                    (top, left),
                    (top, left + 1),
                    (top + 1, left),
                    (top + 1, left + 1),
                ):
                    landed[:, row, column] += (
                        part * (1 - abs(at_x - column)) * (1 - abs(at_y - row))
                    )
        inside = landed[:, 10 : 10 + height, 10 : 10 + width]
        *sums, weights, count = (
            ndimage.gaussian_filter(part, 0.7, mode="nearest", radius=2) for part in inside
        )
        expected = np.array(sums) / weights * np.minimum(count / 0.25, 1)
        np.testing.assert_allclose(found[b], expected, atol=1e-5)
        np.testing.assert_allclose(arriving[b, 0], np.minimum(count, 1), atol=1e-5)
