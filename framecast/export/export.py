"""A model as a file for other programs, or frames as another kind of frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framecast.errors import UsageError
from framecast.export.formats import MODEL_FORMATS
from framecast.export.frames import FramesRequest, export_frames
from framecast.export.model import ExportReport, ModelRequest, export_model
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.model_files import names_model
from framecast.video.frame_size import parse_size
from framecast.video.readers.open import open_source


@dataclass(frozen=True)
class ExportRequest:
    """What to export, as the command line gives it; None is as trained, or as the frames are.

    Of a model `horizon`, `context_length`, `size` ("HxW"), `step` and `half`; of frames `fps`,
    `enlarge`, `colormap`, `labels`, `step_minutes` and `value_scale`.
    """

    horizon: int | None = None
    context_length: int | None = None
    size: str | None = None
    step: bool = False
    half: bool = False
    fps: float | None = None
    enlarge: float | None = None
    colormap: str | None = None
    labels: bool = False
    step_minutes: float | None = None
    value_scale: str | None = None


OF_MODELS = {
    "horizon": "--horizon",
    "context_length": "--context-length",
    "size": "--size",
    "step": "--step",
    "half": "--half",
}
OF_FRAMES = {
    "fps": "--fps",
    "enlarge": "--scale",
    "colormap": "--colormap",
    "labels": "--labels",
    "step_minutes": "--step-minutes",
    "value_scale": "--value-scale",
}


def export(
    source: Path, output: str | Path, request: ExportRequest, overwrite: bool = False
) -> ExportReport:
    """Export a model, or convert frames where `output` is no name for a model.

    Raises UsageError for a request that does not fit what is exported, and what `load_checkpoint`,
    `export_model`, `open_source` and `export_frames` raise.
    """
    if Path(output).suffix.lower() in MODEL_FORMATS:
        _refuse(request, OF_FRAMES, "is for frames, not for models")
        size = request.size and parse_size(request.size, "--size: expected HEIGHTxWIDTH")
        wanted = ModelRequest(
            request.horizon, request.context_length, size or None, request.step, request.half
        )
        return export_model(load_checkpoint(source), Path(output), wanted, overwrite)
    if names_model(source):
        raise UsageError(
            f"{output}: a model cannot become a file of this kind",
            remedy=f"end the name in {', '.join(MODEL_FORMATS)}",
        )
    _refuse(request, OF_MODELS, f"is for models, {source} is not one")
    given = {name: getattr(request, name) for name in OF_FRAMES}
    return export_frames(open_source(source), output, FramesRequest(**given), overwrite)


def _refuse(request: ExportRequest, flags: dict[str, str], why: str) -> None:
    for name, flag in flags.items():
        value = getattr(request, name)
        if value is not None and value is not False:
            raise UsageError(f"{flag} {why}", remedy="leave it out")
