"""The tensors of a clip from its file to the forecast, without running anything.

Based on the plan and the network's cost model, both plain integers; only a checkpoint needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.config.loading import Config, load_config
from framecast.data.plan import Plan, common_channels, make_plan, resolve_batch, training_crop
from framecast.data.windows import LONGEST_AUTO_HORIZON, WindowShape
from framecast.errors import ResourceError, SourceError, UsageError
from framecast.inspection.sizes import show_millions
from framecast.inspection.tensor_table import Inspection, Sections
from framecast.nn.cost_model.memory import check_weight_memory
from framecast.nn.cost_model.network import forecast_cost
from framecast.nn.cost_model.tensors import Axes, LayerRecord, Totals, axes, totals
from framecast.nn.forecasters.grid import grid_size, padding_unit, patch_of
from framecast.prediction.model_files import PRETRAINED, names_model
from framecast.runtime.text import counted, listed, show_bytes
from framecast.video.frame_size import parse_size, target_size

if TYPE_CHECKING:
    from framecast.video.readers.base import SourceInfo

# Height and width assumed if neither frames nor a size are given
EXAMPLE_SIZE = (64, 64)


def inspect_target(
    target: Path | None,
    config: Path | None = None,
    overrides: Sequence[str | tuple[str, object, str]] = (),
    frame: str | None = None,
    channels: int | None = None,
) -> Inspection:
    """Inspect frames, a model (a .pt file or run folder), a YAML file, or the settings alone.

    `frame` ("96x160") and `channels` (1 or 3) stand in for frames that are not given.
    Raises UsageError for arguments that exclude each other, and what opening the target raises.
    """
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels {channels}: frames have 1 (grey) or 3 (RGB)")
    given = parse_size(frame, "--size: expected HEIGHTxWIDTH") if frame else None
    if target is not None and names_model(target):
        if config is not None or overrides:
            raise UsageError(
                f"{target}: a model brings its own settings", remedy="leave out --config and --set"
            )
        return _inspect_model(target, given, channels)
    if target is not None and {".yaml", ".yml"} & set(target.suffixes):
        if config is not None:
            raise UsageError(f"two settings files: {target} and {config}", remedy="give one")
        target, config = None, target
    settings = load_config(config, overrides)
    if target is None:
        return inspect_settings(settings, given, channels)
    if given or channels:
        raise UsageError(
            f"--size and --channels stand in for frames, and {target} is given",
            remedy="use --set data.resize=... and --set data.color=...",
        )
    from framecast.video.readers.open import (  # noqa: PLC0415  (readers are slow to load)
        open_sources,
        read_options,
    )

    sources = open_sources([target], **read_options(settings.data))
    return inspect_clips([source.info for source in sources], settings)


def inspect_clips(infos: Sequence[SourceInfo], config: Config) -> Inspection:
    """Inspect a run over clips with these settings, from the clips' headers alone.

    Too short clips become a warning. Raises SourceError when clips disagree in colour.
    """
    channels = common_channels(infos, config.data.color)
    warnings, plan, horizon = [], None, config.data.horizon
    try:
        plan = make_plan(infos, config)
        horizon = plan.split.shape.horizon
        unused = [infos[number].path for number in plan.split.unused]
        if unused:
            warnings.append(
                f"too short for a window of {plan.split.shape.span} frames, not used: "
                f"{listed(unused)}; "
                "lower data.horizon, data.context_length or data.frame_step"
            )
    except SourceError as error:
        warnings.append(str(error))
    sizes = [target_size(info.height, info.width, config.data.resize) for info in infos]
    size, largest = max(zip(sizes, infos, strict=True), key=lambda each: math.prod(each[0]))
    crop, horizon = training_crop(sizes, _crop_side(config)), 1 if horizon == "auto" else horizon
    stored = (largest.height, largest.width)
    run = _Run(config, channels, size, crop, horizon, stored, largest.dtype)
    data = {"clips": _clip_lines(infos, sizes, channels), "windows": _window_lines(run, plan)}
    notes = [note for info in infos for note in info.notes]
    return run.inspection(data, warnings, notes)


def inspect_settings(
    config: Config, frame: tuple[int, int] | None = None, channels: int | None = None
) -> Inspection:
    """Inspect a run over frames of an assumed size; the notes say what is assumed."""
    notes = []
    if frame is None:
        assumed = f"{_by(EXAMPLE_SIZE)} pixels assumed, --size HxW changes that"
        notes.append(f"no frames given: {assumed}")
    if channels is None:
        channels = 3 if config.data.color == "rgb" else 1
        if config.data.color == "auto":
            notes.append("no frames given: 1 channel (grey) assumed, --channels 3 is RGB")
    horizon = config.data.horizon
    if horizon == "auto":
        horizon = LONGEST_AUTO_HORIZON
        notes.append(f"data.horizon auto: {horizon} assumed, short clips get less")
    stored = frame or EXAMPLE_SIZE
    worked = target_size(*stored, config.data.resize)
    crop = training_crop([worked], _crop_side(config))
    run = _Run(config, channels, worked, crop, horizon, stored, "uint8")
    return run.inspection({"windows": _window_lines(run, None)}, [], notes)


def _crop_side(config: Config) -> int:
    return 0 if config.model.traits.tied_to_size else config.data.crop


def _inspect_model(target: Path, frame: tuple[int, int] | None, channels: int | None) -> Inspection:
    from framecast.prediction.checkpoint import load_checkpoint  # noqa: PLC0415  (imports torch)

    checkpoint = load_checkpoint(target)
    clip = checkpoint.clip
    if channels not in (None, clip["channels"]) and str(target) != PRETRAINED:
        raise UsageError(
            f"--channels {channels}: {target} was trained on {clip['channels']}",
            remedy="leave it out",
        )
    return inspect_settings(
        checkpoint.config, frame or (clip["height"], clip["width"]), channels or clip["channels"]
    )


_PHASES = {
    "encode": "network: encode the context (training batch)",
    "step": "network: step, once for each lead time",
}


@dataclass(frozen=True)
class _Run:
    """Everything that the tensors' sizes depend on; `frame`, `crop` and `stored` are (H, W).

    `frame` is the largest one after resizing, `stored` and `dtype` are those of its clip.
    """

    config: Config
    channels: int
    frame: tuple[int, int]
    crop: tuple[int, int]
    horizon: int
    stored: tuple[int, int]
    dtype: str

    @property
    def batch(self) -> int:
        return resolve_batch(self.config.train.batch_size, self.crop)

    def cost(self, batch: int, frame: tuple[int, int]) -> tuple[LayerRecord, ...]:
        length = self.config.data.context_length
        lengths = {"context_length": length, "horizon": self.horizon}
        return forecast_cost(self.config.model, self.channels, frame, batch=batch, **lengths)

    def inspection(self, data: Sections, warnings: list[str], notes: list[str]) -> Inspection:
        training, prediction = self.cost(self.batch, self.crop), self.cost(1, self.frame)
        sections = {**data, f"training batch of {self.batch}": self._batch_lines()}
        for phase, title in _PHASES.items():
            sections[title] = [each for each in training if each.phase == phase]
        sections["prediction of one clip, whole frames"] = self._forecast_lines(prediction)
        figures = _figures(totals(training), totals(prediction), self.batch)
        return Inspection(sections, figures, (*warnings, *self._warnings()), tuple(notes))

    def _batch_lines(self) -> list[LayerRecord]:
        sample = (self.channels, *self.crop)
        context = axes("BTCHW", self.batch, self.config.data.context_length, *sample)
        target = axes("BTCHW", self.batch, self.horizon, *sample)
        return [
            _line("context", "frames the network sees, in [0, 1]", context),
            _line("target", "frames it is compared with, in [0, 1]", target),
        ]

    def _forecast_lines(self, prediction: tuple[LayerRecord, ...]) -> list[LayerRecord]:
        length = self.config.data.context_length
        context = axes("BTCHW", 1, length, self.channels, *self.frame)
        # The fully connected LSTM has no grid to pad to.
        pads = [record for record in prediction if record.name == "pad_to_grid"][:1]
        cropped = "padding cropped off, in [0, 1]" if pads else "in [0, 1]"
        scaled = "scaled back to" if self.stored != self.frame else "at"
        written = axes("TCHW", self.horizon, self.channels, *self.stored)
        return [
            _line("context", "the clip's last frames, in [0, 1]", context),
            *pads,
            _line("frame", cropped, prediction[-1].output, calls=self.horizon),
            _line("output", f"pixels, {scaled} the clip's own size", written, dtype=self.dtype),
        ]

    def _warnings(self) -> list[str]:
        model, found = self.config.model, []
        patch = patch_of(model)
        cause = f"the coarsest cell of {model.name}" if model.traits.patch else "model.patch"
        # Where crops are whole frames, the size has one warning
        for frame, what in {self.crop: "training crops", self.frame: "frames"}.items():
            unit = padding_unit(model, *frame)
            bottom, right = (-side % unit for side in frame)
            added = [f"{counted(bottom, 'row')} at the bottom"] if bottom else []
            added += [f"{counted(right, 'column')} at the right"] if right else []
            if added:
                found.append(
                    f"{what} of {_by(frame)} are padded by {' and '.join(added)}, since {cause} is "
                    f"{unit}{_unpadded(frame, unit, crops=what != 'frames')}"
                )
        grid, kernel = grid_size(*self.crop, patch), max(model.kernel_sizes)
        if min(grid) < kernel and not model.traits.tied_to_size:
            found.append(
                f"training samples of {_by(self.crop)} pixels are {_by(grid)} cells, less than "
                f"the {kernel} x {kernel} kernel covers; use a smaller "
                + ("model.kernel_size" if model.traits.patch else "model.patch")
            )
        if self.config.data.context_length == 1 and model.traits.uses_motion:
            found.append(
                f"one context frame shows no motion, so {model.name} starts from standstill; "
                "set data.context_length to 2 or more, or model.name to convlstm"
            )
        # The same sentence as the refusal of `train`
        try:
            check_weight_memory(model, self.channels, self.crop)
        except ResourceError as error:
            found.append(str(error))
        return found


def _unpadded(frame: tuple[int, int], patch: int, *, crops: bool) -> str:
    whole = [side // patch * patch for side in frame]
    if not all(whole):
        return "; use larger frames or a smaller model.patch"
    if crops:
        return f"; data.crop={min(whole)} needs none"
    return f"; data.resize={whole[0]}x{whole[1]} needs none"


def _clip_lines(
    infos: Sequence[SourceInfo], sizes: Sequence[tuple[int, int]], channels: int
) -> list[LayerRecord]:
    """Stored and resized frames of the first clip of each size, depth and colour."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, info in enumerate(infos):
        groups.setdefault((info.height, info.width, info.channels, info.dtype), []).append(number)
    lines = []
    for first, *others in groups.values():
        info, shape = infos[first], sizes[first]
        more = f" and {counted(len(others), 'more clip')} like it" if others else ""
        count = "" if info.exact else ", frames as its header says"
        stored = axes("TCHW", info.frames, info.channels, info.height, info.width)
        lines.append(_line(info.name, f"{info.kind}{more}{count}", stored, dtype=info.dtype))
        changes = ["resized"] if shape != (info.height, info.width) else []
        changes += [] if channels == info.channels else ["grey" if channels == 1 else "RGB"]
        worked = axes("TCHW", info.frames, channels, *shape)
        operation = ", ".join(changes) or "size and colours stay"
        lines.append(_line("frames", operation, worked, stored, dtype=info.dtype))
    return lines


def _window_lines(run: _Run, plan: Plan | None) -> list[LayerRecord]:
    data = run.config.data
    length = data.context_length + run.horizon
    span = WindowShape(data.context_length, run.horizon, data.frame_step).span
    operation = f"{data.context_length} + {run.horizon} frames, {span} on the time axis"
    if plan is not None:
        train, held_out = len(plan.split.train), len(plan.split.validation)
        operation += f"; {train} to train on, {held_out} held out by {plan.split.mode}"
        operation += ", fewer if scenes are cut" if data.scene_cuts else ""
    whole, cropped = (axes("TCHW", length, run.channels, *frame) for frame in (run.frame, run.crop))
    cut = "a random crop" if run.crop != run.frame else "whole frames"
    return [
        _line("window", operation, whole, dtype=run.dtype),
        _line("sample", f"{cut} to train on", cropped, whole, dtype=run.dtype),
    ]


def _line(name: str, operation: str, output: Axes, source: Axes = (), **fields: Any) -> LayerRecord:
    """A tensor outside the network: frames before or after it."""
    return LayerRecord("", name, operation, source, output, **fields)


def _figures(training: Totals, prediction: Totals, batch: int) -> tuple[tuple[str, int, str], ...]:
    trained, predicted = (
        f"{show_millions(each.macs)} multiply-adds" for each in (training, prediction)
    )
    trained += " in convolutions and dense layers of one training forward pass "
    saved = "about {} saved for the backward pass of a batch, float32"
    held = "{} for weights, gradients, optimizer and averaged weights"
    live = "about {} of tensors at most while predicting, float32, weights and PyTorch's own "
    found = (
        ("parameters", training.parameters, f"{training.parameters:,} parameters"),
        ("weight_bytes", training.weight_bytes, "{} of weights"),
        ("training_macs", training.macs, f"{trained}({counted(batch, 'window')})"),
        ("training_activation_bytes", training.training_bytes, saved),
        ("training_weight_bytes", training.optimizer_bytes, held),
        ("prediction_macs", prediction.macs, f"{predicted} to predict one clip"),
        ("prediction_bytes", prediction.prediction_bytes, f"{live}buffers apart"),
    )
    return tuple((key, value, text.format(show_bytes(value))) for key, value, text in found)


def _by(frame: tuple[int, int]) -> str:
    return f"{frame[0]} x {frame[1]}"
