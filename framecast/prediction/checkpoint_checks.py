"""Checks of a model file's contents before anything is built from it.

A model file may come from a stranger. `weights_only` keeps code out; these checks keep out values
that no training writes, such as a network of 10^12 weights, before memory is taken for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from framecast.config.schema import ModelConfig
from framecast.data.training_frames import TrainedClip
from framecast.nn.cost_model.network import forecast_totals

DTYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.uint8, torch.bool),
)
"""Types of weights and buffers; float8 and quantised tensors lack basic operations."""

SIDES = range(1, 65_537)
"""Pixels along a side of the frames trained on."""


def check_clip(clip: Any) -> None:
    """Raise ValueError unless `clip` describes frames: channels, height, width."""
    if not isinstance(clip, dict):
        raise ValueError("clip: expected channels, height and width")
    for name, values in (("channels", (1, 3)), ("height", SIDES), ("width", SIDES)):
        # True is an int to isinstance, and would be one channel.
        if type(clip.get(name)) is not int or clip[name] not in values:
            raise ValueError(f"clip: {name} is {clip.get(name)!r:.40}")


def check_scores(scores: Any) -> None:
    """Raise ValueError unless `scores` are numbers by name."""
    if not isinstance(scores, dict) or not all(
        isinstance(name, str) and type(score) in (int, float) for name, score in scores.items()
    ):
        raise ValueError("scores: expected numbers by name")


def check_tensor(name: Any, tensor: Any) -> None:
    """Raise ValueError unless this is a plain, finite tensor with a name."""
    # Not isinstance: a subclass may answer any of the questions below as it likes.
    if not isinstance(name, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
        raise ValueError("weights: expected tensors by name")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"{name} is no plain tensor")
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{name} has the type {tensor.dtype}")
    # Expanded tensors take up a single element, whatever their shape.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} has more elements than are stored")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds NaN or infinite weights")


def check_weights(weights: Any, model: ModelConfig, clip: dict[str, int]) -> None:
    """Raise ValueError unless these are finite tensors, and about as many as the network needs.

    Their shapes are checked when the network is built from them.
    """
    if not isinstance(weights, dict) or not weights:
        raise ValueError("weights: expected tensors by name")
    for name, tensor in weights.items():
        check_tensor(name, tensor)
    held = sum(tensor.numel() for tensor in weights.values())
    layers, size = len(model.filters) + len(model.units), (clip["height"], clip["width"])
    # Layers first, since a million of them take minutes to add up. Twice: room for what a later
    # network may share between its layers.
    if (
        layers > len(weights)
        or forecast_totals(model, clip["channels"], size).parameters > 2 * held
    ):
        raise ValueError(f"the settings describe a far larger network than {held:,} weights")


def trained_clips(clips: Any) -> tuple[TrainedClip, ...] | None:
    """The training clips that a file lists, None where it lists none; ValueError for others."""
    if not isinstance(clips, list | None):
        raise ValueError("trained_on: expected a list of clips")
    return None if clips is None else tuple(map(_trained_clip, clips))


def _trained_clip(clip: Any) -> TrainedClip:
    if not isinstance(clip, dict):
        raise ValueError("trained_on: expected a list of clips")
    texts = [clip["name"], clip["content"], *clip["files"]]
    ends = [end for pair in clip["frames"] for end in pair]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("trained_on: expected names and digests")
    if len(ends) != 2 * len(clip["frames"]) or not all(type(end) is int for end in ends):
        raise ValueError("trained_on: expected pairs of frame numbers")
    frames = tuple((start, stop) for start, stop in clip["frames"])
    # 2^40 frames would last a thousand years at 30 per second.
    if any(not 0 <= start < stop < 2**40 for start, stop in frames):
        raise ValueError("trained_on: frame numbers out of order")
    return TrainedClip(clip["name"], clip["content"], frames, tuple(clip["files"]))
