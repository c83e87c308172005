"""Named sets of metrics, as each field reports them; the definitions come with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from framecast.evaluation.metrics import (
    CriticalSuccess,
    Detection,
    ErrorSum,
    FalseAlarms,
    FractionsSkill,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    PeakSignalToNoise,
    StructuralSimilarity,
)
from framecast.evaluation.thresholds import Threshold

# Sides in pixels of the squares of the fractions skill score
FSS_SIDES = (2, 8, 32)


def make_metrics(
    protocol: str, horizon: int, thresholds: Sequence[Threshold] = ()
) -> tuple[Metric, ...]:
    """Fresh accumulators of a protocol, plus CSI, POD, FAR and FSS of each threshold."""
    errors: dict[str, tuple[Metric, ...]] = {
        "pixel": (
            MeanSquaredError(horizon),
            MeanAbsoluteError(horizon),
            PeakSignalToNoise(horizon),
            StructuralSimilarity(horizon),
        ),
        "openstl": (
            ErrorSum(horizon, 2),
            ErrorSum(horizon, 1),
            PeakSignalToNoise(horizon),
            StructuralSimilarity(horizon, data_range=2),
        ),
        "nowcast": (MeanSquaredError(horizon), MeanAbsoluteError(horizon)),
    }
    # In the order of the tables: for each threshold its four scores next to each other.
    events: list[Metric] = []
    for threshold in thresholds:
        pixel, label = threshold.pixel, threshold.label
        events += [kind(horizon, pixel, label) for kind in (CriticalSuccess, Detection)]
        events.append(FalseAlarms(horizon, pixel, label))
        events += [FractionsSkill(horizon, pixel, label, side) for side in FSS_SIDES]
    return (*errors[protocol], *events)
