"""What a training run will do, worked out from headers alone: sizes, windows, batches. No torch."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

from framecast.config import Config
from framecast.errors import ResourceError, SourceError
from framecast.nn.rows import FLOAT_BYTES, totals
from framecast.nn.trace import state_numbers, trace_network
from framecast.nn.widths import smallest_tile, spans, tile_overlap, tile_unit
from framecast.sections import DataConfig, ModelConfig
from framecast.video.sizes import target_size
from framecast.windows import ClipLength, Split, Window, plan_split

if TYPE_CHECKING:
    from framecast.video.base import SourceInfo

BATCH_PIXELS = 3 * 224 * 224
"""Pixels per time step in a batch of automatic size."""

VALIDATION_WINDOWS, VALIDATION_BATCHES = (4, 16), 12
"""Held-out windows scored after every epoch, evenly spread: as many as hold the pixels of this many
batches, but no fewer and no more than these."""

STEPS_PER_EPOCH = (20, 100)
"""Bounds of an automatic epoch, which else shows as many pixels as the training windows hold."""


@dataclass(frozen=True)
class Plan:
    """A run before it starts: `config` has the automatic horizon, split and batches filled in.

    For a network tied to its frame size it says that size too, and that crops are whole frames.

    `sizes` are the (H, W) each clip is trained at, `crop` the (H, W) of a training sample,
    `validation` the windows scored after every epoch.
    """

    config: Config
    infos: tuple[SourceInfo, ...]
    sizes: tuple[tuple[int, int], ...]
    channels: int
    split: Split
    crop: tuple[int, int]
    validation: tuple[Window, ...]

    @property
    def batch_size(self) -> int:
        return int(self.config.train.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        return int(self.config.train.steps_per_epoch)


def make_plan(infos: Sequence[SourceInfo], config: Config) -> Plan:
    """Plan a run over these clips.

    Raises SourceError when the clips disagree in colour, or in size for a network tied to one, or
    are too few or too short for two windows.
    """
    channels = common_channels(infos, config.data.color)
    sizes = tuple(target_size(info.height, info.width, config.data.resize) for info in infos)
    if config.model.tied_to_size:
        config = replace(config, data=_one_size(config, infos, sizes))
    crop = training_crop(sizes, config.data.crop)
    split = plan_split(
        [ClipLength(info.frames, info.breaks) for info in infos],
        config.data,
        seed=config.train.seed,
    )
    batch_size = resolve_batch(config.train.batch_size, crop)
    steps = config.train.steps_per_epoch
    if steps == "auto":
        areas = (sizes[window.clip] for window in split.train)
        samples = sum(math.ceil(area[0] * area[1] / (crop[0] * crop[1])) for area in areas)
        steps = min(max(math.ceil(samples / batch_size), STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    resolved = replace(
        config,
        data=replace(
            config.data,
            horizon=split.horizon,
            split=split.mode,
        ),
        train=replace(config.train, batch_size=batch_size, steps_per_epoch=steps),
    )
    area = max(height * width for height, width in sizes)
    fewest, most = VALIDATION_WINDOWS
    scored = min(max(VALIDATION_BATCHES * BATCH_PIXELS // area, fewest), most)
    validation = spread(split.validation, scored)
    return Plan(resolved, tuple(infos), sizes, channels, split, crop, validation)


def _one_size(
    config: Config, infos: Sequence[SourceInfo], sizes: Sequence[tuple[int, int]]
) -> DataConfig:
    """Fix the one size that all clips have, for those predicted later too."""
    made = f"{sizes[0][0]}x{sizes[0][1]}"
    for info, (height, width) in zip(infos, sizes, strict=True):
        if (height, width) != sizes[0]:
            raise SourceError(
                f"{config.model.name} is tied to one frame size, but {infos[0].path} has {made} "
                f"and {info.path} has {height}x{width}",
                remedy=f"bring all to one size with --resize {made}, or use --model convlstm",
            )
    return replace(config.data, resize=made, crop=0)


def training_crop(sizes: Sequence[tuple[int, int]], side: int) -> tuple[int, int]:
    """Height and width of the crops: squares of `side`, no larger than any frame; 0: as large."""
    rows, columns = zip(*sizes, strict=True)
    side = side or max(*rows, *columns)
    return min(side, *rows), min(side, *columns)


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
            if model.tied_to_size
            else "use smaller model.filters",
        )


def check_batch(plan: Plan) -> None:
    """Raise ResourceError when a training batch keeps more for its backward pass than memory holds.

    Counts float32 on the CPU. Passes where the system does not tell how much memory it has.
    """
    height, width = plan.crop
    sums = totals(
        trace_network(
            plan.config.model,
            batch=plan.batch_size,
            context_length=plan.config.data.context_length,
            horizon=plan.split.horizon,
            channels=plan.channels,
            height=height,
            width=width,
        )
    )
    needed, memory = sums.training_bytes + sums.optimizer_bytes, machine_memory()
    if memory is not None and needed > memory:
        raise ResourceError(
            f"a training batch of {plan.batch_size} crops of {height} x {width} takes "
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
    while side >= smallest_tile(model) and not model.tied_to_size:
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


def machine_memory() -> int | None:
    """Bytes of memory that this machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def resolve_batch(setting: int | Literal["auto"], crop: tuple[int, int]) -> int:
    """Windows in a batch; "auto": 2 to 16, so that it shows about BATCH_PIXELS."""
    if setting != "auto":
        return setting
    return min(max(BATCH_PIXELS // (crop[0] * crop[1]), 2), 16)


def common_channels(infos: Sequence[SourceInfo], color: str) -> int:
    """Channels all clips are worked on in; SourceError when `color` is auto and theirs differ."""
    if color != "auto":
        return 1 if color == "gray" else 3
    kinds = {info.channels: info for info in infos}
    if len(kinds) > 1:
        raise SourceError(
            f"{kinds[1].path} is grey and {kinds[3].path} is in colour",
            remedy="choose one for all with --color gray or --color rgb",
        )
    return next(iter(kinds))


def spread(windows: Sequence[Window], most: int) -> tuple[Window, ...]:
    """At most `most` of the windows, evenly spread from the first to the last; of one the first."""
    if len(windows) <= most:
        return tuple(windows)
    gaps = max(most - 1, 1)
    return tuple(windows[round(number * (len(windows) - 1) / gaps)] for number in range(most))
