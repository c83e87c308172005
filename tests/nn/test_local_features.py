"""Signs on frames whose motion and surprises are known."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow.local_features import read_signs, within
from framecast.nn.forecasters.flow.optical_flow import gaussian_blur, warp
from framecast.nn.forecasters.registry import build_forecaster
from tests.support.textures import translating

T, H, W = 5, 48, 64
MIDDLE = (slice(12, -12), slice(16, -16))


def everywhere(velocity):
    return torch.tensor(velocity).view(1, 2, 1, 1).expand(1, 2, H, W)


def signs_of(frames_THW, velocity, fine=None):
    """The signs (6, H, W), given the motion that is everywhere, and the fine one if another."""
    context, way = frames_THW[None, :, None], everywhere(velocity)
    ways = torch.stack((way, everywhere(fine or velocity)), dim=1)
    surprise = torch.zeros_like(context)
    for t in range(1, len(frames_THW)):
        surprise[:, t] = context[:, t] - warp(context[:, t - 1], -way)
    return read_signs(context, surprise, ways)[0]


def test_what_moves_as_expected_has_pace_no_surprise_and_motion():
    frames = translating(T, H, W, (3.0, 0.0))
    pace, surprise, haze, detail, motion, _ = signs_of(frames, (3.0, 0.0))
    assert torch.equal(pace, torch.full_like(pace, 0.5))
    assert surprise[MIDDLE].max() < -0.99
    assert motion[MIDDLE].min() > 0.99
    assert haze[MIDDLE].max() < -0.9
    assert abs(detail).max() < 1e-4


@pytest.mark.parametrize("fine,sign", [((3.0, 0.0), 1), ((-1.0, 2.0), -1)])
def test_detail_says_which_motion_did_better(fine, sign):
    """The wide one is off by half a pixel a frame; the fine one by nothing, or by far more."""
    detail = signs_of(translating(T, H, W, (3.0, 0.0)), (2.5, 0.0), fine)[3]
    assert (sign * detail[MIDDLE]).min() > 0.5


def test_only_the_newest_pairs_say_which_motion_did_better():
    frames = translating(T, H, W, (3.0, 0.0))
    stopped = torch.cat((frames, frames[-1:].expand(2, H, W)))
    detail = signs_of(stopped, (3.0, 0.0), (0.0, 0.0))[3]
    assert detail[MIDDLE].min() > 0.99


def test_where_frames_are_noise_blurring_and_their_mean_do_better():
    draw = torch.Generator().manual_seed(6)
    frames = translating(1, H, W, (0.0, 0.0)) / 2 + torch.rand(T, H, W, generator=draw) / 2
    _, _, haze, _, _, habit = signs_of(frames, (0.0, 0.0))
    assert haze.mean() > 0.2
    assert habit.mean() > 0.1
    _, _, _, _, _, habit = signs_of(translating(T, H, W, (3.0, 0.0)), (3.0, 0.0))
    assert habit[MIDDLE].mean() < 0.1


def test_what_stands_still_where_motion_is_expected_shows_it():
    frames = translating(1, H, W, (0.0, 0.0)).expand(T, H, W)
    pace, surprise, _, _, motion, _ = signs_of(frames, (0.0, 3.0))
    assert pace.unique().tolist() == [0.5]
    assert motion.max() < -0.95
    assert surprise[MIDDLE].mean() > -0.9
    pace, surprise, haze, detail, motion, habit = signs_of(frames, (0.0, 0.0))
    assert pace.unique().tolist() == surprise.unique().tolist() == [-1.0]
    assert max(abs(sign).max() for sign in (detail, motion, habit)) < 1e-6
    assert haze.max() < -0.9


@pytest.mark.parametrize("length", [1, 2])
def test_few_frames_and_plain_ones_have_nothing_to_tell(length):
    pace, surprise, *better = signs_of(torch.full((length, H, W), 0.7), (1.0, 0.0))
    torch.testing.assert_close(pace, torch.zeros(H, W))
    torch.testing.assert_close(surprise, torch.full((H, W), -1.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(torch.stack(better), torch.zeros(4, H, W))


def test_numbers_are_those_of_scipys_blurs_channel_for_channel():
    draw = torch.Generator().manual_seed(3)
    context = torch.rand(2, T, 3, H, W, generator=draw)
    surprise = torch.randn(2, T, 3, H, W, generator=draw) / 9
    surprise[:, 0] = 0
    velocities = torch.randn(2, 3, 2, H, W, generator=draw)
    hazy = torch.stack([gaussian_blur(frame, 2.0) for frame in context.unbind(dim=1)], dim=1)

    def missed(frames, number):
        moved = [warp(frame, -velocities[:, number]) for frame in frames[:, :-1].unbind(dim=1)]
        return context[:, 1:] - torch.stack(moved, dim=1)

    hazily, finely = missed(hazy, 0), missed(context, 1)

    def blurred(picture):
        return ndimage.gaussian_filter(picture, 4.0, mode="nearest", radius=12)

    def energy(frames):
        return blurred((frames.double().numpy() ** 2).mean(axis=(0, 1)))

    def better(one, other):
        return (other - one) / (other + one + 1e-5)

    for b, found in enumerate(read_signs(context, surprise, velocities)):
        x, s, v = (tensor[b].double().numpy() for tensor in (context, surprise, velocities[:, 0]))
        moved, still = energy(surprise[b, 1:]), energy(context[b, 1:] - context[b, :-1])
        means = [x[t] - x[:t].mean(axis=0) for t in range(1, T)]
        last = x[-1]
        variance = blurred((last**2).mean(axis=0))
        variance -= sum(blurred(channel) ** 2 for channel in last) / 3
        newest, speed = blurred((s[-1] ** 2).mean(axis=0)), (v**2).sum(axis=0) ** 0.5
        wanted = {
            "pace": (speed - 1) / (speed + 1),
            "surprise": (newest - variance - 1e-5) / (newest + variance + 1e-5),
            "haze": better(energy(hazily[b]), moved),
            "detail": better(energy(finely[b, -2:]), energy(surprise[b, -2:])),
            "motion": better(moved, still),
            "habit": better(blurred(np.square(means).mean(axis=(0, 1))), still),
        }
        for (name, expected), sign in zip(wanted.items(), found, strict=True):
            torch.testing.assert_close(
                sign.double(), torch.from_numpy(expected), atol=1e-4, rtol=0, msg=name
            )


def test_signs_are_shifted_as_a_whole_to_means_like_those_that_were_seen():
    """As far beyond them as they lie apart: 0.1 below 0.9, and 0.3 above 0.0."""
    signs = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(4))
    usual = torch.tensor([[0.2, 0.9, -0.3], [0.4, 1.0, 0.0]])
    found = within(signs, usual)
    torch.testing.assert_close(found[:, 0], signs[:, 0])
    for sign, mean in ((1, 0.8), (2, 0.3)):
        torch.testing.assert_close(found[:, sign].mean(dim=(1, 2)), torch.full((2,), mean))
        torch.testing.assert_close(found[:, sign].std(dim=(1, 2)), signs[:, sign].std(dim=(1, 2)))


def test_a_still_scene_does_not_fade_for_a_model_of_what_always_moves():
    """Motion was everywhere when the mix was solved for; of what stands it knows nothing."""
    network = build_forecaster(ModelConfig(filters=(4,)), 1, (H, W)).eval()
    moving = torch.stack([translating(11, H, W, (2.5, 1.0), seed=n) for n in range(3)])[:, :, None]
    network.calibrate([(moving[:, :T], moving[:, T:])])
    still = translating(1, H, W, (0.0, 0.0), seed=9).expand(1, T, 1, H, W)
    with torch.no_grad():
        frames = network(still, 6)
    assert (frames - still[:, :1]).abs().mean() < 0.05
