"""An exported ONNX network, run by onnxruntime without torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from framecast.errors import CheckpointError
from framecast.prediction.model_files import part_paths
from framecast.runtime.extras import check_installed


class OnnxNetwork:
    """A rollout in one file, or the `encode` and `step` of a network in two.

    `metadata` is what the export wrote into the file. Raises CheckpointError when there is no such
    file or onnxruntime cannot read it, UsageError where onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_installed("onnxruntime", "export", f"{path}: running it")
        parts = part_paths(path)
        whole = path.name not in {part.name for part in parts.values()} and path.exists()
        files = {"rollout": path} if whole else parts
        self.sessions = {part: _open(file) for part, file in files.items()}
        session = next(iter(self.sessions.values()))
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map

    def rollout(self, context_BTCHW: np.ndarray, horizon: int) -> Iterator[np.ndarray]:
        """Yield the `horizon` frames (B, C, H, W) after a context, float32 in [0, 1]."""
        if "rollout" in self.sessions:
            inputs = {"context": context_BTCHW, "horizon": np.array(horizon)}
            [frames_BTCHW] = self.sessions["rollout"].run(["frames"], inputs)
            yield from frames_BTCHW.swapaxes(0, 1)  # (B, T, C, H, W) by lead time
            return
        step = self.sessions["step"]
        # `encode` returns the states in the order in which `step` takes them.
        names = [value.name for value in step.get_inputs()]
        states = self.sessions["encode"].run(None, {"context": context_BTCHW})
        for _ in range(horizon):
            frame_BCHW, *states = step.run(None, dict(zip(names, states, strict=True)))
            yield frame_BCHW


def _open(path: Path) -> Any:
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file", remedy="give a file that `framecast export` wrote"
        )
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever the bytes of another file make the runtime raise
        raise CheckpointError(
            f"{path}: damaged, or not an ONNX model",
            remedy="give a file that `framecast export` wrote",
        ) from error
