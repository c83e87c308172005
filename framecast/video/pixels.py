"""The one border between disk values (uint8/uint16, THWC) and model values (float, TCHW, [0, 1]).

Also the few things done to pixels on their way: resize, grey <-> RGB, 8 <-> 16 bit.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

# The integer types of frames on disk, with the value that stands for full brightness.
DEPTHS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def full_scale(dtype: npt.DTypeLike) -> int:
    """Return the largest pixel value of a frame type: 255 or 65535; ValueError for other types."""
    try:
        return DEPTHS[np.dtype(dtype)]
    except KeyError:
        raise ValueError(f"expected uint8 or uint16 pixels, got {np.dtype(dtype)}") from None


def to_unit(frames: np.ndarray) -> np.ndarray:
    """Turn frames into what the model reads.

    frames: (T, H, W, C), uint8 or uint16. Returns a contiguous float32 (T, C, H, W) in [0, 1].
    Raises ValueError for another type or number of axes.
    """
    scale = full_scale(frames.dtype)
    if frames.ndim != 4:
        raise ValueError(f"expected frames (T, H, W, C), got shape {frames.shape}")
    unit = np.empty((frames.shape[0], frames.shape[3], *frames.shape[1:3]), np.float32)
    np.divide(frames.transpose(0, 3, 1, 2), np.float32(scale), out=unit)
    return unit


def from_unit(frame: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Turn what the model wrote into pixels, clipped to [0, 1] and rounded to the nearest value.

    frame: float (C, H, W) or (T, C, H, W); dtype: uint8 or uint16.
    Returns (H, W, C) or (T, H, W, C). Raises ValueError when a value is NaN or infinite.
    """
    scale = full_scale(dtype)
    if frame.ndim not in (3, 4):
        raise ValueError(f"expected (C, H, W) or (T, C, H, W), got shape {frame.shape}")
    if not np.isfinite(frame).all():
        raise ValueError("a frame holds NaN or infinite values, which no pixel can show")
    # float16 cannot hold 65535, so the scaling happens in float32 at least.
    wide = np.clip(frame, 0, 1, dtype=np.promote_types(frame.dtype, np.float32))
    # In place: of large frames each array takes tens of MB
    np.rint(np.multiply(wide, scale, out=wide), out=wide)
    return np.ascontiguousarray(np.moveaxis(wide.astype(dtype), -3, -1))


def resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a frame (H, W, C) to (height, width, C), same type.

    Shrinks by area average and enlarges by bicubic interpolation, each axis as it needs.
    """
    full_scale(frame.dtype)
    inner = (min(height, frame.shape[0]), min(width, frame.shape[1]))
    for size, method in ((inner, cv2.INTER_AREA), ((height, width), cv2.INTER_CUBIC)):
        if frame.shape[:2] != size:
            scaled = cv2.resize(frame, (size[1], size[0]), interpolation=method)
            frame = scaled.reshape(*size, frame.shape[2])  # cv2 drops a channel axis of 1
    return frame


def convert_color(frame: np.ndarray, channels: int) -> np.ndarray:
    """Turn a frame (H, W, 1 or 3) into one with the given number of channels, 1 or 3.

    Grey is the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B; RGB from grey repeats it.
    """
    found = frame.shape[2]
    if {found, channels} - {1, 3}:
        raise ValueError(f"expected 1 or 3 channels, got {found} to become {channels}")
    if found == channels:
        return frame
    if channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)[:, :, None]
    return np.repeat(frame, 3, axis=2)


def convert_depth(frame: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Turn uint8 pixels into uint16 or back, full brightness staying full brightness."""
    found, wanted = full_scale(frame.dtype), full_scale(dtype)
    if found == wanted:
        return frame
    if found < wanted:
        return frame.astype(np.uint16) * np.uint16(257)
    return ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)
