"""A network as a file for other programs, checked against PyTorch after it was written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from framecast.errors import ExportMismatchError, UsageError
from framecast.export.formats import FixedRollout, Run, pick_format, quiet
from framecast.nn.forecasters.base import Forecaster
from framecast.prediction.checkpoint import Checkpoint
from framecast.prediction.rollout import rollout
from framecast.runtime.device import explained_memory
from framecast.runtime.output_files import atomic_write, check_target, explained_write
from framecast.runtime.versions import __version__

TOLERANCE = 1e-3
"""Largest accepted difference from PyTorch: a quarter of the step between two levels of uint8."""


TRACED_BATCH, CHECKED_BATCHES = 2, (1, 3)


@dataclass(frozen=True)
class ExportReport:
    """The file or folder made, what is worth noting, and how far a model's frames are from
    PyTorch's at most; None where that could not be checked, and for frames.
    """

    path: Path
    notes: tuple[str, ...]
    difference: float | None = None


def export_model(
    checkpoint: Checkpoint,
    path: Path,
    *,
    horizon: int | None = None,
    context_length: int | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write the network as .onnx, .pt2 or .torchscript once it gives the frames PyTorch gives.

    `horizon` and `context_length` in frames and `size` (H, W) in pixels default to those trained
    with. The file is loaded again and run on moving blobs at batch sizes 1 and 3.

    Raises UsageError for an unknown suffix, a number below 1 or missing packages, OutputError for a
    target that exists or cannot be written, ExportMismatchError when a frame differs by more than
    1e-3, ResourceError for lack of memory or disk; then nothing is left on disk.
    """
    file_format = pick_format(path)
    data, clip = checkpoint.config.data, checkpoint.clip
    horizon = int(data.horizon) if horizon is None else horizon
    length = data.context_length if context_length is None else context_length
    shape = (length, clip["channels"], *(size or (clip["height"], clip["width"])))
    if horizon < 1 or min(shape) < 1:
        raise UsageError(
            f"horizon {horizon}, context length {length}, size {shape[2]}x{shape[3]}: "
            "each must be 1 or more"
        )
    check = partial(check_target, path, "model", overwrite)
    check()
    network = checkpoint.forecaster().requires_grad_(False)
    metadata = _metadata(checkpoint, shape, horizon)
    with explained_memory("use a smaller --size"):
        references = _references(network, horizon, shape)
    with (
        explained_write(path, "model"),
        explained_memory("use a smaller --size"),
        quiet(),
        atomic_write(path, check) as temporary,
    ):
        example_BTCHW = moving_blobs(TRACED_BATCH, *shape)
        with torch.no_grad():
            file_format.save(FixedRollout(network, horizon), example_BTCHW, metadata, temporary)
            difference = _largest_difference(file_format.load(temporary), references)
        if difference is not None and not difference <= TOLERANCE:
            raise ExportMismatchError(
                f"{path}: {file_format.title} gives frames that differ from PyTorch's by up to "
                f"{difference:.2g}, more than {TOLERANCE:g}",
                remedy="nothing was written; choose another format",
            )
    return ExportReport(path, tuple(_notes(shape, horizon, difference)), difference)


def moving_blobs(
    batch: int, length: int, channels: int, height: int, width: int, seed: int = 0
) -> Tensor:
    """Smooth blobs in steady motion: (batch, length, channels, height, width) in [0, 1].

    Each sequence and channel has three of its own, up to 2 pixels per frame fast.
    """
    random = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        """A number for each blob: (batch, 1, channels, 1, 1, 3)."""
        return low + (high - low) * torch.rand(batch, 1, channels, 1, 1, 3, generator=random)

    t = torch.arange(length).view(1, -1, 1, 1, 1, 1)
    y, x = torch.arange(height).view(-1, 1, 1), torch.arange(width).view(-1, 1)
    row = draw(0, height) + draw(-2, 2) * t
    column = draw(0, width) + draw(-2, 2) * t
    radius = draw(0.1, 0.3) * max(height, width)
    blobs = draw(0.3, 0.9) * torch.exp(-((y - row) ** 2 + (x - column) ** 2) / radius**2)
    return blobs.amax(dim=-1)


def _references(
    network: Forecaster, horizon: int, shape: tuple[int, ...]
) -> list[tuple[Tensor, Tensor]]:
    """Contexts of each checked batch size, and the frames PyTorch gives for them."""
    contexts = [moving_blobs(batch, *shape, seed=batch) for batch in CHECKED_BATCHES]
    return [(given, torch.stack(list(rollout(network, given, horizon)), 1)) for given in contexts]


def _largest_difference(run: Run | None, references: list[tuple[Tensor, Tensor]]) -> float | None:
    """How far exported frames are from PyTorch's at most; infinite for frames of another shape."""
    if run is None:
        return None
    largest = 0.0
    for context_BTCHW, expected_BTCHW in references:
        found_BTCHW = run(context_BTCHW)
        if found_BTCHW.shape != expected_BTCHW.shape:
            return math.inf
        difference = (found_BTCHW - expected_BTCHW).abs().max().item()
        largest = math.inf if math.isnan(difference) else max(largest, difference)
    return largest


def _metadata(checkpoint: Checkpoint, shape: tuple[int, ...], horizon: int) -> dict[str, str]:
    length, channels, height, width = shape
    return {
        "framecast_version": __version__,
        "model": checkpoint.config.model.name,
        "context_length": str(length),
        "horizon": str(horizon),
        "frame_step": str(checkpoint.config.data.frame_step),
        "channels": str(channels),
        "color_order": "gray" if channels == 1 else "RGB",
        "height": str(height),
        "width": str(width),
        "value_range": "[0, 1]",
        "axes": "batch, time, channels, height, width",
    }


def _notes(shape: tuple[int, ...], horizon: int, difference: float | None) -> Iterator[str]:
    length, *frame = (str(number) for number in shape)
    yield f"takes context (B, {', '.join([length, *frame])}), float32 in [0, 1], any B"
    yield f"returns frames (B, {', '.join([str(horizon), *frame])}) in [0, 1]"
    if difference is None:
        yield (
            "not checked against PyTorch: onnxruntime is not installed; run "
            'pip install "framecast[export]" and export again'
        )
    else:
        batches = " and ".join(map(str, CHECKED_BATCHES))
        yield f"differs from PyTorch by at most {difference:.1e} at batch sizes {batches}"
