"""Which values of a clip are black and full brightness, and what type they have in the file.

Inside framecast pixels are uint8 or uint16 and use all their levels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from framecast.config.schema import RANGE_PATTERN, RANGE_TEXT
from framecast.errors import ConfigError

# Depths that cameras and scanners deliver in larger integers.
SENSOR_BITS = (8, 10, 12, 14, 16)

# Share of [0, 1] that floats have to reach to be taken for the unit range: dark, but visible.
BRIGHT_ENOUGH = 0.25

# A clip that uses less than this fraction (1/16) of a range is nearly black in it.
DARKEST = 16

# Beyond these nothing is told apart: floats hold no difference between their largest values.
LARGEST = 4e307

# How far floats may leave [0, 1] and still be meant to lie in it.
ROUNDING = 1e-6


@dataclass(frozen=True)
class ValueRange:
    """A clip's values in its file: NumPy type, black (`low`) and full brightness (`high`)."""

    dtype: str
    low: float
    high: float

    @property
    def pixel_dtype(self) -> Literal["uint8", "uint16"]:
        """The type of the pixels that the values become; 16 bits keep 1/65535 of the range."""
        return "uint8" if self.dtype in ("bool", "uint8") else "uint16"

    @property
    def is_whole_type(self) -> bool:
        """Whether stored values are pixels already: uint8 or uint16 with its whole range."""
        return self == full_range(self.dtype) and self.dtype == self.pixel_dtype

    @property
    def text(self) -> str:
        """The range as `data.range` writes it, such as 0..4095."""
        return f"{self.low:.15g}..{self.high:.15g}"

    def to_pixels(self, values: np.ndarray) -> np.ndarray:
        """Turn stored values of any shape into uint8 or uint16; those beyond the range are clipped.

        Raises ValueError for NaN and infinite values.
        """
        if self.is_whole_type:
            return values.astype(self.dtype, copy=False)  # the file's byte order may be the other
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("holds NaN or infinite values")
        top = np.iinfo(self.pixel_dtype).max
        # float32 holds 24 bits: enough for 16-bit integers, not for wider ones.
        exact = np.float32 if values.dtype.kind != "f" and values.itemsize <= 2 else np.float64
        within = np.clip(values.astype(exact), exact(self.low), exact(self.high))
        scaled = (within - exact(self.low)) * exact(top / (self.high - self.low))
        return np.rint(scaled).astype(self.pixel_dtype)

    def to_values(self, pixels: np.ndarray) -> np.ndarray:
        """Turn uint8 or uint16 pixels back into the file's type and values, rounded if integers."""
        if self.is_whole_type and pixels.dtype == self.dtype:
            return pixels
        top = np.iinfo(pixels.dtype).max
        values = self.low + pixels.astype(np.float64) * ((self.high - self.low) / top)
        return (np.rint(values) if self.dtype[0] in "iub" else values).astype(self.dtype)


def full_range(dtype: np.typing.DTypeLike) -> ValueRange:
    """All that an integer type holds; 0 to 1 for floats and bool."""
    kind = np.dtype(dtype).newbyteorder("=")
    if kind.kind in "iu":
        return ValueRange(kind.name, float(np.iinfo(kind).min), float(np.iinfo(kind).max))
    return ValueRange(kind.name, 0.0, 1.0)


def read_range(setting: str, dtype: np.typing.DTypeLike) -> ValueRange | None:
    """The range that `data.range` sets for values of a type; None for auto.

    Also None where it cannot be meant for this type: 0..4095 for 8-bit integers. Raises ConfigError
    for an empty range.
    """
    if setting == "auto":
        return None
    full = full_range(dtype)
    if setting == "full":
        return full
    match = re.fullmatch(RANGE_PATTERN, setting)
    if match is None or not match[1]:
        raise ConfigError(f"data.range: expected {RANGE_TEXT}, got {setting}")
    low, high = float(match[1]), float(match[2])
    if not 0 < high - low < math.inf:
        expected = "a low value below the high one" if low >= high else "values below 1e308"
        raise ConfigError(
            f"data.range: expected {expected}, got {setting}",
            remedy="write it like 0..4095",
        )
    inside = full.low <= low and high <= full.high
    return ValueRange(full.dtype, low, high) if inside or full.dtype[0] == "f" else None


def guess_range(
    dtype: np.typing.DTypeLike,
    frames: Iterable[np.ndarray],
    stated: tuple[float, float] | None = None,
) -> ValueRange:
    """The range that stored frames most likely have, from the values in them.

    `stated`, what the file says of itself, counts where it holds all values and they are not nearly
    black in it: some programs write what they show, others what the type can hold. Without it,
    integers from 0 on: the smallest usual depth of sensors that holds them, or a mask's 0 and 1.
    Floats: 0..1 or 0..255 where they look like it. All else: what occurs, rounded outwards to a
    hundredth of the span. NaN and infinite values are left aside.
    """
    full = full_range(dtype)
    low, high, whole = math.inf, -math.inf, True
    for frame in frames:
        values = frame[np.isfinite(frame)] if frame.dtype.kind == "f" else frame
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            whole = whole and (frame.dtype.kind != "f" or bool((values == np.rint(values)).all()))
    if low > high or full.dtype == "bool":  # nothing to judge by
        return full
    if stated and stated[0] <= low and high <= stated[1] and is_visible(low, high, *stated):
        return ValueRange(full.dtype, *stated)
    return ValueRange(full.dtype, *_usual_range(full, low, high, whole))


def is_visible(low: float, high: float, black: float, white: float) -> bool:
    """Return whether values from `low` to `high` are more than one grey between these two."""
    return (high - low) * DARKEST >= white - black


def _usual_range(full: ValueRange, low: float, high: float, whole: bool) -> tuple[float, float]:
    is_float = full.dtype[0] == "f"
    low, high = max(low, -LARGEST), min(high, LARGEST)
    if is_float and low >= -ROUNDING and BRIGHT_ENOUGH < high <= 1 + ROUNDING:
        return 0.0, 1.0
    if high == 1 and full.dtype == "uint8":
        return 0.0, 1.0  # a mask
    is_pixels = whole or 200 < high <= 255  # pictures resized or averaged as floats
    if low >= 0 and is_pixels and (full.dtype == "uint8" or high >= BRIGHT_ENOUGH * 255):
        for bits in SENSOR_BITS:
            if high < 2**bits:
                return 0.0, 2.0**bits - 1 if is_float else min(2.0**bits - 1, full.high)
    if low == high:
        return min(0.0, low), max(1.0, high)
    # Black stays 0 where values come near it: a sensor's offset is not a separate range.
    low = 0.0 if 0 <= low < high / 2 else low
    step = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if not is_float:
        low, high = max(math.floor(low), full.low), min(math.ceil(high), full.high)
    return low, high


def joined_range(ranges: Iterable[ValueRange]) -> ValueRange | None:
    """The range that holds all of them; None when they are of several types, or none is given."""
    ranges = set(ranges)
    if len({found.dtype for found in ranges}) != 1:
        return None
    low, high = min(found.low for found in ranges), max(found.high for found in ranges)
    return ValueRange(next(iter(ranges)).dtype, low, high)
