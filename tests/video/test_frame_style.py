"""Frames painted for people: colours against matplotlib, classes of dBZ, labels, sizes."""

import matplotlib as mpl
import numpy as np
import pytest

from framecast.config.brightness_scale import read_scale
from framecast.errors import UsageError
from framecast.video.frame_style import FrameStyle, color_table, draw_legend

DBZ = read_scale("-10..60 dBZ")


def ramp(dtype=np.uint8):
    levels = np.arange(256, dtype=dtype).reshape(8, 32, 1)
    return levels * dtype(257) if dtype == np.uint16 else levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_matplotlibs(dtype):
    expected = mpl.colormaps["magma"](np.arange(256), bytes=True)[:, :3].reshape(8, 32, 3)
    np.testing.assert_array_equal(FrameStyle("magma").paint(ramp(dtype)), expected)


def test_radar_has_a_colour_for_each_class_of_5_dbz():
    table = color_table("radar", DBZ)
    colours = {value: tuple(table[round(255 * DBZ.pixel(value))]) for value in (0, 6, 12, 36, 52)}
    assert colours[0] == (17, 19, 24)  # below 5 dBZ there is no echo
    assert colours[6] == (4, 233, 231)
    assert colours[12] == (1, 159, 244)
    assert colours[36] == (253, 248, 2)
    assert colours[52] == (253, 0, 0)


def test_a_legend_stands_next_to_the_frame_only_where_values_are_known():
    frame = np.zeros((90, 60, 1), np.uint8)
    [plain] = FrameStyle("viridis").show([frame])
    [legend] = FrameStyle("viridis", DBZ).show([frame])
    assert plain.shape == (90, 60, 3)
    assert legend.shape[0] == 90
    assert legend.shape[1] > 80
    np.testing.assert_array_equal(legend[:, :60], plain)


def test_radar_has_no_class_beyond_its_last():
    near, far = (
        draw_legend("radar", read_scale(f"-10..{white} dBZ"), 300) for white in ("1e3", "1e15")
    )
    assert near.shape == far.shape


def test_labels_stand_above_the_frame_and_hide_nothing():
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 44, 3), dtype=np.uint8)
    first, second = FrameStyle().show(frames, ["+5 min", "+10 min"])
    assert first.shape == second.shape
    np.testing.assert_array_equal(first[-30:], frames[0])
    assert (first[:-30] != second[:-30]).any()


def test_frames_are_enlarged_by_squares_and_shrunk_by_means():
    frame = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    double = FrameStyle(enlarge=2).paint(frame)
    np.testing.assert_array_equal(double, frame.repeat(2, axis=0).repeat(2, axis=1))
    half = FrameStyle(enlarge=0.5).paint(frame)
    means = frame.reshape(3, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - means).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("virdis",), "--colormap virdis: there is none of this name; did you mean viridis"),
        (("radar",), "what pixels mean in dBZ is not known; say it with"),
        (("radar", read_scale("0..100 mm/h")), "what pixels mean in dBZ"),
        ((None, None, 17.0), "--scale 17: expected a factor of 0.05 to 16"),
    ],
)
def test_styles_that_mean_nothing_are_refused(arguments, text):
    with pytest.raises(UsageError, match=text):
        FrameStyle(*arguments)


def test_colours_of_colour_frames_are_refused():
    with pytest.raises(UsageError, match="--colormap magma is for grey frames"):
        FrameStyle("magma").paint(np.zeros((4, 5, 3), np.uint8))
