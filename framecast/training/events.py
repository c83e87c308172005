"""Progress counters, events and results of a training. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PRETRAINED, FITTED, FINE_TUNED = "pretrained", "fitted", "fine-tuned"
START, TRAINED = "start", "trained"
"""Stages of a run: as shipped, with a blend fitted in closed form, and after steps on the clips;
of a run from scratch before its first step and after."""


@dataclass(frozen=True)
class StepDone:
    """One optimizer step, its loss, and the share of the budget used (None: no budget)."""

    epoch: int
    step: int
    loss: float
    progress: float | None


@dataclass(frozen=True)
class EpochDone:
    """One row of metrics.csv: errors are MSE on frames in [0, 1], means over all lead times."""

    epoch: int
    step: int
    minutes: float
    lr: float
    train_loss: float | None
    validation_mse: float
    persistence_mse: float
    flow_mse: float
    improved: bool
    stage: str = ""


@dataclass(frozen=True)
class Working:
    """Progress of work other than steps: `done` of `total` units, None if the total is unknown."""

    work: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Started:
    """The network is built: its size, and where and how it computes; None: that is being timed."""

    parameters: int
    device: str
    precision: str | None


@dataclass(frozen=True)
class PrecisionChosen:
    """The first steps have shown which precision is faster; `seconds` of a step with each."""

    precision: str
    seconds: dict[str, float]


Event = Working | Started | PrecisionChosen | StepDone | EpochDone
"""Everything that a training reports, from decoding on."""


@dataclass(frozen=True)
class TrainingResult:
    """Errors per lead time of a finished run's best epoch and of the baselines, MSE in [0, 1].

    `stage_mse` is the lowest error of each stage, means over lead times; `kept` the stage of the
    model that was saved.
    """

    epoch: int
    steps: int
    minutes: float
    reason: str
    validation_mse_T: tuple[float, ...]
    kept: str
    stage_mse: dict[str, float]
    persistence_mse_T: tuple[float, ...]
    flow_mse_T: tuple[float, ...]


@dataclass
class Counters:
    """Where a run stands; saved with it.

    `kept` is the stage of the best model so far, `stage_mse` the lowest error of each stage;
    `best_mse_T` is the best epoch's error per lead time; `loss_sum` and `loss_steps` are those of
    the epoch under way, so that its mean covers all its steps after a resume, too.
    `validation_windows` are scored after each epoch; 0: all of the plan's.
    """

    step: int = 0
    epoch: int = 0
    minutes: float = 0.0
    best_epoch: int = 0
    best_mse: float = math.inf
    best_mse_T: tuple[float, ...] = ()
    kept: str = ""
    stage_mse: dict[str, float] = field(default_factory=dict)
    loss_sum: float = 0.0
    loss_steps: int = 0
    validation_windows: int = 0

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Counters:
        """Those of a checkpoint; TypeError or ValueError where it holds what no run writes."""
        counters = cls(**saved)
        held = [(each.type, getattr(counters, each.name)) for each in fields(cls)]
        numbers = [value for kind, value in held if kind == "float"]
        numbers += [*counters.best_mse_T, *counters.stage_mse.values()]
        counts = [value for kind, value in held if kind == "int"]
        others = (type(counters.best_mse_T), type(counters.kept), type(counters.stage_mse))
        # NaN is not below anything, so that a budget of minutes would never be used up.
        if (
            others != (tuple, str, dict)
            or not all(type(count) is int and count >= 0 for count in counts)
            or not all(type(n) in (int, float) and not math.isnan(n) for n in numbers)
        ):
            raise ValueError("counters: not those of a run")
        return counters
