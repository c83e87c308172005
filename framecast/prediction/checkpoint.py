"""The one file format: a trained model, the settings it was trained with, and what resuming needs.

Plain data (dicts, numbers, strings, tensors) written by `torch.save` and read with `weights_only`,
so a file from a stranger cannot run code.
"""

from __future__ import annotations

import json
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framecast.config.loading import Config, from_dict, to_dict
from framecast.data.training_frames import TrainedClip
from framecast.errors import CheckpointError, ConfigError, ResourceError
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint_checks import (
    check_clip,
    check_scores,
    check_weights,
    trained_clips,
)
from framecast.prediction.model_header import (
    FORMAT,
    VERSION,
    check_file,
    check_format,
    damaged,
    find_file,
)
from framecast.runtime.device import cpu_by_default, explained_memory
from framecast.runtime.extras import check_installed
from framecast.runtime.output_files import atomic_write, explained_write
from framecast.runtime.text import listed

SCORED_BASELINES = {"last frame": "persistence_mse", "optical flow": "flow_mse"}
"""Baselines that are validated together with the network, and their names in `scores`."""


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a model file.

    `config` is fully resolved (no "auto" horizon); `clip` describes the training frames
    (`channels`, `height`, `width` in pixels); `weights` are the averaged ones to forecast with;
    `scores` holds validation figures by name; `progress` is what resuming needs (optimizer, raw
    weights, counters), None in a released model; `trained_on` lists the training clips, None where
    an older framecast did not record them.
    """

    config: Config
    clip: dict[str, int]
    weights: dict[str, Tensor]
    scores: dict[str, float]
    progress: dict[str, Any] | None = None
    trained_on: tuple[TrainedClip, ...] | None = None

    @property
    def fallback(self) -> str | None:
        """The classical forecast that did better than the default network in its training.

        A name of `baselines.BASELINES`; None where the network did best or nothing was scored, and
        for the other networks, which serve as comparisons.
        """
        if not self.config.model.traits.falls_back:
            return None
        # What was not scored never wins: a baseline counts as infinitely bad, the network as good.
        scores = {name: self.scores.get(key, math.inf) for name, key in SCORED_BASELINES.items()}
        best = min(scores, key=scores.__getitem__)
        return best if scores[best] < self.scores.get("validation_mse", -math.inf) else None

    def forecaster(self) -> Forecaster:
        """Build the network with these weights, in eval mode on the CPU.

        Raises CheckpointError when the weights do not fit the network the settings describe.
        """
        if "lean" in self.weights:  # a weight of that network, which had the same name
            raise CheckpointError(
                "trained by an earlier framecast, whose flow-convlstm was another network",
                remedy="train it again, or leave the model out and predict with the pretrained one",
            )
        size = (self.clip["height"], self.clip["width"])
        # The weights that it begins with are drawn in vain, and should not move the caller's draws.
        with cpu_by_default(), torch.random.fork_rng(devices=[]):
            network = build_forecaster(self.config.model, self.clip["channels"], size)
        # Said here, since PyTorch lists every weight that does not fit.
        if misfits := _misfits(self.weights, network.state_dict()):
            # Names come from the file, whoever wrote it.
            reason = textwrap.shorten(listed(misfits, 2), 240, placeholder=" ...")
            raise CheckpointError(
                f"the weights do not fit model.name {self.config.model.name}: {reason}",
                remedy="use the original file, or train again with this framecast",
            )
        network.load_state_dict(self.weights)
        return network.eval()


def _misfits(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with each stored weight that is not of the network, missing, or misshapen."""
    found = [f"{name} is unknown" for name in stored if name not in wanted]
    for name, weight in wanted.items():
        if name not in stored:
            found.append(f"{name} is missing")
        elif stored[name].shape != weight.shape:
            shapes = (tuple(each.shape) for each in (stored[name], weight))
            found.append("{} is {}, not {}".format(name, *shapes))
    return found


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Put the name of the model file before what is found wrong with its contents later."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", remedy=error.remedy) from error


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: the file is the old one or the new one, never a part.

    Raises ResourceError when the disk is full, OutputError when the folder cannot be written.
    """
    contents = {
        "format": FORMAT,
        "version": VERSION,
        "config": to_dict(checkpoint.config),
        "clip": dict(checkpoint.clip),
        "weights": checkpoint.weights,
        "scores": dict(checkpoint.scores),
        "progress": checkpoint.progress,
        "trained_on": None
        if checkpoint.trained_on is None
        else [asdict(clip) for clip in checkpoint.trained_on],
    }
    # A file, not a path: PyTorch's own opening would hide why a path cannot be opened.
    with (
        explained_write(path, "checkpoint", RuntimeError),
        atomic_write(path) as temporary,
        temporary.open("wb") as file,
    ):
        torch.save(contents, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or a run folder's `best.pt`; tensors arrive on the CPU.

    Raises CheckpointError when there is none, when the file is something else, damaged, or newer
    than this framecast.
    """
    file = find_file(path)
    if file.suffix.lower() == ".safetensors":
        contents = _load_safetensors(file)
    else:
        check_file(file)
        contents = _load_plain_data(file)
    check_format(file, contents)
    return _from_contents(file, contents)


def _load_plain_data(file: Path) -> Any:
    try:
        with explained_memory("use a machine with more memory"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles by strangers, which are refused
            return torch.load(file, map_location="cpu", weights_only=True)
    except ResourceError:  # too little memory is no damage
        raise
    except Exception as error:  # any exception that the bytes of another file can cause
        raise damaged(file) from error


def _load_safetensors(file: Path) -> dict[str, Any]:
    """The contents of a .safetensors file that `framecast export` wrote: all but the progress."""
    check_installed("safetensors", "export", f"{file}: reading it")
    from safetensors import safe_open  # noqa: PLC0415  (only installed with framecast[export])

    try:
        with safe_open(file, "pt") as opened:
            texts = opened.metadata() or {}
            # Weights in half precision are computed with in single precision.
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        weights = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }
        names = ("config", "clip", "scores", "trained_on")
        values = {name: json.loads(texts[name]) for name in names}
        return {
            "format": FORMAT,
            "version": VERSION,
            "progress": None,
            **values,
            "weights": weights,
        }
    except Exception as error:  # any exception that the bytes of another file can cause
        raise CheckpointError(
            f"{file}: damaged, or not a model that `framecast export` wrote",
            remedy="give the original file",
        ) from error


def _from_contents(file: Path, contents: dict[str, Any]) -> Checkpoint:
    try:
        config, clip, weights = from_dict(contents["config"]), contents["clip"], contents["weights"]
        if config.data.horizon == "auto":
            raise ValueError("data.horizon is auto, where a training has settled it")
        if not isinstance(contents["progress"], dict | None):
            raise ValueError("progress: expected settings of the optimizer by name")
        check_clip(clip)
        check_scores(contents["scores"])
        check_weights(weights, config.model, clip)
        known = trained_clips(contents.get("trained_on"))
        return Checkpoint(config, clip, weights, contents["scores"], contents["progress"], known)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"{file}: incomplete or inconsistent ({textwrap.shorten(reason, 200)})",
            remedy="use the original file, or train again with this framecast",
        ) from error
