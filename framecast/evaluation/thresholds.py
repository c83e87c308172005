"""Thresholds in pixel values or physical units, and the scale between the two. No torch, no NumPy.

A scale says what black and full brightness mean: `-10..60 dBZ` is dBZ = 70 * pixel - 10 for pixels
in 0..1, and `0.1..100 mm/h log` a unit whose decibels, not values, grow evenly with the pixel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from framecast.config.brightness_scale import DECIMAL, Scale
from framecast.errors import UsageError

# Shares of full brightness that serve as thresholds where none is given
DEFAULT_PIXELS = (0.25, 0.5)


@dataclass(frozen=True)
class Threshold:
    """A pixel value in 0..1, and how the user wrote it: `20 dBZ`, `0.4` or `109/255`."""

    pixel: float
    label: str


def read_threshold(text: str, scale: Scale | None) -> Threshold:
    """A threshold as the user writes it: `20 dBZ` by the scale, `0.4` or `109/255` as a pixel.

    Raises UsageError for anything else and for what no pixel exceeds.
    """
    match = re.fullmatch(rf"({DECIMAL})(?:/([1-9][0-9]*)| ?([^\d\s/]\S*))?", text.strip())
    if match is None:
        raise UsageError(
            f"threshold {text}: cannot be read", remedy="write it like 20 dBZ, 0.4 or 109/255"
        )
    number, whole, unit = float(match[1]), match[2], match[3]
    if unit is None:  # a pixel value: 0.4, or 109/255 as 8-bit levels are counted
        rule = "a threshold without a unit is 0 or more and less than 1"
        return _in_range(number / float(whole or 1), text, rule)
    if scale is None:
        raise UsageError(
            f"threshold {text}: what pixels mean in {unit} is not known",
            remedy=f'say it with --scale "BLACK..WHITE {unit}"',
        )
    if unit != scale.unit:
        raise UsageError(
            f"threshold {text}: the scale of the pixels is in {scale.unit}",
            remedy=f"give it in {scale.unit}",
        )
    # No pixel exceeds a threshold outside the scale, so the event would never occur.
    span = f"the scale goes from {scale.black:g} to {scale.white:g} {unit}"
    return _in_range(scale.pixel(number), f"{match[1]} {unit}", span)


def default_thresholds(scale: Scale | None) -> tuple[Threshold, ...]:
    """A quarter and half of full brightness, named in the scale's unit where there is one."""
    return tuple(
        Threshold(pixel, f"{scale.value(pixel):.4g} {scale.unit}" if scale else f"{pixel:g}")
        for pixel in DEFAULT_PIXELS
    )


def _in_range(pixel: float, label: str, rule: str) -> Threshold:
    if not 0 <= pixel < 1:
        raise UsageError(
            f"threshold {label}: {rule}", remedy="write it like 20 dBZ, 0.4 or 109/255"
        )
    return Threshold(pixel, label.strip())
