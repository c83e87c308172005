"""A model and its peers on the same windows of one clip: scores, their proof, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from framecast.config.brightness_scale import read_scale
from framecast.data.scene_breaks import split_scenes
from framecast.data.windows import plan_windows, spread
from framecast.errors import SourceError
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.report import MODEL, Report
from framecast.evaluation.report_files import ReportFiles
from framecast.evaluation.task import EvaluationRequest, plan_evaluation
from framecast.evaluation.thresholds import read_threshold
from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor
from framecast.video.readers.open import open_source

from .clips import CONTEXT, HORIZON, Clip
from .proof import Keeper, WatchedForecaster, check_agreement, recompute

REFERENCE = "last frame"
"""What a score has to be beside; the cheapest."""


@dataclass(frozen=True)
class Rules:
    """How clips are scored: at most `windows` of a clip; CSI above `threshold`, None: without.

    `scale` says what pixels mean, as in `data.scale`; `peers` come beside the project's baselines.
    The model is scored once more for each of `shares`, its frames moved by `--match` of that.
    """

    windows: int
    peers: Mapping[str, Predictor]
    threshold: str | None = None
    scale: str | None = None
    shares: tuple[float, ...] = ()

    @property
    def metric(self) -> str | None:
        """The name of the CSI among the scores."""
        return f"csi {self.threshold}" if self.threshold else None

    @property
    def threshold_pixel(self) -> float | None:
        """The threshold as a pixel in 0..255."""
        if self.threshold is None:
            return None
        return 255 * read_threshold(self.threshold, read_scale(self.scale)).pixel


@dataclass(frozen=True)
class Contest:
    """One clip to score a model on: windows inside `part` of it, before they are thinned."""

    clip: Clip
    part: range


def hold(contest: Contest, model: Path, rules: Rules, frames: Path, page: Path) -> dict[str, Any]:
    """Score a model and all peers; write their frames below `frames` and the report's HTML `page`.

    Returns the record of the clip. Raises ValueError when the scores cannot be worked out again
    from the frames written, and what reading and predicting raise.
    """
    clip, source = contest.clip, open_source(contest.clip.whole)
    forecaster = load_forecaster(model)
    if forecaster.config.data.scene_cuts:
        split_scenes([source], None)
    cuts = source.info.breaks
    found = tuple(plan_windows(contest.part, 0, CONTEXT + HORIZON, 1, cuts))
    if not found:
        raise SourceError(
            f"{clip.name}: no {CONTEXT + HORIZON} frames to score lie between its scene cuts",
            remedy="give another clip, or --set data.scene_cuts=false",
        )
    request = EvaluationRequest(
        horizon=HORIZON,
        thresholds=(rules.threshold,) if rules.threshold else (),
        scale=rules.scale,
    )
    task = replace(
        plan_evaluation(forecaster, [source], request),
        found=found,
        windows=spread(found, rules.windows),
    )
    keeper = Keeper(frames, (len(task.windows), HORIZON, *clip.shape[1:]))
    starts = [window.start for window in task.windows]
    whole_THWC = np.load(clip.whole, mmap_mode="r")
    truths = (whole_THWC[start + CONTEXT : start + CONTEXT + HORIZON] for start in starts)
    keeper.keep_truth(np.stack(list(truths)))
    watched = {
        name: keeper.watch(name, peer) for name, peer in (BASELINES | dict(rules.peers)).items()
    }
    forecaster = WatchedForecaster(model, keeper, MODEL)
    report = evaluate_task(replace(task, forecaster=forecaster), watched)
    ReportFiles(page=page, overwrite=True).write(report, task)
    figures = _figures(report, rules)
    for share in rules.shares:
        name = f"{MODEL} --match {share:g}"
        moved = WatchedForecaster(model, keeper, name, share)
        again = evaluate_task(replace(task, forecaster=moved), {REFERENCE: BASELINES[REFERENCE]})
        figures[name] = _figures(again, rules)[MODEL]
    worst = check_agreement(figures, recompute(frames, list(figures), rules.threshold_pixel))
    return {
        "clip": clip.name,
        "frames": clip.frames,
        "size": list(clip.shape[1:3]),
        "channels": clip.shape[3],
        "windows": starts,
        "windows_possible": len(found),
        "scene_cuts": list(cuts),
        "scores": figures,
        "recomputed_from_npy": {"largest_relative_difference": worst},
        "sentence": report.summary,
        "summary": summarise(figures),
    }


def _figures(report: Report, rules: Rules) -> dict[str, dict[str, list[float | None]]]:
    """MSE (pixels in 0..1) and CSI per lead time of each forecaster."""
    names = {"mse": "mse", "csi": rules.metric}
    return {
        forecaster: {
            short: list(scores[metric]) if metric else [] for short, metric in names.items()
        }
        for forecaster, scores in report.scores.items()
    }


def summarise(scores: Mapping[str, Mapping[str, Sequence[float | None]]]) -> dict[str, Any]:
    """Means over lead times, and the model beside the best of its peers.

    `gain` is 1 - MSE / MSE of the peer with the lowest mean MSE, `gain_over_baselines` the same
    among the baselines of the project alone, `gain_at_lead_1` at the first lead.
    """
    mse = {name: _mean(figures["mse"]) for name, figures in scores.items()}
    first = {name: figures["mse"][0] for name, figures in scores.items()}
    csi = {name: _mean(figures["csi"]) for name, figures in scores.items()}
    peers = [name for name in scores if not name.startswith(MODEL)]
    seen = [name for name in peers if csi[name] is not None]
    best, soonest = (min(peers, key=lambda name: of[name]) for of in (mse, first))
    classic = min(BASELINES, key=lambda name: mse[name])
    sharpest = max(seen, key=lambda name: csi[name]) if seen else None
    return {
        "mse": mse,
        "mse_255": {name: None if value is None else value * 255**2 for name, value in mse.items()},
        "csi": csi,
        "best_peer": best,
        "gain": _gain(mse[MODEL], mse[best]),
        "best_baseline": classic,
        "gain_over_baselines": _gain(mse[MODEL], mse[classic]),
        "best_at_lead_1": soonest,
        "gain_at_lead_1": _gain(first[MODEL], first[soonest]),
        "best_csi_peer": sharpest,
        "csi_difference": None
        if sharpest is None or csi[MODEL] is None
        else csi[MODEL] - csi[sharpest],
    }


def _gain(model: float, reference: float) -> float:
    return 1 - model / reference if reference else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
