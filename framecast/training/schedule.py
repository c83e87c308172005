"""How much of its budget a run has used, how fast it learns then, and when it stops. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from framecast.config.schema import TrainConfig
from framecast.runtime.text import are, counted
from framecast.training.events import Counters

WARM_UP = 0.05
"""Share of the budget in which the learning rate rises."""

FIRST_LR, LAST_LR = 0.05, 0.01
"""Shares of the highest learning rate at the first step and at the end of the budget."""

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises where there is no budget to take a share of."""


@dataclass(frozen=True)
class Schedule:
    """The budget of a run, in minutes and epochs, and what follows from the share of it used."""

    settings: TrainConfig
    steps_per_epoch: int

    def progress(self, counters: Counters) -> float | None:
        """Share of the budget that is used, 0 to 1; None without a budget."""
        # Of two budgets the one that ends first ends the run.
        shares = []
        if self.settings.minutes is not None:
            shares.append(counters.minutes / self.settings.minutes)
        if self.settings.epochs is not None:
            shares.append(counters.step / (self.settings.epochs * self.steps_per_epoch))
        return min(max(shares), 1.0) if shares else None

    def learning_rate(self, counters: Counters) -> float:
        """Linear warm-up, then a half cosine down to almost nothing at the end of the budget."""
        highest, progress = self.settings.lr, self.progress(counters)
        if progress is None:
            return highest * min((counters.step + 1) / WARM_UP_STEPS, 1)
        # Gradual warm-up: Goyal et al. 2017 (arXiv:1706.02677), section 2.2.
        if progress < WARM_UP:
            return highest * (FIRST_LR + (1 - FIRST_LR) * progress / WARM_UP)
        # Loshchilov & Hutter 2017 (arXiv:1608.03983), eq. 5, without restarts.
        fall = (progress - WARM_UP) / (1 - WARM_UP)
        return highest * (LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * fall)) / 2)

    def out_of_time(self, counters: Counters, reserve: float) -> bool:
        """Whether no more than `reserve` minutes are left."""
        limit = self.settings.minutes
        return limit is not None and counters.minutes + reserve >= limit

    def reason_to_stop(self, counters: Counters, reserve: float) -> str | None:
        """Why the run is over, None while it is not; `reserve` as in `out_of_time`."""
        epochs, patience = self.settings.epochs, self.settings.patience
        if epochs is not None and counters.epoch >= epochs:
            return f"{are(epochs, 'epoch')} done"
        if self.out_of_time(counters, reserve):
            minutes = self.settings.minutes
            return f"the budget of {counted(minutes, 'minute')} is used up"
        if patience and counters.epoch - counters.best_epoch >= patience:
            return f"no improvement for {counted(patience, 'epoch')}"
        return None
