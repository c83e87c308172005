"""Models and classical methods on the same windows of clips: train, score, record, table.

python -m tests.benchmarks.contest clip.mp4 other.mp4 --size 96x160 [--each | --model MODEL]
python -m tests.benchmarks.contest radar/ --scale "-10..60 dBZ" --threshold "20 dBZ"

A model is trained on the first 70 % of all clips and scored on windows whose targets lie in the
last 30 %; with --each every clip has its own model. The pretrained model is scored, too: what
training adds to it. With a scale in dBZ and pysteps installed, so is its S-PROG.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from framecast.cli.progress import Display
from framecast.config.brightness_scale import read_scale
from framecast.config.loading import load_config
from framecast.errors import SourceError
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.report import Report
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import open_task
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor
from framecast.training.pipeline import prepare, train
from framecast.video.frame_size import parse_size
from framecast.video.pixels import resize
from framecast.video.readers.base import Color
from framecast.video.readers.open import open_sources

from .shared.output import command_line, count, run, table, write_json
from .shared.pysteps_methods import pysteps_methods
from .shared.scenes import CONTEXT, HORIZON

TRAINING_SHARE = 0.7
"""Share of a clip's frames, from its beginning, that training may see."""

TASK = (f"data.context_length={CONTEXT}", f"data.horizon={HORIZON}")
"""The only settings of a training that are not default."""


def main() -> None:
    parser = command_line("contest", __doc__)
    add = parser.add_argument
    add("clips", type=Path, nargs="+", metavar="CLIP", help="videos, or folders of frame folders")
    add("--color", choices=("gray", "rgb"), default="gray")
    add("--size", metavar="HEIGHTxWIDTH", help="of all frames; default: their own")
    add("--scale", help='black and full brightness, such as "-10..60 dBZ"')
    add("--threshold", help="add the CSI above this, such as 20 dBZ")
    add("--minutes", type=float, default=5.0, help="budget of each training (default 5)")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--model", type=Path, help="score this model instead of training one")
    choice.add_argument("--each", action="store_true", help="train a model for each clip")
    add("--windows", type=count, default=8, help="windows scored of a clip at most (default 8)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write contest.json, print a table of every clip's means."""
    baselines = dict(BASELINES)
    if not options.model:
        baselines["pretrained"] = load_forecaster("pretrained").extrapolate
    if options.scale:
        baselines |= pysteps_methods(read_scale(options.scale))
    size = parse_size(options.size, "--size: expected HEIGHTxWIDTH") if options.size else None
    metrics = ["mse", f"csi {options.threshold}"] if options.threshold else ["mse"]
    record, rows, summaries = [], [], []
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips(options.clips, Path(scratch), options.color, size)
        for model, scored in models(options, clips):
            for clip in scored:
                report = score_clip(model, clip, options, baselines)
                names = [*report.scores]
                record.append({"clip": clip.name, "model": str(model), **report.to_dict()})
                write_json(options.output / "contest.json", {"clips": record})
                for metric in metrics:
                    shown = (_shown(report, name, metric) for name in names)
                    rows.append([clip.name, metric, *shown])
                summaries.append(f"{clip.name}: {report.summary}")
    print(table(["clip", "mean (MSE x 1000)", *names], rows), *summaries, sep="\n")


class Clip(NamedTuple):
    """A clip as arrays (T, H, W, C) in two files: `early`, the frames before the cut, and `late`,
    those after it and as many before as a context has, whose past is known when one forecasts.
    """

    name: str
    early: Path
    late: Path


def read_clips(
    paths: Sequence[Path], folder: Path, color: Color, size: tuple[int, int] | None = None
) -> list[Clip]:
    """Decode clips once into `folder`; `size` (H, W) scales all of them, None keeps their own.

    Raises SourceError for gaps between frames, which windows would span, for clips too short for a
    window after the cut, and what reading raises.
    """
    sources = open_sources(paths, color=color)
    for source in sources:
        info = source.info
        if info.breaks:
            raise SourceError(
                f"{info.path}: frame {info.breaks[0]} does not follow the one before it",
                remedy="give clips without gaps in their numbering",
            )
        if info.frames - first_unseen(info.frames) < HORIZON:
            raise SourceError(
                f"{info.path}: has {info.frames} frames, of which the last "
                f"{1 - TRAINING_SHARE:.0%} hold no {HORIZON} in a row",
                remedy=f"give a clip of {math.ceil(HORIZON / (1 - TRAINING_SHARE))} frames or more",
            )
    clips = []
    for number, source in enumerate(sources):
        height, width = size or (source.info.height, source.info.width)
        frames_THWC = np.stack([resize(frame_HWC, height, width) for frame_HWC in source.read()])
        path, cut = source.info.path.absolute(), first_unseen(len(frames_THWC))
        name = path.name if path.is_dir() else path.stem
        early, late = (folder / f"{name}.{number}.{part}.npy" for part in ("early", "late"))
        np.save(early, frames_THWC[:cut])
        np.save(late, frames_THWC[cut - CONTEXT :])
        clips.append(Clip(name, early, late))
    return clips


def first_unseen(frames: int) -> int:
    """The first frame after the share that training may see."""
    return math.ceil(TRAINING_SHARE * frames)


def models(
    options: argparse.Namespace, clips: Sequence[Clip]
) -> Iterator[tuple[Path, Sequence[Clip]]]:
    """Each model with the clips it is scored on."""
    if options.model is not None:
        yield options.model, clips
        return
    settings = [f"train.minutes={options.minutes}", *TASK, *options.settings]
    for scored in [[clip] for clip in clips] if options.each else [clips]:
        yield train_model([clip.early for clip in scored], settings, options.output), scored


def train_model(paths: Sequence[Path], settings: Sequence[str], output: Path) -> Path:
    """Train as `framecast train` does; returns the run folder."""
    with Display() as display:
        prepared = prepare(paths, load_config(None, settings, {}))
        return train(prepared, output / "models", display.training_event).run.path


def score_clip(
    model: Path, clip: Clip, options: argparse.Namespace, baselines: Mapping[str, Predictor]
) -> Report:
    """Scores by lead time of the model and all baselines on windows in the late part of a clip.

    Raises SourceError when no window fits between the cuts, and what reading raises.
    """
    thresholds = (options.threshold,) if options.threshold else ()
    request = EvaluationRequest(
        horizon=HORIZON,
        stride=1,
        windows=options.windows,
        thresholds=thresholds,
        scale=options.scale,
    )
    return evaluate_task(open_task(model, [clip.late], request), baselines)


def _shown(report: Report, name: str, metric: str) -> str:
    """The mean over lead times, of squared errors (pixels in 0..1) times 1000."""
    mean = report.mean(name, metric)
    return "undefined" if mean is None else f"{(1000 if metric == 'mse' else 1) * mean:.3f}"


if __name__ == "__main__":
    main()
