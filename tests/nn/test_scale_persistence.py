"""How long each scale lasts, against NumPy and SciPy and on clips of known memory."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from framecast.nn.forecasters.flow.constants import CELL, SCALES
from framecast.nn.forecasters.flow.optical_flow import gaussian_blur
from framecast.nn.forecasters.flow.scale_persistence import Memory, _energies, recall, remembered
from tests.support.textures import moving_texture

B, C = 2, 3
PRIOR, LEAST = 1e-5, 1e-3
SIZES = [(7, 8), (1, 40), (32, 64), (75, 50)]


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(velocity, height, width, batch=B):
    return torch.tensor(velocity).double().view(1, 2, 1, 1).repeat(batch, 1, height, width)


def block_means(image_HW, side):
    """Each block's mean at all of its pixels; sides are whole numbers of blocks."""
    H, W = image_HW.shape
    means = image_HW.reshape(H // side, side, W // side, side).mean(axis=(1, 3))
    return np.kron(means, np.ones((side, side)))


def bands_of(image_HW):
    """What lies between the means over blocks of 1, 2, 4 ... 32 pixels; black beyond the frame."""
    H, W = image_HW.shape
    padded = np.pad(image_HW, ((0, -H % CELL), (0, -W % CELL)))
    means = [block_means(padded, 2**s) for s in range(6)]
    return [fine - coarse for fine, coarse in zip(means, [*means[1:], 0 * padded], strict=True)]


def products(first_CHW, second_CHW):
    """Mean product of two frames' bands in each cell (S, I, J), band by band and pixel by pixel."""
    each = [
        [block_means(one * other, CELL)[::CELL, ::CELL] for one, other in zip(*bands, strict=True)]
        for bands in (
            (bands_of(a), bands_of(b)) for a, b in zip(first_CHW, second_CHW, strict=True)
        )
    ]
    return np.mean(each, axis=0)


def share_left(context_TCHW, velocity, frames):
    """Share of each scale that is found again, one clip in uniform motion."""
    T, _, H, W = context_TCHW.shape
    rows, columns = np.mgrid[:H, :W].astype(float)
    rows, columns = rows - frames * velocity[1], columns - frames * velocity[0]
    inside = (rows >= 0) & (rows <= H - 1) & (columns >= 0) & (columns <= W - 1)
    common, own = [], []
    for t in range(T - frames):
        older = np.stack(
            [
                ndimage.map_coordinates(channel, [rows, columns], order=1, mode="nearest") * inside
                for channel in context_TCHW[t]
            ]
        )
        common.append(products(older, context_TCHW[t + frames] * inside))
        own.append(products(older, older))
    common, own = (
        ndimage.gaussian_filter(np.mean(each, axis=0), (0, 1, 1), mode="nearest", truncate=3)
        for each in (common, own)
    )
    return np.clip((common + PRIOR) / (own + PRIOR), LEAST, 1)


@pytest.mark.parametrize("size", SIZES)
def test_energies_are_products_of_what_lies_between_nested_block_means(size):
    first, second = noise(B, C, *size), noise(B, C, *size, seed=1)
    expected = [products(a, b) for a, b in zip(first.numpy(), second.numpy(), strict=True)]
    np.testing.assert_allclose(_energies(first, second), expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_energies_of_all_scales_add_up_to_the_mean_product(size):
    first, second = noise(B, C, *size), noise(B, C, *size, seed=1)
    whole = _energies(first, second).sum(dim=(1, 2, 3)) * CELL**2
    torch.testing.assert_close(whole, (first * second).mean(dim=1).sum(dim=(1, 2)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
def test_recall_is_the_regression_that_numpy_finds(size, length):
    """In uniform motion by parts of pixels, of a picture that is half drawn anew at each frame."""
    velocity, rows_columns = (0.75, -0.5), tuple(-(-side // CELL) for side in size)
    context = noise(B, 1, C, *size) + 0.5 * noise(B, length, C, *size, seed=1)
    found = recall(context, uniform(velocity, *size))
    for b, context_TCHW in enumerate(context.numpy()):
        first = decay = np.ones((6, *rows_columns))
        if length > 1:
            first = decay = share_left(context_TCHW, velocity, 1)
        if length > 2:
            lag = min(3, length - 1)
            left = np.clip(share_left(context_TCHW, velocity, lag) / first, LEAST, 1)
            decay = left ** (1 / (lag - 1))
        np.testing.assert_allclose(found.first_BSIJ[b], first, atol=1e-9)
        np.testing.assert_allclose(found.decay_BSIJ[b], decay, atol=1e-9)


@pytest.mark.parametrize("length", [2, 3, 7])
def test_small_things_drawn_anew_are_forgotten_and_large_ones_that_move_are_kept(length):
    """A wide blob that moves two pixels a frame to the right and one up, in noise."""
    t, y, x = np.ogrid[:length, :96, :160]
    blob = np.exp(-((y - 50 + t) ** 2 + (x - 74 - 2 * t) ** 2) / (2 * 14**2))
    context = torch.from_numpy(blob)[None, :, None] + 0.3 * (noise(1, length, 1, 96, 160) - 0.5)
    first_SIJ, decay_SIJ = (part[0] for part in recall(context, uniform((2.0, -1.0), 96, 160, 1)))
    assert first_SIJ[0].max() < 0.15
    assert first_SIJ[-1, 1, 2] > 0.99
    assert decay_SIJ[-1, 1, 2] > 0.99
    assert (first_SIJ[:4, 1, 2].diff() > 0).all()


@pytest.mark.parametrize("velocity", [(0.0, 0.0), (2.0, -1.0), (-14.0, 5.0)])
@pytest.mark.parametrize("size", [(20, 30), (64, 96), (75, 50)])
def test_what_only_moves_is_kept_whole(velocity, size):
    vx, vy = velocity
    frames = moving_texture(4, *size, lambda y, x, t: (y - vy * t, x - vx * t), sigma=2)
    memory = recall(frames[None, :, None].double(), uniform(velocity, *size, 1))
    for share_BSIJ in memory:
        torch.testing.assert_close(share_BSIJ, torch.ones_like(share_BSIJ), atol=1e-4, rtol=0)


def test_what_was_never_there_again_is_told_from_what_lasts():
    """A pattern that keeps 0.8 of itself a frame, seen through noise as strong as itself."""
    size, length = (64, 96), 24
    draw = torch.Generator().manual_seed(0)
    pattern, frames = torch.randn(1, 1, *size, generator=draw, dtype=torch.float64), []
    for _ in range(length):
        frames.append(pattern + torch.randn(pattern.shape, generator=draw))
        pattern = 0.8 * pattern + 0.6 * torch.randn(pattern.shape, generator=draw)
    memory = recall(torch.stack(frames, dim=1), uniform((0.0, 0.0), *size, 1))
    assert memory.first_BSIJ[0, 0].mean().item() == pytest.approx(0.8 / 2, abs=0.01)
    assert memory.decay_BSIJ[0, 0].mean().item() == pytest.approx(0.8, abs=0.02)


def test_what_left_the_frame_and_what_entered_do_not_count():
    size, velocity = (40, 70), (8.0, -3.0)
    context = noise(B, 1, C, *size) + 0.5 * noise(B, 2, C, *size, seed=1)
    other = context.clone()
    other[:, 0, :, :, -8:] = other[:, 0, :, :3, :] = 5.0
    other[:, 1, :, :, :8] = other[:, 1, :, -3:, :] = -5.0
    expected, found = (recall(c, uniform(velocity, *size)) for c in (context, other))
    for share, wanted in zip(found, expected, strict=True):
        assert wanted.std() > 0.01
        torch.testing.assert_close(share, wanted)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_where_nothing_is_to_be_seen_nothing_is_forgotten(value):
    context = torch.full((B, 5, C, 40, 70), value)
    for share_BSIJ in recall(context, torch.zeros(B, 2, 40, 70)):
        assert share_BSIJ.shape == (B, 6, 2, 3)
        torch.testing.assert_close(share_BSIJ, torch.ones(B, 6, 2, 3), atol=1e-4, rtol=0)


def test_an_empty_half_says_nothing_about_one_that_flickers():
    """Places more than the window's three cells apart do not hear of one another."""
    context = torch.zeros(1, 5, 1, 64, 256, dtype=torch.float64)
    context[..., :64] = noise(1, 5, 1, 64, 64)
    first_SIJ = recall(context, uniform((0.0, 0.0), 64, 256, 1)).first_BSIJ[0]
    assert first_SIJ[0, :, :2].max() < 0.1
    assert torch.equal(first_SIJ[..., 5:], torch.ones(6, 2, 3, dtype=torch.float64))


def test_what_is_left_after_some_frames_is_the_first_share_and_decay_of_it():
    memory = Memory(torch.full((3, 6, 1, 2), 0.5), torch.full((3, 6, 1, 2), 0.8))
    share_BnSIJ = memory.after(torch.tensor([[1, 2], [2, 1], [5, 2]]))
    assert share_BnSIJ.shape == (3, 2, 6, 1, 2)
    expected = [0.5, 0.5 * 0.8, 0.5 * 0.8, 0.5, 0.5 * 0.8**4, 0.5 * 0.8]
    for share_SIJ, wanted in zip(share_BnSIJ.flatten(0, 1), expected, strict=True):
        torch.testing.assert_close(share_SIJ, torch.full((6, 1, 2), wanted))


def scales_of(frame_BCHW):
    return torch.stack([frame_BCHW, *(gaussian_blur(frame_BCHW, s) for s in SCALES)], dim=1)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_which_all_is_remembered_is_the_frame(size):
    frame = noise(B, C, *size)
    cells = [-(-side // CELL) for side in size]
    whole = remembered(scales_of(frame), torch.ones(B, 2, 6, *cells, dtype=torch.float64))
    torch.testing.assert_close(whole, frame.unsqueeze(1).expand_as(whole))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_remembered_is_the_sum_of_shares_of_bands(size):
    """Shares hold at the cells' centres and are interpolated between them, SciPy's way."""
    frame = noise(B, C, *size)
    share = noise(B, 4, 6, *(-(-side // CELL) for side in size), seed=1)
    found = remembered(scales_of(frame), share)
    places = np.meshgrid(*((np.arange(n) + 0.5) / CELL - 0.5 for n in size), indexing="ij")
    expected = np.zeros((B, 4, *frame.shape[1:]))
    for b, n, c in np.ndindex(B, 4, C):
        weights = [ndimage.map_coordinates(s, places, order=1, mode="nearest") for s in share[b, n]]
        blurs = [frame[b, c].numpy()]
        for sigma in SCALES:
            blurred = ndimage.gaussian_filter(blurs[0], sigma, mode="nearest", truncate=3)
            blurs.append(blurred)
        bands = [one - next_ for one, next_ in zip(blurs, [*blurs[1:], 0], strict=True)]
        expected[b, n, c] = sum(w * band for w, band in zip(weights, bands, strict=True))
    np.testing.assert_allclose(found, expected, atol=1e-12)
