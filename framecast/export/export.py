"""A model as a file for other programs, or frames as another kind of frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from framecast.errors import UsageError
from framecast.export.export_report import ExportReport
from framecast.export.frames import FramesRequest, export_frames
from framecast.export.request import ExportRequest
from framecast.prediction.model_files import names_model
from framecast.prediction.model_header import check_early
from framecast.runtime.output_files import check_target
from framecast.video.frame_size import parse_size
from framecast.video.readers.open import open_source

EXPORTED_SUFFIXES = (".onnx", ".pt2", ".torchscript", ".safetensors")
"""Of the files that hold a model; `formats` has what writes them."""


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
    source: Path,
    output: str | Path,
    request: ExportRequest,
    overwrite: bool = False,
    tell: Callable[..., None] = lambda work, done=0, total=None: None,
) -> ExportReport:
    """Export a model, or convert frames where `output` is no name for a model.

    `tell` is called with what is being done, how much of it is done, and the total. Raises
    UsageError for a request that does not fit what is exported, and what `load_checkpoint`,
    `export_model`, `open_source` and `export_frames` raise.
    """
    if Path(output).suffix.lower() in EXPORTED_SUFFIXES:
        _refuse(request, OF_FRAMES, "is for frames, not for models")
        size = request.size and parse_size(request.size, "--size: expected HEIGHTxWIDTH")
        check_early(source)
        if not request.step:  # which writes files of other names
            check_target(Path(output), "model", overwrite)
        tell("loading PyTorch")
        from framecast.export.model import ModelRequest, export_model  # noqa: PLC0415
        from framecast.prediction.checkpoint import load_checkpoint  # noqa: PLC0415

        wanted = ModelRequest(
            request.horizon, request.context_length, size or None, request.step, request.half
        )
        return export_model(load_checkpoint(source), Path(output), wanted, overwrite, tell)
    if names_model(source):
        raise UsageError(
            f"{output}: a model cannot become a file of this kind",
            remedy=f"end the name in {', '.join(EXPORTED_SUFFIXES)}",
        )
    _refuse(request, OF_MODELS, f"is for models, {source} is not one")
    given = {name: getattr(request, name) for name in OF_FRAMES}
    return export_frames(open_source(source), output, FramesRequest(**given), overwrite, tell)


def _refuse(request: ExportRequest, flags: dict[str, str], why: str) -> None:
    for name, flag in flags.items():
        value = getattr(request, name)
        if value is not None and value is not False:
            raise UsageError(f"{flag} {why}", remedy="leave it out")
