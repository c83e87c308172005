"""Resolve Keras identifiers (names, configurations, classes, objects), and back. No torch.

Source: `keras/src/initializers/__init__.py: get` and its siblings for the other kinds of rules.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# A class that Keras renamed.
_FORMER_NAMES = {"OrthogonalInitializer": "Orthogonal"}


def resolve(kind: str, identifier: object, registry: Mapping[str, Any]) -> Callable | None:
    """Find the function or object that `identifier` stands for, as Keras' `get()` does.

    `identifier` is None (nothing), a name in `registry` (its own spelling or that of the class it
    holds), a mapping `{"class_name": ..., "config": {...}}`, a class (made without arguments), an
    object or function of Keras itself with a name in `registry`, or any callable. `kind` names what
    is looked for in the ValueError that refuses everything else.
    """
    found: Any = identifier
    config: dict[str, Any] = {}
    if identifier is None:
        return None
    if isinstance(identifier, Mapping):
        # Older initializers also name the dtype of what they draw; a function's config is a name.
        given = identifier.get("config") or {}
        name = identifier.get("class_name")
        if isinstance(given, str):
            name, given = given, {}
        config = {key: value for key, value in given.items() if key != "dtype"}
        if isinstance(config.get("seed"), Mapping):  # a SeedGenerator: its own seed
            config["seed"] = (config["seed"].get("config") or {}).get("seed")
        found = _by_name(kind, name, registry)
    elif isinstance(identifier, str):
        found = _by_name(kind, identifier, registry)
    elif of_keras := _from_keras(identifier, registry):
        return resolve(kind, of_keras, registry)
    if inspect.isclass(found):  # an unknown key in the configuration is a TypeError, as in Keras
        found = found(**config)
    if not callable(found):
        rule = f"{kind} must be a name, a mapping or a callable"
        raise ValueError(f"{rule}; received {identifier!r}; use e.g. {next(iter(registry))!r}")
    return found


def _from_keras(identifier: Any, registry: Mapping[str, Any]) -> str | dict[str, Any] | None:
    """The name or mapping of an object or function that belongs to Keras, None for others."""
    # A function has its own name; an object has that of its class.
    kind = identifier if hasattr(identifier, "__name__") else type(identifier)
    if not str(kind.__module__).startswith(("keras.", "tf_keras.")):
        return None
    if kind.__name__ not in _known(registry):
        return None  # a user's own or an unknown rule is called as it is
    if kind is identifier:
        return kind.__name__
    return {"class_name": kind.__name__, "config": identifier.get_config()}


def identify(kind: str, held: Any, registry: Mapping[str, Any]) -> Any:
    """The inverse of `resolve`, as Keras writes it into a configuration.

    A name for a function, a mapping for an object of a class in `registry`, None for None; any
    other callable is returned as it is.
    """
    if held is None:
        return None
    for name, known in registry.items():
        if held is known:
            return name
    if type(held) not in registry.values():
        return held
    values = {name: getattr(held, name) for name in inspect.signature(type(held)).parameters}
    # Earlier versions of Keras 3 do not know the axes that initializers may name.
    values = {k: v for k, v in values.items() if not (k.endswith("put_axes") and v is None)}
    return {
        "module": f"keras.{kind}s",
        "class_name": type(held).__name__,
        "config": values,
        "registered_name": None,
    }


def _by_name(kind: str, name: object, registry: Mapping[str, Any]) -> Callable:
    known = _known(registry)
    name = _FORMER_NAMES.get(name, name) if isinstance(name, str) else name
    check_name(kind, name, known)
    return known[name]


def _known(registry: Mapping[str, Any]) -> dict[str, Any]:
    # Both "glorot_uniform" and "GlorotUniform" are names in Keras.
    classes = {found.__name__: found for found in registry.values() if inspect.isclass(found)}
    return {**classes, **registry}


def check_name(kind: str, name: object, known: Iterable[str]) -> None:
    """Refuse a name that is not among those `known`, with the nearest; ValueError names `kind`."""
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    listed = ", ".join(sorted(word for word in known if word.islower()))
    hint = f"did you mean {near[0]!r}?" if near else f"known are {listed}"
    raise ValueError(f"{kind}: there is no {name!r}; {hint}")


def to_snake_case(class_name: str) -> str:
    """Name that Keras gives to a class' layers: ConvLSTM2D is conv_lstm2d."""
    # keras/src/utils/naming.py
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
