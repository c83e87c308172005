"""ConvLSTM layers in a Keras configuration: finding them, and their arguments from and to ours."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from framecast.errors import CheckpointError, UsageError
from framecast.nn.convlstm.activations import ACTIVATIONS, hard_sigmoid_keras2, log_softmax, softmax
from framecast.nn.convlstm.constraints import CONSTRAINTS, get_constraint
from framecast.nn.convlstm.initializers import INITIALIZERS, get_initializer
from framecast.nn.convlstm.layer import ConvLSTM, ConvLSTM1D, ConvLSTM2D
from framecast.nn.convlstm.regularizers import REGULARIZERS, get_regularizer

LAYERS: Mapping[str, type[ConvLSTM]] = {"ConvLSTM1D": ConvLSTM1D, "ConvLSTM2D": ConvLSTM2D}
_OURS_ALONE = {"self", "in_channels", "peephole", "layer_norm", "recompute", "device", "dtype"}
_ARGUMENTS = [
    name for name in inspect.signature(ConvLSTM.__init__).parameters if name not in _OURS_ALONE
]
_GETTERS = {
    "initializer": (get_initializer, INITIALIZERS),
    "regularizer": (get_regularizer, REGULARIZERS),
    "constraint": (get_constraint, CONSTRAINTS),
}
# Two are functions here, one is a class that Keras renamed.
_OTHER_NAMES = {"Zeros": "zeros", "Ones": "ones", "OrthogonalInitializer": "orthogonal"}


@dataclass(frozen=True)
class ConfiguredLayer:
    """One ConvLSTM of a model: its name in the model, its place in the file, its arguments.

    `key` is the layer's name, behind those of the models and wrappers it lies in; `path` is where
    Keras 3 keeps its weights, `top` the outermost layer's name, under which Keras 2 does.
    """

    key: str
    path: str
    top: str
    class_name: str
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The layer's own name."""
        return self.config.get("name", "")


@dataclass(frozen=True)
class _Place:
    """Where a walk through a configuration stands: names, path in the file, outermost layer."""

    names: tuple[str, ...] = ()
    path: str = ""
    top: str = ""

    def inside(self, name: str, step: str) -> _Place:
        path = f"{self.path}/{step}" if self.path else step
        return _Place((*self.names, name), path, self.top or name)


def to_snake_case(class_name: str) -> str:
    """Name that Keras gives to a class' layers: ConvLSTM2D is conv_lstm2d."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def find_layers(config: dict[str, Any], notes: list[str]) -> Iterator[ConfiguredLayer]:
    """Find the ConvLSTM layers of a model, also in models and wrappers inside it, in their order.

    What cannot be taken over is said in `notes`. KeyError, TypeError and the like for what is no
    configuration of a model.
    """
    yield from _in_model(config, _Place(), notes)


def _in_model(model: dict[str, Any], place: _Place, notes: list[str]) -> Iterator[ConfiguredLayer]:
    inner = model["config"]
    # Early Keras 2 wrote a Sequential as a bare list of its layers.
    layers = inner if isinstance(inner, list) else inner["layers"]
    used: dict[str, int] = {}
    for layer in layers:
        class_name = layer["class_name"]
        step = to_snake_case(class_name)
        used[step] = used.get(step, -1) + 1
        step = f"layers/{step}_{used[step]}" if used[step] else f"layers/{step}"
        inner = layer["config"]
        name = layer.get("name", class_name) if isinstance(inner, list) else inner.get("name", "")
        yield from _in_layer(layer, place.inside(name, step), notes)


def _in_layer(layer: dict[str, Any], place: _Place, notes: list[str]) -> Iterator[ConfiguredLayer]:
    class_name, config = layer["class_name"], layer["config"]
    key = "/".join(place.names)
    if not isinstance(config, (dict, list)):
        raise TypeError(f"the configuration of {key} is no mapping")
    known = str(layer.get("module") or "keras").startswith(("keras", "tf_keras", "tensorflow"))
    if class_name in LAYERS and known and isinstance(config, dict):
        yield ConfiguredLayer(key, place.path, place.top, class_name, config)
    elif isinstance(config, list) or isinstance(config.get("layers"), list):
        yield from _in_model(layer, place, notes)
    elif class_name == "TimeDistributed" and known:
        inner = config["layer"]
        yield from _in_layer(inner, place.inside(inner["config"]["name"], "layer"), notes)
    elif class_name == "Bidirectional" and known:
        for direction, inner in zip(("forward", "backward"), _directions(config), strict=True):
            step = f"{direction}_layer"
            yield from _in_layer(inner, place.inside(inner["config"]["name"], step), notes)
    elif "'class_name': 'ConvLSTM" in repr(layer):
        notes.append(
            f"{key}: a {class_name} with a ConvLSTM cannot be taken over and was skipped; build "
            "the layer and call load_keras_weights"
        )


def _directions(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both layers of a Bidirectional; Keras 2 keeps one configuration and derives the other."""
    forward = config["layer"]
    backward = config.get("backward_layer") or {
        **forward,
        "config": {**forward["config"], "go_backwards": not forward["config"]["go_backwards"]},
    }
    named = []
    for prefix, layer in (("forward_", forward), ("backward_", backward)):
        name = re.sub("^(forward|backward)_", "", layer["config"]["name"])
        # Inside a Bidirectional, Keras gives zeros for masked steps of a sequence.
        zero = layer["config"]["return_sequences"]
        changed = {"name": f"{prefix}{name}", "zero_output_for_mask": zero}
        named.append({**layer, "config": {**layer["config"], **changed}})
    return named[0], named[1]


def from_keras_config(layer: ConfiguredLayer, keras2: bool, notes: list[str]) -> dict[str, Any]:
    """Arguments for our layer.

    Initializers, regularizers, constraints and seeds that have no equal here are left out, which
    no output depends on, and said in `notes`. Raises CheckpointError for an activation that has
    none.
    """
    arguments = {name: layer.config[name] for name in _ARGUMENTS if name in layer.config}
    if keras2:
        arguments.setdefault("recurrent_activation", "hard_sigmoid")
    for name, value in list(arguments.items()):
        kind = name.rpartition("_")[2]
        if kind == "activation":
            arguments[name] = _activation(layer, name, value, keras2)
        elif kind in _GETTERS:
            found = _from_identifier(name, value, _GETTERS[kind][0])
            if found is None and value is not None:
                notes.append(f"{layer.key}: {name} {value!r:.80} has no name here and was left out")
            if found is None:
                del arguments[name]
            else:
                arguments[name] = found
    if not isinstance(arguments.get("seed"), (int, NoneType)):
        notes.append(f"{layer.key}: seed is no number but an object of Keras and was left out")
        del arguments["seed"]
    return arguments


def _activation(layer: ConfiguredLayer, name: str, value: object, keras2: bool) -> str | None:
    if not (value is None or (isinstance(value, str) and value in ACTIVATIONS)):
        raise CheckpointError(
            f"{layer.key}: {name} {value!r:.80} has no name here, and code in files is never run",
            remedy="build the layer with a callable and call load_keras_weights",
        )
    if keras2 and value == "hard_sigmoid":
        return hard_sigmoid_keras2.__name__
    if layer.config.get("data_format") == "channels_first" and value in ("softmax", "log_softmax"):
        raise CheckpointError(
            f"{layer.key}: {name} {value!r} with channels_first goes over the width in Keras, "
            "over the channels here",
            remedy="build the layer with a callable and call load_keras_weights",
        )
    return value


def _from_identifier(name: str, value: object, get: Callable[[Any, str], Any]) -> Any:
    """What `value` stands for in our registries, None when nothing."""
    if isinstance(value, Mapping):
        config = value.get("config")
        # Older initializers also name the dtype of what they draw.
        known = {k: v for k, v in config.items() if k != "dtype"} if config else {}
        class_name = value.get("class_name")
        value = {"class_name": _OTHER_NAMES.get(class_name, class_name), "config": known}
    try:
        return get(value, name)
    except (ValueError, TypeError, AttributeError):
        return None


def to_keras_config(layer: ConvLSTM) -> dict[str, Any]:
    """Arguments of a layer as `keras.layers.ConvLSTM2D.from_config` (or 1D) takes them.

    Raises UsageError for what Keras has no name for: peephole, layer_norm, callables, the
    hard_sigmoid of Keras 2, and softmax with channels_first.
    """
    check_exportable(layer)
    geometry = layer.geometry
    config: dict[str, Any] = {
        "filters": layer.filters,
        "kernel_size": list(geometry.kernel_size),
        "strides": list(geometry.strides),
        "padding": geometry.padding,
        "dilation_rate": list(geometry.dilation_rate),
    }
    for name in _ARGUMENTS:
        if name in config:
            continue
        kind = name.rpartition("_")[2]
        if kind == "activation":
            config[name] = _activation_name(layer, name)
        elif kind in _GETTERS:
            held = _rule(layer, name)
            config[name] = _to_identifier(name, held, _GETTERS[kind][1])
        else:
            config[name] = getattr(layer, name)
    return config


def check_exportable(layer: ConvLSTM) -> None:
    """Refuse (UsageError) a layer that computes what no Keras layer does."""
    used = {"peephole": layer.peephole is not None, "layer_norm": layer.layer_norm}
    for option, value in used.items():
        if value:
            raise UsageError(
                f"Keras' {type(layer).__name__} has no {option}, so this layer cannot be one",
                remedy=f"use a layer with {option}=False",
            )


def _activation_name(layer: ConvLSTM, argument: str) -> str:
    function = getattr(layer, argument)
    over_width = layer.data_format == "channels_first" and function in (softmax, log_softmax)
    names = [name for name, known in ACTIVATIONS.items() if known is function]
    if not names or function is hard_sigmoid_keras2 or over_width:
        shown = names[0] if names else function
        place = " with channels_first" if over_width else ""
        raise UsageError(
            f"{argument} {shown!r}{place} has no name in Keras 3 that means the same",
            remedy="use an activation that Keras names, or set it on the Keras layer by hand",
        )
    return names[0]


def _rule(layer: ConvLSTM, argument: str) -> object:
    """Object that the argument `<weight>_<kind>` was resolved to."""
    weight, _, kind = argument.rpartition("_")
    if weight == "activity":
        return layer.activity_regularizer
    return getattr(layer.rules["recurrent_kernel" if weight == "recurrent" else weight], kind)


def _to_identifier(argument: str, held: Any, registry: Mapping[str, Any]) -> Any:
    if held is None:
        return None
    for name, known in registry.items():
        if held is known:
            return name
    if type(held) not in registry.values():
        raise UsageError(
            f"{argument} {held!r:.80} is a callable, which a Keras configuration cannot hold",
            remedy="use one that Keras names",
        )
    values = {name: getattr(held, name) for name in inspect.signature(type(held)).parameters}
    # Earlier versions of Keras 3 do not know the axes that initializers may name.
    values = {k: v for k, v in values.items() if not (k.endswith("put_axes") and v is None)}
    module = f"keras.{argument.rpartition('_')[2]}s"
    class_name = type(held).__name__
    return {"module": module, "class_name": class_name, "config": values, "registered_name": None}
