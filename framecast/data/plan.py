"""The plan of a training run, from headers alone: sizes, windows, batches. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from framecast.config.loading import Config
from framecast.config.schema import DataConfig
from framecast.data.windows import ClipLength, Split, Window, plan_split, spread
from framecast.errors import SourceError
from framecast.runtime.text import counted
from framecast.video.frame_size import AUTO_LONGEST_SIDE, target_size

if TYPE_CHECKING:
    from framecast.video.readers.base import SourceInfo


# Pixels per time step in what is scored together.
BATCH_PIXELS = 3 * 224 * 224

# The same in a training batch of automatic size: on a CPU a few minutes are a few dozen steps, and
# three times as many steps with a third of the windows learn more from a clip.
STEP_PIXELS = 224 * 224

# Held-out windows scored after every epoch, evenly spread: as many as hold the pixels of this many
# batches, but no fewer and no more than these.
VALIDATION_WINDOWS, VALIDATION_BATCHES = (4, 16), 12

# Training windows that a network's start is fitted on: as many as have about these pixels in a
# frame, but no fewer and no more than these, evenly from every clip.
FITTING_WINDOWS, FITTING_PIXELS = (6, 96), 48 * 256 * 256

# Budget from which on frames are worked at the usual size, and the smallest side they get below it,
# in pixels.
FULL_SIZE_MINUTES, SMALLEST_AUTO_SIDE = 5.0, 96

# Bounds of an automatic epoch, which otherwise shows the pixels that the training windows hold.
STEPS_PER_EPOCH = (50, 300)


@dataclass(frozen=True)
class Plan:
    """A run before it starts: `config` has the automatic horizon, split and batches filled in.

    For a network tied to its frame size it also states that size, and that crops are whole frames.

    `sizes` are the (H, W) each clip is trained at, `crop` the (H, W) of a training sample,
    `validation` the windows scored after every epoch, `notes` what the user should know of it.
    """

    config: Config
    infos: tuple[SourceInfo, ...]
    sizes: tuple[tuple[int, int], ...]
    channels: int
    split: Split
    crop: tuple[int, int]
    validation: tuple[Window, ...]
    notes: tuple[str, ...] = ()

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
    config, notes = sized_for_budget(infos, config)
    sizes = tuple(target_size(info.height, info.width, config.data.resize) for info in infos)
    if config.model.traits.tied_to_size:
        config = replace(config, data=_one_size(config, infos, sizes))
    split = plan_split(
        [ClipLength(info.frames, info.breaks, info.first) for info in infos],
        config.data,
        seed=config.train.seed,
    )
    # A clip too short to be used says nothing about the size of crops.
    used = [size for number, size in enumerate(sizes) if number not in split.unused]
    crop = training_crop(used, config.data.crop)
    batch_size = resolve_batch(config.train.batch_size, crop)
    steps = config.train.steps_per_epoch
    if steps == "auto":
        areas = (sizes[window.clip] for window in split.train)
        # A large frame takes several crops to be seen once.
        samples = sum(math.ceil(area[0] * area[1] / (crop[0] * crop[1])) for area in areas)
        steps = min(max(math.ceil(samples / batch_size), STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    resolved = replace(
        config,
        data=replace(
            config.data,
            horizon=split.shape.horizon,
            split=split.mode,
            range=_common_range(infos) or config.data.range,
        ),
        train=replace(config.train, batch_size=batch_size, steps_per_epoch=steps),
    )
    # By the largest clip, so that validation takes its time at most.
    area = max(height * width for height, width in used)
    fewest, most = VALIDATION_WINDOWS
    scored = min(max(VALIDATION_BATCHES * BATCH_PIXELS // area, fewest), most)
    validation = spread(split.validation, scored)
    return Plan(resolved, tuple(infos), sizes, channels, split, crop, validation, notes)


def fitting_windows(plan: Plan) -> tuple[Window, ...]:
    """Some of the training windows, as many from each clip, so that no long clip dominates."""
    by_clip: dict[int, list[Window]] = {}
    for window in plan.split.train:
        by_clip.setdefault(window.clip, []).append(window)
    area = max(height * width for height, width in plan.sizes)
    fewest, most = FITTING_WINDOWS
    wanted = min(max(FITTING_PIXELS // area, fewest), most)
    each = -(-wanted // len(by_clip))  # rounded up
    return spread([w for windows in by_clip.values() for w in spread(windows, each)], wanted)


def sized_for_budget(infos: Sequence[SourceInfo], config: Config) -> tuple[Config, tuple[str, ...]]:
    """Reduce the automatic size if the budget has too few minutes for it; notes that say so."""
    minutes = config.train.minutes
    if config.data.resize != "auto" or minutes is None:
        return config, ()
    # Time goes with the number of pixels, the square of a side.
    scale = math.sqrt(minutes / FULL_SIZE_MINUTES)
    side = max(round(AUTO_LONGEST_SIDE * scale), SMALLEST_AUTO_SIDE)
    if side >= AUTO_LONGEST_SIDE or max(max(info.height, info.width) for info in infos) <= side:
        return config, ()
    note = (
        f"frames are shrunk to {side} pixels at most for training in "
        f"{counted(minutes, 'minute')}; forecasts have the clip's own size"
    )
    return replace(config, data=replace(config.data, resize=str(side))), (note,)


def _common_range(infos: Sequence[SourceInfo]) -> str | None:
    """The range of values that all clips are read with, which later clips need too.

    None where values are pixels already, or of several types.
    """
    ranges = {info.values for info in infos}
    values = ranges.pop()
    return None if ranges or values.is_whole_type or values.dtype == "bool" else values.text


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
    # One crop for all clips: the samples of a batch have one shape.
    side = side or max(*rows, *columns)
    return min(side, *rows), min(side, *columns)


def resolve_batch(setting: int | Literal["auto"], crop: tuple[int, int]) -> int:
    """Windows in a batch; "auto": 2 to 16, so that it shows about STEP_PIXELS."""
    if setting != "auto":
        return setting
    return min(max(STEP_PIXELS // (crop[0] * crop[1]), 2), 16)


def common_channels(infos: Sequence[SourceInfo], color: str) -> int:
    """Channels all clips are worked on in; SourceError when `color` is auto and theirs differ."""
    if color != "auto":
        return 1 if color == "gray" else 3
    kinds = {info.channels: info for info in infos}
    if len(kinds) > 1:
        raise SourceError(
            f"{kinds[1].path} is grey and {kinds[3].path} is in colour",
            remedy="choose one for all with --color gray or --color rgb "
            "(inspect-shapes: --set data.color=gray or rgb)",
        )
    return next(iter(kinds))
