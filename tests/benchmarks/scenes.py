"""Score a model on scenes of many kinds: 6 grey frames in, 12 out.

python -m tests.benchmarks.scenes --data FOLDER [--model PATH] [--every-scene]

FOLDER has an index.csv (see shared/scenes.py). Scored are the scenes that pretraining holds out, or
every one. MSE relative to the better of the last frame and optical flow, as geometric means over
scenes; the share of scenes where it is worse than that.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from framecast.prediction.baselines import BASELINES
from framecast.prediction.loaded_forecaster import load_forecaster

from .shared.output import write_json
from .shared.scene_scores import score_scenes, score_table, summary
from .shared.scenes import read_scenes, split_scenes


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
