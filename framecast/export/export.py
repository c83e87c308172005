"""A model as a file for other programs, or frames as another kind of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from framecast.errors import UsageError
from framecast.export.frames import export_frames
from framecast.export.request import KINDS, ExportReport, ExportRequest, check_kind, refuse
from framecast.prediction.model_files import names_model
from framecast.prediction.model_header import check_early, refuse_graph
from framecast.prediction.request import asked_reading
from framecast.runtime.output_files import check_distinct, check_outside, check_target
from framecast.video.readers.open import open_source

# Fields of a request by what they are about
OF_MODELS = ("horizon", "context_length", "size", "step", "half")
OF_FRAMES = ("fps", "enlarge", "colormap", "labels", "step_minutes", "value_scale")


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
    check_distinct(outputs)
    others = [out for out in outputs if Path(out).suffix.lower() not in KINDS]
    if others and (len(others) < len(outputs) or names_model(source)):
        raise UsageError(
            f"{others[0]}: a model cannot become a file of this kind",
            remedy=f"end the name in {', '.join(KINDS)}",
        )
    if not others:
        return _export_models(source, outputs, request, overwrite, tell)
    refuse(request, OF_MODELS, f"is for models, {source} is not one")
    for output in outputs:
        check_outside(Path(output), [source])
    clip = open_source(source, **asked_reading(request))
    return export_frames(clip, outputs, request, overwrite, tell)


def _export_models(
    source: Path,
    outputs: Sequence[str | Path],
    request: ExportRequest,
    overwrite: bool,
    tell: Callable[..., None],
) -> ExportReport:
    refuse(request, (*OF_FRAMES, *asked_reading(request)), "is for frames, not for models")
    _ = request.frame_size  # a wrong one is refused before PyTorch is loaded
    refuse_graph(source)
    check_early(source)
    for output in map(Path, outputs):
        check_kind(output, request)
        for file in request.files(output):
            check_target(file, "model", overwrite)
    # Everything that can be refused without PyTorch has been by now
    tell("loading PyTorch")
    from framecast.export.model import export_model  # noqa: PLC0415
    from framecast.prediction.checkpoint import load_checkpoint, named  # noqa: PLC0415

    checkpoint = load_checkpoint(source)
    with named(source):
        reports = [export_model(checkpoint, Path(out), request, overwrite, tell) for out in outputs]
    known = [report.difference for report in reports if report.difference is not None]
    return ExportReport(
        paths=tuple(path for report in reports for path in report.paths),
        # What holds for all of them is said once.
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        difference=max(known) if len(known) == len(reports) else None,
        snippet="\n\n".join(filter(None, (report.snippet for report in reports))),
    )
