"""ConvLSTM layers in a Keras configuration: finding them, and their arguments from and to ours."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from framecast.errors import CheckpointError, UsageError
from framecast.nn.convlstm.activations import ACTIVATIONS, hard_sigmoid_keras2, log_softmax, softmax
from framecast.nn.convlstm.constraints import CONSTRAINTS
from framecast.nn.convlstm.initializers import get_initializer
from framecast.nn.convlstm.keras_identifiers import resolve, to_snake_case
from framecast.nn.convlstm.keras_methods import OWN_ARGUMENTS
from framecast.nn.convlstm.layer import LAYERS, ConvLSTM
from framecast.nn.convlstm.regularizers import REGULARIZERS

_ARGUMENTS = {
    name
    for name in inspect.signature(ConvLSTM).parameters
    if name not in (*OWN_ARGUMENTS, "in_channels", "input_shape", "device", "dtype")
}
_GETTERS = {
    "initializer": lambda name, value: get_initializer(value, name),
    "regularizer": partial(resolve, registry=REGULARIZERS),
    "constraint": partial(resolve, registry=CONSTRAINTS),
}


@dataclass(frozen=True)
class ConfiguredLayer:
    """One ConvLSTM of a model: its name in the model, its place in the file, its arguments.

    `key` is the layer's name after those of the models and wrappers it lies in; `path` is where
    Keras 3 stores its weights, `top` the outermost layer's name, under which Keras 2 does.
    """

    key: str
    path: str
    top: str
    class_name: str
    config: dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """A place in a configuration: names on the way to it, path in the file, outermost layer."""

    names: tuple[str, ...] = ()
    path: str = ""
    top: str = ""

    def inside(self, name: str, step: str) -> _Place:
        path = f"{self.path}/{step}" if self.path else step
        return _Place((*self.names, name), path, self.top or name)


def find_layers(
    model: dict[str, Any], keras2: bool, notes: list[str], place: _Place = _Place()
) -> Iterator[ConfiguredLayer]:
    """Find the ConvLSTM layers of a model, also in models and wrappers inside it, in their order.

    `keras2` says that Keras 2 wrote it. Layers that cannot be loaded are added to `notes`. Raises
    KeyError, TypeError and the like if it is not the configuration of a model. `place` is where the
    model lies in another one.
    """
    inner = model["config"]
    # Early Keras 2 wrote a Sequential as a bare list of its layers.
    layers = inner if isinstance(inner, list) else inner["layers"]
    used: dict[str, int] = {}
    for layer in layers:
        class_name = layer["class_name"]
        step = numbered(class_name, used)
        inner = layer["config"]
        name = layer.get("name", class_name) if isinstance(inner, list) else inner.get("name", "")
        yield from _in_layer(layer, keras2, notes, place.inside(name, step))


def numbered(class_name: str, used: dict[str, int]) -> str:
    """A layer's place in a file of Keras 3: layers/conv_lstm2d, layers/conv_lstm2d_1, ...

    `used` counts the layers of each class so far.
    """
    name = to_snake_case(class_name)
    number = used.get(name, 0)
    used[name] = number + 1
    return f"layers/{name}_{number}" if number else f"layers/{name}"


def _in_layer(
    layer: dict[str, Any], keras2: bool, notes: list[str], place: _Place
) -> Iterator[ConfiguredLayer]:
    class_name, config = layer["class_name"], layer["config"]
    key = "/".join(place.names)
    # A user's own class may share a name with one of Keras'.
    known = str(layer.get("module") or "keras").startswith(("keras", "tf_keras", "tensorflow"))
    if class_name in LAYERS and known and isinstance(config, dict):
        yield ConfiguredLayer(key, place.path, place.top, class_name, config)
    elif isinstance(config, list) or isinstance(config.get("layers"), list):
        yield from find_layers(layer, keras2, notes, place)
    elif class_name == "TimeDistributed" and known:  # weights lie under "layer"
        inner = config["layer"]
        inside = place.inside(inner["config"]["name"], "layer")
        yield from _in_layer(inner, keras2, notes, inside)
    elif class_name == "Bidirectional" and known:
        directions = zip(("forward", "backward"), _directions(config, keras2), strict=True)
        for direction, inner in directions:
            inside = place.inside(inner["config"]["name"], f"{direction}_layer")
            yield from _in_layer(inner, keras2, notes, inside)
    # A wrapper of the user's own: how it calls its layer cannot be known.
    elif "'class_name': 'ConvLSTM" in repr(layer):
        notes.append(
            f"{key}: a {class_name} with a ConvLSTM cannot be loaded and was skipped; build "
            "the layer and call load_keras_weights"
        )


def _directions(config: dict[str, Any], keras2: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both layers of a Bidirectional, with the names that they have in it.

    Keras 2 writes one configuration and derives the other unless a backward layer was given, and
    changes the name of that one, too, which Keras 3 keeps.
    """
    forward, given = config["layer"], config.get("backward_layer")
    backward = given or {
        **forward,
        "config": {**forward["config"], "go_backwards": not forward["config"]["go_backwards"]},
    }
    named = []
    for prefix, layer in (("forward_", forward), ("backward_", backward)):
        name = layer["config"]["name"]
        if keras2 or layer is not given:
            name = prefix + re.sub("^(forward|backward)_", "", name)
        # Inside a Bidirectional, Keras gives zeros for masked steps of a sequence.
        zero = layer["config"]["return_sequences"]
        changed = {"name": name, "zero_output_for_mask": zero}
        named.append({**layer, "config": {**layer["config"], **changed}})
    return named[0], named[1]


def from_keras_config(layer: ConfiguredLayer, keras2: bool, notes: list[str]) -> dict[str, Any]:
    """Arguments for our layer.

    Initializers, regularizers, constraints and seeds that have no equal here are left out and
    added to `notes`; no output depends on them. Raises CheckpointError for an activation that has
    none.
    """
    arguments = {name: value for name, value in layer.config.items() if name in _ARGUMENTS}
    if keras2:  # its default, which its configurations may leave out
        arguments.setdefault("recurrent_activation", "hard_sigmoid")
    for name, value in list(arguments.items()):
        kind = name.rpartition("_")[2]
        if kind == "activation":
            # Outputs depend on it, so an unknown one is refused and not left out
            arguments[name] = _activation(layer, name, value, keras2)
        elif kind in _GETTERS:
            try:
                arguments[name] = _GETTERS[kind](name, value)
            except (ValueError, TypeError, AttributeError):
                notes.append(f"{layer.key}: {name} {value!r:.80} has no name here, was left out")
                del arguments[name]
    # A SeedGenerator, whose state only Keras' own generator continues
    if not isinstance(arguments.get("seed"), (int, type(None))):
        notes.append(f"{layer.key}: seed is not a number but an object of Keras, was left out")
        del arguments["seed"]
    return arguments


def _activation(layer: ConfiguredLayer, name: str, value: object, keras2: bool) -> str | None:
    if not (value is None or (isinstance(value, str) and value in ACTIVATIONS)):
        raise CheckpointError(
            f"{layer.key}: {name} {value!r:.80} has no name here, and code in files is never run",
            remedy="build the layer with a callable and call load_keras_weights",
        )
    if keras2 and value == "hard_sigmoid":  # 0.2 x + 0.5, Keras 3's is x / 6 + 0.5
        return hard_sigmoid_keras2.__name__
    if layer.config.get("data_format") == "channels_first" and value in ("softmax", "log_softmax"):
        raise CheckpointError(
            f"{layer.key}: {name} {value!r} with channels_first goes over the width in Keras, "
            "over the channels here",
            remedy="build the layer with a callable and call load_keras_weights",
        )
    return value


def to_keras_config(layer: ConvLSTM) -> dict[str, Any]:
    """Arguments of a layer as `keras.layers.ConvLSTM2D.from_config` (or 1D, 3D) takes them.

    As `layer.get_config()`, but raises UsageError for what Keras does not have: peephole,
    layer_norm, callables, the hard_sigmoid of Keras 2, and softmax with channels_first.
    """
    check_exportable(layer)
    config = layer.get_config()
    config.pop("recompute", None)  # changes memory and time only
    for name, value in config.items():
        if name.endswith("activation"):
            over_width = layer.data_format == "channels_first"
            over_width = over_width and getattr(layer, name) in (softmax, log_softmax)
            if callable(value) or over_width or value == hard_sigmoid_keras2.__name__:
                place = " with channels_first" if over_width else ""
                raise UsageError(
                    f"{name} {value!r}{place} has no name in Keras 3 that means the same",
                    remedy="use an activation that Keras names, or set it on the Keras layer",
                )
        elif callable(value):
            raise UsageError(
                f"{name} {value!r:.80} is a callable, which a Keras configuration cannot hold",
                remedy="use one that Keras names",
            )
    return config


def check_exportable(layer: ConvLSTM) -> None:
    """Refuse (UsageError) what is no layer, or computes what no Keras layer does."""
    if not isinstance(layer, ConvLSTM):
        raise UsageError(
            f"expected a ConvLSTM layer; received {type(layer).__name__}",
            remedy="give one layer, such as a ConvLSTM2D",
        )
    for option in OWN_ARGUMENTS:
        if option != "recompute" and option in layer.get_config():
            raise UsageError(
                f"Keras' {type(layer).__name__} has no {option}, so this layer cannot be one",
                remedy=f"use a layer without {option}",
            )
