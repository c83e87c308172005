"""An exported ONNX model, ready to forecast NumPy frames without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from framecast.config.loading import from_dict
from framecast.errors import CheckpointError, ConfigError, UsageError
from framecast.prediction.frame_forecaster import FrameForecaster
from framecast.prediction.onnx_network import OnnxNetwork
from framecast.video.pixels import to_unit
from framecast.video.readers.frame_checks import show_size

CPU = ("auto", "cpu")


class OnnxForecaster(FrameForecaster):
    """A .onnx file that `framecast export` wrote, run by onnxruntime on the CPU.

    Raises CheckpointError for another file.
    """

    fallback_note: str | None = None
    device, precision = "cpu", "float32, by onnxruntime"

    def __init__(self, path: Path) -> None:
        self.network = OnnxNetwork(path)
        texts = self.network.metadata
        try:
            trained = from_dict(json.loads(texts["config"]))
            self.channels, self.length = int(texts["channels"]), int(texts["context_length"])
            # Both can be set for the export, as they were not in training.
            own = {"context_length": self.length, "horizon": int(texts["horizon"])}
            self.config = replace(trained, data=replace(trained.data, **own))
            self._trained_horizon = int(trained.data.horizon)
            # [rows, columns] between which the traced graph holds; export looked for them.
            self.smallest, self.largest = json.loads(texts["sides"])
        except (KeyError, ValueError, ConfigError) as error:
            raise CheckpointError(
                f"{path}: an ONNX model, but not of framecast",
                remedy="give a file that `framecast export` wrote",
            ) from error

    @property
    def trained_horizon(self) -> int:
        """How many frames ahead its training looked, whatever the horizon of the export."""
        return self._trained_horizon

    def forecast_pixels(self, context_THWC: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        """Yield frames (C, H, W), float32 in [0, 1], after a context (T, H, W, C) of pixels.

        The file holds one context length: of a longer context the newest frames count, in a shorter
        one the oldest is repeated. Raises UsageError for a frame size that it does not hold for.
        """
        size = context_THWC.shape[1:3]
        for side, least, most in zip(size, self.smallest, self.largest, strict=True):
            if not least <= side <= most:
                raise UsageError(
                    f"the exported network works on frames of {show_size(self.smallest)} to "
                    f"{show_size(self.largest)}, these are {show_size(size)}",
                    remedy=f"export it again with --size {show_size(size)}",
                )
        context_TCHW = to_unit(context_THWC[-self.length :])
        missing = self.length - len(context_TCHW)
        context_TCHW = np.concatenate((context_TCHW[:1].repeat(missing, axis=0), context_TCHW))
        for frame_BCHW in self.network.rollout(context_TCHW[None], horizon):
            yield frame_BCHW[0]

    def tile_side(self, *size: int) -> int | None:
        """None: exported networks predict whole frames."""
        return None


def open_forecaster(
    path: Path, device: str = "auto", tile: int | None = None, match: float = 0.0
) -> FrameForecaster:
    """Open a model of either kind: an exported .onnx file without torch, all others with it.

    Raises UsageError for what an exported file cannot do, and what `load_forecaster` raises.
    """
    if path.suffix.lower() != ".onnx":
        from framecast.prediction.loaded_forecaster import load_forecaster  # noqa: PLC0415  (torch)

        return load_forecaster(path, device, tile, match)
    asked = {"--tile": tile is not None, "--match": match != 0, "--device": str(device) not in CPU}
    for flag, given in asked.items():
        if given:
            raise UsageError(
                f"{flag} is not for exported models, which run whole frames on the CPU",
                remedy="leave it out, or give the run folder instead of the .onnx file",
            )
    return OnnxForecaster(path)
