"""What a model file says about itself, read without PyTorch: settings and clips, but no weights.

Loading PyTorch takes seconds, in which a wrong path or a model that does not fit could be refused.
"""

from __future__ import annotations

import pickle
import stat
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from framecast.config.loading import Config, from_dict
from framecast.errors import CheckpointError, ConfigError, ResourceError
from framecast.prediction.model_files import GRAPH_SUFFIXES, PRETRAINED, PRETRAINED_FILE, runs_in
from framecast.runtime.memory import machine_memory
from framecast.runtime.text import counted, show_bytes
from framecast.video.readers.base import FrameSource, SourceInfo
from framecast.video.readers.frame_checks import unreadable
from framecast.video.readers.open import open_sources, read_options

FORMAT, VERSION = "framecast", 1

LARGEST_HEADER = 100_000_000
"""Bytes of a header that are read here; that of a training of 10,000 clips has about 3 million."""


@dataclass(eq=False, repr=False)
class ModelHeader:
    """A model without its weights: its settings and the channels of the training frames, 1 or 3.

    `any_channels`: whether it takes grey and RGB frames alike, not only what it was trained on.
    """

    config: Config
    channels: int
    any_channels: bool = False

    @property
    def color(self) -> Literal["gray", "rgb", "auto"]:
        """The colours that clips have to be read in: a grey model takes the luma of colour ones."""
        if self.any_channels:
            return "auto"
        return "gray" if self.channels == 1 else "rgb"

    @property
    def reading(self) -> dict[str, Any]:
        """How clips are read for it where nothing else is asked for: as it was trained."""
        return read_options(self.config.data) | {"color": self.color, "keep_readable": False}

    @property
    def trained_horizon(self) -> int:
        """How many frames ahead its training looked."""
        return int(self.config.data.horizon)

    def takes(self, channels: int) -> bool:
        """Whether it forecasts frames of so many channels."""
        return channels == self.channels or (self.any_channels and channels in (1, 3))

    def check_channels(self, info: SourceInfo) -> None:
        """Raise CheckpointError when a clip's channels are not the model's."""
        if not self.takes(info.channels):
            raise CheckpointError(
                f"{info.path}: has {counted(info.channels, 'channel')}, the model was trained on "
                f"{self.channels}",
                remedy=f"convert the frames with --color {self.color}",
            )


def check_early(
    model: Path, sources: Sequence[str | Path] = (), **options: Any
) -> tuple[ModelHeader | None, list[FrameSource]]:
    """Raise now what a wrong model or source would raise only once PyTorch is loaded.

    Returns what the model says about itself, None if nothing yet, and the clips, opened as it reads
    them, or none where they cannot be checked yet.
    `options` are those of `open_sources` that the user gave. Raises CheckpointError, and what
    `open_sources` raises.
    """
    header = read_header(model)
    if header is None or not sources:
        return header, []
    clips = open_sources(sources, header.reading, **options)
    for clip in clips:
        header.check_channels(clip.info)
    return header, clips


def refuse_graph(model: Path) -> None:
    """Raise CheckpointError for an exported graph, which only a prediction can run."""
    if model.suffix.lower() in GRAPH_SUFFIXES:
        raise damaged(find_file(model))


def read_header(model: Path) -> ModelHeader | None:
    """Read the header of a model file, or of a run folder's `best.pt`.

    None for files of another kind than `framecast train` writes: only loading them tells more.
    Raises CheckpointError as loading the model would, for what can be told without its weights.
    """
    # Two files where it is stepped, and onnxruntime reads it at once
    if model.suffix.lower() == ".onnx":
        return None
    file = find_file(model)
    if file.suffix.lower() != ".pt":
        return None
    check_file(file)
    contents = _unpickled(file)
    check_format(file, contents)
    try:
        config, channels = from_dict(contents["config"]), int(contents["clip"]["channels"])
        # The pretrained network shares its weights between the channels of a frame.
        return ModelHeader(config, channels, any_channels=str(model) == PRETRAINED)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, ConfigError):
        return None  # loading it says what is wrong


def find_file(path: Path) -> Path:
    """The file of a model, of a run folder its `best.pt`, of "pretrained" the one that is shipped.

    Raises CheckpointError when there is none.
    """
    path = PRETRAINED_FILE if str(path) == PRETRAINED else path
    try:
        folder = path.is_dir()
        file = path / "best.pt" if folder else path
        missing = not file.exists()
    except OSError as error:  # a folder above is closed to us, or the name is too long
        raise unreadable(path, error, CheckpointError) from error
    if missing:
        runs = runs_in(path)
        remedy = "give a .pt file or a run folder that `framecast train` wrote"
        raise CheckpointError(
            f"{path}: no model here" if folder else f"{path}: no such file",
            remedy=f"give one of its runs, such as {runs[-1]}" if runs else remedy,
        )
    return file


def check_file(file: Path) -> None:
    """Raise CheckpointError or ResourceError for what would hang, or not fit into memory, if read.

    Such are devices, pipes, and archives that hold more than their own size: `torch.save` stores
    tensors uncompressed.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file}: not a regular file", remedy="give a .pt file")
    memory = machine_memory()
    if memory is not None and status.st_size > memory:
        raise ResourceError(
            f"{file}: has {show_bytes(status.st_size)}; this machine has {show_bytes(memory)} of "
            "memory",
            remedy="use a machine with more memory",
        )
    try:
        with zipfile.ZipFile(file) as archive:
            held = sum(member.file_size for member in archive.infolist())
    except PermissionError as error:
        raise unreadable(file, error, CheckpointError) from error
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged(file) from error
    # More than the file's size: a compressed archive, which can unpack to any size.
    if held > status.st_size:
        raise damaged(file)


def damaged(file: Path) -> CheckpointError:
    """Return the error for a file that cannot be read as a model with its weights and settings."""
    if file.suffix.lower() in GRAPH_SUFFIXES:
        use = "only `predict` runs" if file.suffix.lower() == ".onnx" else "is for other programs"
        return CheckpointError(
            f"{file}: an exported graph, which {use}",
            remedy="give the .pt file or run folder that it was exported from",
        )
    return CheckpointError(
        f"{file}: damaged, or not a model", remedy="give a .pt file that `framecast train` wrote"
    )


def check_format(file: Path, contents: Any) -> None:
    """Raise CheckpointError unless these are the contents of a model of a version we read."""
    if not isinstance(contents, dict) or not _is(contents.get("format"), FORMAT):
        raise CheckpointError(
            f"{file}: a PyTorch file, but not a framecast model",
            remedy="give a .pt file that `framecast train` wrote",
        )
    version = contents.get("version")
    if not _is(version, VERSION):
        shown = " ".join(repr(version).split())  # that of a tensor has line breaks
        raise CheckpointError(
            f"{file}: format version {shown:.40}, this framecast reads {VERSION}",
            remedy="upgrade framecast",
        )


def _is(found: object, wanted: str | int) -> bool:
    """Whether they are equal and of one type; tensors have no single truth value to compare."""
    return type(found) is type(wanted) and found == wanted


class _HeaderReader(pickle.Unpickler):
    """Reads plain data; whatever is PyTorch's own, and so belongs to weights, becomes None."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.partition(".")[0] == "torch":
            return _nothing
        raise pickle.UnpicklingError(f"{module}.{name} in a model file")  # it could be any code

    def persistent_load(self, pid: Any) -> None:
        """The bytes of a tensor, which are in a separate file."""


def _nothing(*parts: Any) -> None:
    """Stand in for a function of PyTorch that puts a tensor together."""


def _unpickled(file: Path) -> Any:
    """The contents of a file as `torch.save` writes it: a zip archive with the pickle in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            # torch.save puts the pickle into the folder "archive", or one named after the file.
            [entry] = [
                entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")
            ]
            if entry.file_size > LARGEST_HEADER:
                raise damaged(file)
            with archive.open(entry) as pickled:
                return _HeaderReader(pickled).load()
    except Exception as error:  # whatever the bytes of another file make the unpickler do
        raise damaged(file) from error
