"""From the brightness of a pixel to physical units and back, such as dBZ or mm/h."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from framecast.errors import ConfigError, UsageError

# As people write numbers: no underscores, no "inf", no bare point
DECIMAL = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"

# The unit begins with no digit, so that `0..1 0` is an error and not the unit "0"
SCALE_PATTERN = rf"({DECIMAL})\.\.({DECIMAL}) ([^\d\s]\S*)( log)?"

SCALE_TEXT = "BLACK..WHITE UNIT [log] such as -10..60 dBZ"


@dataclass(frozen=True)
class Scale:
    """Physical values of pixels 0 and 1 in `unit`; between them even steps, or even decibels."""

    black: float
    white: float
    unit: str
    logarithmic: bool = False

    def value(self, pixel: float) -> float:
        """The physical value of a pixel in 0..1."""
        # Equal steps of a pixel are equal ratios: mm/h is stored so, dBZ is a logarithm already
        if self.logarithmic:
            return self.black * (self.white / self.black) ** pixel
        return self.black + (self.white - self.black) * pixel

    def pixel(self, value: float) -> float:
        """The pixel in 0..1 of a physical value; outside of it for values no pixel can show."""
        if self.logarithmic:
            if value <= 0:  # no rain: below every pixel
                return -math.inf
            return math.log(value / self.black) / math.log(self.white / self.black)
        return (value - self.black) / (self.white - self.black)


def read_scale(text: str | None, name: str = "data.scale") -> Scale | None:
    """Read a scale, set as `name`; None for None, ConfigError for text that is no scale."""
    if text is None:
        return None
    match = re.fullmatch(SCALE_PATTERN, text)
    if match is None:
        raise ConfigError(f"{name}: expected {SCALE_TEXT}, got {text}")
    black, white = float(match[1]), float(match[2])
    logarithmic = match[4] is not None
    # white may be below black: an infrared picture shows cold clouds bright
    differ = black != white and math.isfinite(white - black)
    if not differ or (logarithmic and min(black, white) <= 0):
        problem = "values above 0" if differ else "two different values below 1e308"
        raise ConfigError(
            f"{name}: black and white need {problem}, got {text}", remedy=f"write {SCALE_TEXT}"
        )
    return Scale(black, white, match[3], logarithmic)


def check_legend(value_scale: str | None, colormap: str | None) -> None:
    """Raise ConfigError for a --value-scale that is no scale, UsageError without colours.

    It is the legend of a colour map, and shows nowhere else.
    """
    read_scale(value_scale, "--value-scale")
    if value_scale is not None and colormap is None:
        raise UsageError(
            f"--value-scale {value_scale}: nothing is in colours that it could explain",
            remedy="add --colormap, or leave it out",
        )
