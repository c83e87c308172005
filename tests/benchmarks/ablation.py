"""What each part of the default adds: a benchmark again, with one part changed at a time.

python -m tests.benchmarks.ablation --data FOLDER --minutes 15
python -m tests.benchmarks.ablation --data clip.mp4 --size 96x160 --minutes 15
python -m tests.benchmarks.ablation --digits t10k-images-idx3-ubyte.gz --minutes 15

Trainings and windows are those of the in-domain match of `tests.benchmarks.radar`, with `--size`
those of `tests.benchmarks.video` in grey, and with `--digits` those of
`tests.benchmarks.moving_mnist`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from framecast.errors import UsageError
from framecast.evaluation.report import MODEL
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.flow import blend_regression, local_features
from framecast.nn.forecasters.flow import network as network_module
from framecast.training import trainer

from .shared.clips import read_clips
from .shared.contest import Rules
from .shared.digits import read_digits
from .shared.figure import draw_parts
from .shared.matches import add_options, frame_size, plan_matches, play_match, run
from .shared.moving_digits import TASK, add_digit_options, make_clips, score_sequences
from .shared.record import machine, write_json
from .shared.training import train_model

DEFAULT = "default"


@dataclass(frozen=True)
class Part:
    """A change of the default: what it is called, and the settings that make it.

    What no setting can switch off, `change` does to the network before it is trained.
    """

    name: str
    settings: tuple[str, ...] = ()
    change: Callable[[Forecaster], None] | None = None


def freeze(*names: str) -> Callable[[Forecaster], None]:
    """Leave parts of the network as they are before the first step; these begin at zero effect."""

    def change(network: Forecaster) -> None:
        for name in names:
            network.get_submodule(name).requires_grad_(False)

    return change


def forget_h(network: Forecaster) -> None:
    """Take h out of the gates: only c, place by place, goes from frame to frame."""
    for layer in network.stack.layers:
        layer.recurrent_kernel.detach().zero_()
        layer.recurrent_kernel.requires_grad_(False)


def stay_uncalibrated(network: Forecaster) -> None:
    """Start from the network as it is built."""
    network.calibrate = lambda windows: None


def lean_nowhere(network: Forecaster) -> None:
    """Give every context and every place the same mix."""

    def no_signs(context: Tensor, surprise: Tensor, velocities: Tensor) -> Tensor:
        return torch.zeros_like(local_features.read_signs(context, surprise, velocities))

    def calibrate(windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        with (
            mock.patch.object(blend_regression, "NARROWEST", math.inf),
            mock.patch.object(network_module, "read_signs", no_signs),
        ):
            type(network).calibrate(network, windows)

    network.calibrate = calibrate
    network.lean.requires_grad_(False)


PARTS = (
    Part(DEFAULT),
    Part("classical guesses alone, no ConvLSTM", change=freeze("head", "paint")),
    Part("ConvLSTM without h", change=forget_h),
    Part("ConvLSTM with 1x1 kernels", ("model.kernel_size=1",)),
    Part("one ConvLSTM layer", ("model.filters=[64]",)),
    Part("ConvLSTM mixes, paints nothing", change=freeze("paint")),
    Part("ConvLSTM paints, mixes nothing", change=freeze("head")),
    Part("not calibrated", change=stay_uncalibrated),
    Part("one mix for all contexts and places", change=lean_nowhere),
    Part("plain ConvLSTM, no motion", ("model.name=convlstm",)),
    Part("cells of 4 pixels", ("model.patch=4",)),
    Part("no averaged weights", ("train.ema=0",)),
    Part("no mirrored windows", ("data.flip=false",)),
    Part("whole frames, no crops", ("data.crop=0",)),
    Part("loss MSE + MAE", ("train.loss=mix",)),
)


@contextmanager
def altered(change: Callable[[Forecaster], None] | None) -> Iterator[None]:
    """Within it, every network that a training builds is changed."""
    built = trainer.build_forecaster

    def build(*arguments: Any) -> Forecaster:
        network = built(*arguments)
        if change is not None:
            change(network)
        return network

    with mock.patch.object(trainer, "build_forecaster", build):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ablation")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, metavar="PATH", help="a folder of events, or a video")
    data.add_argument("--digits", type=Path, metavar="FILE", help="idx3-ubyte: Moving MNIST")
    parser.add_argument(
        "--size",
        type=frame_size,
        metavar="HEIGHTxWIDTH",
        help="scale frames to this first (default: their own size)",
    )
    parser.add_argument(
        "--only", action="append", metavar="PART", help="only this beside the default; repeatable"
    )
    add_options(parser, "ablation")
    add_digit_options(parser)
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train and score the default and every change of it, write, print."""
    parts = choose_parts(options)
    record: dict[str, Any] = {"benchmark": "ablation", "machine": machine(), "entries": []}
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        play = (digit_player if options.digits else clip_player)(options, Path(scratch))
        for minutes in options.minutes:
            for part in parts:
                print(f"{part.name}, {minutes:g} minutes", file=sys.stderr, flush=True)
                with altered(part.change):
                    entry = play(part, minutes)
                record["entries"].append(entry | {"part": part.name})
                write_json(options.output / "ablation.json", record)
    for minutes in options.minutes:
        rows = [entry for entry in record["entries"] if entry["minutes"] == minutes]
        if len(parts) > 1:
            draw_parts(options.output / f"ablation-{minutes:g}.png", costs(rows))
        show(rows)


Player = Callable[[Part, float], dict[str, Any]]
"""Trains one part for so many minutes and scores it on every clip."""


def clip_player(options: argparse.Namespace, scratch: Path) -> Player:
    """On the ends of clips whose beginnings are trained on."""
    rules = Rules(options.windows, {})
    if options.size is None:  # radar's own sizes
        rules = replace(rules, threshold="20 dBZ", scale="-10..60 dBZ")
    clips = read_clips([options.data], scratch, "gray", options.size)
    match = plan_matches(clips, leave_out=False)[0]

    def play(part: Part, minutes: float) -> dict[str, Any]:
        changed = argparse.Namespace(**vars(options))
        changed.settings = [*options.settings, *part.settings]
        return play_match(match, part.name, minutes, rules, changed)

    return play


def digit_player(options: argparse.Namespace, scratch: Path) -> Player:
    """On sequences of digits that no training saw; errors are sums over a frame."""
    if options.size or options.keep:
        raise UsageError("--size and --keep: are for clips", remedy="leave them out with --digits")
    digits_NHW = read_digits(options.digits)
    trainer, tests = make_clips(digits_NHW, options.sequences, options.tests, scratch)

    def play(part: Part, minutes: float) -> dict[str, Any]:
        settings = [*TASK, *options.settings, *part.settings]
        trained = train_model([trainer], minutes, settings, options.output / "models")
        scored = score_sequences(trained.model, tests, {}, options.tests)
        mse = {name: means["mse"] for name, means in scored["means"].items()}
        summary = {"mse": mse, "csi": {MODEL: None}}
        return {
            "minutes": minutes,
            "training": trained.record,
            "clips": [{"clip": "Moving MNIST", "summary": summary, **scored}],
        }

    return play


def choose_parts(options: argparse.Namespace) -> list[Part]:
    """The default and the parts asked for; UsageError for unknown ones."""
    names = [part.name for part in PARTS]
    for name in options.only or ():
        if name not in names:
            raise UsageError(f"--only {name}: there is no such part", remedy=f"use {names}")
    return [part for part in PARTS if part.name in (DEFAULT, *(options.only or names))]


def costs(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By part and clip, the error over that of the default, less 1."""
    errors = {
        entry["part"]: {clip["clip"]: clip["summary"]["mse"][MODEL] for clip in entry["clips"]}
        for entry in entries
    }
    default = errors.pop(DEFAULT)
    return {
        part: {clip: mse / default[clip] - 1 for clip, mse in by_clip.items()}
        for part, by_clip in errors.items()
    }


def show(entries: Sequence[dict[str, Any]]) -> None:
    """Print a line for each part: errors in 0..255, of digits in 0..1 and summed over a frame, CSI
    of radar, and steps reached.
    """
    for entry in entries:
        errors = ", ".join(map(_figures, entry["clips"]))
        steps = entry["training"]["result"]["steps"]
        print(f"{entry['part']}, {entry['minutes']:g} minutes, {steps} steps: {errors}")


def _figures(clip: dict[str, Any]) -> str:
    summary = clip["summary"]
    csi = summary["csi"][MODEL]
    seen = "" if csi is None else f" (CSI {csi:.3f})"
    return f"{clip['clip']} {summary.get('mse_255', summary['mse'])[MODEL]:.1f}{seen}"


if __name__ == "__main__":
    main()
