"""Frames of every accepted shape and type, and what is said of all others."""

import numpy as np
import pytest
import torch

from framecast.errors import UsageError
from framecast.prediction.frame_arrays import as_clips, from_pixels, to_pixels


@pytest.mark.parametrize(
    ("given", "clips", "back"),
    [
        ((5, 7, 8), (1, 5, 7, 8, 1), (2, 7, 8)),
        ((5, 7, 8, 3), (1, 5, 7, 8, 3), (2, 7, 8, 3)),
        ((4, 5, 7, 8, 1), (4, 5, 7, 8, 1), (4, 2, 7, 8, 1)),
    ],
)
def test_results_have_the_axes_of_what_was_given(given, clips, back):
    found, as_given = as_clips(np.zeros(given, np.uint8))
    assert found.shape == clips
    assert as_given(found[:, :2]).shape == back


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("clip.mp4", "an array of numbers .* received str of <U8; read files with framecast.read"),
        (None, "received NoneType of object"),
        (np.zeros((7, 8)), r"received shape \(7, 8\); add a time axis"),
        (np.zeros((0, 7, 8)), r"no size 0; received shape \(0, 7, 8\)"),
        (np.zeros((5, 7, 8, 4)), r"received shape \(5, 7, 8, 4\); move the channels last"),
        (np.zeros((5, 7, 8), bool), "received ndarray of bool"),
        (
            [np.zeros((7, 8)), np.zeros((7, 9))],
            "frames of different shapes; give frames of one size",
        ),
        (torch.zeros(5, 7, 8, dtype=torch.bfloat16), "received Tensor that is no .*BFloat16"),
        ([torch.zeros(7, 8, requires_grad=True)], "received list that is no .*requires grad"),
        (np.ma.masked_equal([[[0, 1, 1]]], 1), "received 2 masked values; fill them"),
    ],
)
def test_what_are_no_frames_is_a_value_error_with_its_remedy(frames, text):
    with pytest.raises(ValueError, match=text) as caught:
        as_clips(frames)
    assert isinstance(caught.value, UsageError)


def test_either_byte_order_is_taken():
    frames = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    found, _ = as_clips(frames)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[0, ..., 0], frames)


def test_floats_keep_their_range_and_type():
    celsius = np.linspace(-40, 25, 60, dtype=np.float32).reshape(3, 4, 5, 1)
    pixels = to_pixels(celsius, np.array([-40, 60]))
    assert pixels.dtype == np.uint16
    assert (pixels.min(), pixels.max()) == (0, round(65535 * 0.65))
    again = from_pixels(pixels, celsius.dtype, (-40, 60))
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, celsius, atol=100 / 65535)


@pytest.mark.parametrize(("dtype", "high"), [(np.float32, 0.1), (np.float16, 0.3)])
def test_a_limit_that_a_type_does_not_hold_is_its_nearest_number(dtype, high):
    nearest = dtype(high)
    assert float(nearest) > high
    assert to_pixels(np.array([0, nearest], dtype), (0, high)).tolist() == [0, 65535]
    assert to_pixels(np.array([0, -nearest], dtype), (-high, 0)).tolist() == [65535, 0]
    with pytest.raises(UsageError, match=f"must lie in value_range 0 to {high}"):
        to_pixels(np.array([0, np.nextafter(nearest, dtype(1))], dtype), (0, high))


@pytest.mark.filterwarnings("error")
def test_a_range_may_go_beyond_what_a_type_holds():
    assert to_pixels(np.array([0, 50_000], np.float16), (0, 1e5)).tolist() == [0, 32757]


@pytest.mark.parametrize(
    ("frames", "value_range", "text"),
    [
        (np.array([0.0, 1.5]), None, "value_range 0 to 1; received values from 0 to 1.5"),
        (np.array([0.0, np.nan]), None, "received values from nan to nan"),
        (np.array([0.0, 1.0]), (3, 3), "value_range 3 to 3"),
        (np.array([0.0, 1.0]), (0, 1, 2), r"received \(0, 1, 2\); give \(low, high\)"),
        (np.array([0.0, 1.0]), (0, np.inf), r"value_range 0 to inf; received values from 0 to 1"),
        (np.array([0.0, 1.0]), ("a", 1), r"value_range must be two numbers"),
        (np.array([1], np.int64), None, "received int64; convert them"),
        (np.array([1], np.uint8), (0, 9), "value_range is for floats; received uint8"),
    ],
)
def test_values_that_cannot_be_pixels_are_refused(frames, value_range, text):
    with pytest.raises(ValueError, match=text):
        to_pixels(frames, value_range)
