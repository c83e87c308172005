"""Types of arguments from Python, held against their annotations; Typer does this for commands."""

from __future__ import annotations

import os
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from framecast.errors import UsageError

# What else counts as such a number: those of NumPy, and an int where a float is asked for.
ACCEPTED = {int: Integral, float: Real}


def check_fields(request: Any) -> None:
    """Raise UsageError where a field of a dataclass holds something of another type."""
    for name, kind in _hints(type(request)).items():
        value = getattr(request, name)
        if not _fits(value, kind):
            raise UsageError(
                f"{name}: expected {describe(kind)}; received {value!r:.60}",
                remedy="leave it out for the default",
            )


def as_path(path: Any) -> Path:
    """A path, ~ for the home folder; UsageError for all but a str or a Path, and for ""."""
    if not isinstance(path, str | Path) or not str(path):
        found = repr(path) if isinstance(path, str) else type(path).__name__
        raise UsageError(f"expected a path; received {found}", remedy="give a str or a Path")
    return Path(from_home(str(path)))


def from_home(path: str) -> str:
    """A path with the home folder for a leading ~, which shells leave after a = and in quotes."""
    is_home = path.replace(os.sep, "/").partition("/")[0] == "~"  # Windows takes both slashes
    # Not by Path, which raises where there is no home.
    return os.path.expanduser(path) if is_home else path  # noqa: PTH111


def describe(kind: Any) -> str:
    """A type in words: `int or None`, `gray or rgb or None`, `a tuple of str`."""
    if get_origin(kind) in (Union, UnionType, Literal):
        return " or ".join(describe(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a tuple of {describe(get_args(kind)[0])}"
    return "None" if kind is NoneType else kind if isinstance(kind, str) else kind.__name__


def _fits(value: Any, kind: Any) -> bool:
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if get_origin(kind) is Literal:
        return value in parts
    if get_origin(kind) is tuple:
        return isinstance(value, tuple | list) and all(_fits(each, parts[0]) for each in value)
    return isinstance(value, ACCEPTED.get(kind, kind))


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
