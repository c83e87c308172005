"""Which paths name a model: a file, a run folder, or the one that framecast ships. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from framecast.errors import UsageError

PRETRAINED = "pretrained"
"""What the model that framecast ships is called; a folder of that name is ./pretrained."""

MODEL_SUFFIXES = (".pt", ".safetensors", ".onnx")

PRETRAINED_FILE = Path(__file__).parent / "pretrained" / "flow-convlstm.pt"


def names_model(path: Path) -> bool:
    """Whether a path names a model rather than frames."""
    text = str(path)
    return (
        text == PRETRAINED
        or path.suffix.lower() in MODEL_SUFFIXES
        or os.path.lexists(path / "best.pt")  # never raises, unlike Path.exists
    )


def split_model(paths: Sequence[Path], model: Path | None = None) -> tuple[Path, list[Path]]:
    """Tell the model from the frames: `model` or else the first path; neither: the pretrained one.

    Raises UsageError when no frames are left.
    """
    sources = list(paths)
    if model is None and sources and names_model(sources[0]):
        model = sources.pop(0)
    if not sources:
        raise UsageError("no frames given", remedy=f"add a source, e.g. {model or ''} clip.mp4")
    return model or Path(PRETRAINED), sources


def pretrained_notes(model: Path) -> tuple[str, ...]:
    """Notes on a forecast by the pretrained model; none on one by the user's own."""
    if str(model) != PRETRAINED:
        return ()
    return ("forecast by the pretrained model; `framecast train` adapts it to clips like yours",)
