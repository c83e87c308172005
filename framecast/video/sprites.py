"""Frames as one tall picture, which a page shows one frame of at a time."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from PIL import Image

from framecast.video.frame_style import rgb
from framecast.video.pixels import resize

# Pixels that a WebP picture may be high, a little less than its limit of 16,383.
TALLEST = 16000

QUALITY = 82


def sprite(frames_THWC: Sequence[np.ndarray], side: int) -> str:
    """Frames one below the other as a WebP data URI, none of their sides above `side` pixels.

    Small frames are kept exactly, since a page enlarges their pixels; larger ones are compressed
    visibly little.
    """
    height, width = frames_THWC[0].shape[:2]
    factor = min(1, side / max(height, width), TALLEST / (height * len(frames_THWC)))
    size = max(1, int(height * factor)), max(1, int(width * factor))
    small = [resize(rgb(frame), *size) for frame in frames_THWC]
    # Lossless WebP is small for few pixels and for drawings, lossy for photographs.
    exact = factor == 1 and max(size) <= 128
    written = io.BytesIO()
    Image.fromarray(np.concatenate(small)).save(
        written, "WEBP", lossless=exact, quality=100 if exact else QUALITY, method=4
    )
    return f"data:image/webp;base64,{b64encode(written.getvalue()).decode()}"
