"""The one file format: a trained model, the settings it was trained with, and what resuming needs.

Plain data (dicts, numbers, strings, tensors) written by `torch.save` and read with `weights_only`,
so a file from a stranger cannot run code.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framecast.config.loading import Config, from_dict, to_dict
from framecast.data.training_frames import TrainedClip
from framecast.errors import CheckpointError, ConfigError
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.runtime.output_files import atomic_write, explained_write

FORMAT, VERSION = "framecast", 1

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
        for the other networks, which are there to be compared.
        """
        if not self.config.model.traits.falls_back:
            return None
        scores = {name: self.scores.get(key, math.inf) for name, key in SCORED_BASELINES.items()}
        best = min(scores, key=scores.__getitem__)
        return best if scores[best] < self.scores.get("validation_mse", -math.inf) else None

    def forecaster(self) -> Forecaster:
        """Build the network with these weights, in eval mode on the CPU.

        Raises CheckpointError when the weights do not fit the network the settings describe.
        """
        size = (self.clip["height"], self.clip["width"])
        network = build_forecaster(self.config.model, self.clip["channels"], size)
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            reason = textwrap.shorten(str(error), 240, placeholder=" ...")
            raise CheckpointError(
                f"the weights do not fit model.name {self.config.model.name} ({reason})",
                remedy="use the original file, or train again with this framecast",
            ) from error
        return network.eval()


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
        "trained_on": checkpoint.trained_on and [asdict(clip) for clip in checkpoint.trained_on],
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
    file = path / "best.pt" if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(
            f"{path}: no model here" if path.is_dir() else f"{path}: no such file",
            remedy="give a .pt file or a run folder that `framecast train` wrote",
        )
    contents = _load_plain_data(file)
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise CheckpointError(
            f"{file}: a PyTorch file, but not a framecast model",
            remedy="give a .pt file that `framecast train` wrote",
        )
    version = contents.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{file}: format version {version}, this framecast reads {VERSION}",
            remedy="upgrade framecast",
        )
    return _from_contents(file, contents)


def _load_plain_data(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles by strangers, which are refused
            return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise CheckpointError(
            f"{file}: permission to read it is denied", remedy="run chmod u+r on it"
        ) from error
    except Exception as error:  # whatever the bytes of another file make the unpickler do
        raise CheckpointError(
            f"{file}: damaged, or not a model",
            remedy="give a .pt file that `framecast train` wrote",
        ) from error


def _from_contents(file: Path, contents: dict[str, Any]) -> Checkpoint:
    try:
        checkpoint = Checkpoint(
            config=from_dict(contents["config"]),
            clip=contents["clip"],
            weights=contents["weights"],
            scores=contents["scores"],
            progress=contents["progress"],
            trained_on=_trained_on(contents.get("trained_on")),
        )
        channels, *sides = (checkpoint.clip[name] for name in ("channels", "height", "width"))
        if channels not in (1, 3) or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(f"clip {checkpoint.clip}")
        if checkpoint.config.data.horizon == "auto":
            raise ValueError("horizon auto")
        for name, tensor in checkpoint.weights.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} holds NaN or infinite weights")
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f"{file}: incomplete or inconsistent ({type(error).__name__}: {error})",
            remedy="use the original file, or train again with this framecast",
        ) from error
    return checkpoint


def _trained_on(rows: list[dict[str, Any]] | None) -> tuple[TrainedClip, ...] | None:
    if rows is None:
        return None
    return tuple(
        TrainedClip(
            row["name"],
            row["content"],
            tuple((int(start), int(stop)) for start, stop in row["frames"]),
            tuple(row["files"]),
        )
        for row in rows
    )
