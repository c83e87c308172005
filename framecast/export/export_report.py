"""The result of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportReport:
    """The files or folder made, what is worth noting, and how far a model's frames are from
    PyTorch's at most; None where that could not be checked, and for frames.

    `snippet` is a Python script that runs the file.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    difference: float | None = None
    snippet: str = ""
