"""The forecasting networks: where they start, what they hold to, and that all of each learns."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.flow import blend_regression
from framecast.nn.forecasters.flow import network as network_module
from framecast.nn.forecasters.flow.constants import GUESSES, LEADS, MOTIONS, SIGNS
from framecast.nn.forecasters.flow.network import Outlook
from framecast.nn.forecasters.flow.optical_flow import (
    advect,
    beyond,
    gaussian_blur,
    lucas_kanade,
    warp,
)
from framecast.nn.forecasters.flow.scale_persistence import recall, remembered
from framecast.nn.forecasters.layers import Stem, ToPixels, pad_to_grid
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.baselines import persistence
from framecast.prediction.rollout import rollout
from tests.support.textures import translating

B, T, C, H, W, FILTERS, HORIZON = 2, 5, 3, 7, 8, 6, 4
NAMES = ("flow-convlstm", "convlstm")
STILL_B2HW = torch.zeros(B, 2, H, W)
both = pytest.mark.parametrize("name", NAMES)


def build(name, channels=C, *, patch=4, filters=(FILTERS, 5), kernel_size=3, seed=0, std=0.0):
    """A network as training starts it; with `std`, every weight drawn, so that no part is idle."""
    torch.manual_seed(seed)
    network = build_forecaster(ModelConfig(name, filters, kernel_size, patch), channels, (H, W))
    if std:
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=std)
    return network.eval()


def clip(batch=B, frames=T, channels=C, height=H, width=W, seed=0):
    shape = (batch, frames, channels, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def textures(velocity, seeds=(0, 1), frames=T + HORIZON, size=(48, 56)):
    """Context and target of translating textures in two colours."""
    grey_BTHW = torch.stack([translating(frames, *size, velocity, seed=seed) for seed in seeds])
    clips_BTCHW = torch.stack((grey_BTHW, 1 - 0.5 * grey_BTHW), dim=2)
    return clips_BTCHW[:, :T], clips_BTCHW[:, T:]


def pure_flow(context_BTCHW, horizon):
    """The last frame carried along the estimated motion (B, horizon, C, H, W)."""
    velocity_B2HW, _ = lucas_kanade(context_BTCHW.mean(dim=2), 5.0)
    displacement_B2HW, frames = torch.zeros_like(velocity_B2HW), []
    for _ in range(horizon):
        displacement_B2HW = advect(displacement_B2HW, velocity_B2HW)
        frames.append(warp(context_BTCHW[:, -1], displacement_B2HW))
    return torch.stack(frames, dim=1)


def predicted(network, context_BTCHW, horizon=HORIZON):
    with torch.no_grad():
        return network(context_BTCHW, horizon)


def mse(one, other):
    return F.mse_loss(one, other).item()


def tensors(state):
    """All leaves of a nested state; anything but tuples and tensors fails."""
    if isinstance(state, torch.Tensor):
        return [state]
    assert isinstance(state, tuple)
    return list(itertools.chain.from_iterable(tensors(part) for part in state))


def test_an_untrained_convlstm_is_persistence_to_the_bit():
    context = clip()
    frames = predicted(build("convlstm"), context)
    for k, still in enumerate(persistence(context, HORIZON)):
        assert torch.equal(frames[:, k], still)


def test_a_convlstm_reads_its_own_frames_and_adds_to_the_last():
    network, context = build("convlstm"), 0.5 * clip()
    torch.nn.init.constant_(network.paint.bias, 0.0625)
    frames = predicted(network, context)
    for k in range(HORIZON):
        torch.testing.assert_close(frames[:, k], context[:, -1] + 0.0625 * (k + 1))


def first_guess(context_BTCHW, horizon):
    """The last frame, each scale as far as it is remembered, carried along the estimated motion."""
    velocity_B2HW, _ = lucas_kanade(context_BTCHW.mean(dim=2), 5.0)
    memory, last = recall(context_BTCHW, velocity_B2HW), context_BTCHW[:, -1]
    scales = [last, *(gaussian_blur(last, sigma) for sigma in (1.0, 2.0, 4.0, 8.0, 16.0))]
    displacement_B2HW, frames = torch.zeros_like(velocity_B2HW), []
    for lead in range(1, horizon + 1):
        displacement_B2HW = advect(displacement_B2HW, velocity_B2HW)
        share_BSIJ = memory.first_BSIJ * memory.decay_BSIJ ** (lead - 1)
        left_B1CHW = remembered(torch.stack(scales, dim=1), share_BSIJ.unsqueeze(1))
        frames.append(warp(left_B1CHW[:, 0], displacement_B2HW))
    return torch.stack(frames, dim=1)


def test_a_frame_convlstm_is_its_layers_written_out():
    network, context = build("frame-convlstm", std=0.2), clip()
    layers, seen, frames = [None, None], context, []
    for t in range(T + 2):
        cells = network.stem(seen[:, t])
        for number, layer in enumerate(network.stack.layers):
            layers[number] = layer.step(cells, layers[number])
            cells = layers[number][0]
        frames.append(torch.sigmoid(network.paint(cells, (H, W))))
        if t >= T - 1:
            seen = torch.cat((seen, frames[-1].unsqueeze(1)), dim=1)
    written_out = torch.stack(frames, dim=1)
    assert torch.allclose(predicted(network, context, 3), written_out[:, T - 1 :], atol=1e-6)
    assert written_out.std() > 0.05
    trained_on = predicted(network.train(), context, 3)
    assert trained_on.shape == (B, T - 1 + 3, C, H, W)
    assert torch.allclose(trained_on, written_out, atol=1e-6)
    assert predicted(network, context[:, :1], 3).shape == (B, 3, C, H, W)


def test_a_frame_convlstm_starts_from_the_mean_brightness():
    network = build("frame-convlstm")
    network.calibrate([(clip(), torch.full((1, 2, C, H, W), value)) for value in (0.1, 0.3)])
    assert predicted(network, clip()).sub(0.2).abs().max() < 1e-6


def test_a_frame_convlstm_gives_float32_frames_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        frames = predicted(build("frame-convlstm", std=0.2).train(), clip())
    assert frames.dtype == torch.float32
    assert (frames != frames.bfloat16()).float().mean() > 0.9


def test_what_flows_in_may_count_less_the_farther_from_beyond_the_border_it_comes(monkeypatch):
    """Three columns a frame from the left: -1 of the border as it is, +1 of it blurred."""
    network, context = build("flow-convlstm", 2), torch.rand(1, T, 2, 24, 40)
    velocities_BM2HW = torch.tensor([3.0, 0.0])[:, None, None].expand(1, MOTIONS, 2, 24, 40)
    monkeypatch.setattr(network, "_velocities", lambda context_BTCHW: velocities_BM2HW)
    network.mix.data.zero_()
    network.mix.data[:, [1, 8]], network.mix.data[:, 9:10] = torch.tensor([1.0, -1.0]), 1.0
    frames, last = predicted(network, context, 2), context[:, -1]
    blurred = gaussian_blur(last, 16.0)
    for lead in (1, 2):
        torch.testing.assert_close(frames[:, lead - 1, ..., 3 * lead :], last[..., : -3 * lead])
        share = 1 - torch.exp(-torch.arange(3.0 * lead, 0, -1) / 8)
        entered = (1 - share) * last[..., :1] + share * blurred[..., :1]
        torch.testing.assert_close(frames[:, lead - 1, ..., : 3 * lead], entered)


def noisy(context_BTCHW, seed=0, amplitude=0.05):
    draw = torch.Generator().manual_seed(seed)
    return context_BTCHW + amplitude * torch.randn(context_BTCHW.shape, generator=draw)


def test_an_untrained_flow_convlstm_extrapolates_what_is_remembered():
    context, _ = textures((1.5, -0.75))
    context = noisy(context, amplitude=0.2).clamp(0.05, 0.95)
    found, expected = predicted(build("flow-convlstm", 2), context), first_guess(context, HORIZON)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert mse(found, pure_flow(context, HORIZON)) > 1e-3
    # Steps of one frame each go on forgetting where the step before stopped.
    stepped = torch.stack([*rollout(build("flow-convlstm", 2), context, HORIZON)], dim=1)
    torch.testing.assert_close(stepped, expected, atol=1e-6, rtol=0)


def test_what_is_remembered_is_nearer_to_a_noisy_clips_future_than_all_of_it():
    clips = torch.cat(textures((1.5, -0.75)), dim=1)
    seen, target = noisy(clips, amplitude=0.2)[:, :T], clips[:, T:]
    forgetful, exact = predicted(build("flow-convlstm", 2).train(), seen), pure_flow(seen, HORIZON)
    inner = (..., slice(8, -8), slice(8, -8))
    assert mse(forgetful[inner], target[inner]) < 0.5 * mse(exact[inner], target[inner])


def guesses_of(network, context_BTCHW, horizon=HORIZON):
    """What the network mixes: (B, horizon, K, C, H, W)."""
    with torch.no_grad():
        outlook = network._look_ahead(network.encode(context_BTCHW), horizon)
    return outlook.guesses_BnKCHW


@pytest.mark.parametrize("length", [1, 2, 8])
def test_guesses_are_pictures_along_motions_growth_inflow_the_mean_and_the_last_frame(length):
    """Growth is the mean over the newest 5 surprises, or over those there are."""
    context = noisy(torch.cat(textures((1.5, -0.75)), dim=1)[:, :length])
    last, lead = context[:, -1], 2
    found = guesses_of(build("flow-convlstm", 2), context)[:, lead]
    grey = context.mean(dim=2)
    wide, coarse = lucas_kanade(grey, 5.0)
    velocities = [wide, lucas_kanade(grey[:, -2:], 1.5)[0], coarse]
    surprises = []
    for t in range(length - 1, max(length - 6, 0), -1):
        surprise = context[:, t] - warp(context[:, t - 1], -velocities[0])
        surprises.append(warp(surprise, along(velocities[0], length - 1 - t)))
    surprises = surprises or [torch.zeros_like(last)]
    mean = torch.stack(surprises).mean(dim=0)
    pictures = [last, gaussian_blur(last, 2.0), gaussian_blur(last, 8.0)]
    growths = [gaussian_blur(surprises[0], sigma) for sigma in (2.0, 6.0)]
    growths += [gaussian_blur(mean, sigma) for sigma in (6.0, 16.0)]
    expected = [first_guess(context, lead + 1)[:, lead]]
    expected += [warp(p, along(velocities[0], lead + 1)) for p in (*pictures, *growths)]
    unseen = 1 - torch.exp(-beyond(along(velocities[0], lead + 1)) / 8)
    borders = [last, gaussian_blur(last, 16.0)]
    expected += [unseen * warp(border, along(velocities[0], lead + 1)) for border in borders]
    for velocity in velocities[1:]:
        expected += [warp(picture, along(velocity, lead + 1)) for picture in pictures]
    expected += [context.mean(dim=1), last]
    assert found.shape[1] == len(expected) == GUESSES
    for guess, wanted in zip(found.unbind(dim=1), expected, strict=True):
        torch.testing.assert_close(guess, wanted, atol=1e-5, rtol=0)


def along(velocity_B2HW, frames):
    """The way back of so many frames."""
    way = torch.zeros_like(velocity_B2HW)
    for _ in range(frames):
        way = advect(way, velocity_B2HW)
    return way


def test_calibrated_on_translating_textures_it_is_nearly_pure_flow():
    network = build("flow-convlstm", 2)
    network.calibrate([textures((1.5, -0.75), seeds=(2, 3))])
    context, target = textures((1.5, -0.75))
    frames = predicted(network, context)
    still = context[:, -1:].expand_as(target)
    # What enters at the border within 4 frames cannot be known; damping holds motion back a little.
    inner = (..., slice(8, -8), slice(8, -8))
    assert mse(frames[inner], target[inner]) < 0.1 * mse(still[inner], target[inner])


@pytest.mark.parametrize("ridge,left", [(blend_regression.RIDGE, 0.03), (1e-3, 0.01)])
def test_calibrated_where_things_stop_moving_it_is_nearly_persistence(ridge, left, monkeypatch):
    """The ridge draws the mix to what moves on: it keeps a little of that, a smaller one less."""
    monkeypatch.setattr(blend_regression, "RIDGE", ridge)
    network = build("flow-convlstm", 2)
    context, target = textures((1.5, -0.75))
    still = context[:, -1:].expand_as(target)
    network.calibrate([(context, still)])
    assert mse(predicted(network, context), still) < left * mse(pure_flow(context, HORIZON), still)


def test_calibrated_on_a_static_noisy_clip_it_beats_its_last_frame():
    """The noise of one frame says nothing about the next: blurred guesses leave most of it out."""
    draw = torch.Generator().manual_seed(0)
    picture = translating(1, 48, 56, (0.0, 0.0))[None, :, None]
    clips = picture + 0.05 * torch.randn(3, T + HORIZON, 1, 48, 56, generator=draw)
    context, target = clips[:, :T], clips[:, T:]
    network = build("flow-convlstm", 1).train()
    network.calibrate([(context, target)])
    still = context[:, -1:].expand_as(target)
    assert mse(predicted(network, context), target) < 0.8 * mse(still, target)


@pytest.mark.parametrize("pair", [(0, GUESSES - 1), (1, 5), (6, 2)])
def test_calibration_finds_a_mix_of_its_own_for_each_lead_time(pair, monkeypatch):
    """Without the ridge, which draws it to extrapolation, to the last digits that float32 has.

    And without signs: where all moves alike, leaning by them and not leaning are the same.
    """
    monkeypatch.setattr(blend_regression, "RIDGE", 1e-12)
    monkeypatch.setattr(blend_regression, "SMOOTHNESS", 1e-12)
    monkeypatch.setattr(
        network_module, "read_signs", lambda c, *_: c.new_zeros(len(c), SIGNS, *c.shape[-2:])
    )
    network = build("flow-convlstm", 2).train()
    wanted = torch.zeros(LEADS, GUESSES)
    for lead in range(LEADS):
        share = 0.7 + 0.1 * min(lead, HORIZON - 1)
        wanted[lead, pair[0]], wanted[lead, pair[1]] = share, 1 - share
    windows = []
    for velocity, seeds in (((1.5, -0.75), (0, 1)), ((0.3, 2.0), (4,))):
        context, _ = textures(velocity, seeds=seeds)
        guesses = guesses_of(network, context)
        windows.append((context, torch.einsum("bnkchw,nk->bnchw", guesses, wanted[:HORIZON])))
    network.calibrate(windows)
    torch.testing.assert_close(network.mix.data, wanted, atol=0.02, rtol=0)
    for context, target in windows:
        torch.testing.assert_close(predicted(network, context), target, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [1, 2])
def test_calibration_is_the_ridge_regression_that_numpy_solves(step, monkeypatch):
    """A window counts by 1 / the error of its last frame moved along; RIDGE asks for the first
    guess, SMOOTHNESS for what the lead times before and after have.

    An unknown for each guess, one for it times how far the share remembered is from the middle, and
    one for it times each sign. Of larger frames every second row and column counts.
    """
    draw = torch.Generator().manual_seed(1)
    windows = [textures((1.5, -0.75), frames=T + 2), textures((0.3, 2.0), seeds=(4,))]
    windows = [(c, t + 0.1 * torch.rand(t.shape, generator=draw)) for c, t in windows]
    context, target = windows[1]
    windows.append((context + 0.5 * torch.randn(context.shape, generator=draw), target))
    monkeypatch.setattr(blend_regression, "PIXELS", target[0, 0, 0].numel() // step**2)
    network = build("flow-convlstm", 2)
    with torch.inference_mode():
        outlooks = [network._look_ahead(network.encode(c), HORIZON) for c, _ in windows]
    shares = [network.encode(context).memory.overall().tolist() for context, _ in windows]
    least, most = min(map(min, shares)), max(map(max, shares))
    assert (most - least) / 2 > blend_regression.NARROWEST
    network.calibrate(windows)
    assert network.shares.tolist() == [least, most]
    count = (1 + 1 + SIGNS) * GUESSES
    leads = np.eye(HORIZON)
    products = np.kron(5.0 * np.diff(leads, axis=0).T @ np.diff(leads, axis=0), np.eye(count))
    products += 0.05 * np.eye(HORIZON * count)
    sums = np.kron(np.ones(HORIZON), 0.05 * np.eye(count)[0])
    for lead in range(HORIZON):
        own = slice(lead * count, (lead + 1) * count)
        for outlook, share, (context, target) in zip(outlooks, shares, windows, strict=True):
            for b in range(len(context) if lead < target.shape[1] else 0):
                truth, guesses, signs = (
                    maps[b, lead, ..., ::step, ::step].double().numpy()
                    for maps in (target, outlook.guesses_BnKCHW, outlook.signs_BnGHW)
                )
                error = np.mean((guesses[1] - truth) ** 2) + 1e-4
                leaning = (share[b] - (least + most) / 2) / ((most - least) / 2)
                factors = (1.0, leaning, *signs)
                rows = np.concatenate(
                    [(factor * guesses).reshape(GUESSES, -1) for factor in factors]
                )
                products[own, own] += rows @ rows.T / (error * truth.size)
                sums[own] += rows @ truth.ravel() / (error * truth.size)
    optimum = np.linalg.solve(products, sums).reshape(HORIZON, count)
    mix, lean = network.mix[:HORIZON].detach(), network.lean[:HORIZON].detach()
    np.testing.assert_allclose(mix, optimum[:, :GUESSES], atol=1e-4)
    np.testing.assert_allclose(lean.flatten(1), optimum[:, GUESSES:], atol=1e-4)
    assert (abs(optimum.reshape(HORIZON, -1, GUESSES)).max(axis=2) > 0.02).all()
    for weights_nK in (network.mix, network.lean):
        assert (weights_nK[HORIZON:] == weights_nK[HORIZON - 1]).all()


def weights_of(network, leads, shares, signs):
    """Of each guess the weight at every place, (B, n, K, H, W): each is a channel of its own."""
    single = torch.eye(GUESSES)[..., None, None].expand(*leads.shape, -1, -1, *signs.shape[3:])
    return network._leant(Outlook(single, signs, None, None), leads, shares)


def test_a_mix_leans_no_farther_than_what_it_was_calibrated_on():
    """By the share remembered, from -1 at the least to 1 at the most; beyond, as far as there."""
    network = build("flow-convlstm")
    network.mix.data.fill_(0.25)
    network.lean.data[:, 0].fill_(0.5)
    network.shares.copy_(torch.tensor([0.4, 0.8]))
    shares = torch.tensor([0.1, 0.4, 0.5, 0.6, 0.8, 0.9])
    leads = torch.tensor([[2, LEADS + 3]]).expand(6, 2)
    upright = torch.zeros(6, 2, SIGNS, 1, 1)
    found = weights_of(network, leads, shares, upright)
    wanted = 0.25 + 0.5 * torch.tensor([-1.0, -1.0, -0.5, 0.0, 1.0, 1.0])
    torch.testing.assert_close(found, wanted.view(-1, 1, 1, 1, 1).expand_as(found))
    network.shares.copy_(torch.tensor([0.59, 0.6]))
    found = weights_of(network, leads, shares, upright)[4]
    torch.testing.assert_close(found, torch.full_like(found, 0.3))


def test_a_mix_leans_by_the_signs_of_each_place_and_lead_time():
    network = build("flow-convlstm")
    network.mix.data.copy_(torch.rand(LEADS, GUESSES))
    network.lean.data.copy_(torch.rand(LEADS, 1 + SIGNS, GUESSES))
    network.shares.copy_(torch.tensor([0.4, 0.8]))
    signs = torch.rand(2, 3, SIGNS, 5, 7)
    leads = torch.tensor([[1, 2, 3], [LEADS - 1, LEADS, LEADS + 1]])
    found = weights_of(network, leads, torch.tensor([0.6, 0.8]), signs)
    for b, share in enumerate((0.0, 1.0)):
        for n, lead in enumerate(leads[b].clamp(max=LEADS) - 1):
            wanted = network.mix[lead].view(-1, 1, 1).expand(-1, 5, 7)
            for factor, lean in zip((share, *signs[b, n]), network.lean[lead], strict=True):
                wanted = wanted + lean.view(-1, 1, 1) * factor
            torch.testing.assert_close(found[b, n], wanted)


def test_signs_of_what_moves_move_along_and_those_of_places_stay():
    network = build("flow-convlstm", 2)
    context = noisy(torch.cat(textures((1.5, -0.75)), dim=1)[:, :T])
    with torch.inference_mode():
        state = network.encode(context)
        found = network._look_ahead(state, 3).signs_BnGHW
    carried, motion_and_habit = state.signs_BGHW[:, :4], state.signs_BGHW[:, 4:]
    for lead in range(3):
        moved = warp(carried, along(state.velocities_BM2HW[:, 0], lead + 1))
        torch.testing.assert_close(found[:, lead, :4], moved, atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, lead, 4:], motion_and_habit)


def test_quiet_and_wild_windows_count_alike():
    """A quiet clip of things that stop, and a wild one 8 times as bright of things that go on."""
    context, target = textures((1.5, -0.75))
    quiet, still = context / 8, context[:, -1:].expand_as(target) / 8
    windows = [(context, target), (quiet, still)]
    alike = build("flow-convlstm", 2)
    alike.calibrate(windows)
    only_wild = build("flow-convlstm", 2)
    only_wild.calibrate(windows[:1])
    assert mse(predicted(alike, quiet), still) < 0.5 * mse(predicted(only_wild, quiet), still)


def test_calibrating_on_nothing_leaves_the_mix_as_it_is():
    network = build("flow-convlstm")
    before = network.mix.clone()
    network.calibrate([])
    assert torch.equal(network.mix, before)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_calibrating_on_constant_frames_keeps_them(value):
    network = build("flow-convlstm")
    frames = torch.full((B, T, C, H, W), value)
    network.calibrate([(frames, frames[:, :3])])
    assert torch.isfinite(network.mix).all()
    torch.testing.assert_close(predicted(network, frames), frames[:, :HORIZON], atol=1e-3, rtol=0)


def test_all_lead_times_in_one_pass_are_as_many_steps():
    """Also those beyond the last lead time with a mix of its own."""
    network, context, horizon = build("flow-convlstm", std=0.3), clip(), LEADS + 3
    stepped = torch.stack(list(rollout(network, context, horizon)), dim=1)
    torch.testing.assert_close(predicted(network, context, horizon), stepped, atol=1e-6, rtol=0)


def test_each_lead_time_has_its_mix_and_later_ones_the_last():
    context, network = clip(), build("flow-convlstm")
    network.mix.data.zero_()
    network.mix.data[:, -1] = torch.linspace(0, 1, LEADS)
    frames = predicted(network, context, LEADS + 3)
    for lead in range(LEADS + 3):
        share = min(lead, LEADS - 1) / (LEADS - 1)
        torch.testing.assert_close(frames[:, lead], share * context[:, -1])


def test_nothing_is_painted_where_the_guesses_agree():
    """As on plain frames of any brightness; the residual is as large as the guesses differ."""
    network = build("flow-convlstm", std=0.3)
    network.head.weight.data.zero_()
    network.head.bias.data.zero_()
    network.mix.data.zero_()
    network.lean.data.zero_()
    torch.nn.init.constant_(network.paint.bias, 1.0)
    plain = torch.full((B, T, C, 16, 64), 0.5)
    torch.testing.assert_close(predicted(network, plain), torch.zeros(B, HORIZON, C, 16, 64))
    plain[:, -1, :, 4:9, 7:12] += 0.4
    painted = predicted(network, plain, 1)[:, 0]
    assert painted[..., 4:9, 7:12].mean() > 0.05
    # Nothing differs beyond the 24 pixels of the larger blur, and a cell and a half around them.
    assert painted[..., 24:32].mean() > 1e-4
    assert not (painted[..., 44:] > 1e-6).any()


def test_in_bfloat16_motion_and_guesses_stay_exact():
    """Only what the layers add is rounded; an untrained network has nothing of it."""
    network, (context, target) = build("flow-convlstm", 2), textures((1.5, -0.75))
    network.calibrate([(context, target)])
    exact = predicted(network, context)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = predicted(network, context)
        state = network.encode(context)
    exact_parts = (state.scales_BSCHW, state.growths_BGCHW, *state.memory)
    assert {part.dtype for part in (rounded, *exact_parts)} == {torch.float32}
    torch.testing.assert_close(rounded, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("horizon", [1, LEADS + 2])
def test_every_parameter_has_a_gradient_at_any_horizon(horizon):
    """What training on several devices relies on; mixes of unused lead times have zeros."""
    network = build("flow-convlstm").train()
    F.mse_loss(network(clip(), horizon), clip(frames=horizon, seed=1)).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    used = (network.mix.grad != 0).any(dim=1)
    assert used.tolist() == [lead < horizon for lead in range(LEADS)]


@given(
    name=st.sampled_from(NAMES),
    patch=st.sampled_from([1, 2, 4, 8, 16]),
    filters=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    kernel_size=st.sampled_from([1, 3, 5]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 3])),
    frame=st.tuples(st.integers(1, 37), st.integers(1, 37)),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_context_length_and_frame_size_gives_frames_of_that_size_in_0_to_1(
    name, patch, filters, kernel_size, sizes, frame
):
    batch, length, channels = sizes
    network = build(name, channels, patch=patch, filters=filters, kernel_size=kernel_size, std=0.5)
    frames = predicted(network, clip(batch, length, channels, *frame), 3)
    assert frames.shape == (batch, 3, channels, *frame)
    assert frames.dtype == torch.float32
    assert ((frames >= 0) & (frames <= 1)).all()


@both
@pytest.mark.parametrize("frame", [(1, 1), (1, 33), (5, 3), (16, 17)])
def test_the_smallest_frames_work(name, frame):
    frames = predicted(build(name, patch=8, std=0.3), clip(B, 1, C, *frame), 2)
    assert frames.shape == (B, 2, C, *frame)
    assert torch.isfinite(frames).all()


@both
def test_in_training_frames_are_not_clipped(name):
    network, context = build(name, std=0.2), clip()
    for bias in (-90.0, 90.0):
        torch.nn.init.constant_(network.paint.bias, bias)
        free = network.train()(context, 1)
        assert ((free < 0) if bias < 0 else (free > 1)).all()
        torch.testing.assert_close(predicted(network.eval(), context, 1), free.clamp(0, 1))


@both
def test_a_clips_forecast_does_not_depend_on_the_others_in_its_batch(name):
    network, context = build(name, std=0.2), clip(batch=3, height=21, width=18)
    together = predicted(network, context)
    for b in range(3):
        alone = predicted(network, context[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=2e-5, rtol=0)


@both
def test_a_frame_does_not_depend_on_how_many_follow(name):
    network, context = build(name, std=0.2), clip()
    far = predicted(network, context, 6)
    for horizon in (1, 3):
        torch.testing.assert_close(predicted(network, context, horizon), far[:, :horizon])
    assert not torch.equal(far[:, 0], far[:, 1])


@both
def test_stepping_leaves_the_state_it_started_from_as_it_was(name):
    network, context = build(name, std=0.2), clip()
    given_, kept = context.clone(), []
    with torch.no_grad():
        state = network.encode(context)
        kept = [tensor.clone() for tensor in tensors(state)]
        frame, after = network.step(state)
        again, _ = network.step(state)
    assert torch.equal(frame, again)
    assert torch.equal(context, given_)
    assert all(torch.equal(one, two) for one, two in zip(tensors(state), kept, strict=True))
    changed = [not torch.equal(a, b) for a, b in zip(tensors(state), tensors(after), strict=True)]
    assert any(changed)


@both
def test_the_state_is_tensors_in_tuples_that_keep_their_shapes(name):
    network = build(name, std=0.2)
    with torch.no_grad():
        state = network.encode(clip())
        _, after = network.step(state)
    assert [t.shape for t in tensors(state)] == [t.shape for t in tensors(after)]
    assert [t.dtype for t in tensors(state)] == [t.dtype for t in tensors(after)]
    assert all(len(tensor) == B for tensor in tensors(state))


@both
@pytest.mark.parametrize("place", range(T))
def test_the_layers_read_every_context_frame(name, place, monkeypatch):
    """Where the estimated motion and the memory, which all frames enter, give nothing away."""
    monkeypatch.setattr(
        "framecast.nn.forecasters.flow.network.lucas_kanade", lambda *_: (STILL_B2HW, STILL_B2HW)
    )
    monkeypatch.setattr(
        "framecast.nn.forecasters.flow.network.recall",
        lambda context, _: recall(clip(), STILL_B2HW),
    )
    network, context = build(name, std=0.3), clip()
    other = context.clone()
    other[:, place] = 1 - other[:, place]
    with torch.no_grad():
        one, two = (network.step(network.encode(c))[1].layers for c in (context, other))
    for mine, others in zip(tensors(one), tensors(two), strict=True):
        assert (mine - others).abs().max() > 1e-6


def test_the_layers_are_told_what_is_remembered(monkeypatch):
    network, context = build("flow-convlstm", std=0.3), clip()
    told = network.encode(context).layers
    monkeypatch.setattr(
        "framecast.nn.forecasters.flow.network.recall",
        lambda context, _: recall(context[:, :1], STILL_B2HW),
    )
    everlasting = network.encode(context).layers
    assert (tensors(told)[0] - tensors(everlasting)[0]).abs().max() > 1e-3


@both
def test_gradients_reach_every_single_weight(name):
    network = build(name, std=0.3).train()
    horizon = LEADS if name == "flow-convlstm" else 3
    frames = network(clip(frames=3, height=19, width=22), horizon)
    F.mse_loss(frames, clip(frames=horizon, height=19, width=22, seed=1)).backward()
    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert (weight.grad != 0).all(), weight_name


@both
def test_at_the_start_gradients_reach_what_paints(name):
    """All else follows once these have left zero."""
    network = build(name).train()
    F.mse_loss(network(clip(), 2), clip(frames=2, seed=1)).backward()
    assert (network.paint.weight.grad != 0).any()
    if name == "flow-convlstm":
        assert (network.head.weight.grad.flatten(1) != 0).any(dim=1).all()


@both
def test_gradients_are_the_numerical_ones(name, monkeypatch):
    """In float64, where the flow forecaster's float() for half precision must not cut in."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    network = build(name, 1, patch=2, filters=(2,), std=0.3).double().train()
    context = translating(2, 6, 7, (0.7, 0.4))[None, :, None].double()
    names, weights = zip(*network.named_parameters(), strict=True)

    def forward(*values):
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(network, named, (context, 2))

    assert torch.autograd.gradcheck(forward, weights, fast_mode=True, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_cells_that_agree_are_painted_without_edges(patch):
    """Inside the frame the patches fade into each other as bilinear interpolation does."""
    paint = ToPixels(1, 1, patch)
    assert not paint(torch.rand(1, 1, 3, 4), (3 * patch, 4 * patch)).any()
    torch.nn.init.ones_(paint.weight)
    cells = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        painted = paint(cells, (5 * patch, 6 * patch))
    smooth = F.interpolate(cells, scale_factor=patch, mode="bilinear")
    inside = (..., slice(patch // 2, -patch // 2), slice(patch // 2, -patch // 2))
    torch.testing.assert_close(painted[inside], smooth[inside])


def test_painting_crops_what_the_grid_added():
    paint = ToPixels(FILTERS, C, 4)
    torch.nn.init.normal_(paint.weight)
    cells = clip(B, 1, FILTERS, 2, 2)[:, 0]
    whole, cropped = paint(cells, (8, 8)), paint(cells, (H, 5))
    torch.testing.assert_close(cropped, whole[..., :H, :5])


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
def test_the_stem_makes_whole_cells_of_repeated_borders(patch):
    frames = clip(B, 1, C, 19, 22)[:, 0]
    padded = pad_to_grid(frames, patch)
    rows, columns = -(-19 // patch), -(-22 // patch)
    assert padded.shape == (B, C, rows * patch, columns * patch)
    expected = np.pad(
        frames, ((0, 0), (0, 0), (0, rows * patch - 19), (0, columns * patch - 22)), mode="edge"
    )
    np.testing.assert_array_equal(padded, expected)
    assert Stem(C, patch, FILTERS)(frames).shape == (B, FILTERS, rows, columns)


def test_far_lead_times_stay_finite():
    frames = predicted(build("flow-convlstm", std=0.3), clip(), 200)
    assert torch.isfinite(frames).all()
