"""Scores per lead time, accumulated as sums so that nothing but the sums is kept.

Every metric is a ratio of sums over windows: `update` adds frames, `merge` adds another process's
sums, `compute` divides. Frames are in [0, 1]; all sums are float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from framecast.evaluation.thresholds import Threshold

# Side in pixels of the uniform window of SSIM, scikit-image's default
SSIM_WINDOW = 7

# Names of errors by the power that they are raised to
ERRORS = {1: ("mae", "absolute error"), 2: ("mse", "squared error")}

# Critical success index, probability of detection, false alarm ratio: in words and of the counts
EVENT_SCORES: dict[str, tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "csi": (
        "hits / (hits + misses + false alarms)",
        lambda hits, misses, alarms: hits / (hits + misses + alarms),
    ),
    "pod": ("hits / (hits + misses)", lambda hits, misses, alarms: hits / (hits + misses)),
    "far": (
        "false alarms / (hits + false alarms)",
        lambda hits, misses, alarms: alarms / (hits + alarms),
    ),
}

# Sides in pixels of the squares of the fractions skill score
FSS_SIDES = (2, 8, 32)


class Metric(ABC):
    """One number per lead time 1 .. horizon; `name` is its key, `definition` one sentence.

    `title` heads a column that shows the number times `display_factor`.
    """

    display_factor = 1.0
    terms: ClassVar[int] = 2

    def __init__(self, horizon: int, name: str, title: str, definition: str) -> None:
        self.name, self.title, self.definition = name, title, definition
        self.sums_TK = torch.zeros(horizon, self.terms, dtype=torch.float64)

    def update(self, lead: int, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> None:
        """Add the frames of lead time `lead` (1 .. horizon), on any device."""
        # To the CPU first, as MPS knows no float64.
        pair = prediction_BCHW.cpu().double(), truth_BCHW.cpu().double()
        self.sums_TK[lead - 1] += torch.as_tensor(self.measure(*pair), dtype=torch.float64)

    def merge(self, other: Metric) -> None:
        """Add what another accumulator of the same metric has seen.

        Raises ValueError when it is another metric or horizon.
        """
        if (self.name, self.definition) != (other.name, other.definition) or (
            self.sums_TK.shape != other.sums_TK.shape
        ):
            raise ValueError(f"{self.name} and {other.name} are sums of different things")
        self.sums_TK += other.sums_TK

    def compute(self) -> Tensor:
        """The metric per lead time (horizon,), float64; NaN where it is not defined."""
        return self.ratio(*self.sums_TK.unbind(dim=1))

    @abstractmethod
    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float] | Tensor:
        """What one batch of frames (float64) adds to the sums: `terms` numbers."""

    def ratio(self, *sums_T: Tensor) -> Tensor:
        """The metric (horizon,) from the sums; here the first divided by the second."""
        total_T, count_T = sums_T
        return total_T / count_T


class MeanError(Metric):
    """MSE (power 2) or MAE (power 1): the mean over windows, channels and pixels of the error.

    `summed`: OpenSTL's, the mean over frames of a frame's summed error. Source:
    openstl/core/metrics.py, which sums over C, H and W and averages over samples and time.
    """

    def __init__(self, horizon: int, power: int, summed: bool = False) -> None:
        name, error = ERRORS[power]
        title = f"{name.upper()} (sum)" if summed else f"{name.upper()} x 1000"
        if summed:
            definition = f"sum over a frame's pixels and channels of the {error}, mean over frames"
        else:
            definition = f"mean over pixels and channels of the {error}, frames in 0..1"
        super().__init__(horizon, name, title, definition)
        self.power, self.summed = power, summed
        self.display_factor = 1.0 if summed else 1000.0

    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float]:
        errors = (prediction_BCHW - truth_BCHW).abs() ** self.power
        return errors.sum().item(), len(errors) if self.summed else errors.numel()


class PeakSignalToNoise(Metric):
    """PSNR in dB: the mean over frames of 10 log10(1 / MSE of the frame).

    A frame without any error would count as infinite and is left out; `perfect` counts them. Where
    all frames are perfect PSNR is infinite.
    """

    terms = 3

    def __init__(self, horizon: int) -> None:
        definition = "mean over frames of 10 log10(1 / MSE of the frame); frames without any error"
        super().__init__(horizon, "psnr", "PSNR dB", f"{definition} are left out")

    @property
    def perfect(self) -> int:
        """How many frames had no error at all."""
        return int(self.sums_TK[:, 2].sum())

    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float]:
        errors_B = (prediction_BCHW - truth_BCHW).square().flatten(1).mean(dim=1)
        wrong_B = errors_B[errors_B > 0]
        # With a value range of 1, 10 log10(range^2 / MSE) is -10 log10(MSE).
        decibels = -10 * wrong_B.log10()
        # Decibels, frames with an error, frames without
        return decibels.sum().item(), len(wrong_B), len(errors_B) - len(wrong_B)

    def ratio(self, decibels_T: Tensor, wrong_T: Tensor, perfect_T: Tensor) -> Tensor:
        mean_T = decibels_T / wrong_T
        # 0 / 0 is NaN, which means undefined; frames without error are as good as can be
        mean_T[(wrong_T == 0) & (perfect_T > 0)] = torch.inf
        return mean_T


class StructuralSimilarity(Metric):
    """SSIM (Wang et al., 2004) as scikit-image's defaults compute it.

    A uniform window of 7x7, sample covariances, K1 = 0.01, K2 = 0.03, mean over the places where
    the window lies inside the frame, then over channels and frames. NaN for frames smaller than the
    window. `data_range` is 1, or the 2 that OpenSTL's scikit-image assumed for floats.
    """

    def __init__(self, horizon: int, data_range: float = 1.0) -> None:
        definition = f"mean over frames, 7x7 uniform window, data range {data_range:g}"
        super().__init__(horizon, "ssim", "SSIM", definition)
        self.data_range = data_range

    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float]:
        if min(truth_BCHW.shape[-2:]) < SSIM_WINDOW:
            return 0.0, 0
        planes = zip(_planes(prediction_BCHW), _planes(truth_BCHW), strict=True)
        values = [_ssim(*pair, self.data_range) for pair in planes]
        # A frame counts once, with the mean of its channels
        channels = truth_BCHW.shape[1]
        return sum(values) / channels, len(values) // channels


class Contingency(Metric):
    """CSI, POD or FAR of "the value is above the threshold", by the names in EVENT_SCORES.

    NaN where the event occurs in none of what the score counts. Hits, misses and false alarms are
    summed over all windows before the ratio, as pysteps' det_cat_fct does; so is `>`.
    """

    terms = 3

    def __init__(self, horizon: int, score: str, threshold: float, label: str) -> None:
        # Not "above": where white stands for less than black, brighter pixels have lower values.
        formula, _ = EVENT_SCORES[score]
        definition = f"{formula}, pixels brighter than {label}, counts summed over windows first"
        super().__init__(horizon, f"{score} {label}", f"{score.upper()} {label}", definition)
        self.score, self.threshold = score, threshold

    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float]:
        forecast, observed = prediction_BCHW > self.threshold, truth_BCHW > self.threshold
        hits = (forecast & observed).sum().item()
        # hits, misses, false alarms, in pixels
        return hits, observed.sum().item() - hits, forecast.sum().item() - hits

    def ratio(self, *counts_T: Tensor) -> Tensor:
        _, formula = EVENT_SCORES[self.score]
        return formula(*counts_T)


class FractionsSkill(Metric):
    """FSS, the fractions skill score (Roberts & Lean, 2008) over squares of `side` pixels.

    As pysteps' fss: the event is `>=` the threshold, outside the frame there is none, the sums are
    accumulated over fields before the ratio. NaN where the event was neither forecast nor observed.
    """

    def __init__(self, horizon: int, threshold: float, label: str, side: int) -> None:
        name = f"{label} {side} px"
        definition = (
            "1 - sum (f - o)^2 / sum (f^2 + o^2), f and o the shares of pixels as bright as "
            f"{label} or brighter in squares of {side} x {side} pixels"
        )
        super().__init__(horizon, f"fss {name}", f"FSS {name}", definition)
        self.threshold, self.side = threshold, side

    def measure(self, prediction_BCHW: Tensor, truth_BCHW: Tensor) -> Sequence[float]:
        difference = total = 0.0
        # Roberts & Lean (2008): the squared error of the shares over the largest it could be
        for pair in zip(_planes(prediction_BCHW), _planes(truth_BCHW), strict=True):
            forecast_HW, observed_HW = (self._fractions(plane_HW) for plane_HW in pair)
            difference += float(np.square(forecast_HW - observed_HW).sum())
            total += float(np.square(forecast_HW).sum() + np.square(observed_HW).sum())
        return difference, total

    def _fractions(self, plane_HW: np.ndarray) -> np.ndarray:
        event_HW = (plane_HW >= self.threshold).astype(np.float64)
        sides = (self.side, self.side)
        # Counted, not averaged: sums of zeros and ones are exact.
        counts_HW = cv2.boxFilter(
            event_HW, cv2.CV_64F, sides, normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        return counts_HW / self.side**2

    def ratio(self, difference_T: Tensor, total_T: Tensor) -> Tensor:
        return 1 - difference_T / total_T


def _planes(frames_BCHW: Tensor) -> Iterable[np.ndarray]:
    """Every channel of every frame as (H, W)."""
    return frames_BCHW.flatten(0, 1).numpy()


def _ssim(prediction_HW: np.ndarray, truth_HW: np.ndarray, data_range: float) -> float:
    edge = SSIM_WINDOW // 2  # pixels, where the window would reach over the frame's border

    def mean(image_HW: np.ndarray) -> np.ndarray:
        filtered = cv2.boxFilter(image_HW, cv2.CV_64F, (SSIM_WINDOW, SSIM_WINDOW))
        return filtered[edge:-edge, edge:-edge]

    p, t = mean(prediction_HW), mean(truth_HW)
    # Sample covariances divide by n - 1, not by n.
    to_sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    pp = to_sample * (mean(prediction_HW * prediction_HW) - p * p)
    tt = to_sample * (mean(truth_HW * truth_HW) - t * t)
    pt = to_sample * (mean(prediction_HW * truth_HW) - p * t)
    # Wang et al. (2004), eq. 13, with the constants of eq. 7 and 11.
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity_HW = (2 * p * t + c1) * (2 * pt + c2) / ((p * p + t * t + c1) * (pp + tt + c2))
    return float(similarity_HW.mean())


def make_metrics(
    protocol: str, horizon: int, thresholds: Sequence[Threshold] = ()
) -> tuple[Metric, ...]:
    """Fresh accumulators of a protocol, plus CSI, POD, FAR and FSS of each threshold."""
    errors = [MeanError(horizon, power, summed=protocol == "openstl") for power in (2, 1)]
    if protocol != "nowcast":
        similarity = StructuralSimilarity(horizon, data_range=2 if protocol == "openstl" else 1)
        errors += [PeakSignalToNoise(horizon), similarity]
    # In the order of the tables: for each threshold its scores next to each other.
    events: list[Metric] = []
    for threshold in thresholds:
        event = threshold.pixel, threshold.label
        events += [Contingency(horizon, score, *event) for score in EVENT_SCORES]
        events += [FractionsSkill(horizon, *event, side) for side in FSS_SIDES]
    return (*errors, *events)
