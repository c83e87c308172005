"""How an argument that Keras lets one write in several ways finds its object."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def resolve(kind: str, identifier: object, registry: Mapping[str, Any]) -> Callable | None:
    """Find the function or object that `identifier` stands for, as Keras' `get()` does.

    `identifier` is None (nothing), a name in `registry` (its own spelling or that of the class it
    holds), a mapping `{"class_name": ..., "config": {...}}`, a class (made without arguments) or
    any callable. `kind` names what is looked for in the ValueError that refuses everything else.
    """
    found: Any = identifier
    config: dict[str, Any] = {}
    if identifier is None:
        return None
    if isinstance(identifier, Mapping):
        config = dict(identifier.get("config") or {})
        found = _by_name(kind, identifier.get("class_name"), registry)
    elif isinstance(identifier, str):
        found = _by_name(kind, identifier, registry)
    if inspect.isclass(found):
        found = found(**config)
    if not callable(found):
        rule = f"{kind} must be a name, a mapping or a callable"
        raise ValueError(f"{rule}; received {identifier!r}; use e.g. {next(iter(registry))!r}")
    return found


def _by_name(kind: str, name: object, registry: Mapping[str, Any]) -> Callable:
    classes = {found.__name__: found for found in registry.values() if inspect.isclass(found)}
    known = {**classes, **registry}
    check_name(kind, name, known)
    return known[name]


def check_name(kind: str, name: object, known: Iterable[str]) -> None:
    """Refuse a name that is not among those `known`, with the nearest; ValueError names `kind`."""
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    listed = ", ".join(sorted(word for word in known if word.islower()))
    hint = f"did you mean {near[0]!r}?" if near else f"known are {listed}"
    raise ValueError(f"{kind}: there is no {name!r}; {hint}")
