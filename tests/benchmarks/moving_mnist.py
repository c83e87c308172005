"""Moving MNIST: 10 frames in, 10 out, scored with OpenSTL's sums.

python -m tests.benchmarks.moving_mnist --digits t10k-images-idx3-ubyte.gz [--model MODEL]

Digits 0 to 7,999 move in the training sequences, the others in the test sequences, which a seed
fixes. What OpenSTL published after 200 epochs on a GPU stands in `tests/benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from framecast.config.schema import ModelConfig
from framecast.data.windows import Window
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.report import Report
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import plan_evaluation
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.video.readers.open import open_source

from .shared.contest import train_model
from .shared.digits import FIRST_TEST_DIGIT, read_digits, sequences
from .shared.figure import draw
from .shared.output import count, machine, run, table, write_json

CONTEXT = HORIZON = 10
FRAMES = CONTEXT + HORIZON
TRAINING_SEED, TEST_SEED = 1, 2
TASK = (
    f"data.context_length={CONTEXT}",
    f"data.horizon={HORIZON}",
    f"data.stride={FRAMES}",
    "data.split=time",
    "data.validation_fraction=0.1",
    "data.flip=false",
    "data.scene_cuts=false",
)
"""A window for each sequence, a tenth of them held out, and digits not mirrored; where a sequence
ends is known, so that no cuts need to be found."""

METRICS = ("mse", "mae", "ssim", "psnr")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.moving_mnist")
    add = parser.add_argument
    add("--digits", type=Path, required=True, metavar="FILE", help="idx3-ubyte, gzipped or not")
    add("--network", default=ModelConfig().name, help="model.name of the network trained")
    add("--minutes", type=float, default=15.0, help="budget of the training (default 15)")
    add("--model", type=Path, help="score this model instead of training one")
    add("--sequences", type=multiple_of_ten, default=10_000, help="to train on (default 10000)")
    add("--tests", type=count, default=1000, help="sequences scored (default 1000)")
    add("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE")
    add("--output", type=Path, default=Path("runs/moving_mnist"), metavar="DIR")
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def multiple_of_ten(text: str) -> int:
    """A count whose tenth is whole, so that no sequence is cut; ValueError for others."""
    number = int(text)
    if number < 20 or number % 10:
        raise ValueError(f"expected 20, 30, ... sequences, got {text}")
    return number


def benchmark(options: argparse.Namespace) -> None:
    """Make sequences, train, score, write, print."""
    early_NHW, late_NHW = np.split(read_digits(options.digits), [FIRST_TEST_DIGIT])
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        training, tests = Path(scratch, "training.npy"), Path(scratch, "tests.npy")
        np.save(tests, sequences(late_NHW, options.tests, FRAMES, TEST_SEED))
        model = options.model
        if model is None:
            np.save(training, sequences(early_NHW, options.sequences, FRAMES, TRAINING_SEED))
            settings = [f"model.name={options.network}", f"train.minutes={options.minutes}"]
            settings += [*TASK, *options.settings]
            model = train_model([training], settings, options.output / "models")
        report = score_sequences(model, tests, options.tests)
    scores = {
        name: {metric: list(figures[metric]) for metric in METRICS}
        for name, figures in report.scores.items()
    }
    record = {"machine": machine(), "model": str(model), "tests": options.tests, "scores": scores}
    write_json(options.output / "moving_mnist.json", record)
    errors = {name: {"mse": figures["mse"]} for name, figures in scores.items()}
    draw(options.output / "moving_mnist.png", {"Moving MNIST, sums over a frame": errors})
    rows = [
        [name, *(f"{np.mean(figures[metric]):.4g}" for metric in METRICS)]
        for name, figures in scores.items()
    ]
    print(table(["", *METRICS], rows))
    print(report.summary)


def score_sequences(model: Path, tests: Path, number: int) -> Report:
    """A model, the baselines and black frames on `number` sequences, one window each."""
    request = EvaluationRequest(
        horizon=HORIZON, windows=0, protocol="openstl", include_training=True
    )
    task = plan_evaluation(load_forecaster(model), [open_source(tests)], request)
    found = tuple(Window(0, FRAMES * sequence) for sequence in range(number))
    baselines = {**BASELINES, "black frames": black}
    return evaluate_task(replace(task, found=found, windows=found), baselines)


def black(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Nothing, which is not easily beaten on these frames."""
    for _ in range(horizon):
        yield torch.zeros_like(context_BTCHW[:, 0])


if __name__ == "__main__":
    main()
