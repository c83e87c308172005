"""What the brightness of a pixel stands for in physical units."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from framecast.errors import ConfigError

NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


SCALE_PATTERN = rf"({NUMBER})\.\.({NUMBER}) ([^\d\s]\S*)( log)?"


SCALE_TEXT = "BLACK..WHITE UNIT [log] such as -10..60 dBZ"


@dataclass(frozen=True)
class Scale:
    """What pixel values 0 and 1 stand for, in `unit`; between them even steps, or even decibels."""

    black: float
    white: float
    unit: str
    logarithmic: bool = False

    def value(self, pixel: float) -> float:
        """The physical value of a pixel in 0..1."""
        if self.logarithmic:
            return self.black * (self.white / self.black) ** pixel
        return self.black + (self.white - self.black) * pixel

    def pixel(self, value: float) -> float:
        """The pixel in 0..1 of a physical value; outside of it for values no pixel can show."""
        if self.logarithmic:
            if value <= 0:
                return -math.inf
            return math.log(value / self.black) / math.log(self.white / self.black)
        return (value - self.black) / (self.white - self.black)


def read_scale(text: str | None) -> Scale | None:
    """The scale of a `data.scale`, None of None; ConfigError when no scale is meant."""
    if text is None:
        return None
    match = re.fullmatch(SCALE_PATTERN, text)
    if match is None:
        raise ConfigError(f"data.scale: expected {SCALE_TEXT}, got {text}")
    black, white = float(match[1]), float(match[2])
    logarithmic = match[4] is not None
    if black == white or (logarithmic and min(black, white) <= 0):
        problem = "values above 0" if logarithmic else "two different values"
        raise ConfigError(
            f"data.scale: black and white need {problem}, got {text}",
            remedy=f"write {SCALE_TEXT}",
        )
    return Scale(black, white, match[3], logarithmic)
