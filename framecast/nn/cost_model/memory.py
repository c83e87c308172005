"""Refusals of networks that need more memory than the machine has. Does not import torch."""

from __future__ import annotations

from framecast.config.schema import ModelConfig
from framecast.errors import ResourceError
from framecast.nn.cost_model.network import forecast_totals
from framecast.nn.forecasters.grid import SMALLEST_TILE
from framecast.nn.shapes import FLOAT_BYTES
from framecast.runtime.memory import machine_memory
from framecast.runtime.text import counted, show_bytes


def check_weight_memory(model: ModelConfig, channels: int, size: tuple[int, int]) -> None:
    """Raise ResourceError when the weights alone cannot be trained on this machine.

    `size` is the (H, W) trained at.
    """
    # Weights do not depend on the batch or the lengths
    sums = forecast_totals(model, channels, size)
    smaller = "use smaller model.filters"
    if model.traits.tied_to_size:
        smaller = "use a smaller --resize or model.units, or --model convlstm"
    what = f"{model.name} on frames of {size[0]} x {size[1]} has {sums.parameters:,} parameters"
    _refuse_above_memory(f"{what}, whose training takes", sums.optimizer_bytes, smaller)


def check_batch(
    model: ModelConfig, channels: int, size: tuple[int, int], *, batch: int, **lengths: int
) -> None:
    """Raise ResourceError when a training batch saves more for its backward pass than memory holds.

    `lengths` are `context_length` and `horizon`. Counts float32 on the CPU.
    """
    sums = forecast_totals(model, channels, size, batch=batch, **lengths)
    what = f"a training batch of {counted(batch, 'crop')} of {size[0]} x {size[1]} takes about"
    needed = sums.training_bytes + sums.optimizer_bytes
    _refuse_above_memory(what, needed, "use a smaller --batch-size or --crop")


def _refuse_above_memory(what: str, needed: int, remedy: str) -> None:
    memory = machine_memory()
    # A system that does not report its memory refuses nothing
    if memory is not None and needed > memory:
        text = f"{what} {show_bytes(needed)}; this machine has {show_bytes(memory)}"
        raise ResourceError(text, remedy=remedy)


def fitting_tile(
    model: ModelConfig,
    channels: int,
    size: tuple[int, int],
    *,
    context_length: int,
    horizon: int,
    memory: int,
) -> int | None:
    """Side of tiles whose forecast fits into `memory` bytes; None if whole frames (H, W) do.

    Halves the longest side until it fits. Raises ResourceError when not even the smallest tiles
    fit, or whole frames of a network tied to its frame size.
    """
    length = {"context_length": context_length}
    whole = forecast_totals(model, channels, size, **length).prediction_bytes
    if whole <= memory:
        return None
    # Tiles or not, the context and all forecast frames are there at once.
    frames = FLOAT_BYTES * (context_length + horizon) * channels * size[0] * size[1]
    # Halving finds a side within a factor of two of the largest, in few evaluations
    side = max(size) // 2
    while side >= SMALLEST_TILE and not model.traits.tied_to_size:
        tile = (min(side, size[0]), min(side, size[1]))
        needed = forecast_totals(model, channels, tile, **length).prediction_bytes
        if frames + needed <= memory:
            return side
        side //= 2
    raise ResourceError(
        f"predicting {counted(horizon, 'frame')} of {size[0]} x {size[1]} takes "
        f"{show_bytes(whole)} whole and more than the {show_bytes(memory)} there are in tiles",
        remedy="use a smaller --horizon, or train with a smaller --resize",
    )
