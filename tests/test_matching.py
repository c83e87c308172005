"""Probability matching against pysteps' own."""

import numpy as np
import pytest
import torch
from pysteps.postprocessing.probmatching import nonparam_match_empirical_cdf

from framecast.matching import matched

B, C, H, W = 2, 3, 7, 11


def noise(seed, power=1.0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(B, C, H, W, generator=draw, dtype=torch.float64) ** power


def test_every_channel_gets_the_others_values_in_its_own_order_as_in_pysteps():
    """Without equal pixels and with no dry ones, where pysteps does what it does by other ways."""
    blurred, sharp = 0.3 + noise(0) / 9, noise(1, 3.0) + 0.01
    found = matched(blurred, sharp, 1.0)
    for b, c in np.ndindex(B, C):
        expected = nonparam_match_empirical_cdf(blurred[b, c].numpy(), sharp[b, c].numpy())
        np.testing.assert_allclose(found[b, c], expected, atol=1e-12)
        assert not torch.equal(found[b, c], sharp[b, c])


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
