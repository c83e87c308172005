"""Models and classical methods on the same windows of clips: train, score, record, table, picture.

A model is trained on the first 70 % of all clips and scored on windows whose targets lie in the
last 30 % (in-domain), or trained on the other clips and scored on one it never saw (leave-out), or
given with `--model` and only scored. With `--each` every clip has its own model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from framecast.video.readers.open import open_source

from .clips import CONTEXT, HORIZON, Clip, late_part
from .figure import draw
from .output import count, machine, table, write_json

TASK = (f"data.context_length={CONTEXT}", f"data.horizon={HORIZON}")
"""The only settings of a training that are not default."""


@dataclass(frozen=True)
class Rules:
    """How clips are scored: at most `windows` of each; CSI above `threshold`, None: without.

    `scale` says what pixels mean, as in `data.scale`; `peers` join the project's baselines.
    """

    windows: int
    peers: Mapping[str, Predictor]
    threshold: str | None = None
    scale: str | None = None


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """The options that all contests share."""
    add = parser.add_argument
    add("--minutes", type=float, default=5.0, help="budget of each training (default 5)")
    add("--model", type=Path, help="score this model instead of training one")
    add("--each", action="store_true", help="train a model for each clip, not one for all")
    add("--windows", type=count, default=8, help="windows scored of a clip at most (default 8)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    add("--output", type=Path, default=Path("runs", name), metavar="DIR")


def hold(
    name: str, options: argparse.Namespace, clips: Sequence[Clip], rules: Rules, leave_out: bool
) -> None:
    """Train, score, write NAME.json and NAME.png, print a table of every clip's means."""
    record: dict[str, Any] = {"benchmark": name, "machine": machine(), "clips": []}
    for model, scored in models(options, clips, leave_out):
        for clip, part in scored:
            record["clips"].append({"model": str(model), **score_clip(model, clip, part, rules)})
            write_json(options.output / f"{name}.json", record)
    draw(options.output / f"{name}.png", {row["clip"]: row["scores"] for row in record["clips"]})
    print(mean_table(record["clips"]))
    for row in record["clips"]:
        print(f"{row['clip']}: {row['sentence']}")


def models(
    options: argparse.Namespace, clips: Sequence[Clip], leave_out: bool
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
    elif not leave_out:
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


def score_clip(model: Path, clip: Clip, part: range, rules: Rules) -> dict[str, Any]:
    """Scores by lead time of the model and all peers on windows inside `part` of a clip.

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
    thresholds = (rules.threshold,) if rules.threshold else ()
    request = EvaluationRequest(
        horizon=HORIZON, windows=0, thresholds=thresholds, scale=rules.scale
    )
    task = plan_evaluation(forecaster, [source], request)
    task = replace(task, found=found, windows=spread(found, rules.windows))
    report = evaluate_task(task, BASELINES | dict(rules.peers))
    return {
        "clip": clip.name,
        "windows": [window.start for window in task.windows],
        "scores": figures(report, f"csi {rules.threshold}" if rules.threshold else None),
        "sentence": report.summary,
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
