"""Train networks on the same clips, with the same budget and seed, as `framecast train` does."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from framecast.config.loading import load_config
from framecast.training.events import EpochDone, Event, StepDone
from framecast.training.pipeline import FrameDecoded, prepare, train


@dataclass(frozen=True)
class Score:
    """One training: held-out errors are MSE on frames in [0, 1], means over all lead times.

    `curve` has (minutes, error) after each epoch, the untrained network first.
    """

    clip: str
    network: str
    mse: float
    persistence_mse: float
    flow_mse: float
    steps: int
    minutes: float
    seconds_per_step: float
    curve: list[tuple[float, float]]


@dataclass
class Watch:
    """Listens to a training: its curve, and how long a step takes without what is around it."""

    curve: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _since: float | None = None

    def __call__(self, event: Event | FrameDecoded) -> None:
        now = time.perf_counter()
        if isinstance(event, StepDone) and self._since is not None:
            self.seconds.append(now - self._since)
        elif isinstance(event, EpochDone):
            self.curve.append((event.minutes, event.validation_mse))
        self._since = now


def score(clip: Path, network: str, minutes: float, settings: Sequence[str] = ()) -> Score:
    """Train for `minutes` and return what `best.pt` reached; the run itself is thrown away."""
    config = load_config(
        None,
        [
            f"model.name={network}",
            f"train.minutes={minutes}",
            "train.patience=none",
            "data.color=gray",
            *settings,
        ],
        {},
    )
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="framecast-") as runs:
        result = train(prepare([clip], config), Path(runs), watch).result
    if not watch.seconds:
        raise SystemExit(
            f"{clip.name}, {network}: {minutes:g} minutes end before two steps are timed; "
            "give more --minutes"
        )
    found, persistence, flow = (
        sum(mse_T) / len(mse_T)
        for mse_T in (result.validation_mse_T, result.persistence_mse_T, result.flow_mse_T)
    )
    print(f"{clip.name}, {network}: {found:.4f} after {result.steps} steps", file=sys.stderr)
    return Score(
        clip=clip.name,
        network=network,
        mse=found,
        persistence_mse=persistence,
        flow_mse=flow,
        steps=result.steps,
        minutes=result.minutes,
        seconds_per_step=median(watch.seconds),
        curve=watch.curve,
    )
