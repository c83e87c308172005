"""Models and classical methods on the same windows of clips: train, score, record, table.

python -m tests.benchmarks.contest clip.mp4 other.mp4 --size 96x160 [--each | --model MODEL]
python -m tests.benchmarks.contest radar/ --scale "-10..60 dBZ" --threshold "20 dBZ" [--leave-out]

A model is trained on the first 70 % of all clips and scored on windows whose targets lie in the
last 30 %; with --each every clip has its own model, with --leave-out one that was trained on all of
the other clips. The pretrained model is scored, too: what training adds to it. With a scale in dBZ
and pysteps installed, so are its methods.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from framecast.config.brightness_scale import read_scale
from framecast.config.loading import load_config
from framecast.data.scene_breaks import split_scenes
from framecast.data.windows import plan_windows, spread
from framecast.errors import SourceError
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.report import MODEL, Report
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import plan_evaluation
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor
from framecast.training.events import EpochDone
from framecast.training.pipeline import prepare, train
from framecast.video.frame_size import parse_size
from framecast.video.readers.open import open_source

from .shared.clips import CONTEXT, HORIZON, Clip, late_part, read_clips
from .shared.output import command_line, count, run, table, write_json
from .shared.pysteps_methods import pysteps_methods

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
    choice.add_argument("--leave-out", action="store_true", help="score clips left out of training")
    add("--windows", type=count, default=8, help="windows scored of a clip at most (default 8)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    options = parser.parse_args()
    run(parser, lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """Train, score, write contest.json, print a table of every clip's means."""
    baselines = {} if options.model else {"pretrained": load_forecaster("pretrained").extrapolate}
    if options.scale:
        baselines |= pysteps_methods(read_scale(options.scale))
    size = parse_size(options.size, "--size: expected HEIGHTxWIDTH") if options.size else None
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        clips = read_clips(options.clips, Path(scratch), options.color, size)
        for model, scored in models(options, clips):
            for clip, part in scored:
                scores = score_clip(model, clip, part, options, baselines)
                rows.append({"model": str(model), **scores})
                write_json(options.output / "contest.json", {"clips": rows})
    print(mean_table(rows))
    for row in rows:
        print(f"{row['clip']}: {row['summary']}")


def models(
    options: argparse.Namespace, clips: Sequence[Clip]
) -> Iterator[tuple[Path, list[tuple[Clip, range]]]]:
    """Each model with the clips it is scored on, and the frames that windows may lie in."""
    ends = [(clip, late_part(clip.frames)) for clip in clips]
    settings = [f"train.minutes={options.minutes}", *TASK, *options.settings]
    runs = options.output / "models"
    if options.model is not None:
        yield options.model, ends
    elif options.each:
        for clip, part in ends:
            yield train_model([clip.early], settings, runs), [(clip, part)]
    elif not options.leave_out:
        yield train_model([clip.early for clip in clips], settings, runs), ends
    else:
        for clip in clips:
            others = [other.whole for other in clips if other is not clip]
            yield train_model(others, settings, runs), [(clip, range(clip.frames))]


def train_model(paths: Sequence[Path], settings: Sequence[str], runs: Path) -> Path:
    """Train as `framecast train` does, epochs told on stderr; returns the run folder."""

    def tell(event: object) -> None:
        if isinstance(event, EpochDone):
            print(f"  {asdict(event)}", file=sys.stderr, flush=True)

    return train(prepare(paths, load_config(None, settings, {})), runs, tell).run.path


def score_clip(
    model: Path,
    clip: Clip,
    part: range,
    options: argparse.Namespace,
    baselines: Mapping[str, Predictor],
) -> dict[str, Any]:
    """Scores by lead time of the model and all baselines on windows inside `part` of a clip.

    Raises SourceError when no window fits between the cuts, and what reading raises.
    """
    forecaster, source = load_forecaster(model), open_source(clip.whole)
    if forecaster.config.data.scene_cuts:
        split_scenes([source])
    found = tuple(plan_windows(part, 0, CONTEXT + HORIZON, 1, source.info.breaks))
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
    report = evaluate_task(task, BASELINES | dict(baselines))
    return {
        "clip": clip.name,
        "windows": [window.start for window in task.windows],
        "scores": figures(report, f"csi {options.threshold}" if options.threshold else None),
        "summary": report.summary,
    }


def figures(report: Report, csi: str | None) -> dict[str, dict[str, list[float | None]]]:
    """MSE (pixels in 0..1) and, where asked for, CSI by lead time of each forecaster."""
    return {
        name: {"mse": list(scores["mse"])} | ({"csi": list(scores[csi])} if csi else {})
        for name, scores in report.scores.items()
    }


def mean_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over lead times: MSE x 1000 of each forecaster, and CSI where it was asked for."""
    names = list(rows[0]["scores"])
    metrics = list(rows[0]["scores"][MODEL])
    body = [
        [row["clip"], metric, *(_shown(row["scores"][name][metric], metric) for name in names)]
        for row in rows
        for metric in metrics
    ]
    return table(["clip", "", *names], body)


def _shown(values_T: Sequence[float | None], metric: str) -> str:
    known = [value for value in values_T if value is not None]
    if not known:
        return "undefined"
    return f"{(1000 if metric == 'mse' else 1) * sum(known) / len(known):.3f}"


if __name__ == "__main__":
    main()
