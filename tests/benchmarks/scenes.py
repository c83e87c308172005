"""Score a model on scenes of many kinds: 6 grey frames in, 12 out.

python -m tests.benchmarks.scenes --data FOLDER [--model PATH] [--every-scene]

FOLDER has an index.csv (see shared/scenes.py). Scored are the scenes that pretraining holds out, or
every one. MSE relative to the better of the last frame and optical flow, as geometric means over
scenes; the share of scenes where it is worse than that.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from framecast.prediction.baselines import BASELINES, optical_flow, persistence
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import Predictor

from .shared.output import table, write_json
from .shared.scenes import CONTEXT, HORIZON, Scene, read_scenes, split_scenes, windows

ROUNDING = 1 / 12 / 255**2
"""Mean squared error of 8-bit rounding: added to both sides, so that still scenes count as such."""


@dataclass(frozen=True)
class SceneScore:
    """MSE per lead time on a scene's windows, of a forecast and of both baselines."""

    scene: Scene
    mse_T: np.ndarray
    last_T: np.ndarray
    flow_T: np.ndarray

    def relative(self, lead: int | None = None) -> float:
        """MSE over that of the better baseline, over all lead times or at one, counted from 1."""
        mse, last, flow = (
            scores_T.mean() if lead is None else scores_T[lead - 1]
            for scores_T in (self.mse_T, self.last_T, self.flow_T)
        )
        return float((mse + ROUNDING) / (min(last, flow) + ROUNDING))


def score_scenes(predictor: Predictor, scenes: Iterable[Scene], count: int) -> list[SceneScore]:
    """Score at most `count` windows of each scene; scenes without one are left out."""
    scores = []
    for scene in scenes:
        contests = [_errors(predictor, window_THW) for window_THW in windows(scene, count)]
        if contests:
            scores.append(SceneScore(scene, *np.mean(contests, axis=0)))
    return scores


def _errors(predictor: Predictor, window_THW: np.ndarray) -> np.ndarray:
    """MSE per lead time of the forecast, the last frame and optical flow: (3, HORIZON)."""
    window_BTCHW = torch.from_numpy(window_THW)[None, :, None]
    context_BTCHW, target_BTCHW = window_BTCHW.tensor_split((CONTEXT,), dim=1)
    errors = []
    for forecast in (predictor, persistence, optical_flow):
        frames = [frame_BCHW.float().cpu() for frame_BCHW in forecast(context_BTCHW, HORIZON)]
        errors.append((torch.stack(frames, dim=1) - target_BTCHW).square().mean(dim=(0, 2, 3, 4)))
    return torch.stack(errors).numpy()


def summary(scores: Sequence[SceneScore]) -> dict[str, float]:
    """Geometric means of the relative MSE, and the share of scenes worse than the baseline."""
    everywhere = np.array([score.relative() for score in scores])
    first = np.array([score.relative(1) for score in scores])
    return {
        "scenes": len(scores),
        "relative_mse": float(np.exp(np.log(everywhere).mean())),
        "relative_mse_lead_1": float(np.exp(np.log(first).mean())),
        "worse": float((everywhere > 1).mean()),
    }


def score_table(scores: Sequence[SceneScore]) -> str:
    """The summary of every kind, and of all scenes."""
    kinds = sorted({score.scene.kind for score in scores})
    by_kind = {kind: [score for score in scores if score.scene.kind == kind] for kind in kinds}
    rows = []
    for name, members in {**by_kind, "all": scores}.items():
        count, *means, worse = summary(members).values()
        rows.append([name, count, *(f"{mean:.3f}" for mean in means), f"{worse:.0%}"])
    return table(["kind", "scenes", "all leads", "lead 1", "worse on"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scenes")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="scenes")
    parser.add_argument(
        "--model",
        default="pretrained",
        help=f"a model, or one of {', '.join(BASELINES)} (default pretrained)",
    )
    parser.add_argument("--every-scene", action="store_true", help="those trained on, too")
    parser.add_argument("--windows", type=int, default=6, help="at most, of a scene (default 6)")
    parser.add_argument("--scratch", type=Path, help="keeps decoded scenes for later runs")
    parser.add_argument("--json", type=Path, help="also write every scene's figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        benchmark(options, options.scratch or Path(scratch))


def benchmark(options: argparse.Namespace, scratch: Path) -> None:
    """Decode, forecast, print."""
    baseline = BASELINES.get(options.model)
    predictor = baseline or load_forecaster(options.model).extrapolate
    scenes = read_scenes(options.data, scratch)
    chosen = scenes if options.every_scene else split_scenes(scenes)[1]
    scores = score_scenes(predictor, chosen, options.windows)
    print(score_table(scores))
    if options.json:
        rows = [
            {"name": score.scene.name, "kind": score.scene.kind, "mse": score.mse_T.tolist()}
            | {"last_frame": score.last_T.tolist(), "optical_flow": score.flow_T.tolist()}
            for score in scores
        ]
        record = {"model": options.model, "summary": summary(scores), "scenes": rows}
        write_json(options.json, record)


if __name__ == "__main__":
    main()
