"""The versions of what ran, for run folders, reports and exported files."""

from __future__ import annotations

import platform

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Names and versions of framecast, PyTorch and Python. Does not import torch."""
    # Loaded here: it takes longer than everything else that `framecast --help` imports.
    from importlib.metadata import version  # noqa: PLC0415

    return {
        "framecast": __version__,
        "torch": version("torch"),
        "python": platform.python_version(),
    }
