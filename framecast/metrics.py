"""Scores per lead time, accumulated as sums so that nothing but the sums is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from framecast.dataset import Batch
from framecast.rollout import Predictor


class MeanSquaredError:
    """MSE per lead time: the mean over windows, channels and pixels of the squared difference.

    Frames are in [0, 1]; so the unit is squared full range. `update`, then `compute`.
    """

    def __init__(self, horizon: int) -> None:
        self.squares_T = torch.zeros(horizon, dtype=torch.float64)
        self.counts_T = torch.zeros(horizon, dtype=torch.float64)

    def update(self, lead: int, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> None:
        """Add the frames of lead time `lead` (1 .. horizon)."""
        # To the CPU first, as MPS knows no float64.
        difference = prediction_BCHW.cpu().double() - truth_BCHW.cpu().double()
        self.squares_T[lead - 1] += difference.square().sum()
        self.counts_T[lead - 1] += difference.numel()

    def compute(self) -> Tensor:
        """MSE per lead time (horizon,), float64; NaN where nothing was seen."""
        return self.squares_T / self.counts_T


def score(
    predictor: Predictor,
    batches: Iterable[Batch],
    horizon: int,
    merged: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Tensor:
    """MSE per lead time (horizon,) of a forecaster or baseline over batches of windows.

    `merged` adds sums up over the processes that have other windows.
    """
    total = MeanSquaredError(horizon)
    for batch in batches:
        frames = predictor(batch.context_BTCHW, horizon)
        for lead, prediction_BCHW in enumerate(frames, start=1):
            total.update(lead, prediction_BCHW, batch.target_BTCHW[:, lead - 1])
    total.squares_T, total.counts_T = merged(total.squares_T), merged(total.counts_T)
    return total.compute()
