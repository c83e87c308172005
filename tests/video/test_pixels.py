"""Value ranges, axis order, resizing and colour of frames on their way to the model and back."""

import cv2
import numpy as np
import pytest
from PIL import Image

from framecast.video import pixels

T, C, H, W = 5, 3, 7, 8


@pytest.fixture
def clip():
    return np.random.default_rng(3).integers(0, 256, (T, H, W, C), np.uint8)


def test_to_unit_moves_channels_and_scales(clip):
    unit = pixels.to_unit(clip)
    assert unit.shape == (T, C, H, W)
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    assert unit[4, 2, 6, 1] == np.float32(clip[4, 6, 1, 2]) / np.float32(255)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_every_pixel_value_survives_the_round_trip(dtype, top):
    values = np.arange(top + 1, dtype=dtype).reshape(1, 1, -1, 1)
    unit = pixels.to_unit(values)
    assert unit.min() == 0.0
    assert unit.max() == 1.0
    np.testing.assert_array_equal(pixels.from_unit(unit, dtype), values)


def test_from_unit_clips_and_rounds_to_nearest():
    frame = np.array([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.5]).reshape(1, 2, 3)
    out = pixels.from_unit(frame, np.uint8)
    assert out.shape == (2, 3, 1)
    assert out.ravel().tolist() == [0, 0, 0, 1, 255, 255]


def test_from_unit_keeps_16_bits_of_half_precision():
    out = pixels.from_unit(np.full((3, 2, 4), 0.5, np.float16), np.uint16)
    assert out.shape == (2, 4, 3)
    assert (out == 32768).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_from_unit_refuses_values_no_pixel_can_show(bad):
    frame = np.zeros((C, H, W), np.float32)
    frame[2, 6, 7] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        pixels.from_unit(frame, np.uint8)


def test_wrong_types_and_axes_are_refused(clip):
    with pytest.raises(ValueError, match="uint8 or uint16 pixels, got float32"):
        pixels.to_unit(clip.astype(np.float32))
    with pytest.raises(ValueError, match="frames \\(T, H, W, C\\), got shape \\(7, 8, 3\\)"):
        pixels.to_unit(clip[0])
    with pytest.raises(ValueError, match="got shape \\(7, 8\\)"):
        pixels.from_unit(np.zeros((H, W)), np.uint8)


def test_shrinking_by_a_whole_factor_averages_areas():
    frame = np.random.default_rng(1).integers(0, 65536, (6, 8, 1)).astype(np.uint16)
    means = frame.reshape(3, 2, 2, 4, 1).astype(float).mean(axis=(1, 3))
    out = pixels.resize(frame, 3, 2)
    assert out.dtype == np.uint16
    assert np.abs(out - means).max() <= 0.5


def test_one_axis_shrinks_while_the_other_grows():
    frame = np.repeat(np.array([[10], [30], [200], [220]], np.uint8), 3, axis=1)[:, :, None]
    out = pixels.resize(frame, 2, 9)
    assert out.shape == (2, 9, 1)
    assert out[:, 4, 0].tolist() == [20, 210]


def test_enlarging_keeps_range_and_channels(clip):
    frame = np.where(clip[0] > 127, 255, 0).astype(np.uint8)
    out = pixels.resize(frame, 21, 40)
    assert out.shape == (21, 40, 3)
    assert out.dtype == np.uint8
    expected = cv2.resize(frame, (40, 21), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(out, expected)


def test_resizing_to_the_same_size_changes_nothing(clip):
    np.testing.assert_array_equal(pixels.resize(clip[0], H, W), clip[0])


def test_grey_is_the_luma_of_bt601(clip):
    grey = pixels.convert_color(clip[0], 1)
    assert grey.shape == (H, W, 1)
    expected = np.asarray(Image.fromarray(clip[0]).convert("L")).astype(int)
    # Pillow works with other fixed-point weights, so halves may round the other way.
    assert np.abs(grey[:, :, 0] - expected).max() <= 1
    exact = clip[0] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - exact).max() <= 0.51


def test_rgb_from_grey_repeats_it():
    grey = np.arange(H * W, dtype=np.uint16).reshape(H, W, 1)
    rgb = pixels.convert_color(grey, 3)
    assert rgb.shape == (H, W, 3)
    assert (rgb == grey).all()
    np.testing.assert_array_equal(pixels.convert_color(rgb, 1), grey)


def test_other_channel_counts_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, got 2 to become 1"):
        pixels.convert_color(np.zeros((H, W, 2), np.uint8), 1)


def test_depth_conversion_keeps_black_white_and_every_8_bit_value():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    deep = pixels.convert_depth(values, np.uint16)
    assert deep.dtype == np.uint16
    assert (deep.min(), deep.max()) == (0, 65535)
    np.testing.assert_array_equal(pixels.convert_depth(deep, np.uint8), values)
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    shallow = pixels.convert_depth(every, np.uint8)
    np.testing.assert_array_equal(shallow, np.rint(every / 257).astype(np.uint8))
    assert pixels.convert_depth(values, np.uint8) is values
    with pytest.raises(ValueError, match="got float32"):
        pixels.convert_depth(np.zeros((2, 3, 1), np.float32), np.uint8)
