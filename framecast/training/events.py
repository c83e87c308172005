"""Where a training stands and what it reports: counters, events, results. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


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


@dataclass(frozen=True)
class Working:
    """What is going on besides steps: `done` of `total` units; a total of None is not known."""

    work: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Started:
    """The network is built: its size, and where and how it computes."""

    parameters: int
    device: str
    precision: str


Event = Working | Started | StepDone | EpochDone
"""Everything that a training reports, from decoding on."""


@dataclass(frozen=True)
class TrainingResult:
    """Errors per lead time of a finished run's best epoch and of the baselines, MSE in [0, 1]."""

    epoch: int
    steps: int
    minutes: float
    reason: str
    validation_mse_T: tuple[float, ...]
    persistence_mse_T: tuple[float, ...]
    flow_mse_T: tuple[float, ...]


@dataclass
class Counters:
    """Where a run stands; saved with it.

    `best_mse_T` is the best epoch's error per lead time; `loss_sum` and `loss_steps` are those of
    the epoch under way, so that its mean covers all its steps after a resume, too.
    """

    step: int = 0
    epoch: int = 0
    minutes: float = 0.0
    best_epoch: int = 0
    best_mse: float = math.inf
    best_mse_T: tuple[float, ...] = ()
    loss_sum: float = 0.0
    loss_steps: int = 0
