"""An animated GIF, WebP or AVIF as one clip, composed as a browser shows it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from framecast.errors import SourceError
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.frame_checks import (
    TRANSPARENT_NOTE,
    CutShortError,
    check_memory,
    explained,
    looks_grey,
    on_black,
    reason,
)
from framecast.video.readers.image_file import DamagedImageError, opened_image

# What browsers make of delays of 10 ms and less, which early programs wrote for "fast".
BROWSER_DELAY_MS = 100

# Delays are whole multiples of this in a GIF; in other kinds of one millisecond.
GIF_TICK_MS = 10

GIF_STARTS = (b"GIF87a", b"GIF89a")


class AnimatedSource(FrameSource):
    """The frames of an animated image; each builds on those before it, so reading starts there."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Decode everything once: no header says how many frames there are, or what they hold.

        Raises SourceError when it is no image, CorruptSourceError when it is cut short and
        `keep_readable` is not set.
        """
        super().__init__(path, options)
        try:
            with opened_image(path) as image:
                is_gif, size = image.format == "GIF", (image.height, image.width)
                check_memory(path, 4 * image.height * image.width)  # composed as RGBA
        except DamagedImageError as error:
            with path.open("rb") as file:
                if file.read(6) in GIF_STARTS:
                    raise CutShortError(path, 0, "the file ends in its header") from error
            found = str(error).removeprefix("it ")
            raise SourceError(f"{path}: {found}", remedy="check what the file is") from error
        if is_gif:
            self._notes.append("palette pictures (GIF holds at most 256 colours a frame)")
        delays_ms, transparent, grey = self._scan()
        if transparent:
            self._notes.append(TRANSPARENT_NOTE)
        if grey and options.color == "auto":
            self._notes.append("read as grey, as all its frames are")
        fps = _frame_rate(delays_ms, GIF_TICK_MS if is_gif else 1, self._notes)
        self._describe("gif", len(delays_ms), (*size, 1 if grey else 3), np.uint8, fps=fps)
        self._settle_range()

    def _scan(self) -> tuple[list[float], bool, bool]:
        """The delays of the readable frames, whether one is transparent, whether all are grey."""
        delays_ms: list[float] = []
        transparent, grey, problem = False, True, ""
        try:
            with explained(self._path, lambda error: DamagedImageError(reason(error))):
                for pixels, delay in _composed(self._path):
                    delays_ms.append(delay if delay > 10 else BROWSER_DELAY_MS)
                    transparent = transparent or bool((pixels[:, :, 3] < 255).any())
                    grey = grey and looks_grey(on_black(pixels))
        except DamagedImageError as error:
            problem = str(error)
        problem = _missing_end(self._path) or problem
        self._leave_out(len(delays_ms), problem or ("" if delays_ms else "it holds no frame"))
        return delays_ms, transparent, grey

    def _decode(self, numbers: range) -> Iterator[np.ndarray]:
        composed = _composed(self._path)
        for pixels, _ in islice(composed, numbers.start, numbers[-1] + 1, numbers.step):
            yield on_black(pixels)


def _composed(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Yield each frame as RGBA (H, W, 4) with its delay in milliseconds."""
    import imageio.v3 as iio  # noqa: PLC0415  (other sources need not wait for it)

    with iio.imopen(path, "r", plugin="pillow") as file:
        # Not by file.read(index=...), which takes the first palette's transparent index for all.
        for number, pixels in enumerate(file.iter(mode="RGBA")):
            yield pixels, float(file.metadata(index=number).get("duration") or 0)


def _missing_end(path: Path) -> str:
    """Describe the fault at the end of a GIF that Pillow accepts; "" if there is none."""
    data = path.read_bytes()
    # GIF89a, section 27: the trailer; some programs write zeros after it.
    if data[:6] in GIF_STARTS and not data.rstrip(b"\0").endswith(b";"):
        return "the file ends there"
    return ""


def count_pictures(path: Path) -> int:
    """Number of pictures in an image file; 1 if it cannot be read."""
    try:
        with opened_image(path) as image:
            # The first picture of an APNG may be for programs that know no animations.
            spare = bool(getattr(image, "default_image", False))
            return int(getattr(image, "n_frames", 1)) - spare
    except (DamagedImageError, SourceError):
        return 1


def _frame_rate(delays_ms: list[float], tick_ms: int, notes: list[str]) -> float:
    """Return the frames per second of the most common delay, which may be rounded to ticks.

    A rate between two ticks is written as delays of both by turns: their mean is meant.
    """
    middle = statistics.median_low(delays_ms)  # one that occurs, not a mean of two
    usual = statistics.fmean(delay for delay in delays_ms if abs(delay - middle) <= tick_ms)
    if len(set(delays_ms)) > 1:
        shown = f"{min(delays_ms):g} to {max(delays_ms):g} ms"
        notes.append(f"frame delays vary from {shown}; played back at {usual:.4g} ms")
    return round(1000 / usual, 6)
