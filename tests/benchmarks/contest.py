"""Models and classical methods on the same windows of clips: train, score, record, table.

python -m tests.benchmarks.contest clip.mp4 other.mp4 --size 96x160 [--each | --model MODEL]
python -m tests.benchmarks.contest radar/ --scale "-10..60 dBZ" --threshold "20 dBZ"

A model is trained on the first 70 % of all clips and scored on windows whose targets lie in the
last 30 %; with --each every clip has its own model. The pretrained model is scored, too: what
training adds to it. With a scale in dBZ and pysteps installed, so is its S-PROG.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from framecast.cli.progress import Display
from framecast.config.brightness_scale import read_scale
from framecast.config.loading import load_config
from framecast.data.scene_breaks import split_scenes
from framecast.data.windows import plan_windows, spread
from framecast.errors import SourceError
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.report import Report
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import plan_evaluation
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor
from framecast.training.pipeline import prepare, train
from framecast.video.frame_size import parse_size
from framecast.video.readers.open import open_source

from .shared.clips import Clip, late_part, read_clips
from .shared.output import command_line, count, run, table, write_json
from .shared.pysteps_methods import pysteps_methods
from .shared.scenes import CONTEXT, HORIZON

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
    forecaster, source = load_forecaster(model), open_source(clip.whole)
    if forecaster.config.data.scene_cuts:
        split_scenes([source])
    part, breaks = late_part(clip.frames), source.info.breaks
    found = tuple(plan_windows(part, 0, CONTEXT + HORIZON, 1, breaks))
    if not found:
        raise SourceError(
            f"{clip.name}: no {CONTEXT + HORIZON} frames to score lie between its scene cuts",
            remedy="give another clip, or --set data.scene_cuts=false",
        )
    thresholds = (options.threshold,) if options.threshold else ()
    request = EvaluationRequest(
        horizon=HORIZON, windows=0, thresholds=thresholds, scale=options.scale
    )
    task = plan_evaluation(forecaster, [source], request)
    task = replace(task, found=found, windows=spread(found, options.windows))
    return evaluate_task(task, baselines)


def _shown(report: Report, name: str, metric: str) -> str:
    """The mean over lead times, of squared errors (pixels in 0..1) times 1000."""
    mean = report.mean(name, metric)
    return "undefined" if mean is None else f"{(1000 if metric == 'mse' else 1) * mean:.3f}"


if __name__ == "__main__":
    main()
