"""One image file: what its header says, its pixels, and writing one.

Pillow reads everything, because it refuses truncated files; OpenCV only 16-bit colour, which
Pillow would reduce to 8 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from framecast.errors import SourceError
from framecast.video.readers.base import unreadable

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
DEEP_GREY_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
EXIF_FORMATS = frozenset({"JPEG", "MPO", "WEBP"})
"""Formats whose orientation tag is in the header; Pillow turns TIFFs by itself."""


class DamagedImageError(Exception):
    """An image file that is empty, cut short or not an image; str() is the reason."""


@dataclass(frozen=True)
class ImageHeader:
    """Size (as shown, after the camera's orientation tag), channels and depth of one image."""

    height: int
    width: int
    channels: Literal[1, 3]
    bits: Literal[8, 16]
    alpha: bool
    pages: int


def read_header(path: Path) -> ImageHeader:
    """Read what an image is without decoding it.

    Raises DamagedImageError when it is no readable image, SourceError when it may not be read or
    holds floating-point pixels.
    """
    with _opened(path) as image:
        if image.mode == "F":
            raise SourceError(
                f"{path}: holds floating-point pixels",
                remedy="save them as 16-bit PNG, or all frames as one .npy array in [0, 1]",
            )
        height, width = image.height, image.width
        if _orientation(image) >= 5:
            height, width = width, height
        return ImageHeader(
            height=height,
            width=width,
            channels=1 if _is_grey(image) else 3,
            bits=16 if _is_deep(path, image) else 8,
            alpha=image.mode in ALPHA_MODES or "transparency" in image.info,
            pages=int(getattr(image, "n_frames", 1)),
        )


def read_pixels(path: Path, header: ImageHeader) -> np.ndarray:
    """Decode an image to (H, W, channels), uint8 or uint16 as its header says; alpha is dropped.

    Raises DamagedImageError when the file is cut short, SourceError when it may not be read or
    holds values beyond 16 bits.
    """
    with _opened(path) as image:
        image.load()
        if header.bits == 16 and image.mode not in DEEP_GREY_MODES:
            return _read_deep_color(path, header)
        if header.bits == 16:
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise SourceError(
                    f"{path}: holds values from {values.min()} to {values.max()}",
                    remedy="save the frames with 16 bits, 0 to 65535",
                )
            return values.astype(np.uint16)[:, :, None]
        if _orientation(image) > 1:
            image = ImageOps.exif_transpose(image)  # noqa: PLW2901
        if header.channels == 1:
            return np.array(image.convert("L"))[:, :, None]
        if image.mode in ("P", "PA", "RGBa"):
            image = image.convert("RGBA")  # noqa: PLW2901
        return np.array(image.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        size = path.stat().st_size
        raise DamagedImageError("it is not an image" if size else "it is empty") from error
    except (PermissionError, FileNotFoundError) as error:
        raise unreadable(path, error) from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path}: {error}", remedy="give smaller frames") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise DamagedImageError(str(error).rstrip(".") or type(error).__name__) from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (as stored) to 8."""
    if image.format not in EXIF_FORMATS:
        return 1
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in GREY_MODES


def _is_deep(path: Path, image: Image.Image) -> bool:
    """Tell whether the file stores 16 bits per channel, whatever Pillow makes of it."""
    if image.mode in DEEP_GREY_MODES:
        return True
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24:] == b"\x10"  # the IHDR chunk's bit depth
    if image.format == "TIFF":
        return image.tag_v2.get(258, (8,))[0] == 16  # type: ignore[attr-defined]  # BitsPerSample
    if image.format == "PPM":
        options = image.tile[0][3] if image.tile else None
        return isinstance(options, tuple) and options[1:] == (65535,)
    return False


def _read_deep_color(path: Path, header: ImageHeader) -> np.ndarray:
    # imdecode of the bytes, since imread cannot open every path on Windows
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise DamagedImageError("its 16-bit pixels cannot be decoded")
    if stored.ndim == 2:
        stored = stored[:, :, None]
    if header.channels == 1:
        return stored[:, :, :1]
    return stored[:, :, 2::-1]  # BGR(A) to RGB
