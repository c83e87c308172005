"""Held-out error per lead time, of the network and of the baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from framecast.data.batches import whole_batches
from framecast.data.plan import Plan
from framecast.data.windows import spread
from framecast.evaluation.metrics import MeanError
from framecast.prediction.rollout import Predictor
from framecast.runtime.device import autocast, explained_memory
from framecast.runtime.distributed import Group
from framecast.training.events import Working


class Validation:
    """Scores predictors on held-out windows, whole frames, over all processes.

    `windows` are the plan's, or as many of them as `limit` finds time for. `minutes` is the time
    that the last scoring took, in the main process. `tell` is called with what is done of this
    process's windows.
    """

    def __init__(
        self,
        plan: Plan,
        clips: Sequence[np.ndarray],
        group: Group,
        precision: str,
        tell: Callable[[Working], None] = lambda working: None,
    ) -> None:
        self.plan, self.clips, self.group, self.precision = plan, clips, group, precision
        self.tell = tell
        self.windows = plan.validation
        self.minutes = 0.0

    def limit(self, predictor: Predictor, minutes: float) -> None:
        """Keep as many windows, evenly spread and at least 1, as are scored in that time.

        Times the first window. Of several processes all would have to agree, so there all stay.
        """
        if self.group.size > 1:
            return
        every, self.windows = self.windows, self.windows[:1]
        self.mse_per_lead(predictor, "timing a held-out window")
        # The first window takes longest, so this errs on the side of too few.
        affordable = int(minutes / max(self.minutes, 1e-9))
        self.windows = spread(every, max(affordable, 1))

    def mse_per_lead(self, predictor: Predictor, work: str = "validating") -> Tensor:
        """MSE of frames in [0, 1] per lead time (horizon,), the same in every process.

        `work` is what progress calls it. Raises ResourceError when memory does not hold a batch.
        """
        started = time.monotonic()
        total = MeanError(self.plan.split.shape.horizon, power=2)
        # Without a backward pass twice the pixels of a training batch fit.
        pixels = 2 * self.plan.batch_size * self.plan.crop[0] * self.plan.crop[1]
        windows = self.group.every(self.windows)
        scored = 0
        with (
            explained_memory("use a smaller --resize"),
            autocast(self.group.device, self.precision),
        ):
            for batch in whole_batches(self.clips, windows, self.plan.split.shape, pixels):
                self.tell(Working(work, scored, len(windows)))
                scored += len(batch.target_BTCHW)
                moved = batch.to(self.group.device)
                frames = predictor(moved.context_BTCHW, self.plan.split.shape.horizon)
                for lead, prediction_BCHW in enumerate(frames, start=1):
                    total.update(lead, prediction_BCHW, moved.target_BTCHW[:, lead - 1])
        # The processes have other windows each, so sums are added up before they become means.
        total.sums_TK = self.group.sum(total.sums_TK)
        self.minutes = self.group.broadcast((time.monotonic() - started) / 60)
        return total.compute()
