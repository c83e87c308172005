"""The command: measure, write alternatives.json and alternatives.png, print the tables."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from .costs import NETWORKS, SIDES, cost
from .evidence import examine, written_out
from .picture import draw
from .report import cost_table, evidence_table, score_table
from .scores import Score, score

SAMPLES = Path(__file__).parents[3] / "sample_data"
CLIPS = (SAMPLES / "rain", SAMPLES / "shapes.mp4")


def main() -> None:
    options = _options()
    examined = {name: examine(name, SAMPLES / "rain") for name in NETWORKS}
    findings = [finding for finding, _ in examined.values()]
    costs = [cost(name, side) for name in NETWORKS for side in SIDES]
    limits = {"one cell": written_out(16, 1, 8, (1, 1)), "12x12": written_out(16, 3, 8, (12, 12))}
    scores = _scores(options)
    options.output.mkdir(parents=True, exist_ok=True)
    record = {
        "torch": torch.__version__,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "findings": [asdict(finding) for finding in findings],
        "costs": [asdict(row) for row in costs],
        "written_out": {name: asdict(limit) for name, limit in limits.items()},
        "scores": [asdict(row) for row in scores],
    }
    text = json.dumps(record, indent=1)
    (options.output / "alternatives.json").write_text(text + "\n", encoding="utf-8")
    maps = {name: maps for name, (_, maps) in examined.items()}
    draw(options.output / "alternatives.png", maps, costs, scores)
    print(evidence_table(findings), cost_table(costs), sep="\n\n")
    for name, limit in limits.items():
        print(f"\nConvLSTM2D written out, {name}: {limit}")
    if scores:
        print(f"\n{score_table(scores)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.alternatives")
    trained = parser.add_mutually_exclusive_group()
    trained.add_argument(
        "--minutes",
        type=float,
        default=3,
        help="training time of each network on each clip; 0: no training (default 3)",
    )
    trained.add_argument(
        "--scores", type=Path, metavar="JSON", help="take the trainings of an earlier run instead"
    )
    parser.add_argument(
        "--clip",
        choices=[clip.stem for clip in CLIPS],
        help="train on this sample clip only (default: on each)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/alternatives"),
        metavar="DIR",
        help="where alternatives.json and alternatives.png go, in place of earlier ones",
    )
    return parser.parse_args()


def _scores(options: argparse.Namespace) -> list[Score]:
    if options.scores:
        rows = json.loads(options.scores.read_text(encoding="utf-8"))["scores"]
        return [Score(**row) for row in rows]
    if not options.minutes:
        return []
    clips = [clip for clip in CLIPS if options.clip in (None, clip.stem)]
    return [score(clip, name, options.minutes) for clip in clips for name in NETWORKS]


if __name__ == "__main__":
    main()
