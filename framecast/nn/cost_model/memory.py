"""What a network needs in memory, held against what the machine has. No torch."""

from __future__ import annotations

from collections import Counter
from itertools import product

from framecast.config.schema import ModelConfig
from framecast.errors import ResourceError
from framecast.nn.cost_model.network import state_numbers, trace_network
from framecast.nn.cost_model.tensors import totals
from framecast.nn.forecasters.grid import smallest_tile, spans, tile_overlap, tile_unit
from framecast.nn.shapes import FLOAT_BYTES
from framecast.runtime.memory import machine_memory


def check_memory(model: ModelConfig, channels: int, size: tuple[int, int]) -> None:
    """Raise ResourceError when the weights alone cannot be trained on this machine.

    `size` is the (H, W) trained at. Passes where the system does not tell how much memory it has.
    """
    height, width = size
    sums = totals(
        trace_network(
            model,
            batch=1,
            context_length=1,
            horizon=1,
            channels=channels,
            height=height,
            width=width,
        )
    )
    memory = machine_memory()
    if memory is not None and sums.optimizer_bytes > memory:
        raise ResourceError(
            f"{model.name} on frames of {height} x {width} has {sums.parameters:,} parameters, "
            f"whose training takes {sums.optimizer_bytes / 1e9:,.1f} GB; this machine has "
            f"{memory / 1e9:,.1f} GB",
            remedy="use a smaller --resize or model.units, or --model convlstm"
            if model.traits.tied_to_size
            else "use smaller model.filters",
        )


def check_batch(
    model: ModelConfig,
    *,
    batch: int,
    context_length: int,
    horizon: int,
    channels: int,
    size: tuple[int, int],
) -> None:
    """Raise ResourceError when a training batch saves more for its backward pass than memory holds.

    Counts float32 on the CPU. Passes where the system does not tell how much memory it has.
    """
    height, width = size
    sums = totals(
        trace_network(
            model,
            batch=batch,
            context_length=context_length,
            horizon=horizon,
            channels=channels,
            height=height,
            width=width,
        )
    )
    needed, memory = sums.training_bytes + sums.optimizer_bytes, machine_memory()
    if memory is not None and needed > memory:
        raise ResourceError(
            f"a training batch of {batch} crops of {height} x {width} takes "
            f"{needed / 1e9:,.1f} GB; this machine has {memory / 1e9:,.1f} GB",
            remedy="use a smaller --batch-size or --crop",
        )


def fitting_tile(
    model: ModelConfig, channels: int, size: tuple[int, int], context_length: int, memory: int
) -> int | None:
    """Side of tiles whose forecast fits into `memory` bytes; None where whole frames (H, W) do.

    Halves the longest side until it fits. Raises ResourceError when not even the smallest tiles
    fit, or whole frames of a network tied to its frame size.
    """
    whole = _whole_bytes(model, channels, size, context_length)
    if whole <= memory:
        return None
    side = max(size) // 2
    while side >= smallest_tile(model) and not model.traits.tied_to_size:
        if tiled_bytes(model, channels, size, context_length, side) <= memory:
            return side
        side //= 2
    raise ResourceError(
        f"predicting frames of {size[0]} x {size[1]} takes {whole / 1e9:,.1f} GB whole and more "
        f"than the {memory / 1e9:,.1f} GB there are in tiles",
        remedy="train with a smaller --resize",
    )


def tiled_bytes(
    model: ModelConfig, channels: int, size: tuple[int, int], context_length: int, side: int
) -> int:
    """Most bytes that a forecast of frames (H, W) in tiles of `side` takes, weights apart.

    Beside the tile under way those are the context, the frame that is put together, and what all
    tiles hold at the end of a step: how much each counts where, its state, and what of the state
    before it was another.
    """
    unit = tile_unit(model)
    side = side // unit * unit
    rows, columns = (
        Counter(end - start for start, end in spans(length, side, tile_overlap(side, unit), unit))
        for length in size
    )
    numbers = (context_length + 1) * channels * size[0] * size[1]
    for (height, down), (width, along) in product(rows.items(), columns.items()):
        state = state_numbers(model, channels=channels, height=height, width=width)
        numbers += down * along * (height * width + sum(state))
    tile = (min(side, size[0]), min(side, size[1]))
    return FLOAT_BYTES * numbers + _whole_bytes(model, channels, tile, context_length)


def _whole_bytes(
    model: ModelConfig, channels: int, size: tuple[int, int], context_length: int
) -> int:
    rows = trace_network(
        model,
        batch=1,
        context_length=context_length,
        horizon=1,
        channels=channels,
        height=size[0],
        width=size[1],
    )
    return totals(rows).prediction_bytes
