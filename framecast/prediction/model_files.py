"""Which paths name a model: a file, a run folder, or the one that framecast ships. No torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from framecast.config.schema import PRETRAINED
from framecast.errors import UsageError

MODEL_SUFFIXES = (".pt", ".safetensors", ".onnx")

GRAPH_SUFFIXES = (".onnx", ".pt2", ".torchscript")
"""Of exported files that hold what a network does, not its settings as a training has them."""

PRETRAINED_FILE = Path(__file__).parent / "pretrained" / "flow-convlstm.pt"

PARTS = ("encode", "step")
"""The two files of a network that is stepped: NAME.encode.onnx and NAME.step.onnx."""


def part_paths(path: Path) -> dict[str, Path]:
    """Where the parts of a stepped network stand: NAME.onnx, or one of them, names both."""
    stem = path.name.removesuffix(".onnx")
    for part in PARTS:
        stem = stem.removesuffix(f".{part}")
    return {part: path.with_name(f"{stem}.{part}.onnx") for part in PARTS}


def names_model(path: Path) -> bool:
    """Whether a path names a model rather than frames."""
    text = str(path)
    return (
        text == PRETRAINED
        or path.suffix.lower() in MODEL_SUFFIXES
        or os.path.lexists(path / "best.pt")  # never raises, unlike Path.exists
        or bool(runs_in(path))
    )


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder of runs, easily given in the place of one; none next to frames."""
    with suppress(OSError), os.scandir(folder) as found:
        entries = list(found)
        folders = [Path(entry) for entry in entries if entry.is_dir()]
        runs = sorted(path for path in folders if os.path.lexists(path / "best.pt"))
        if runs and not any(_frame_suffix(Path(entry)) for entry in entries):
            return runs
    return []


def _frame_suffix(path: Path) -> bool:
    from framecast.video.readers.folder_listing import (  # noqa: PLC0415  (slow to load)
        CLIP_SUFFIXES,
        IMAGE_SUFFIXES,
    )

    return path.suffix.lower() in CLIP_SUFFIXES | IMAGE_SUFFIXES


def _names_frames(path: Path) -> bool:
    """Whether a path is that of frames by its name, or a folder."""
    from framecast.video.readers.live import is_live  # noqa: PLC0415  (slow to load)
    from framecast.video.readers.open import LIST_MARK  # noqa: PLC0415  (slow to load)

    text = str(path)
    return (
        os.path.isdir(path)  # noqa: PTH112  (never raises)
        or _frame_suffix(path)
        or text.startswith(LIST_MARK)
        or is_live(text)
        or glob.has_magic(text)
    )


def split_model(paths: Sequence[Path], model: Path | None = None) -> tuple[Path, list[Path]]:
    """Tell the model from the frames: `model` or else the first path; neither: the pretrained one.

    Of several paths the first is a model unless its name is one of frames: a mistyped name must not
    leave the forecast to the pretrained model. Raises UsageError when no frames are left, and for
    a model among them.
    """
    sources = list(paths)
    if model is None and sources:
        first, *others = sources
        if names_model(first) or (others and not _names_frames(first)):
            model, sources = first, others
    for source in sources:
        if names_model(source):
            raise UsageError(f"{source}: is a model", remedy="give one model, before the frames")
    if not sources:
        raise UsageError("no frames given", remedy=f"add a source, e.g. {model or ''} clip.mp4")
    return model or Path(PRETRAINED), sources
