"""Moving MNIST: two handwritten digits that bounce inside 64 x 64 pixels, 10 frames in, 10 out.

python -m tests.benchmarks.moving_mnist --digits t10k-images-idx3-ubyte.gz

Writes training.npy and tests.npy, sequences of 20 frames one after another, and prints the commands
that train and score a model on them with OpenSTL's sums. Srivastava et al., 2015, in the form of
OpenSTL's `MovingMNIST` loader: a start and a direction drawn evenly, 0.1 of the way across in each
frame, turned back at the borders, places cut to whole pixels, digits laid over one another by the
maximum. Digits 0 to 7,999 move in the training sequences, the others in the test sequences.
"""

from __future__ import annotations

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np

from framecast.errors import SourceError

from .shared.output import command_line, count, run

CANVAS, DIGIT, STEP = 64, 28, 0.1
IDX_IMAGES = 2051
"""The number that idx files of images begin with."""

FIRST_TEST_DIGIT = 8000
"""Digits from here on make the test sequences, those before it the training sequences."""

FRAMES = 20
SEEDS = {"training": 1, "tests": 2}


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


def trajectories(places_N2: np.ndarray, angles_N: np.ndarray, frames: int) -> np.ndarray:
    """Top and left (N, frames, 2), whole pixels, of digits that start at `places_N2` in 0..1."""
    velocity_N2 = STEP * np.stack([np.sin(angles_N), np.cos(angles_N)], axis=1)
    places_NT2 = np.empty((len(places_N2), frames, 2))
    for frame in range(frames):
        places_N2 = places_N2 + velocity_N2
        velocity_N2 = np.where((places_N2 <= 0) | (places_N2 >= 1), -velocity_N2, velocity_N2)
        places_N2 = np.clip(places_N2, 0, 1)
        places_NT2[:, frame] = places_N2
    return (places_NT2 * (CANVAS - DIGIT)).astype(int)


def sequences(digits_NHW: np.ndarray, count: int, frames: int, seed: int) -> np.ndarray:
    """`count` sequences of two digits each, one after another: (count * frames, 64, 64), uint8."""
    draw = np.random.default_rng(seed)
    drawn = [
        (draw.random(2), 2 * np.pi * draw.random(), draw.integers(len(digits_NHW)))
        for _ in range(2 * count)
    ]
    places_N2, angles_N, chosen_N = (np.array(values) for values in zip(*drawn, strict=True))
    paths_NT2 = trajectories(places_N2, angles_N, frames).tolist()
    made_SHW = np.zeros((count * frames, CANVAS, CANVAS), np.uint8)
    for number, (path_T2, digit) in enumerate(zip(paths_NT2, chosen_N, strict=True)):
        digit_HW = digits_NHW[digit]
        for frame_HW, (top, left) in zip(made_SHW[number // 2 * frames :], path_T2, strict=False):
            part_HW = frame_HW[top : top + DIGIT, left : left + DIGIT]
            np.maximum(part_HW, digit_HW, out=part_HW)
    return made_SHW


COMMANDS = """
framecast train {training} --set data.context_length=10 --set data.horizon=10 \\
    --set data.stride=20 --set data.split=time --set data.validation_fraction=0.1 \\
    --set data.flip=false --set data.zoom=false --set data.scene_cuts=false
framecast evaluate runs/train-1 {tests} --horizon 10 --stride 20 --windows 0 --protocol openstl
"""
# A window for each sequence, digits neither mirrored nor resized; where a sequence ends is known,
# so that no cuts need to be found.


def main() -> None:
    parser = command_line("moving_mnist", __doc__)
    add = parser.add_argument
    add("--digits", type=Path, required=True, metavar="FILE", help="idx3-ubyte, gzipped or not")
    add("--sequences", type=count, default=10_000, help="to train on, 10, 20, ... (default 10000)")
    add("--tests", type=count, default=1000, help="sequences to score (default 1000)")
    options = parser.parse_args()
    if options.sequences % 10:
        parser.error("--sequences: a tenth is held out, so that it must be a multiple of 10")
    run(parser, lambda: write_sequences(options))


def write_sequences(options: argparse.Namespace) -> None:
    """Write both files and print what to do with them."""
    early_NHW, late_NHW = np.split(read_digits(options.digits), [FIRST_TEST_DIGIT])
    options.output.mkdir(parents=True, exist_ok=True)
    paths = {name: options.output / f"{name}.npy" for name in SEEDS}
    for digits_NHW, number, (name, seed) in zip(
        (early_NHW, late_NHW), (options.sequences, options.tests), SEEDS.items(), strict=True
    ):
        np.save(paths[name], sequences(digits_NHW, number, FRAMES, seed))
    print(COMMANDS.format(**paths))


if __name__ == "__main__":
    main()
