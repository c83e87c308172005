"""Moving MNIST: 10 frames in, 10 out, scored as OpenSTL does, beside its networks.

python -m tests.benchmarks.moving_mnist --digits t10k-images-idx3-ubyte.gz --openstl OpenSTL

Digits 0 to 7,999 move in the training sequences, the others in the test sequences, which a seed
fixes. OpenSTL's networks are trained on the same sequences for the same time, if a checkout of it
is given. What it published with its full recipe on a GPU is shown as that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from framecast.config.schema import ModelConfig
from framecast.evaluation.report import MODEL
from framecast.prediction.rollout import Predictor
from framecast.runtime.device import pick_device

from .shared.digits import CANVAS, FIRST_TEST_DIGIT, read_digits
from .shared.figure import draw_digits
from .shared.matches import budgets, run
from .shared.moving_digits import (
    CONTEXT,
    FRAMES,
    HORIZON,
    METRICS,
    TASK,
    TEST_SEED,
    TRAINING_SEED,
    VALIDATION_SHARE,
    add_digit_options,
    make_clips,
    score_sequences,
)
from .shared.openstl_peers import (
    PUBLISHED,
    PUBLISHED_BUDGET,
    ConvLSTMS,
    SimVP,
    load_models,
    train_peer,
)
from .shared.record import machine, write_json
from .shared.training import reuse_model, train_model

DEFAULT = ModelConfig().name


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.moving_mnist")
    add = parser.add_argument
    add("--digits", type=Path, required=True, metavar="FILE", help="idx3-ubyte, gzipped or not")
    add("--openstl", type=Path, metavar="PATH", help="a checkout of OpenSTL, for its networks")
    add("--model", default=DEFAULT, metavar="NAME", help=f"model.name (default {DEFAULT})")
    add("--minutes", type=budgets, default=[15.0], metavar="LIST", help="default 15")
    add("--reuse", type=Path, metavar="MODEL", help="score this model instead of training one")
    add("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE")
    add("--output", type=Path, default=Path("runs/moving_mnist"), metavar="DIR")
    add_digit_options(parser)
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Make sequences, train, score, write, print."""
    digits_NHW = read_digits(options.digits)
    record: dict[str, Any] = {
        "benchmark": "moving_mnist",
        "task": {
            "context_length": CONTEXT,
            "horizon": HORIZON,
            "training_digits": [0, FIRST_TEST_DIGIT - 1],
            "test_digits": [FIRST_TEST_DIGIT, len(digits_NHW) - 1],
            "training_sequences": options.sequences,
            "test_sequences": options.tests,
            "seeds": {"training": TRAINING_SEED, "test": TEST_SEED},
            "scored": "protocol openstl: MSE and MAE are sums over a frame's 64 x 64 pixels in "
            "0..1; frames clipped and rounded to pixels",
        },
        "machine": machine(),
        "entries": [],
        "published": {"rows": PUBLISHED, "budget": PUBLISHED_BUDGET},
    }
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        training, tests = make_clips(digits_NHW, options.sequences, options.tests, Path(scratch))
        for minutes in options.minutes:
            record["entries"].append(play(options, minutes, training, tests))
            write_json(options.output / "moving_mnist.json", record)
    draw_digits(options.output / "moving_mnist.png", record["entries"], PUBLISHED)
    show(record)


def play(
    options: argparse.Namespace, minutes: float, training: Path, tests: Path
) -> dict[str, Any]:
    """Train the model and the peers for `minutes` each, and score them together."""
    if options.reuse:
        trained = reuse_model(options.reuse)
    else:
        settings = [f"model.name={options.model}", *TASK, *options.settings]
        trained = train_model([training], minutes, settings, options.output / "models")
    peers, records = train_peers(options, minutes, training)
    return {
        "title": f"reused {options.reuse.name}" if options.reuse else f"{minutes:g} minutes",
        "minutes": minutes,
        "training": trained.record,
        "peers": records,
        **score_sequences(trained.model, tests, peers, options.tests),
    }


def train_peers(
    options: argparse.Namespace, minutes: float, training: Path
) -> tuple[dict[str, Predictor], dict[str, Any]]:
    """OpenSTL's networks, trained, and what is to be said of them, or of their absence."""
    if options.openstl is None:
        return {}, {"absent": "no checkout of OpenSTL was given"}
    models = load_models(options.openstl)
    if isinstance(models, str):
        return {}, {"absent": models}
    clips_NTHW = np.load(training, mmap_mode="r").reshape(-1, FRAMES, CANVAS, CANVAS)
    seen_NTHW = clips_NTHW[: round(len(clips_NTHW) * (1 - VALIDATION_SHARE))]
    peers, records = {}, {}
    for kind in (ConvLSTMS, SimVP):
        peer = kind(models, CONTEXT, HORIZON, CANVAS)
        print(f"{peer.name}, {minutes:g} minutes", file=sys.stderr, flush=True)
        records[peer.name] = train_peer(peer, seen_NTHW, CONTEXT, minutes, pick_device("auto"))
        peers[peer.name] = peer
    return peers, records


def show(record: dict[str, Any]) -> None:
    """Print a table for each budget, then what was published."""
    for entry in record["entries"]:
        print(f"{entry['title']}: {entry['sentence']}")
        for name, means in entry["means"].items():
            shown = record_name(entry, name)
            print(f"  {shown:32} " + "  ".join(f"{key} {means[key]:.4g}" for key in METRICS))
        if "absent" in entry["peers"]:
            print(f"  OpenSTL's networks are absent: {entry['peers']['absent']}")
    print(PUBLISHED_BUDGET)
    for name, row in PUBLISHED.items():
        print(f"  {name:32} " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))


def record_name(entry: dict[str, Any], name: str) -> str:
    """The model by its own name."""
    own = entry["training"]["settings"]["model"]["name"]
    return f"{MODEL} {own}" if name == MODEL else name


if __name__ == "__main__":
    main()
