"""The versions of what ran, for run folders, reports and exported files."""

from __future__ import annotations

import platform
from importlib.metadata import version

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Names and versions of framecast, PyTorch and Python. Imports no torch."""
    return {
        "framecast": __version__,
        "torch": version("torch"),
        "python": platform.python_version(),
    }
