"""Held-out error per lead time, of the network and of the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from framecast.data.batches import Batch
from framecast.evaluation.metrics import MeanSquaredError
from framecast.prediction.rollout import Predictor


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
    total.sums_TK = merged(total.sums_TK)
    return total.compute()
