"""ConvLSTM layers from and to Keras, with equal outputs.

Reading needs no Keras; both ways need h5py (`pip install "framecast[keras]"`). Weights move as
they are, only their axes change: both keep the gates in the order i, f, c, o.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from framecast.config.argument_types import as_path
from framecast.errors import CheckpointError, OutputError, UsageError
from framecast.nn.convlstm.layer import LAYERS, ConvLSTM
from framecast.nn.convlstm.weights import from_keras_layout
from framecast.nn.interchange.keras_config import (
    ConfiguredLayer,
    check_exportable,
    find_layers,
    from_keras_config,
    numbered,
)
from framecast.nn.interchange.keras_file import (
    KerasFile,
    StoredLayer,
    import_h5py,
    read_keras_file,
    weights_bytes,
)
from framecast.runtime.output_files import atomic_write, explained_write


def load_keras_layers(path: str | Path) -> dict[str, ConvLSTM]:
    """Build the ConvLSTM layers of a whole Keras model, with its weights, in eval mode.

    `path` is a `.keras` archive or a whole-model `.h5` of Keras 2, tf.keras or Keras 3. Keys are
    the layers' names, after those of the models and wrappers around them, as in
    "bidirectional/forward_conv_lstm2d". The backward layer of a Bidirectional gives its outputs in
    reversed order, as here `Bidirectional` expects it. "hard_sigmoid" of Keras 2 becomes
    hard_sigmoid_keras2. A layer has the dtype its weights are stored in. UserWarning for each
    ConvLSTM and each training rule that was left out. Raises CheckpointError for files that are
    damaged, hold weights alone or no ConvLSTM, a subclassed model, or an activation that is the
    user's own code.
    """
    file = read_keras_file(as_path(path))
    if file.config is None:
        raise CheckpointError(
            f"{path}: holds weights without the layers' configuration",
            remedy="build the layers and call load_keras_weights, or give the .keras file",
        )
    notes: list[str] = []
    configured = _configured_layers(file, notes)
    # Layers that the configuration lists, then weights of others
    layers, taken = {}, []
    for configuration in configured:
        stored = _find_configured(file, configuration)
        layers[configuration.key] = _build(file, configuration, stored, notes)
        taken.append(stored)
    notes += [
        f"{stored.path}: weights of a ConvLSTM that the configuration does not list were skipped"
        for stored in file.layers
        if stored not in taken
    ]
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    if not layers:
        raise CheckpointError(
            f"{path}: a Keras model without ConvLSTM layers",
            remedy="; ".join(notes) or "give a model that has some",
        )
    return layers


def _is_subclassed(config: dict[str, Any]) -> bool:
    inner = config.get("config")
    return isinstance(inner, dict) and "layers" not in inner and "class_name" in config


def _configured_layers(file: KerasFile, notes: list[str]) -> list[ConfiguredLayer]:
    config = file.config
    if _is_subclassed(config):
        names = ", ".join(repr(stored.path) for stored in file.layers) or "none"
        raise CheckpointError(
            f"{file.path}: a subclassed model ({config['class_name']}), whose layers are made by "
            "its own code and not listed in the file",
            remedy="make each ConvLSTM layer with the arguments in that code, then call "
            f"load_keras_weights(layer, file, name); names of ConvLSTM weights: {names}",
        )
    try:
        return list(find_layers(config, file.keras2, notes))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file.path}: the configuration is not a Keras model's") from error


def load_keras_weights(layer: ConvLSTM, path: str | Path, name: str | None = None) -> None:
    """Fill a layer with weights of a Keras file, which may hold weights alone.

    `name` is the Keras layer's name, or its path in the file; None takes the only ConvLSTM whose
    weights fit. The layer needs the activations of the Keras layer, which are not in the
    weights. Raises CheckpointError when the file is damaged, or none or several fit; UsageError
    for a layer with peephole or layer_norm.
    """
    check_exportable(layer)  # peepholes have no counterpart in the file
    file = read_keras_file(as_path(path))
    known = ", ".join(stored.path for stored in file.layers) or "none"
    if name is None:
        found = [stored for stored in file.layers if _fits(layer, stored)]
    else:
        found = _named(file.layers, name)
    if len(found) != 1:
        wanted = f"fit {layer}" if name is None else f"are called {name!r}"
        raise CheckpointError(
            f"{path}: {len(found)} ConvLSTM layers {wanted}; the file holds: {known}",
            remedy="give one of these as name",
        )
    _check_fits(file, layer, found[0])
    layer.set_weights(found[0].weights)


def save_keras_weights(
    layers: Mapping[str, ConvLSTM],
    path: str | Path,
    *,
    model: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a weights file that `keras.Model.load_weights` reads.

    Without `model`, `layers` are in their order the ConvLSTM layers of a Sequential or functional
    model whose other layers have no weights; build them with `to_keras_config`. The keys are then
    free. With `model`, a Keras file of the whole model or its weights, the result is a copy of its
    weights in which those of `layers` are replaced; heads and wrappers such as Bidirectional keep
    theirs. Names are those of `load_keras_layers`, or paths in the file. `path` ends in
    `.weights.h5`, or in `.h5` for a model of Keras 2. The file appears whole or not at all.

    Raises UsageError for layers that Keras cannot hold or that have no weights yet, CheckpointError
    for a model without such a layer, OutputError when the file exists and `overwrite` is not given,
    or cannot be written.
    """
    if not isinstance(layers, Mapping):
        raise UsageError(
            f"layers must be a dictionary by name; received {type(layers).__name__}",
            remedy='give {"conv_lstm2d": layer}',
        )
    path = as_path(path)
    file = None if model is None else read_keras_file(as_path(model))
    # Keras chooses its reader by the suffix
    suffix = ".h5" if file is not None and file.legacy else ".weights.h5"
    if path.name.endswith(".weights.h5") != (suffix == ".weights.h5") or path.suffix != ".h5":
        raise UsageError(
            f"{path}: Keras reads these weights from files that end in {suffix}",
            remedy=f"use {path.name.partition('.')[0]}{suffix}",
        )
    if not layers:
        raise UsageError(f"{path}: there are no layers to write", remedy="give one or more")
    for name, layer in layers.items():
        check_exportable(layer)
        if layer.in_channels is None:
            raise UsageError(
                f"layer {name!r} has no weights yet", remedy="give in_channels, or call it once"
            )
    # Every check comes before the file is touched
    places = {} if file is None else {name: _place(file, name, layers[name]) for name in layers}
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already", remedy="use another name or overwrite=True")
    with explained_write(path, "weights file"), atomic_write(path) as temporary:
        if file is None:
            _write(layers, temporary)
        else:
            # Optimizer states and other layers stay as they are
            temporary.write_bytes(weights_bytes(file.path))
            _replace(layers, places, temporary)
    return path


def _place(file: KerasFile, name: str, layer: ConvLSTM) -> StoredLayer:
    """Where a model's file stores the layer of that name."""
    listed = file.config is not None and not _is_subclassed(file.config)
    configured = _configured_layers(file, []) if listed else []
    places = [_find_configured(file, found) for found in configured if found.key == name]
    places = places or _named(file.layers, name)
    if len(places) != 1:
        known = [found.key for found in configured] or [stored.path for stored in file.layers]
        raise CheckpointError(
            f"{file.path}: {len(places)} ConvLSTM layers are called {name!r}; the file holds: "
            f"{', '.join(known) or 'none'}",
            remedy="name the layer as load_keras_layers does, or by its path in the file",
        )
    _check_fits(file, layer, places[0])
    return places[0]


def _replace(layers: Mapping[str, ConvLSTM], places: Mapping[str, StoredLayer], path: Path) -> None:
    with import_h5py().File(path, "r+") as h5:
        for name, layer in layers.items():
            for array, values in zip(places[name].arrays, layer.get_weights(), strict=True):
                target = h5[array]
                if target.attrs.get("dtype") == "bfloat16":  # stored as its bits
                    bits = torch.from_numpy(values).bfloat16().view(torch.int16)
                    target[...] = bits.numpy().view(target.dtype)
                else:
                    target[...] = values


def _write(layers: Mapping[str, ConvLSTM], path: Path) -> None:
    used: dict[str, int] = {}
    with import_h5py().File(path, "w") as h5:
        for name, layer in layers.items():
            kind = next(kind for kind, known in LAYERS.items() if isinstance(layer, known))
            group = numbered(kind, used)
            h5.create_group(f"{group}/vars").attrs["name"] = name
            for index, values in enumerate(layer.get_weights()):
                h5[f"{group}/cell/vars/{index}"] = values


def _named(layers: Sequence[StoredLayer], name: str) -> list[StoredLayer]:
    """Layers called `name`; by their own name, else by path, else by a group on the way."""
    return (
        [stored for stored in layers if stored.name == name]
        or [stored for stored in layers if stored.path == name]
        or [stored for stored in layers if name in stored.parts]
    )


def _find_configured(file: KerasFile, layer: ConfiguredLayer) -> StoredLayer:
    """Weights of a layer of the model: by its place in Keras 3's files, by its name in older."""
    if file.legacy:
        inside = [stored for stored in file.layers if stored.parts[0] == layer.top]
        found = inside if len(inside) == 1 else _named(inside, layer.config.get("name", ""))
    else:
        found = [stored for stored in file.layers if stored.path == layer.path]
    if len(found) != 1:
        raise CheckpointError(
            f"{file.path}: {len(found)} sets of ConvLSTM weights for layer {layer.key}",
            remedy="the file is incomplete; save the model again",
        )
    return found[0]


def _build(
    file: KerasFile, configuration: ConfiguredLayer, stored: StoredLayer, notes: list[str]
) -> ConvLSTM:
    kernel = stored.weights[0]
    try:
        arguments = from_keras_config(configuration, file.keras2, notes)
        layer = LAYERS[configuration.class_name](
            **arguments, in_channels=kernel.shape[-2], dtype=kernel.dtype, device="meta"
        )
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error.message}", remedy=error.remedy) from error
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file.path}: {configuration.key}: {reason}") from error
    # On the meta device no size in the configuration takes memory before it is checked
    _check_fits(file, layer, stored)
    layer.to_empty(device="cpu").set_weights(stored.weights)
    return layer.eval()


def _fits(layer: ConvLSTM, stored: StoredLayer) -> bool:
    kernel, *others = (tuple(from_keras_layout(weight).shape) for weight in stored.weights)
    # In our layout: (out, in, rows, columns).
    gates, size = 4 * layer.filters, layer.geometry.kernel_size
    channels = kernel[1] if layer.in_channels is None else layer.in_channels
    expected = [(gates, layer.filters, *size)]
    if layer.use_bias:
        expected.append((gates,))
    return kernel == (gates, channels, *size) and others == expected


def _check_fits(file: KerasFile, layer: ConvLSTM, stored: StoredLayer) -> None:
    if not _fits(layer, stored):
        shapes = ", ".join(str(tuple(weight.shape)) for weight in stored.weights)
        raise CheckpointError(
            f"{file.path}: the weights at {stored.path} have shapes {shapes}, which do not fit "
            f"{layer} with use_bias={layer.use_bias}",
            remedy="make the layer with the filters, kernel_size and use_bias of the Keras layer",
        )
