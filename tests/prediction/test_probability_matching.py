"""Probability matching against scikit-image's histogram matching and a golden of pysteps."""

import numpy as np
import pytest
import torch
from skimage.exposure import match_histograms

from framecast.prediction.probability_matching import matched

B, C, H, W = 2, 3, 7, 11


def noise(seed, power=1.0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(B, C, H, W, generator=draw, dtype=torch.float64) ** power


def test_every_channel_gets_the_others_values_in_its_own_order_as_in_scikit_image():
    blurred, sharp = 0.3 + noise(0) / 9, noise(1, 3.0) + 0.01
    found = matched(blurred, sharp, 1.0)
    for b, c in np.ndindex(B, C):
        expected = match_histograms(blurred[b, c].numpy(), sharp[b, c].numpy())
        np.testing.assert_allclose(found[b, c], expected, atol=1e-12)
        assert not torch.equal(found[b, c], sharp[b, c])


def test_a_golden_of_pysteps():
    """postprocessing.probmatching.nonparam_match_empirical_cdf, version 1.21.5, of this pair."""
    forecast = [[0.31, 0.62, 0.44, 0.29], [0.53, 0.35, 0.48, 0.57], [0.41, 0.66, 0.38, 0.27]]
    last = [[0.02, 0.91, 0.13, 0.05], [0.72, 0.08, 0.33, 0.61], [0.21, 0.97, 0.11, 0.04]]
    golden = [[0.05, 0.91, 0.21, 0.04], [0.61, 0.08, 0.33, 0.72], [0.13, 0.97, 0.11, 0.02]]
    found = matched(torch.tensor([[forecast]]), torch.tensor([[last]]), 1.0)
    torch.testing.assert_close(found, torch.tensor([[golden]]))


def test_equal_pixels_stay_equal_and_an_empty_background_stays_empty():
    frame, like = noise(2), noise(3)
    frame[..., :6] = 0
    like[..., :2] = 0
    found = matched(frame, like, 1.0)
    assert found[..., :6].unique().tolist() == [0]
    for b, c in np.ndindex(B, C):
        brightest = like[b, c].flatten().sort().values[6 * H :]
        torch.testing.assert_close(found[b, c, :, 6:].flatten().sort().values, brightest)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_moves_pixels_part_of_the_way(share):
    frame, like = noise(4), noise(5, 2.0)
    whole = matched(frame, like, 1.0)
    torch.testing.assert_close(matched(frame, like, share), frame + share * (whole - frame))
