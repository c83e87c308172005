"""Training and test sequences of Moving MNIST, and a model scored on them as OpenSTL does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framecast.data.windows import Window
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.task import EvaluationRequest, plan_evaluation
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor
from framecast.video.readers.open import open_source

from .digits import FIRST_TEST_DIGIT, sequences
from .matches import count

CONTEXT = HORIZON = 10
FRAMES = CONTEXT + HORIZON
TRAINING_SEED, TEST_SEED = 1, 2
VALIDATION_SHARE = 0.1
TASK = (
    f"data.context_length={CONTEXT}",
    f"data.horizon={HORIZON}",
    f"data.stride={FRAMES}",
    "data.split=time",
    f"data.validation_fraction={VALIDATION_SHARE}",
    "data.flip=false",
    "data.scene_cuts=false",
)
"""What makes a window of each sequence, with a tenth of them held out, and digits not mirrored;
where one sequence ends is known, so that no cuts need to be found."""

METRICS = ("mse", "mae", "ssim", "psnr")


def add_digit_options(parser: argparse.ArgumentParser) -> None:
    """How many sequences of digits are trained on, and how many are scored."""
    parser.add_argument(
        "--sequences",
        type=multiple_of_ten,
        default=10_000,
        metavar="N",
        help="sequences of digits to train on (default 10000)",
    )
    parser.add_argument(
        "--tests",
        type=count,
        default=1000,
        metavar="N",
        help="sequences of digits to score (default 1000)",
    )


def multiple_of_ten(text: str) -> int:
    """A count whose tenth is whole, so that no sequence is cut; ValueError for others."""
    number = int(text)
    if number < 20 or number % 10:
        raise ValueError(f"expected 20, 30, ... sequences, got {text}")
    return number


def make_clips(digits_NHW: np.ndarray, number: int, tests: int, folder: Path) -> tuple[Path, Path]:
    """Write `number` sequences to train on and `tests` of other digits to score, below `folder`."""
    training, late = folder / "training.npy", folder / "tests.npy"
    early_NHW, late_NHW = np.split(digits_NHW, [FIRST_TEST_DIGIT])
    np.save(training, sequences(early_NHW, number, FRAMES, TRAINING_SEED))
    np.save(late, sequences(late_NHW, tests, FRAMES, TEST_SEED))
    return training, late


def score_sequences(
    model: Path, tests: Path, peers: Mapping[str, Predictor], number: int
) -> dict[str, Any]:
    """A model, the baselines, black frames and `peers` on `number` sequences: `scores` by lead
    time, their `means`, and the verdict as `sentence`.
    """
    request = EvaluationRequest(horizon=HORIZON, protocol="openstl", include_training=False)
    task = plan_evaluation(load_forecaster(model), [open_source(tests)], request)
    found = tuple(Window(0, FRAMES * sequence) for sequence in range(number))
    baselines = {**BASELINES, "black frames": black}
    report = evaluate_task(replace(task, found=found, windows=found), {**baselines, **peers})
    scores = {
        name: {metric: list(figures[metric]) for metric in METRICS}
        for name, figures in report.scores.items()
    }
    return {
        "scores": scores,
        "means": {name: _means(figures) for name, figures in scores.items()},
        "sentence": report.summary,
    }


def black(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Nothing, which on these frames is not easily beaten; as a `rollout.Predictor`."""
    for _ in range(horizon):
        yield torch.zeros_like(context_BTCHW[:, 0])


def _means(figures: Mapping[str, list[float]]) -> dict[str, float]:
    return {metric: sum(values) / len(values) for metric, values in figures.items()}
