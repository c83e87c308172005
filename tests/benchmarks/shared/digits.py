"""Moving MNIST: two handwritten digits that bounce inside 64 x 64 pixels.

Srivastava et al., 2015, in the form of OpenSTL's `MovingMNIST` loader: a start and a direction
drawn evenly, 0.1 of the way across in each frame, turned back at the borders, places cut to whole
pixels, digits laid over one another by the maximum.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from framecast.errors import SourceError

CANVAS, DIGIT, STEP = 64, 28, 0.1
IDX_IMAGES = 2051
"""The number that idx files of images begin with."""

FIRST_TEST_DIGIT = 8000
"""Digits from here on make the test sequences, those before it the training sequences."""


def read_digits(path: Path) -> np.ndarray:
    """Digits (N, 28, 28), uint8, of an idx file, gzipped or not; SourceError for anything else."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        kind, count, height, width = struct.unpack(">4i", content[:16])
        digits_NHW = np.frombuffer(content, np.uint8, offset=16).reshape(count, height, width)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise SourceError(
            f"{path}: cannot be read as digits ({error})", remedy="give an idx3-ubyte file"
        ) from error
    if kind != IDX_IMAGES or (height, width) != (DIGIT, DIGIT) or count <= FIRST_TEST_DIGIT:
        raise SourceError(
            f"{path}: holds {count} images of {height}x{width}",
            remedy=f"give an idx3-ubyte file of more than {FIRST_TEST_DIGIT} digits of 28x28",
        )
    return digits_NHW


def trajectory(generator: np.random.Generator, frames: int) -> np.ndarray:
    """Top and left (frames, 2) of a digit, whole pixels."""
    place, angle = generator.random(2), 2 * np.pi * generator.random()
    velocity = STEP * np.array([np.sin(angle), np.cos(angle)])
    places = np.empty((frames, 2))
    for frame in range(frames):
        place = place + velocity
        velocity = np.where((place <= 0) | (place >= 1), -velocity, velocity)
        place = np.clip(place, 0, 1)
        places[frame] = place
    return (places * (CANVAS - DIGIT)).astype(int)


def sequences(digits_NHW: np.ndarray, count: int, frames: int, seed: int) -> np.ndarray:
    """`count` sequences of two digits each, behind one another: (count * frames, 64, 64), uint8."""
    generator = np.random.default_rng(seed)
    made_SHW = np.zeros((count * frames, CANVAS, CANVAS), np.uint8)
    for first in range(0, count * frames, frames):
        for _ in range(2):
            places = trajectory(generator, frames)
            digit_HW = digits_NHW[generator.integers(len(digits_NHW))]
            for frame_HW, (top, left) in zip(made_SHW[first : first + frames], places, strict=True):
                part_HW = frame_HW[top : top + DIGIT, left : left + DIGIT]
                np.maximum(part_HW, digit_HW, out=part_HW)
    return made_SHW
