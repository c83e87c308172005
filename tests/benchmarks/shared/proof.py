"""Forecasts written as NPY files, and their scores worked out again from the files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.rollout import Predictor
from framecast.video.pixels import from_unit

TRUTH = "truth"
DIGITS = 6


class Keeper:
    """Writes the frames that forecasters give, window after window, to one NPY file for each.

    A file holds the pixels (windows, horizon, H, W, C) as uint8, as `framecast predict` rounds
    them.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int, int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.shape = folder, shape
        self._filled: dict[str, int] = {}

    def keep_truth(self, frames_NTHWC: np.ndarray) -> None:
        """Write what came."""
        np.save(frames_path(self.folder, TRUTH), frames_NTHWC)

    def watch(self, name: str, predictor: Predictor) -> Predictor:
        """The same predictor, whose frames are written while they are passed on."""
        path = frames_path(self.folder, name)
        file_NTHWC = np.lib.format.open_memmap(path, "w+", np.uint8, self.shape)

        def watched(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
            first = self._filled.get(name, 0)
            self._filled[name] = first + len(context_BTCHW)
            for lead, frame_BCHW in enumerate(predictor(context_BTCHW, horizon)):
                pixels_BHWC = from_unit(frame_BCHW.float().cpu().numpy(), np.uint8)
                file_NTHWC[first : first + len(pixels_BHWC), lead] = pixels_BHWC
                yield frame_BCHW
            file_NTHWC.flush()

        return watched


class WatchedForecaster(LoadedForecaster):
    """A model whose forecasts, moved by a share `match`, a Keeper writes while they are scored."""

    def __init__(self, model: Path, keeper: Keeper, name: str, match: float = 0.0) -> None:
        super().__init__(load_checkpoint(model), match=match)
        self._watched = keeper.watch(name, super().extrapolate)

    def extrapolate(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """As the model's own, written too."""
        return self._watched(context_BTCHW, horizon)


def frames_path(folder: Path, name: str) -> Path:
    """The file of a forecaster's frames."""
    return folder / f"{name.replace(' ', '-').lower()}.npy"


def recompute(
    folder: Path, names: Sequence[str], threshold: float | None
) -> dict[str, dict[str, list[float]]]:
    """MSE (pixels in 0..1) and CSI (pixel > threshold in 0..255) per lead time, from NPY files.

    Plain NumPy on the files' integers, nothing of the project's metrics; without `threshold` no
    CSI. A CSI is NaN where the event was neither forecast nor observed.
    """
    truth_NTHWC = np.load(frames_path(folder, TRUTH), mmap_mode="r")
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        frames_NTHWC = np.load(frames_path(folder, name), mmap_mode="r")
        if frames_NTHWC.shape != truth_NTHWC.shape:
            raise ValueError(f"{name}: {frames_NTHWC.shape} frames for {truth_NTHWC.shape}")
        found[name] = {"mse": [], "csi": []}
        for lead in range(truth_NTHWC.shape[1]):
            said, came = (a[:, lead].astype(np.int64) for a in (frames_NTHWC, truth_NTHWC))
            found[name]["mse"].append(float(((said - came) ** 2).mean() / 255**2))
            if threshold is not None:
                hits = int(((said > threshold) & (came > threshold)).sum())
                either = int(((said > threshold) | (came > threshold)).sum())
                found[name]["csi"].append(hits / either if either else float("nan"))
    return found


def check_agreement(
    scored: Mapping[str, Mapping[str, Sequence[float | None]]],
    recomputed: Mapping[str, Mapping[str, Sequence[float]]],
) -> float:
    """The largest relative difference between scores of the same names.

    Raises ValueError when two differ in their first 6 digits, or only one is defined.
    """
    worst = 0.0
    for name, figures in recomputed.items():
        for metric, again_T in figures.items():
            for lead, (again, once) in enumerate(
                zip(again_T, scored[name][metric], strict=True), start=1
            ):
                if once is None and np.isnan(again):
                    continue
                if once is None or not np.isclose(again, once, rtol=0.5 * 10**-DIGITS, atol=0):
                    raise ValueError(f"{name}, {metric} at lead {lead}: {once}, from NPY {again}")
                worst = max(worst, abs(again - once) / abs(once) if once else 0.0)
    return worst
