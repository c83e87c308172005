"""One training as `framecast train` does it, and what is to be said of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from framecast.config.loading import load_config, to_dict
from framecast.prediction.checkpoint import load_checkpoint
from framecast.training.pipeline import SessionEvent, prepare, train
from framecast.training.trainer import EpochDone


@dataclass(frozen=True)
class Trained:
    """A model to score: its file, or run folder, and the record of its training."""

    model: Path
    record: dict[str, Any]


def train_model(
    clips: Sequence[Path], minutes: float, settings: Sequence[str], runs: Path
) -> Trained:
    """Train on clips in a new folder below `runs`; all but `settings` ("section.name=value") and
    the budget is default, whatever the environment says. Epochs are told on stderr.
    """
    # The clips are copies that will be gone, so keeping them decoded would help nobody.
    config = load_config(None, [f"train.minutes={minutes}", "data.cache_gb=0", *settings], {})
    session = prepare(clips, config)
    outcome = train(session, runs, tell)
    split = session.plan.split
    record = {
        "clips": [path.stem for path in clips],
        "minutes": minutes,
        "overrides": list(settings),
        "seed": config.train.seed,
        "training_windows": _by_clip(clips, split.train),
        "validation_windows": _by_clip(clips, split.validation),
        "result": asdict(outcome.result),
        **describe(outcome.run.path),
    }
    return Trained(outcome.run.path, record)


def reuse_model(model: Path) -> Trained:
    """A model trained earlier; how long is not known, but its settings are."""
    return Trained(model, {"reused": True, **describe(model)})


def describe(model: Path) -> dict[str, Any]:
    """What a model file itself says: settings, parameters, validation figures."""
    checkpoint = load_checkpoint(model)
    return {
        "settings": to_dict(checkpoint.config),
        "parameters": sum(weight.numel() for weight in checkpoint.forecaster().parameters()),
        "validation": dict(checkpoint.scores),
        "threads": torch.get_num_threads(),
    }


def tell(event: SessionEvent) -> None:
    """A line for each epoch."""
    if isinstance(event, EpochDone):
        print(
            f"  epoch {event.epoch}, step {event.step}, {event.minutes:.1f} minutes: held-out MSE "
            f"{event.validation_mse:.5f} (last frame {event.persistence_mse:.5f}, optical flow "
            f"{event.flow_mse:.5f})",
            file=sys.stderr,
            flush=True,
        )


def _by_clip(clips: Sequence[Path], windows: Sequence[Any]) -> dict[str, int]:
    return {
        path.stem: sum(window.clip == number for window in windows)
        for number, path in enumerate(clips)
    }
