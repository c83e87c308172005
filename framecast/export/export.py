"""A model as ONNX, torch.export or TorchScript, checked against PyTorch; frames as a video.

Exported networks take `context` (B, Tc, C, H, W), float32 in [0, 1], and return `frames`
(B, horizon, C, H, W) in [0, 1]. Any B; the other sizes are fixed, because the number of pyramid
levels that motion is estimated on depends on H and W.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from framecast.errors import UsageError
from framecast.export.formats import MODEL_FORMATS
from framecast.export.model import ExportReport, export_model
from framecast.prediction.checkpoint import load_checkpoint
from framecast.video.frame_size import parse_size
from framecast.video.readers.base import FrameSource
from framecast.video.readers.open import open_source
from framecast.video.writers.open import DEFAULT_FPS, PLAYED, open_writer


@dataclass(frozen=True)
class ExportRequest:
    """What to export: `horizon`, `context_length` and `size` ("HxW") of a model, None as trained;
    `fps` of a video, None the frames' own.
    """

    horizon: int | None = None
    context_length: int | None = None
    size: str | None = None
    fps: float | None = None


def export(
    source: Path, output: str | Path, request: ExportRequest, overwrite: bool = False
) -> ExportReport:
    """Export a model, or convert frames where `output` is no name for a model.

    Raises UsageError for a request that does not fit what is exported, and what `load_checkpoint`,
    `export_model`, `open_source` and `export_frames` raise.
    """
    if Path(output).suffix.lower() in MODEL_FORMATS:
        if request.fps is not None:
            raise UsageError("--fps is for frames, a model has no frame rate")
        size = request.size and parse_size(request.size, "--size: expected HEIGHTxWIDTH")
        return export_model(
            load_checkpoint(source),
            Path(output),
            horizon=request.horizon,
            context_length=request.context_length,
            size=size or None,
            overwrite=overwrite,
        )
    if source.suffix == ".pt" or os.path.lexists(source / "best.pt"):
        raise UsageError(
            f"{output}: a model cannot become a file of this kind",
            remedy=f"end the name in {', '.join(MODEL_FORMATS)}",
        )
    for name in ("horizon", "context_length", "size"):
        if getattr(request, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for models, {source} is not one")
    return export_frames(open_source(source), output, fps=request.fps, overwrite=overwrite)


def export_frames(
    source: FrameSource, path: str | Path, *, fps: float | None = None, overwrite: bool = False
) -> ExportReport:
    """Write a clip's frames to a file that plays, keeps values, or to a folder of PNGs.

    One frame is in memory at a time. Files for data get the values that the clip's own file has.
    `fps` None is the clip's own rate. Raises what reading raises and what `open_writer` raises.
    """
    info, notes = source.info, list(source.info.notes)
    is_played = Path(path).suffix.lower() in PLAYED
    if is_played and fps is None and info.fps is None:
        notes.append(f"{info.path} knows no frame rate: {DEFAULT_FPS:g} per second, or give --fps")
    rate = fps if fps is not None else info.fps or DEFAULT_FPS
    writer = open_writer(path, fps=rate, overwrite=overwrite, pixel_aspect=info.pixel_aspect)
    exact = writer.keeps_values and info.values.dtype in writer.stores
    with writer:
        for frame_HWC in source.read_values() if exact else source.read():
            writer.write(frame_HWC)
    return ExportReport(writer.path, (*notes, *writer.notes))
