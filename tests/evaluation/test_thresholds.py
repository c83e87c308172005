"""Scales and thresholds as users write them."""

import pytest

from framecast.config.brightness_scale import read_scale
from framecast.config.loading import load_config
from framecast.errors import ConfigError, UsageError
from framecast.evaluation.thresholds import Threshold, default_thresholds, read_threshold


def test_a_linear_scale_is_that_of_the_radar_clips():
    scale = read_scale("-10..60 dBZ")
    assert scale.value(109 / 255) == pytest.approx(70 * 109 / 255 - 10)
    assert scale.pixel(20) * 255 == pytest.approx(109.2857, abs=1e-4)
    assert read_threshold("20 dBZ", scale) == Threshold(30 / 70, "20 dBZ")
    assert read_threshold("20dBZ", scale).label == "20 dBZ"


def test_a_logarithmic_scale_has_even_decibels():
    scale = read_scale("0.01..100 mm/h log")
    assert scale.value(0.5) == pytest.approx(1)
    assert scale.value(0.75) == pytest.approx(10)
    assert scale.pixel(0.1) == pytest.approx(0.25)
    assert read_threshold("1 mm/h", scale).pixel == pytest.approx(0.5)


def test_a_scale_may_fall():
    scale = read_scale("30..-70 C")
    assert scale.pixel(-20) == pytest.approx(0.5)
    assert default_thresholds(scale) == (Threshold(0.25, "5 C"), Threshold(0.5, "-20 C"))


def test_pixels_are_written_as_shares_or_levels():
    assert read_threshold("0.4", None) == Threshold(0.4, "0.4")
    assert read_threshold(" 109/255 ", read_scale("-10..60 dBZ")) == Threshold(109 / 255, "109/255")
    assert default_thresholds(None) == (Threshold(0.25, "0.25"), Threshold(0.5, "0.5"))
    assert read_threshold(f"1/{10**400}", None).pixel == 0


PIXELS = "a threshold without a unit is 0 or more and less than 1"


@pytest.mark.parametrize(
    ("text", "scale", "says"),
    [
        ("109", None, f"threshold 109: {PIXELS}; write it like 20 dBZ"),
        ("1", None, PIXELS),
        ("-0.1", None, PIXELS),
        ("much", None, "threshold much: cannot be read; write it like 20 dBZ, 0.4 or 109/255"),
        ("3/0", None, "threshold 3/0: cannot be read"),
        ("20 dBZ", None, 'what pixels mean in dBZ is not known; say it with --scale "BLACK..WHITE'),
        ("20 mm/h", "-10..60 dBZ", "the scale of the pixels is in dBZ; give it in dBZ"),
        ("75 dBZ", "-10..60 dBZ", "threshold 75 dBZ: the scale goes from -10 to 60 dBZ"),
        ("0 mm/h", "0.01..100 mm/h log", "the scale goes from 0.01 to 100 mm/h"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(text, scale, says):
    with pytest.raises(UsageError) as caught:
        read_threshold(text, read_scale(scale))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dBZ", "data.scale: expected BLACK..WHITE UNIT [log] such as -10..60 dBZ"),
        ("-10..60", "expected BLACK..WHITE UNIT [log]"),
        ("5..5 K", "black and white need two different values"),
        ("5..5 K log", "black and white need two different values"),
        ("0..1e999 K", "black and white need two different values below 1e308"),
        ("-1e308..1e308 K", "black and white need two different values below 1e308"),
        ("-10..60 dBZ log", "black and white need values above 0"),
    ],
)
def test_a_scale_that_means_nothing_is_refused(text, says):
    for attempt in (lambda: read_scale(text), lambda: load_config(None, [f"data.scale={text}"])):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert says in str(caught.value)
