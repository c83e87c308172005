"""One image file, or one page of it: what its header says, and its pixels.

Pillow reads what has 8 bits, because it refuses truncated files; tifffile the TIFFs that have more,
or floats; OpenCV 16-bit colour PNGs, which Pillow would reduce to 8 bits.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from framecast.errors import SourceError
from framecast.runtime.memory import machine_memory
from framecast.video.readers.base import StatedRange
from framecast.video.readers.frame_checks import check_memory, explained, on_black, reason

DEEP_GREY_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
# Formats whose orientation tag is in the header; Pillow and OpenCV turn TIFFs by themselves.
EXIF_FORMATS = frozenset({"JPEG", "MPO", "WEBP", "PNG"})
# Byte orders, of classic TIFF and of BigTIFF.
TIFF_STARTS = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
TIFF_ALPHA = ((tifffile.EXTRASAMPLE.ASSOCALPHA,), (tifffile.EXTRASAMPLE.UNASSALPHA,))
GDAL_NODATA = 42113
# Orientations that swap rows and columns.
SIDEWAYS = (5, 6, 7, 8)

HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})

# Memory that decoding takes at most: several copies, of 8 bytes in the deepest formats.
BYTES_A_PIXEL = 32

# Their own output on the terminal only repeats their errors.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# What this machine's memory can hold, where Pillow has a constant. It warns there, which is not for
# the terminal, and refuses from twice as many pixels on.
LARGEST_IMAGE = (machine_memory() or 2**33) // BYTES_A_PIXEL
Image.MAX_IMAGE_PIXELS = LARGEST_IMAGE // 2
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class DamagedImageError(Exception):
    """An image file that is empty, cut short or not an image; str() is the reason."""


@dataclass(frozen=True)
class ImageHeader:
    """Size (as shown, after the camera's orientation tag), channels and type of one image."""

    path: Path
    height: int
    width: int
    channels: Literal[1, 3]
    dtype: str
    alpha: bool
    pages: int
    stated: StatedRange | None = None
    # What stands for missing values, as `missing_values` finds it.
    missing: frozenset[float] = frozenset()
    # Whether tifffile reads it, not Pillow.
    is_deep_tiff: bool = False


def read_header(path: Path) -> ImageHeader:
    """Read what an image is without decoding it.

    Raises DamagedImageError when it is no readable image, SourceError when it may not be read, or
    is too large for this machine's memory.
    """
    if header := _deep_tiff_header(path):
        return header
    with opened_image(path) as image:
        dtype, channels = _stored_dtype(image), _channels(image)
        check_memory(path, image.height * image.width * channels * np.dtype(dtype).itemsize)
        return ImageHeader(
            path,
            *_upright(image.height, image.width, _orientation(image)),
            channels=channels,
            dtype=dtype,
            alpha=image.has_transparency_data,
            pages=int(getattr(image, "n_frames", 1)),
        )


def read_pixels(header: ImageHeader) -> np.ndarray:
    """Decode an image to (H, W, channels) of the header's type, transparent pixels on black.

    Raises DamagedImageError when the file is cut short, SourceError when it may not be read.
    """
    if header.is_deep_tiff:
        with _damage_explained(header.path), tifffile.TiffFile(header.path) as file:
            return tiff_pixels(header.path, file.pages[0], 0)
    with opened_image(header.path) as image:
        return _decoded(image)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode the bytes of a PNG, JPEG or PNM to (H, W, 1 or 3), uint8 or uint16, as a file's are.

    `name` says where they come from. Raises as `read_pixels` does.
    """
    with opened_image(Path(name), data) as image:
        return _decoded(image)


def _decoded(image: Image.Image) -> np.ndarray:
    """The pixels of an open image, turned upright."""
    orientation, dtype = _orientation(image), _stored_dtype(image)
    if dtype == "uint8":
        values = _shown_pixels(image)
    elif image.mode in DEEP_GREY_MODES:
        values = np.asarray(image).astype(dtype)[:, :, None]
    else:
        white = highest_of_pnm(image)
        values = _deep_color(image)
        if image.format == "PPM":  # which OpenCV leaves as stored, and Pillow scales when grey
            values = (values * (65535 / white)).round().astype(np.uint16)
    return _turned(values, orientation)


def tiff_pixels(path: Path, page: tifffile.TiffPage, number: int) -> np.ndarray:
    """Decode page `number` of an open TIFF to (H, W, 1 or 3) of its own type, alpha on black.

    Planar pages, white-is-zero and palettes become what is shown, turned as a tag says.
    """
    key = page.keyframe  # which all pages of a stack are like; of a single page itself
    photometric = key.photometric
    check_memory(path, key.size * (key.dtype.itemsize if key.dtype else 1))
    if photometric in (tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.YCBCR):
        if key.bitspersample > 8:
            raise SourceError(
                f"{path}: holds {key.bitspersample}-bit {photometric.name} pixels",
                remedy="convert the frames to RGB",
            )
        return _page_by_pillow(path, number)
    try:
        values = page.asarray()
        if key.planarconfig == tifffile.PLANARCONFIG.SEPARATE and values.ndim == 3:
            values = np.moveaxis(values, 0, -1)
        values = _turned(values, key.tags.valueof("Orientation", 1))
    except (ValueError, ImportError, NotImplementedError) as error:  # by the kind of compression
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        # Without the optional package imagecodecs, libtiff reads it, in Pillow and OpenCV.
        if key.bitspersample <= 8:
            return _page_by_pillow(path, number)
        values = _page_by_opencv(path, number, key)
    if values.dtype.kind not in "biuf":
        raise SourceError(f"{path}: holds {values.dtype} values", remedy="save real numbers")
    if photometric == tifffile.PHOTOMETRIC.PALETTE:
        return (np.moveaxis(key.colormap, 0, -1)[values.astype(np.uint16)] >> 8).astype(np.uint8)
    values = values.astype(values.dtype.newbyteorder("="))
    values = values if values.ndim == 3 else values[:, :, None]
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = _inverted(values, key.bitspersample)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    return _colors(path, key, values)


def _colors(path: Path, page: tifffile.TiffPage, values: np.ndarray) -> np.ndarray:
    """The grey or RGB channels of a page; further samples are alpha, if the file says so."""
    channels = 3 if page.photometric == tifffile.PHOTOMETRIC.RGB else 1
    found = values.shape[2]
    extra = page.extrasamples[:1] if found > channels else ()
    if found < channels or (channels == 1 and found > 1 and not extra):
        raise SourceError(f"{path}: has {found} channels", remedy="save grey or RGB frames")
    if extra == (tifffile.EXTRASAMPLE.UNASSALPHA,):
        return on_black(values[:, :, : channels + 1])
    # Associated alpha is multiplied in already, which is composed on black.
    return values[:, :, :channels]


def _inverted(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype.kind == "f":
        return 1 - values
    top = -1 if values.dtype.kind == "i" else 2**bits - 1  # of signed integers ~v = -1 - v
    return (top - values.astype(np.int64)).astype(values.dtype)


def _page_by_pillow(path: Path, page: int) -> np.ndarray:
    with opened_image(path) as image:
        image.seek(page)
        return _shown_pixels(image)


def _page_by_opencv(path: Path, number: int, page: tifffile.TiffPage) -> np.ndarray:
    done, pages = cv2.imreadmulti(str(path), start=number, count=1, flags=cv2.IMREAD_UNCHANGED)
    if not done or sorted(pages[0].shape[:2]) != sorted((page.imagelength, page.imagewidth)):
        if number > 0:  # whose compression is that of the first page, which has been read
            raise DamagedImageError("its data are damaged")
        raise SourceError(
            f"{path}: its compression ({page.compression.name}, {page.bitspersample} bits) is not "
            "known",
            remedy="pip install imagecodecs, or save the frames with another compression",
        )
    values = pages[0]
    if page.bitspersample in (10, 12, 14):
        values = values >> (16 - page.bitspersample)  # packed, which OpenCV scales to 16 bits
    return values if values.ndim == 2 else values[:, :, [2, 1, 0, *range(3, values.shape[2])]]


@contextmanager
def opened_image(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image, or the `data` of one, with Pillow; damage becomes a DamagedImageError."""
    try:
        with (
            _damage_explained(path),
            _refusing_cut_files(),
            # Not by its name: Pillow 13 maps turned TIFFs wrongly into memory.
            path.open("rb") if data is None else io.BytesIO(data) as file,
            _identified(file) as image,
        ):
            yield image
    except MemoryError as error:
        raise SourceError(
            f"{path}: does not fit into this machine's memory", remedy="give smaller frames"
        ) from error


@contextmanager
def _refusing_cut_files() -> Iterator[None]:
    """Pillow refuses files that are cut short, even if the caller's program lets it take them."""
    asked = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = asked


def _damage_explained(path: Path) -> AbstractContextManager[None]:
    def explain(error: Exception) -> Exception:
        if isinstance(error, Image.DecompressionBombError):
            if announced := re.search(r"[0-9]+", str(error)):
                check_memory(path, 4 * int(announced[0]))  # composed as RGBA
            return SourceError(f"{path}: {error}", remedy="give smaller frames")
        return DamagedImageError(reason(error))

    return explained(path, explain)


def _identified(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(12)
        problem = "it is not an image" if head else "it is empty"
        if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
            problem = "it is an HEIC picture, whatever its name; convert it to PNG or JPEG"
        raise DamagedImageError(problem) from error


def _shown_pixels(image: Image.Image) -> np.ndarray:
    """An 8-bit image of any of Pillow's modes as (H, W, 1 or 3), alpha on black."""
    channels = _channels(image)
    image.load()
    if image.has_transparency_data:
        pixels = on_black(np.array(image.convert("RGBA")))
        return pixels[:, :, :channels]
    return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(
        image.height, image.width, channels
    )


def _upright(height: int, width: int, orientation: int) -> tuple[int, int]:
    """The height and width of an image once it is turned."""
    return (width, height) if orientation in SIDEWAYS else (height, width)


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (EXIF 2.3, tag 274): mirrors and quarter turns."""
    if orientation in SIDEWAYS:
        values = values.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::rows, ::columns]


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, of which 1 is as stored."""
    # Of a PNG only a tag in front of the pixels counts: looking for others would decode them.
    if image.format not in EXIF_FORMATS or (image.format == "PNG" and "exif" not in image.info):
        return 1
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _channels(image: Image.Image) -> Literal[1, 3]:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return 1 if (palette == palette[:, :1]).all() else 3
    return 1 if len({*image.getbands()} - {"A", "a"}) == 1 else 3


def _deep_tiff_header(path: Path) -> ImageHeader | None:
    """The header of a TIFF that only tifffile reads as it is meant; None for all other files.

    Not by Pillow, which knows no floats of 64 bits, for one.
    """
    with _damage_explained(path):
        with path.open("rb") as start:
            if start.read(4) not in TIFF_STARTS:
                return None
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            missing = missing_values(page)
            plain = page.bitspersample <= 8 and page.sampleformat == 1 and not missing
            if page.dtype is None or plain:
                return None
            check_memory(path, page.size * page.dtype.itemsize)
            color = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.PALETTE)
            return ImageHeader(
                path,
                *_upright(page.imagelength, page.imagewidth, page.tags.valueof("Orientation", 1)),
                channels=3 if page.photometric in color else 1,
                dtype=page.dtype.newbyteorder("=").name,
                alpha=page.extrasamples[:1] in TIFF_ALPHA,
                pages=len(file.pages),
                stated=stated_range(file),
                missing=missing,
                is_deep_tiff=True,
            )


def missing_values(page: tifffile.TiffPage) -> frozenset[float]:
    """What a grey page of a GeoTIFF has where nothing was measured; mostly none.

    In GDAL's tag 42113, as text such as -9999 or nan.
    """
    text = page.tags.valueof(GDAL_NODATA, "")
    if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or page.samplesperpixel > 1:
        return frozenset()
    try:
        value = float(str(text).strip("\0 "))
    except ValueError:
        return frozenset()
    if page.dtype.kind == "f":  # -3.4e38 as the file's own type has it
        with np.errstate(over="ignore"):
            value = float(np.asarray(value, page.dtype))
    return frozenset([value])


def stated_range(file: tifffile.TiffFile) -> StatedRange | None:
    """What a TIFF says of its values, in OME's, ImageJ's or its own fields; None: nothing."""
    if bits := re.search(r'SignificantBits="([0-9]+)"', (file.is_ome and file.ome_metadata) or ""):
        return StatedRange(0, 2.0 ** min(int(bits[1]), 64) - 1, f"SignificantBits={bits[1]}")
    imagej, tags = file.imagej_metadata or {}, file.pages[0].tags
    # TIFF 6.0: MinSampleValue 280, MaxSampleValue 281, and of any type SMin... 340, SMax... 341.
    for field, low, high in (
        ("min and max by ImageJ", imagej.get("min"), imagej.get("max")),
        ("MaxSampleValue", tags.valueof(280, 0), tags.valueof(281)),
        ("SMaxSampleValue", tags.valueof(340, 0), tags.valueof(341)),
    ):
        bounds = [np.max(bound) for bound in (low, high) if isinstance(bound, int | float | tuple)]
        if len(bounds) == 2 and np.isfinite(bounds).all() and bounds[0] < bounds[1]:
            return StatedRange(float(bounds[0]), float(bounds[1]), field)
    return None


def _stored_dtype(image: Image.Image) -> str:
    """The type of the file's samples, whatever Pillow makes of them."""
    if image.mode in DEEP_GREY_MODES:
        # Pillow widens 16-bit greys of some formats to 32 bits, in mode I.
        return "float32" if image.mode == "F" else "uint16"
    if image.format == "PNG":  # Pillow's name for how the pixels are stored, such as RGB;16B
        return "uint16" if image.tile and "16" in image.tile[0][3] else "uint8"
    return "uint16" if highest_of_pnm(image) > 255 else "uint8"


def highest_of_pnm(image: Image.Image) -> int:
    """The value that stands for white in a PPM; 255 in other formats."""
    options = image.tile[0][3] if image.format == "PPM" and image.tile else None
    return options[1] if isinstance(options, tuple) and len(options) > 1 else 255


def _deep_color(image: Image.Image) -> np.ndarray:
    """Decode a 16-bit PNG or PPM by OpenCV to (H, W, 1 or 3), alpha on black."""
    image.fp.seek(0)
    stored = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise DamagedImageError("its 16-bit pixels cannot be decoded")
    stored = stored if stored.ndim == 3 else stored[:, :, None]
    if stored.shape[2] == 4:
        stored = on_black(stored)
    return stored[:, :, :1] if _channels(image) == 1 else stored[:, :, 2::-1]  # BGR to RGB
