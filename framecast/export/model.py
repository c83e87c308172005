"""A network as a file for other programs, checked against PyTorch after it was written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from framecast.config.loading import to_dict
from framecast.errors import ExportMismatchError
from framecast.export.formats import MODEL_FORMATS, Export, Run, quiet
from framecast.export.request import KINDS, ExportReport, ExportRequest, ModelKind
from framecast.export.snippets import snippet
from framecast.nn.forecasters.base import Forecaster
from framecast.prediction.checkpoint import Checkpoint
from framecast.prediction.rollout import rollout
from framecast.runtime.device import explained_memory
from framecast.runtime.output_files import check_target, explained_write, workplace
from framecast.runtime.versions import __version__

# Largest accepted differences from PyTorch, frames in [0, 1]: a quarter of the step between two
# levels of uint8; with weights in half precision five such steps, and the difference is reported
TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2

TRACED_BATCH, CHECKED_BATCHES = 2, (1, 3)

# Rows and columns by which a second checked frame is larger, so that a welded-in size shows
OTHER_SIZE = (5, 3)

# Pixels up to which is looked for the frame sizes that an exported graph holds for
LARGEST_SIDE = 4096

# Mean difference from the last frame below which a network only repeats it
STILL = 1e-4


def export_model(
    checkpoint: Checkpoint,
    path: Path,
    request: ExportRequest | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda work: None,
) -> ExportReport:
    """Write the network as .onnx, .pt2, .torchscript or .safetensors, checked against PyTorch.

    `path` is one that `check_kind` accepts. `tell` is called with what is done next. The file is
    loaded again and run on moving blobs at batch sizes 1 and 3, and where other frame sizes fit at
    a second one.

    Raises OutputError for a target that exists or cannot be written, ExportMismatchError when a
    frame differs by more than 1e-3 (half precision: 2e-2), ResourceError for lack of memory or
    disk; then nothing is left on disk.
    """
    request, suffix = request or ExportRequest(), path.suffix.lower()
    kind, (save, load) = KINDS[suffix], MODEL_FORMATS[suffix]
    export = _prepare_export(checkpoint, kind, request)
    targets = request.files(path)
    tell("forecasting with PyTorch, to compare with")
    with explained_memory("use a smaller --size"):
        contexts = list(_contexts(export))
        rollouts = (rollout(export.network, context, export.horizon) for context in contexts)
        expected = [torch.stack([*frames], dim=1) for frames in rollouts]
    with (
        explained_write(path, "model"),
        explained_memory("use a smaller --size"),
        quiet(),
        workplace(path.parent) as folder,
        torch.no_grad(),
    ):
        written = folder / path.name
        tell(f"writing {kind.title}")
        save(export, written)
        tell(f"checking {kind.title} against PyTorch")
        difference = _largest_difference(load(written), export.horizon, contexts, expected)
        tolerance = HALF_TOLERANCE if request.half else TOLERANCE
        if difference is not None and not difference <= tolerance:
            raise ExportMismatchError(
                f"{path}: {kind.title} gives frames that differ from PyTorch's by up to "
                f"{difference:.2g}, more than {tolerance:g}",
                remedy="nothing was written; choose another format",
            )
        for target in targets:
            check_target(target, "model", overwrite)
        for target in targets:
            (written.parent / target.name).replace(target)
    # A network whose head is still zero agrees with PyTorch whatever the graph does inside
    repeats = all(
        (frames - context[:, -1:]).abs().mean() < STILL
        for frames, context in zip(expected, contexts, strict=True)
    )
    notes = tuple(_export_notes(export, difference, repeats))
    return ExportReport(tuple(targets), notes, difference, snippet(path, export))


def moving_blobs(
    batch: int, length: int, channels: int, height: int, width: int, seed: int = 0
) -> Tensor:
    """Smooth blobs in steady motion: (batch, length, channels, height, width) in [0, 1].

    Each sequence and channel has its own three, up to 2 pixels per frame fast.
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


def _prepare_export(checkpoint: Checkpoint, kind: ModelKind, request: ExportRequest) -> Export:
    data, clip = checkpoint.config.data, checkpoint.clip
    horizon = int(data.horizon) if request.horizon is None else request.horizon
    length = data.context_length if request.context_length is None else request.context_length
    size = request.frame_size or (clip["height"], clip["width"])
    network = checkpoint.forecaster().requires_grad_(False)
    sides = (size, size)
    if kind.any_size and not checkpoint.config.model.traits.tied_to_size:
        sides = _sides(network, size) if kind.is_graph else ((1, 1), 2 * (LARGEST_SIDE,))
    metadata = {
        "framecast_version": __version__,
        "kind": "step" if request.step else "rollout",
        "model": checkpoint.config.model.name,
        "context_length": str(length),
        "horizon": str(horizon),
        "frame_step": str(data.frame_step),
        "channels": str(clip["channels"]),
        "color_order": "gray" if clip["channels"] == 1 else "RGB",
        "height": str(size[0]),
        "width": str(size[1]),
        **({"sides": json.dumps(sides)} if kind.is_graph else {}),
        "value_range": "[0, 1]",
        "axes": "batch, time, channels, height, width",
        "weights": "float16" if request.half else "float32",
        "config": json.dumps(to_dict(checkpoint.config)),
        "clip": json.dumps(dict(clip)),
    }
    context_BTCHW = moving_blobs(TRACED_BATCH, length, clip["channels"], *size)
    return Export(request, kind, checkpoint, network, context_BTCHW, horizon, sides, metadata)


def _sides(network: Forecaster, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The smallest and the largest (H, W) such that a graph traced at `size` holds for all between.

    What a graph specialises on grows with H and with W, so that it is the same in a whole rectangle
    of sizes when it is the same in its first and last corner.
    """
    traced = network.graph_of(*size)

    def moved(step: int) -> tuple[int, int]:
        """The last size with the same graph: both sides by one as long as it goes, then each."""
        corner = size
        # Both sides first, so that a square traced size gives about square bounds
        for axes in ((1, 1), (0, 1), (1, 0)):
            while True:
                further = (corner[0] + step * axes[0], corner[1] + step * axes[1])
                possible = all(1 <= side <= LARGEST_SIDE for side in further)
                if not possible or network.graph_of(*further) != traced:
                    break
                corner = further
        return corner

    return moved(-1), moved(1)


def _contexts(export: Export) -> Iterator[Tensor]:
    """Contexts of each checked batch size, the last of another frame size where that fits."""
    *shape, height, width = export.context_BTCHW.shape[1:]
    # Not the batch that was traced: a size that became a constant shows
    for batch in CHECKED_BATCHES:
        yield moving_blobs(batch, *shape, height, width, seed=batch)
    # Larger where the file holds for that, else smaller
    other = tuple(
        side + more if side + more <= most else max(side - more, least)
        for side, more, least, most in zip((height, width), OTHER_SIZE, *export.sides, strict=True)
    )
    if other != (height, width):
        yield moving_blobs(CHECKED_BATCHES[0], *shape, *other)


def _largest_difference(
    run: Run | None, horizon: int, contexts: list[Tensor], expected: list[Tensor]
) -> float | None:
    """How far exported frames are from PyTorch's at most; infinite for frames of another shape."""
    if run is None:
        return None
    largest = 0.0
    for context_BTCHW, expected_BTCHW in zip(contexts, expected, strict=True):
        found_BTCHW = run(context_BTCHW, horizon)
        if found_BTCHW.shape != expected_BTCHW.shape:
            return math.inf
        difference = (found_BTCHW - expected_BTCHW).abs().max().item()
        # max() would drop a NaN, depending on its place.
        largest = math.inf if math.isnan(difference) else max(largest, difference)
    return largest


def _export_notes(export: Export, difference: float | None, repeats: bool) -> Iterator[str]:
    if export.kind.is_graph:
        yield _taken(export)
    else:
        height, width = export.sides[1]
        sizes = "of any size" if export.free_size else f"of {height}x{width} only"
        yield f"holds weights and settings, which framecast reads, for frames {sizes}"
    if difference is None:
        yield (
            "not checked against PyTorch: onnxruntime is not installed; run "
            'pip install "framecast[export]" and export again'
        )
    else:
        batches = " and ".join(map(str, CHECKED_BATCHES))
        half = ", weights in half precision" if export.request.half else ""
        yield f"differs from PyTorch by at most {difference:.1e} at batch sizes {batches}{half}"
    fallback = export.checkpoint.fallback
    if fallback is not None and export.kind.is_graph:
        yield (
            f"the network did not beat the {fallback} on the held-out frames of its training; the "
            f"file holds the network all the same, where `predict` with the run uses the {fallback}"
        )
    if repeats:
        yield (
            "this network repeats the last frame, as untrained ones do, so that its export was "
            "hardly put to the test"
        )


def _taken(export: Export) -> str:
    """What the graph in the file is fed with."""
    length, channels, height, width = export.context_BTCHW.shape[1:]
    shape, free = f"{height}, {width}", "any B"
    if export.free_size:
        rows, columns = (f"{low} to {high}" for low, high in zip(*export.sides, strict=True))
        sides = f"H and W from {rows}" if rows == columns else f"H from {rows}, W from {columns}"
        shape, free = "H, W", f"any B, {sides}"
    return f"takes context (B, {length}, {channels}, {shape}), float32 in [0, 1], {free}"
