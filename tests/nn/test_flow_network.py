"""The default network: where it starts, what its layers may change, and the fit to a clip."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow import blend_regression, candidates, constants
from framecast.nn.forecasters.flow import network as network_module
from framecast.nn.forecasters.flow.blend_regression import BlendRegression
from framecast.nn.forecasters.flow.candidates import (
    at_full_size,
    blended,
    enlarge,
    hindcast,
    shrink,
    squash,
    taken_along,
    to_cells,
)
from framecast.nn.forecasters.flow.constants import (
    BLENDED,
    CANDIDATES,
    FINE,
    LEADS,
    OWN,
    PATCH,
    SHARP,
)
from framecast.nn.forecasters.flow.optical_flow import (
    advance,
    advect,
    carried_velocity,
    lucas_kanade,
    warp,
)
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.rollout import rollout
from tests.support.textures import translating

T, HORIZON = 5, 4


def build(channels=1, *, filters=(6, 5), seed=0, std=0.0):
    """A network as training from scratch starts it; with `std` every weight drawn."""
    torch.manual_seed(seed)
    network = build_forecaster(ModelConfig(filters=filters), channels, (48, 56))
    if std:
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=std)
    return network.eval()


def textures(velocity, seeds=(0, 1), size=(48, 56), frames=T + HORIZON):
    """Context and target of translating textures, (B, T, 1, H, W)."""
    clips = torch.stack([translating(frames, *size, velocity, seed=seed) for seed in seeds])
    return clips[:, :T, None], clips[:, T:, None]


def predicted(network, context, horizon=HORIZON):
    with torch.no_grad():
        return network(context, horizon)


def inner_mse(found, target, border=10):
    """What enters at the border cannot be known."""
    inside = (..., slice(border, -border), slice(border, -border))
    return F.mse_loss(found[inside], target[inside]).item()


def still(context, horizon=HORIZON):
    return context[:, -1:].expand(-1, horizon, -1, -1, -1)


def test_the_grid_is_that_of_the_settings_table():
    assert constants.PATCH == NETWORKS["flow-convlstm"].patch == 2 * constants.FINE
    assert len(constants.HINDCAST_OF) == len(network_module.FIRST_ODDS) == CANDIDATES
    assert max(constants.HINDCAST_OF) < constants.HINDCASTS


@pytest.mark.parametrize("velocity", [(1.5, -0.75), (-0.4, 2.5)])
def test_untrained_it_follows_what_moves(velocity):
    context, target = textures(velocity)
    found = predicted(build(), context)
    assert inner_mse(found, target) < 0.35 * inner_mse(still(context), target)


def test_untrained_it_keeps_a_still_picture_sharp():
    picture = translating(1, 48, 56, (0.0, 0.0), seed=3)[None, :, None].expand(1, T, 1, 48, 56)
    assert (predicted(build(), picture) - picture[:, :1]).abs().max() < 0.02


def test_how_strongly_the_layers_inputs_are_scaled_changes_nothing():
    network, (context, _) = build(std=0.1), textures((1.5, -0.75))
    expected = predicted(network, context)
    with torch.no_grad():
        for weight in (*network.from_context.parameters(), *network.from_forecast.parameters()):
            weight.mul_(30)
    torch.testing.assert_close(predicted(network, context), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_constant_frames_stay_constant(value):
    frames = torch.full((2, T, 3, 20, 27), value)
    torch.testing.assert_close(
        predicted(build(3, std=0.02), frames), frames[:, :HORIZON], atol=0.01, rtol=0
    )


def test_candidates_are_pictures_along_both_motions_its_own_forecast_and_what_stays():
    """Of the second lead time, against the same operations one by one."""
    network, (context, _) = build(std=0.1), textures((1.5, -0.75), size=(48, 64))
    with torch.no_grad():
        _, _, state = network._forecast(network.encode(context))
        _, found, after = network._forecast(state)
        hidden, _ = network._recur(state, after.lead_B)
        motion = network._move(state, hidden, after.lead_B)
    grey, last = context[:, :, 0], context[:, -1]
    wide, newest = lucas_kanade(grey, [(5.0, None), (2.5, 2)], (0, 1, 3))
    logs = hindcast(grey, wide, newest).log_errors_B14HW
    # Both estimates and standing still, by their errors over all steps, 1 ahead and 3 ahead
    over_all, near, far = (logs[:, trial] for trial in ((0, 3, 10), (4, 5, 12), (6, 7, 13)))

    def weighed(log_errors, one, two):
        inverse = F.softmin(5 * log_errors, dim=1)
        share_one, share_two, _ = F.interpolate(inverse, scale_factor=4, mode="bilinear").split(
            1, 1
        )
        return share_one * one + share_two * two

    first = weighed((over_all + near + far) / 3, wide[0], newest[0])
    second = weighed((over_all + near) / 2, wide[0], newest[0])
    assert (first - second).abs().max() > 0.01
    torch.testing.assert_close(after.scene.velocities_B4hw, torch.cat((first, second), dim=1))
    soft, blurred, wide = (
        torch.from_numpy(
            ndimage.gaussian_filter(last, (0, 0, s, s), mode="nearest", radius=(0, 0, r, r))
        )
        for s, r in ((1.5, 5), (4.0, 12), (10.0, 30))
    )
    one, two = motion.displacements_B2hw
    torch.testing.assert_close(after.displacement_B2hw, one)
    # The widest blur is made on the fine grid.
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(found[1][inside], warp(wide, one)[inside], atol=0.02, rtol=0)
    expected = {0: warp(last, one), 2: warp(last, two), 3: warp(soft, two)}
    expected |= {5: last, 6: context.mean(dim=1), 7: blurred}
    for place, wanted in expected.items():
        torch.testing.assert_close(found[place], wanted, atol=1e-4, rtol=0)
    # All of the second trajectory is straight but for its last step, which the layers correct.
    taken, _ = taken_along(second, after.lead_B)
    with torch.no_grad():
        turned = F.pixel_shuffle(network.turn(hidden), PATCH // FINE)
    one_mean, two_mean = F.avg_pool2d(first, 4), F.avg_pool2d(taken, 4)
    change = turned[:, 2:4] + turned[:, 5:6] * (one_mean - two_mean) + turned[:, 7:8] * two_mean
    change = F.interpolate(change, scale_factor=4, mode="bilinear")
    assert change.abs().max() > 0.01
    torch.testing.assert_close(two, -(2 * taken + change))
    # The turn that the layers add is part of the motion: without it the displacement is another.
    unturned = advect(state.displacement_B2hw, first)
    assert (one - unturned).abs().max() > 0.01
    # Its own forecast is the frame before, moved by as much as the trajectory grew.
    assert (found[OWN] - state.frame_BChw).abs().max() > 0.01


@pytest.mark.parametrize(
    ("map_", "value", "expected"),
    [
        (1, 0.25, (1.5, -0.5, 0, 3)),  # 0.25 pixels more along y of the first motion
        (4, 0.5, (0.75, 1.125, 0, 3)),  # half way from the first motion to the second
        (7, -0.5, (1.5, -0.75, 0, 1.5)),  # the second motion at half its speed
    ],
)
def test_the_layers_shift_mix_and_slow_both_motions(map_, value, expected):
    network, (context, _) = build(), textures((1.5, -0.75), size=(48, 64))
    cells = (PATCH // FINE) ** 2
    with torch.no_grad():
        network.turn.weight.zero_()
        network.turn.bias.zero_()[map_ * cells : (map_ + 1) * cells] = value
        state = network.encode(context)
        both = torch.tensor((1.5, -0.75, 0.0, 3.0)).view(1, 4, 1, 1).expand(2, 4, 48, 64)
        state = state._replace(scene=state.scene._replace(velocities_B4hw=both))
        hidden, _ = network._recur(state, state.lead_B + 1)
        motion = network._move(state, hidden, state.lead_B + 1)
    # Along the upper border nothing arrives that moves down.
    found = torch.cat(motion.displacements_B2hw, dim=1)[:, :, 8:]
    expected = torch.tensor(expected).view(1, 4, 1, 1).expand(2, 4, 40, 64)
    torch.testing.assert_close(found, -expected)


def test_along_the_second_motion_things_keep_moving_over_a_still_background():
    """After 6 frames at 2 pixels each a square has its shape; what it hid is known as such."""
    network, (context, _) = build(), textures((0.0, 0.0), seeds=(4,), size=(48, 80))
    square = torch.zeros(48, 80)
    square[16:32, 8:24] = 1
    last = 0.3 * context[:, -1] + square
    velocities = torch.zeros(1, 4, 48, 80)
    velocities[:, 2] = 2 * square
    with torch.no_grad():
        state = network.encode(context)
        scene = state.scene._replace(last_BCHW=last, velocities_B4hw=velocities)
        state = state._replace(scene=scene, lead_B=torch.tensor([5]))
        hidden, _ = network._recur(state, state.lead_B + 1)
        motion = network._move(state, hidden, state.lead_B + 1)
        moved = warp(last, motion.displacements_B2hw[1])[0, 0]
    assert moved[18:30, 22:34].min() > 0.9
    arriving = motion.coverage_B2HW[0, 1]
    assert arriving[5:7, 3].max() < 0.3 and arriving[5:7, 6:8].min() > 0.9


def test_velocities_are_taken_along_with_their_detail():
    """A thing whose outline is finer than the cells in which velocities are carried."""
    velocity = torch.zeros(1, 2, 48, 64)
    velocity[:, 0, 13:35, 10:31] = 2
    found, arriving = taken_along(velocity, torch.tensor([4]))
    expected = velocity.roll(8, dims=3)
    means, wanted = carried_velocity(shrink(velocity, FINE) / FINE, torch.tensor([4]))
    torch.testing.assert_close(arriving, wanted)
    off, coarsely_off = ((v - expected).abs().mean() for v in (found, FINE * enlarge(means, FINE)))
    assert off < 0.9 * coarsely_off
    inside = (..., slice(16, 32), slice(20, 36))
    torch.testing.assert_close(found[inside], expected[inside], atol=0.3, rtol=0)


def test_hindcasts_are_how_candidates_would_have_done():
    context, _ = textures((1.0, 0.0), size=(64, 72))
    grey = context[:, :, 0]
    # Estimates from all frames, without the newest, without the newest three: all different
    along, across = (
        [torch.tensor(velocity).view(1, 2, 1, 1).expand(2, 2, 64, 72) for velocity in velocities]
        for velocities in (
            ((1.0, 0.0), (1.0, 0.5), (0.75, 0.0)),
            ((0.0, -2.0), (0.5, -1.0), (0.0, 0.5)),
        )
    )
    found = hindcast(grey, torch.stack(along), torch.stack(across))
    carried, crossed = (advance(grey[:, :-1], both[0]) for both in (along, across))
    torch.testing.assert_close(found.residual_BThw[:, 1:], grey[:, 1:] - carried)
    assert not found.residual_BThw[:, 0].any()
    torch.testing.assert_close(found.change_BThw[:, 1:], grey.diff(dim=1))
    assert not found.change_BThw[:, 0].any()

    def soft(frames, sigma):
        kind = {"mode": "nearest", "truncate": 3.0}
        return torch.from_numpy(ndimage.gaussian_filter(frames, (0, 0, sigma, sigma), **kind))

    last, before, far = grey[:, -1:], grey[:, -2:-1], grey[:, -4:-3]
    misses = {
        0: grey[:, 1:] - carried,
        1: grey[:, 1:] - soft(carried, 1.5),
        2: grey[:, 1:] - soft(carried, 4.0),
        3: grey[:, 1:] - crossed,
        4: last - advance(before, along[1]),
        5: last - advance(before, across[1]),
        6: last - advance(far, 3 * along[2]),
        7: last - advance(far, 3 * across[2]),
        8: last - soft(advance(far, 3 * along[2]), 4.0),
        9: last - soft(advance(far, 3 * along[2]), 1.5),
        10: grey[:, 1:] - grey[:, :-1],
        11: grey - grey.mean(dim=1, keepdim=True),
        12: last - before,
        13: last - far,
    }
    assert len(misses) == constants.HINDCASTS
    for place, miss in misses.items():
        expected = nearby_errors(miss)[:, 0]
        # Along the newest motion nothing arrives at the border that it leaves.
        inside = (..., slice(4, -4), slice(4, -4)) if place in (5, 7) else ...
        found_here = found.log_errors_B14HW[:, place]
        np.testing.assert_allclose(found_here[inside], expected[inside], atol=2e-3)
    inside = found.log_errors_B14HW[..., 2:-2, 2:-2]
    assert (inside[:, 0] < inside[:, 10] - 1).all(), "what moves is forecast better carried along"
    assert (inside[:, 0] < inside[:, 2]).all(), "and sharp"


def nearby_errors(misses):
    """Logs of mean squares of (B, T, h, w) over time and cells of 4 pixels and their neighbours."""
    cells = F.avg_pool2d(misses.square().mean(dim=1, keepdim=True), 4)
    radius = (0, 0, 1, 1)
    nearby = ndimage.gaussian_filter(cells, (0, 0, 0.4, 0.4), mode="nearest", radius=radius)
    return np.log(nearby + 1e-5)


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_short_contexts_are_tried_as_far_ahead_as_they_reach(frames):
    context, _ = textures((1.5, -0.75))
    grey = context[:, -frames:, 0]
    wide, newest = lucas_kanade(grey, [(5.0, None), (2.5, 2)], (0, *constants.WITHHELD))
    logs = hindcast(grey, wide, newest).log_errors_B14HW
    miss = grey[:, -1:] - grey[:, :1]  # 3 frames back, or the first
    np.testing.assert_allclose(logs[:, 13:], nearby_errors(miss), atol=1e-3)
    assert (logs[:, 6].mean() < logs[:, 13].mean() - 1) and torch.isfinite(logs).all()


def test_what_is_painted_counts_as_much_as_candidates_differ_and_were_wrong():
    """A residual of 0.5, at the second lead time of colour frames."""
    network, (context, _) = build(3), textures((1.5, -0.75), size=(48, 64))
    context = context * torch.tensor((1.0, 0.7, 0.4)).view(3, 1, 1)
    with torch.no_grad():
        _, _, state = network._forecast(network.encode(context))
        plain, found, after = network._forecast(state)
        network.paint.bias[-1] = 0.5
        painted, _, _ = network._forecast(state)
    own, *others = (found[n].mean(dim=1, keepdim=True) for n in (OWN, 0, 2, 5, 6))
    apart = torch.stack([(other - own).abs() for other in others]).mean(dim=0)
    displacement = F.avg_pool2d(after.displacement_B2hw, 4) / 4
    wrong = warp(after.scene.moving_B11HW[:, -1:], displacement)
    expected = 0.5 * (apart + F.interpolate(wrong, scale_factor=4, mode="bilinear"))
    assert expected.std() > 0.005
    torch.testing.assert_close(painted - plain, expected.expand_as(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1, 3])
def test_the_blend_is_a_weighted_sum_of_sharp_candidates_and_of_others_enlarged(scale):
    torch.manual_seed(0)
    weights, added = torch.rand(2, CANDIDATES, 4, 5), torch.rand(2, 1, 4, 5)

    def enlarged(maps):
        return F.interpolate(maps, scale_factor=scale, mode="bilinear")

    factors = [scale if number in SHARP else 1 for number in range(CANDIDATES)]
    shown = [torch.rand(2, 3, 4 * factor, 5 * factor) for factor in factors]
    each = weights.split(1, dim=1)
    blurred = [number for number in range(CANDIDATES) if number not in SHARP]
    expected = enlarged(added + sum(each[number] * shown[number] for number in blurred))
    expected = expected + sum(enlarged(each[number]) * shown[number] for number in SHARP)
    torch.testing.assert_close(blended(weights, shown, added, scale), expected)
    for number, image in enumerate(shown):
        wanted = image if number in SHARP else enlarged(image)
        torch.testing.assert_close(at_full_size(shown, number, scale), wanted)


def test_cells_are_those_of_pixel_unshuffle():
    maps = torch.rand(2, 3, 8, 12)
    torch.testing.assert_close(to_cells(maps, 4), F.pixel_unshuffle(maps, 4), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "factor"), [((5, 7), 4), ((3, 2), 2), ((1, 6), 4), ((82, 3), 2)])
def test_enlarging_is_bilinear_interpolation_with_its_derivative(size, factor):
    maps = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(2, 3, *(factor * side for side in size), dtype=torch.float64)
    plain = F.interpolate(maps, scale_factor=factor, mode="bilinear")
    found = enlarge(maps, factor)
    torch.testing.assert_close(found, plain)
    gradients = (torch.autograd.grad((frame * scale).sum(), maps) for frame in (found, plain))
    torch.testing.assert_close(*gradients)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(enlarge(maps.float(), factor), plain.float())


def test_squash_is_odd_steep_at_zero_and_bounded():
    values = torch.tensor([-1e6, -1.0, -0.05, 0.0, 0.05, 1.0, 1e6])
    found = squash(values)
    torch.testing.assert_close(found, -found.flip(0))
    assert found[3] == 0
    assert found[4] == 0.5
    assert found.abs().max() <= 1
    assert (found.diff() > 0).all()


def test_one_context_frame_is_a_still_start():
    context, _ = textures((2.0, 1.0))
    frames = predicted(build(std=0.1), context[:, -1:])
    assert frames.shape == (2, HORIZON, 1, 48, 56)
    assert torch.isfinite(frames).all()
    with torch.no_grad():
        state = build().encode(context[:, -1:])
    assert not state.scene.velocities_B4hw.any()
    assert (predicted(build(), context[:, -1:], 1)[:, 0] - context[:, -1]).abs().max() < 0.25


def test_colours_share_motion_and_weights():
    """Three equal colours are forecast as grey is; others by the same weights."""
    network, (context, _) = build(std=0.1), textures((1.5, -0.75))
    grey = predicted(network, context)
    equal = predicted(network, context.expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(equal, grey.expand(-1, -1, 3, -1, -1), atol=1e-5, rtol=0)


def test_the_last_context_frames_blur_is_reachable_by_the_blend_alone():
    """With weights of 1 on a candidate the frame is that candidate."""
    network, (context, _) = build(std=0.1).train(), textures((1.5, -0.75))
    for number, place in enumerate(BLENDED):
        network.blend.data.zero_()
        network.blend.data[:, number] = 1
        with torch.no_grad():
            state = network.encode(context)
            frame, _ = network.step(state)
            _, found, _ = network._forecast(state)
        torch.testing.assert_close(frame, found[place][..., :48, :56])


def test_each_lead_time_has_its_blend_and_later_ones_the_last():
    network, (context, _) = build(), textures((1.5, -0.75))
    plain = predicted(network, context, LEADS + 2)
    network.blend.data[-1, BLENDED.index(constants.LAST)] = 1
    blended = predicted(network, context, LEADS + 2)
    torch.testing.assert_close(blended[:, : LEADS - 1], plain[:, : LEADS - 1])
    # The state goes on without the blend.
    for lead in range(LEADS - 1, LEADS + 2):
        torch.testing.assert_close(blended[:, lead], context[:, -1], atol=1e-5, rtol=0)


def test_the_fit_is_the_ridge_regression_that_numpy_solves(monkeypatch):
    monkeypatch.setattr(blend_regression, "PIXELS", 5 * 6)
    draw = torch.Generator().manual_seed(2)
    leads, J, n, B = 4, 3, 3, 2
    regression = BlendRegression(leads, J)
    products, sums = np.zeros((n, J, n, J)), np.zeros((n, J))
    for window in range(2):
        for lead in range(n):
            terms = torch.rand(B, J + 1, 1, 10, 12, generator=draw)
            target = torch.rand(B, 1, 10, 12, generator=draw) * (1 + 7 * window)
            regression.add(lead, terms, target)
            for b in range(B):
                seen = terms[b, ..., ::2, ::2].double().numpy().reshape(J + 1, -1)
                missed = target[b, ..., ::2, ::2].double().numpy().ravel() - seen[-1]
                change = seen[:-1] - seen[-1]
                error = (np.mean(missed**2) + 1e-5) * missed.size
                products[lead, :, lead] += change @ change.T / error
                sums[lead] += change @ missed / error
    windows = 2 * B
    smooth = 1.0 * np.diff(np.eye(n), axis=0).T @ np.diff(np.eye(n), axis=0)
    held = windows * (0.05 * np.eye(n) + smooth)
    system = products + np.einsum("mn,jk->mjnk", held, np.eye(J))
    wanted = np.linalg.solve(system.reshape(n * J, -1), sums.ravel()).reshape(n, J)
    found = regression.solve()
    np.testing.assert_allclose(found[:n], wanted, atol=1e-5)
    np.testing.assert_array_equal(found[n:], found[n - 1 : n])


def test_fitted_where_things_stop_moving_it_moves_less():
    network, (context, target) = build(), textures((1.5, -0.75))
    stopped = still(context)
    before = F.mse_loss(predicted(network, context), stopped)
    network.calibrate([(context, stopped)])
    assert F.mse_loss(predicted(network, context), stopped) < 0.15 * before
    assert inner_mse(predicted(network, context), target) > inner_mse(
        predicted(build(), context), target
    )


def test_fitting_to_nothing_leaves_the_blend_at_zero():
    network = build()
    network.calibrate([])
    assert not network.blend.any()


def test_large_frames_are_worked_on_at_a_reduced_size(monkeypatch):
    """Twice the size at half the working size: motion and weights are those of the small frames."""
    network = build(std=0.05)
    small, _ = textures((1.0, -0.5), size=(64, 96))
    large = F.interpolate(small.flatten(0, 1), scale_factor=2, mode="bilinear")
    large = large.unflatten(0, small.shape[:2])
    assert constants.working_scale(432, 768) == 2
    assert constants.working_scale(376, 344) == 1
    one = predicted(network, small, 3)
    monkeypatch.setattr(constants, "WORKING_SIDE", 157)
    assert constants.working_scale(128, 192) == 1
    monkeypatch.setattr(constants, "WORKING_SIDE", 80)
    assert constants.working_scale(128, 192) == 2
    two = predicted(network, large, 3)
    shrunk = F.avg_pool2d(two.flatten(0, 1), 2).unflatten(0, two.shape[:2])
    moved = (one - still(small, 3)).abs().mean()
    assert (shrunk - one).abs().mean() < 0.25 * moved


def test_its_own_forecast_is_carried_on_at_working_size(monkeypatch):
    """The mean over squares of 2 x 2 pixels, which one motion, here the same everywhere, moves."""
    monkeypatch.setattr(constants, "WORKING_SIDE", 80)
    network, (context, _) = build(3, std=0.05), textures((3.0, 0.0), size=(128, 192))
    context = context * torch.tensor((1.0, 0.7, 0.4)).view(3, 1, 1)
    with torch.no_grad():
        frame, _, state = network._forecast(network.encode(context))
        means = F.avg_pool2d(frame, 2)
        torch.testing.assert_close(state.frame_BChw, means.clamp(-1, 2), atol=1e-6, rtol=0)
        motion = network._move(state, torch.zeros(2, 11, 8, 12), state.lead_B + 1)
        own = network._candidates(state, motion)[OWN]
    assert motion.velocity_B2hw.abs().mean() > 0.5
    torch.testing.assert_close(
        own, warp(state.frame_BChw, -motion.velocity_B2hw), atol=1e-5, rtol=0
    )
    assert own.shape == (2, 3, 64, 96)


@pytest.mark.parametrize("size", [(48, 56), (41, 59)])
def test_steps_are_the_rollout_and_the_forward_pass(size):
    network, (context, _) = build(std=0.1), textures((1.5, -0.75), size=size)
    stepped = torch.stack(list(rollout(network, context, 3)), dim=1)
    torch.testing.assert_close(predicted(network, context, 3), stepped, atol=1e-6, rtol=0)
    assert stepped.shape == (2, 3, 1, *size)


def test_in_bfloat16_motion_and_candidates_stay_exact():
    network, (context, _) = build(std=0.05), textures((1.5, -0.75))
    exact = network.encode(context)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network.encode(context)
        frame, _ = network.step(rounded)
    for one, two in zip(exact.scene, rounded.scene, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, two)
    assert frame.dtype == torch.float32


def test_errors_below_the_floor_count_as_none():
    """8-bit noise of half a grey level does not make a still place look uncertain."""
    quiet = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)) / 255
    found = hindcast(quiet, *torch.zeros(2, 3, 1, 2, 16, 16))
    assert (found.log_errors_B14HW - np.log(candidates.LOG_FLOOR)).abs().max() < 1
