"""How an argument that Keras lets one write in several ways finds its object."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
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
        raise ValueError(f"{kind} must be a name, a mapping or a callable; received {identifier!r}")
    return found


def _by_name(kind: str, name: object, registry: Mapping[str, Any]) -> Callable:
    classes = {found.__name__: found for found in registry.values() if inspect.isclass(found)}
    known = {**classes, **registry}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(registry))}"
    raise ValueError(f"{kind}: there is no {name!r}; {hint}")
