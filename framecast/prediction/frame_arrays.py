"""Convert users' arrays of frames, of any shape, type and range, to pixels and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from framecast.errors import UsageError
from framecast.runtime.text import counted
from framecast.video.pixels import DEPTHS
from framecast.video.value_range import ValueRange

SHAPES = "(T, H, W), (T, H, W, C) or clips (B, T, H, W, C) with C = 1 or 3"


def as_clips(frames: Any) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Frames of any accepted shape as (B, T, H, W, C), and what gives a result the same shape.

    Raises UsageError for what is no array of frames.
    """
    try:
        array = np.asarray(list(frames) if isinstance(frames, Iterator) else frames)
    except ValueError as error:
        raise UsageError(
            f"frames must be {SHAPES}; received frames of different shapes",
            remedy="give frames of one size",
        ) from error
    except (TypeError, RuntimeError) as error:  # as PyTorch says it of bfloat16, gradients and GPUs
        raise UsageError(
            f"frames must be {SHAPES}; received {type(frames).__name__} that is no array to NumPy "
            f"({str(error).rstrip('.')})",
            remedy="convert it to a NumPy array first",
        ) from error
    if np.ma.is_masked(frames):
        masked = counted(np.ma.count_masked(frames), "masked value")
        raise UsageError(
            f"frames must not be masked; received {masked}",
            remedy="fill them, e.g. with frames.filled(0)",
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == object or array.dtype.kind not in "uif":
        raise UsageError(
            f"frames must be an array of numbers {SHAPES}; received {type(frames).__name__} of "
            f"{array.dtype}",
            remedy="read files with framecast.read(path)",
        )
    if array.ndim not in (3, 4, 5) or 0 in array.shape:
        raise UsageError(
            f"frames must be {SHAPES}, no size 0; received shape {array.shape}",
            remedy="add a time axis with frames[None]" if array.ndim == 2 else "",
        )
    # Four axes could also be clips (B, T, H, W); only the last one shows which.
    if array.ndim > 3 and array.shape[-1] not in (1, 3):
        raise UsageError(
            f"frames must be {SHAPES}; received shape {array.shape}",
            remedy="move the channels last, or give a batch of grey clips as frames[..., None]",
        )
    if array.ndim == 3:
        return array[None, ..., None], lambda found_BTHWC: found_BTHWC[0, ..., 0]
    if array.ndim == 4:
        return array[None], lambda found_BTHWC: found_BTHWC[0]
    return array, lambda found_BTHWC: found_BTHWC


def to_pixels(frames: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Frames as uint8 or uint16; floats as 65,535 even steps of `value_range`, None: 0 to 1.

    Raises UsageError for values outside the range and for other integers than those two.
    """
    if frames.dtype in DEPTHS:
        if value_range is not None:
            raise UsageError(
                f"value_range is for floats; received {frames.dtype} frames", remedy="leave it out"
            )
        return frames
    if frames.dtype.kind != "f":
        raise UsageError(
            f"frames must be uint8, uint16 or floats; received {frames.dtype}",
            remedy="convert them, e.g. frames.astype(np.uint16), or to floats with a value_range",
        )
    values = values_of(frames.dtype, value_range)
    low, high = values.low, values.high
    least, most = float(frames.min()), float(frames.max())
    with np.errstate(over="ignore"):  # beyond what float16 holds: endless, as all frames are below
        # The nearest numbers of the frames' type: the float32 of 0.1 is above 0.1.
        first, last = np.array((low, high)).astype(frames.dtype)
    # NaN fails every comparison, and so ends up here as well; an endless range has no steps.
    if not (0 < high - low < math.inf and first <= least and most <= last):
        raise UsageError(
            f"float frames must lie in value_range {low:g} to {high:g}; received values from "
            f"{least:g} to {most:g}",
            remedy="give value_range=(low, high), and replace what is not finite",
        )
    return values.to_pixels(frames)


def from_pixels(
    frames: np.ndarray, dtype: np.dtype, value_range: tuple[float, float] | None
) -> np.ndarray:
    """The inverse of `to_pixels`: pixels as values of a type, floats in their range."""
    if dtype in DEPTHS:
        return frames
    return values_of(dtype, value_range).to_values(frames)


def values_of(dtype: np.dtype, value_range: tuple[float, float] | None) -> ValueRange:
    """Type and range of floats, None: 0 to 1; UsageError for what is no range."""
    try:
        low, high = map(float, (0, 1) if value_range is None else value_range)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"value_range must be two numbers; received {value_range!r}", remedy="give (low, high)"
        ) from error
    return ValueRange(dtype.name, low, high)
