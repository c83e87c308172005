"""Read a Keras model file: its configuration as plain JSON, its ConvLSTM weights as arrays.

Three formats: the `.keras` archive (a zip of `metadata.json`, `config.json`, `model.weights.h5`),
the `.weights.h5` of Keras 3, and the `.h5` of Keras 2, whole model or weights alone. Nothing in a
file is run or unpickled, links out of it are not followed, and no array is read that claims far
more numbers than the file stores.

Source: `keras/src/saving/saving_lib.py`, `keras/src/legacy/saving/legacy_h5_format.py`.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framecast.errors import CheckpointError, FramecastError
from framecast.runtime.extras import check_installed

_WEIGHTS = ("kernel", "recurrent_kernel", "bias")
_OPTIMIZERS = ("optimizer", "optimizer_weights")
_WEIGHTS_FILE = "model.weights.h5"
# Above the first number of bytes, contents may be at most the second times larger than stored: a
# small file must not fill the memory.
_BOMB_FLOOR, _BOMB_EXPANSION = 2**20, 200


@dataclass(frozen=True)
class StoredLayer:
    """Weights of one ConvLSTM in a file, in Keras' layout.

    `path` leads to it inside the file; `name` is the layer's own name, as far as the file knows
    it; `weights` are kernel (rows, columns, C, 4F), recurrent kernel (rows, columns, F, 4F) and
    bias (4F), the last only where there is one; `arrays` are their own paths in the file.
    """

    path: str
    name: str
    weights: tuple[Tensor, ...]
    arrays: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        """Names of all groups on the way to the layer."""
        return self.path.split("/")


@dataclass(frozen=True)
class KerasFile:
    """Contents of a Keras file.

    `config` is the model's, None if the file has only weights; `legacy` says that layers are
    found by their names, as Keras 2 wrote them, not by their place in the model; `keras2` says
    that names in the configuration have the meaning they had before Keras 3.
    """

    path: Path
    config: dict[str, Any] | None
    layers: tuple[StoredLayer, ...]
    legacy: bool
    keras2: bool


def import_h5py() -> ModuleType:
    """Import h5py; UsageError where it is not installed."""
    check_installed("h5py", "keras", "a Keras file")
    return import_module("h5py")


def read_keras_file(path: Path) -> KerasFile:
    """Read the configuration and all ConvLSTM weights of a `.keras`, `.weights.h5` or `.h5` file.

    Raises CheckpointError when there is no such file, when it is something else or damaged, and
    when it reaches outside itself.
    """
    h5py = import_h5py()
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file", remedy="give a .keras, .weights.h5 or .h5 file"
        )
    try:
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as h5:
                return _from_h5(path, h5, _attribute(h5, "model_config"))
        metadata, config, weights = (
            archive_member(path, name) for name in ("metadata.json", "config.json", _WEIGHTS_FILE)
        )
        with h5py.File(io.BytesIO(weights), "r") as h5:
            version = str(json.loads(metadata)["keras_version"])
            return _from_h5(path, h5, config, version)
    except FramecastError:
        raise
    except Exception as error:
        # zipfile, json and h5py raise almost anything on changed bytes
        raise CheckpointError(
            f"{path}: cannot be read as a Keras file ({_reason(error)})",
            remedy="it is damaged or something else; save the model again with model.save()",
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _from_h5(path: Path, h5: Any, config: str | bytes | None, version: str = "") -> KerasFile:
    parsed = None if config is None else json.loads(config)
    if parsed is not None and not isinstance(parsed, dict):
        raise CheckpointError(f"{path}: the configuration is not a JSON object but {parsed!r:.40}")
    groups: dict[str, dict[str, Any]] = {}
    for name, dataset in _datasets(h5):
        parent, _, base = name.rpartition("/")
        groups.setdefault(parent, {})[base.partition(":")[0]] = dataset  # "kernel:0" in Keras 2
    # Keras 3 keeps a layer's arrays in a group "vars" of its cell, Keras 2 under its own names.
    legacy = not any(parent.endswith("cell/vars") for parent in groups)
    layers = tuple(
        layer
        for parent, datasets in sorted(groups.items())
        if (layer := _stored_layer(path, h5, parent, datasets, legacy)) is not None
    )
    # Files that say nothing of it are old.
    major = int((version or _attribute(h5, "keras_version") or "2").partition(".")[0])
    return KerasFile(path, parsed, layers, legacy, keras2=major < 3)


def _attribute(group: Any, name: str) -> str | None:
    value = group.attrs.get(name)
    return value.decode("utf-8") if isinstance(value, bytes) else value


def archive_member(path: Path, name: str) -> bytes:
    """One file of a `.keras` archive; CheckpointError when it is missing or far too large."""
    with zipfile.ZipFile(path) as archive:
        try:
            info = archive.getinfo(name)
        except KeyError as error:
            raise CheckpointError(
                f"{path}: the archive holds no {name}",
                remedy="save the model with model.save(), weights in one HDF5 file",
            ) from error
        _check_expansion(path, name, info.file_size, info.compress_size)
        return archive.read(info)


def weights_bytes(path: Path) -> bytes:
    """The HDF5 file with the weights: the file itself, or the one inside an archive."""
    return archive_member(path, _WEIGHTS_FILE) if zipfile.is_zipfile(path) else path.read_bytes()


def _check_expansion(path: Path, name: str, size: int, stored: int) -> None:
    if size > _BOMB_FLOOR and size > _BOMB_EXPANSION * stored:
        raise CheckpointError(
            f"{path}: {name} claims {size} bytes but stores {stored}",
            remedy="the file is damaged or made to exhaust memory; save the model again",
        )


def _datasets(h5: Any) -> Iterator[tuple[str, Any]]:
    """Paths and arrays of a file, each once, without those of optimizers.

    HDF5's own walk follows no link that leads elsewhere, so a file cannot reach outside itself.
    """
    found: list[tuple[str, Any]] = []
    h5.visititems(lambda name, item: found.append((name, item)))
    for name, item in found:
        if name.partition("/")[0] not in _OPTIMIZERS and hasattr(item, "dtype"):
            yield name, item


def _stored_layer(
    path: Path, h5: Any, parent: str, datasets: dict[str, Any], legacy: bool
) -> StoredLayer | None:
    """The ConvLSTM in a group whose arrays have the names and shapes of one, else None."""
    parts = parent.split("/")
    keys = _WEIGHTS if legacy else ("0", "1", "2")
    found = [datasets[key] for key in keys if key in datasets]
    if len(found) != len(datasets) or not _is_conv_lstm([item.shape for item in found]):
        return None
    if legacy:
        # Whole models of Keras 2 have a top group; tf.keras adds one for the cell.
        parts = parts[1:] if parts[0] == "model_weights" else parts
        parts = parts[:-1] if parts[-1].startswith("conv_lstm_cell") else parts
        name = parts[-1]
    elif parts[-2:] == ["cell", "vars"]:
        parts = parts[:-2]
        own = h5.get("/".join([*parts, "vars"]))
        name = (None if own is None else _attribute(own, "name")) or parts[-1]
        # Keras 2.12 had another name for the list of layers
        parts = ["layers" if part == "_layer_checkpoint_dependencies" else part for part in parts]
    else:
        return None
    weights = tuple(_read(path, item) for item in found)
    arrays = tuple(item.name for item in found)
    return StoredLayer("/".join(parts), name, weights, arrays)


def _is_conv_lstm(shapes: list[tuple[int, ...]]) -> bool:
    if len(shapes) not in (2, 3) or len(shapes[0]) not in (3, 4, 5):
        return False
    *kernel_size, _, gates = shapes[0]
    # Recurrent kernel (rows, columns, F, 4F), then the bias, if any.
    expected = [(*kernel_size, gates // 4, gates), (gates,)]
    return gates % 4 == 0 and shapes[1:] == expected[: len(shapes) - 1]


def _read(path: Path, dataset: Any) -> Tensor:
    """Read one array of numbers that the file itself stores."""
    if dataset.is_virtual or dataset.external:
        raise CheckpointError(
            f"{path}: {dataset.name} lies in another file",
            remedy="Keras writes no such arrays; save the model again",
        )
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    _check_expansion(path, dataset.name, size, dataset.id.get_storage_size())
    array = np.asarray(dataset[()])
    if dataset.attrs.get("dtype") == "bfloat16":  # HDF5 has no such type: Keras stores its bits
        weight = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    elif array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8):
        weight = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    else:
        raise CheckpointError(f"{path}: {dataset.name} holds {array.dtype}, not weights")
    # NaN would spread through every forecast without an error.
    if not torch.isfinite(weight).all():
        raise CheckpointError(
            f"{path}: {dataset.name} holds numbers that are not finite",
            remedy="the training diverged or the file is damaged; use an earlier one",
        )
    return weight
