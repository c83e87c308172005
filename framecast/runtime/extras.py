"""Packages that only some files and options need, and that the extras of framecast install."""

from __future__ import annotations

from importlib.util import find_spec

from framecast.errors import UsageError


def check_installed(package: str, extra: str, work: str) -> None:
    """Raise UsageError where a package is missing; `work` says what needs it."""
    if find_spec(package) is None:
        raise UsageError(
            f"{work} needs {package}, which is not installed",
            remedy=f'run pip install "framecast[{extra}]"',
        )
