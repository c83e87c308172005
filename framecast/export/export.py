"""A model as a file for other programs, or frames as another kind of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

# Of the files that hold a model; `formats` has what writes them
EXPORTED_SUFFIXES = (".onnx", ".pt2", ".torchscript", ".safetensors")


OF_MODELS = {
    "horizon": "--horizon",
    "context_length": "--context-length",
    "size": "--size",
    "step": "--step",
    "half": "--half",
}
OF_READING = {
    "axes": "--axes",
    "variable": "--variable",
    "keep_readable": "--keep-readable",
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
    outputs: Sequence[str | Path],
    request: ExportRequest,
    overwrite: bool = False,
    tell: Callable[..., None] = lambda work, done=0, total=None: None,
) -> ExportReport:
    """Export a model, or convert frames where no output is a name for a model.

    Nothing is written before all outputs are checked. `tell` is called with what is being done, how
    much of it is done, and the total. Raises UsageError for a request that does not fit what is
    exported, and what `load_checkpoint`, `export_model`, `open_source` and `export_frames` raise.
    """
    if len({*map(str, outputs)}) < len(outputs):
        raise UsageError("an output is named twice", remedy="name each once with -o")
    others = [out for out in outputs if Path(out).suffix.lower() not in EXPORTED_SUFFIXES]
    if others and (len(others) < len(outputs) or names_model(source)):
        raise UsageError(
            f"{others[0]}: a model cannot become a file of this kind",
            remedy=f"end the name in {', '.join(EXPORTED_SUFFIXES)}",
        )
    if not others:
        return _export_models(source, outputs, request, overwrite, tell)
    _refuse(request, OF_MODELS, f"is for models, {source} is not one")
    given = {name: getattr(request, name) for name in OF_FRAMES}
    reading = {name: getattr(request, name) for name in OF_READING if getattr(request, name)}
    clip = open_source(source, **reading)
    return export_frames(clip, outputs, FramesRequest(**given), overwrite, tell)


def _export_models(
    source: Path,
    outputs: Sequence[str | Path],
    request: ExportRequest,
    overwrite: bool,
    tell: Callable[..., None],
) -> ExportReport:
    _refuse(request, OF_FRAMES | OF_READING, "is for frames, not for models")
    size = request.size and parse_size(request.size, "--size: expected HEIGHTxWIDTH")
    check_early(source)
    if not request.step:  # which writes files of other names
        for output in outputs:
            check_target(Path(output), "model", overwrite)
    # Everything that can be refused without PyTorch has been by now
    tell("loading PyTorch")
    from framecast.export.model import ModelRequest, export_model  # noqa: PLC0415
    from framecast.prediction.checkpoint import load_checkpoint  # noqa: PLC0415

    wanted = ModelRequest(
        request.horizon, request.context_length, size or None, request.step, request.half
    )
    checkpoint = load_checkpoint(source)
    reports = [export_model(checkpoint, Path(out), wanted, overwrite, tell) for out in outputs]
    known = [report.difference for report in reports if report.difference is not None]
    return ExportReport(
        paths=tuple(path for report in reports for path in report.paths),
        # What holds for all of them is said once.
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        difference=max(known) if len(known) == len(reports) else None,
        snippet="\n\n".join(filter(None, (report.snippet for report in reports))),
    )


def _refuse(request: ExportRequest, flags: dict[str, str], why: str) -> None:
    for name, flag in flags.items():
        value = getattr(request, name)
        if value is not None and value is not False:
            raise UsageError(f"{flag} {why}", remedy="leave it out")
