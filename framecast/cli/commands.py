"""The commands. Each body loads settings, makes one call and renders the result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from framecast.cli.options import (
    FORECAST,
    INPUT,
    LAYERS,
    MACHINE,
    OF_MODELS,
    OUTPUT,
    RESULT_KINDS,
    RUN,
    SCORING,
    Axes,
    Color,
    Colormap,
    ConfigFile,
    Device,
    Horizon,
    Json,
    KeepReadable,
    Labels,
    Match,
    Model,
    ModelAndSources,
    Overrides,
    Overwrite,
    PresetName,
    Set,
    Sources,
    StepMinutes,
    ValueScale,
    Variable,
    complete_run,
    with_setting_flags,
)
from framecast.config.presets import find_preset, presets
from framecast.errors import FramecastError, InterruptedRunError, PartialFailureError, UsageError
from framecast.runtime.output_files import check_inputs


@with_setting_flags
def train(
    sources: Sources = None,
    preset: PresetName = None,
    config: ConfigFile = None,
    settings: Set = None,
    *,
    flags: Overrides,
    runs: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Where the numbered run folders go.", rich_help_panel=RUN
        ),
    ] = Path("runs"),
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Continue an interrupted run, given its folder.",
            rich_help_panel=RUN,
            autocompletion=complete_run,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the plan, try one batch, write nothing.", rich_help_panel=RUN
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print paths and errors only.", rich_help_panel=RUN),
    ] = False,
) -> None:
    """Train a model on clips and keep the one with the lowest held-out error.

    Examples:

      framecast train ./frames --minutes 10

      framecast train clips/*.mp4 --preset shi2015 --minutes 60
    """
    started = time.monotonic()  # of the budget, of which loading and decoding are part
    if preset == "help":
        from framecast.cli.model_table import show_presets

        show_presets(presets().values())
        return
    from framecast.cli import training_report
    from framecast.cli.progress import LOADING, Display
    from framecast.config.loading import load_config
    from framecast.training.preparation import prepare
    from framecast.training.run_folder import RunFolder, check_runs_folder

    base = None if preset is None else find_preset(preset).load()
    overrides = [*(settings or []), *flags]
    main = is_main_process()
    silent = quiet or not main
    if resume is not None and (sources or config or preset):
        raise UsageError(
            "--resume takes its sources and settings from the run", remedy="give only the run"
        )
    with Display(silent) as display:
        if resume is None:
            if not dry_run:
                check_runs_folder(runs)
            settled = load_config(config, overrides, base=base)
            session = prepare(needed(sources), settled, display.count)
        else:
            RunFolder(resume).read_record()  # refuses what is no run folder
        display.show(LOADING)
        from framecast.training import pipeline
    with pipeline.claim(resume if main else None):
        if resume is not None:
            with Display(silent) as display:
                session = pipeline.prepare_resume(resume, overrides, display.count)
        if not silent:
            training_report.show_plan(session.plan)
        with Display(silent) as display:
            if dry_run:
                display.show("trying a batch")
                if main:
                    training_report.show_dry_run(pipeline.dry_run(session))
                return
            outcome = pipeline.train(session, runs, display.training_event, started)
    if main:
        training_report.show_outcome(outcome, quiet)


def predict(
    paths: ModelAndSources,
    model: Model = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help=f"{RESULT_KINDS}, or - for PNGs on standard output; repeatable. With several "
            "sources: the folder that gets one result each.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    horizon: Horizon = None,
    start: Annotated[
        int | None,
        typer.Option(
            metavar="FRAME",
            help="First context frame; default: the clip's last frames are the context.",
            rich_help_panel=FORECAST,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Show input, prediction, truth and error.", rich_help_panel=OUTPUT
        ),
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="After every frame, predict the one that is --horizon (1) ahead; a SOURCE may "
            "also be - (standard input), camera:N or a URL.",
            rich_help_panel=FORECAST,
        ),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Standard input is raw 8-bit frames of this size, in pixels.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    format_: Annotated[
        Literal["gif", "mp4", "webm", "webp", "apng", "png", "npy", "tif", "nc"],
        typer.Option("--format", help="Of results that -o does not name.", rich_help_panel=OUTPUT),
    ] = "gif",
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the tiles that large frames are predicted in; default: as memory needs.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    match: Match = 0.0,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Frames per second of the result; default: the source's.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    colormap: Colormap = None,
    value_scale: ValueScale = None,
    labels: Labels = False,
    step_minutes: StepMinutes = None,
    color: Color = None,
    axes: Axes = None,
    variable: Variable = None,
    device: Device = "auto",
    keep_readable: KeepReadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict the frames after a clip's last ones, into files that play or that keep values.

    Examples:

      framecast predict clip.mp4 --horizon 24 -o future.mp4

      framecast predict runs/train-1 camera:0 --stream -o nowcast.mp4
    """
    from framecast.cli.console import show_model, show_notes, show_result
    from framecast.cli.progress import Display
    from framecast.prediction.model_files import pretrained_notes, split_model
    from framecast.prediction.model_header import check_early
    from framecast.prediction.predict_clip import PredictionRequest, name_outputs, predict_file
    from framecast.prediction.predict_stream import nowcast_file
    from framecast.video.readers.live import is_live
    from framecast.video.readers.open import expand_lists
    from framecast.video.writers.open import DEFAULT_FPS, open_writer

    request = PredictionRequest(
        *(horizon, start, compare, fps, color, keep_readable, stream, size, axes, variable),
        *(colormap, labels, step_minutes, value_scale),
    )
    chosen, sources = split_model(paths, model)
    named = expand_lists(sources)
    for source in named:
        request.check_source(source)
    # The other sources are still predicted where one of several is wrong.
    alone = [] if len(named) > 1 else [source for source in named if not is_live(source)]
    given = {"color": color, "axes": axes, "variable": variable, "keep_readable": keep_readable}
    check_early(chosen, alone, **given)
    targets = name_outputs(named, output or [], format_, overwrite)
    for files in targets:
        for file in files:
            check_inputs(Path(file), [chosen, *map(Path, named)])
            if len(named) == 1:
                open_writer(file, fps=fps or DEFAULT_FPS, overwrite=overwrite)
    with Display() as display:
        display.show("loading the model")
        from framecast.prediction.onnx_forecaster import open_forecaster

        forecaster = open_forecaster(chosen, device, tile, match)
    predict_one = nowcast_file if stream else predict_file
    untold = [forecaster]  # told with the first forecast, so that an error stays one line

    def run(source: str, files: list[str]) -> None:
        with Display() as display:
            display.show(f"reading {Path(source).name}")
            notes = predict_one(forecaster, source, files, request, overwrite, display.count)
        if untold:
            show_model(untold.pop())
            notes = (*pretrained_notes(chosen), *notes)
        show_notes(notes)
        for file in files:
            if file != "-":  # standard output holds the frames themselves
                show_result(file)

    do_each(named, targets, run)


def evaluate(
    paths: ModelAndSources,
    model: Model = None,
    horizon: Horizon = None,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            help="Frames between window starts; default: as trained.",
            show_default=False,
            rich_help_panel=SCORING,
        ),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Most windows to score, evenly spread; 0: all. Fewer are faster.",
            rich_help_panel=SCORING,
        ),
    ] = 100,
    protocol: Annotated[
        Literal["pixel", "openstl", "nowcast"],
        typer.Option(help="Which metrics.", rich_help_panel=SCORING),
    ] = "pixel",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE",
            help='Adds CSI, POD, FAR and FSS; "20 dBZ", 0.4 or 109/255; repeatable.',
            rich_help_panel=SCORING,
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help='What black and white mean, "-10..60 dBZ"; default: as trained.',
            show_default=False,
            rich_help_panel=SCORING,
        ),
    ] = None,
    include_training: Annotated[
        bool,
        typer.Option(
            "--include-training",
            help="Also score frames the model was trained on.",
            rich_help_panel=SCORING,
        ),
    ] = False,
    match: Match = 0.0,
    json: Json = False,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write every score as a row of a CSV file.", rich_help_panel=OUTPUT
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one HTML page: plots, windows to step through.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    colormap: Colormap = None,
    step_minutes: StepMinutes = None,
    color: Color = None,
    device: Device = "auto",
    keep_readable: KeepReadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Compare a model with classical forecasts on frames it was not trained on.

    Examples:

      framecast evaluate runs/train-1 clip.mp4

      framecast evaluate runs/train-1 radar/ --protocol nowcast --report report.html
    """
    from framecast.cli.console import show_model, show_result
    from framecast.cli.progress import LOADING, Display
    from framecast.cli.score_tables import show_evaluation
    from framecast.evaluation.report_files import ReportFiles
    from framecast.evaluation.task import EvaluationRequest, open_task
    from framecast.prediction.model_files import split_model
    from framecast.prediction.model_header import check_early

    request = EvaluationRequest(
        horizon,
        stride,
        windows or None,
        protocol,
        tuple(threshold or ()),
        scale,
        include_training,
    )
    files = ReportFiles(csv, report, overwrite, colormap, step_minutes)
    chosen, sources = split_model(paths, model)
    for path in files.paths:
        check_inputs(path, [chosen, *sources])
    check_early(chosen, sources, color=color, keep_readable=keep_readable)
    with Display(quiet=not is_main_process()) as display:
        display.show(LOADING)
        from framecast.evaluation.evaluate import evaluate_task
        from framecast.runtime.distributed import joined
    with joined(device) as group:
        with Display(quiet=not group.main) as display:
            display.show("loading the model")
            task = open_task(
                chosen, sources, request, color, keep_readable, group.device, match, display.count
            )
            if group.main:
                show_model(task.forecaster)
            display.show("scoring windows", 0, len(task.windows))
            found = evaluate_task(
                task, on_window=lambda total: display.count("scoring windows", total), group=group
            )
            if group.main and files.paths:
                display.show("writing the report")
                files.write(found, task)
        if group.main:
            show_evaluation(found, as_json=json)
            for path in files.paths:
                show_result(str(path))


def inspect_shapes(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="TARGET", help="Frames, a model, or a framecast.yaml.", show_default=False
        ),
    ] = None,
    model: Model = None,
    config: ConfigFile = None,
    settings: Set = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Frame size in pixels when no frames are given.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Channels when no frames are given: 1 or 3.", rich_help_panel=INPUT
        ),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="B,T,H,W,C",
            help="Sizes of the array that the layers are fed.",
            rich_help_panel=LAYERS,
        ),
    ] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="B,T,H,W,C",
            help="Sizes of the array that the output is compared with.",
            rich_help_panel=LAYERS,
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="LAYER",
            help='"filters=64 kernel=5", or in Keras\' spelling; repeatable.',
            rich_help_panel=LAYERS,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Samples that stateful layers are fed in batches.",
            rich_help_panel=LAYERS,
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="Every tensor, both axis orders, formulas and memory.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    diagram: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the layers with their sizes: .svg, .pdf or .png.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Print each layer's output, parameters, padding and receptive field, and what is wrong.

    TARGET is frames, a run, a framecast.yaml, or a Keras model: model.keras, model.py or - for
    code on standard input, which is read and never run.

    Examples:

      framecast inspect-shapes model.py --input 8,10,64,64,1

      framecast inspect-shapes --input 8,10,64,64,1 --layer "filters=64 kernel=5"
    """
    from framecast.cli.shape_tables import show_inspection, show_model
    from framecast.inspection import model_source, network_report

    if layers or input_ or goal or samples is not None or model_source.is_model_source(target):
        if model or config or settings or size or channels:
            raise UsageError(
                "--config, --set, --size and --channels are for framecast's own networks",
                remedy="leave them out; --input has the sizes",
            )
        stack = model_source.inspect_model(target, layers or [], input_, goal, samples)
        show_model(stack, diagram, as_json=json, verbose=verbose, overwrite=overwrite)
        return
    report = network_report.inspect_target(
        one_of(target, model), config, settings or [], size, channels
    )
    show_inspection(report, diagram, as_json=json, verbose=verbose, overwrite=overwrite)


def export(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="A model file or run folder; or frames.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    model: Model = None,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Of a model: .onnx, .pt2, .torchscript, .safetensors; of frames: .png for one "
            "sheet, " + RESULT_KINDS,
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ],
    horizon: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            help="Frames the exported model returns; default: as trained.",
            rich_help_panel=OF_MODELS,
        ),
    ] = None,
    context_length: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            help="Frames it takes; default: as trained.",
            rich_help_panel=OF_MODELS,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Frame size in pixels to check at; default: as trained.",
            rich_help_panel=OF_MODELS,
        ),
    ] = None,
    step: Annotated[
        bool,
        typer.Option(
            "--step",
            help="Two ONNX files: encode, and one step with its states as inputs and outputs.",
            rich_help_panel=OF_MODELS,
        ),
    ] = False,
    half: Annotated[
        bool,
        typer.Option(
            "--half",
            help="Store weights in half precision: .onnx and .safetensors.",
            rich_help_panel=OF_MODELS,
        ),
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Frames per second of a video; default: the source's.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Enlarge (2) or shrink (0.5) the frames.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    colormap: Colormap = None,
    value_scale: ValueScale = None,
    labels: Labels = False,
    step_minutes: StepMinutes = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a model into ONNX, torch.export, TorchScript or safetensors, checked; or convert frames.

    Examples:

      framecast export runs/train-1 -o model.onnx

      framecast export ./frames -o clip.mp4 --fps 12
    """
    from framecast.cli.console import show_notes, show_result, show_text
    from framecast.cli.progress import Display
    from framecast.export.export import ExportRequest
    from framecast.export.export import export as export_source

    request = ExportRequest(
        *(horizon, context_length, size, step, half),
        *(fps, scale, colormap, labels, step_minutes, value_scale),
    )
    exported = needed(one_of(source, model))
    check_inputs(Path(output), [exported])
    with Display() as display:
        report = export_source(exported, output, request, overwrite, display.show)
    show_notes(report.notes)
    if report.snippet:
        show_text(f"run it on the frames of clip.npy with:\n\n{report.snippet}")
    for path in report.paths:
        show_result(str(path))


Named = TypeVar("Named", Path, list[Path])


def one_of(target: Path | None, model: Path | None) -> Path | None:
    """What is looked at, which may be named as `--model`; UsageError where both are."""
    if target is not None and model is not None:
        raise UsageError(f"{target} and --model {model}: one of them is enough")
    return target or model


def needed(sources: Named | None) -> Named:
    """One path or several; UsageError where there is none."""
    if not sources:
        raise UsageError("no SOURCE given", remedy="name a frame folder, video, GIF or array")
    return sources


def do_each(
    sources: Sequence[str], targets: Sequence[list[str]], one: Callable[[str, list[str]], None]
) -> None:
    """Do every source, although some fail; the error of a single source is raised as it is.

    Raises PartialFailureError in the end where some of several sources failed.
    """
    failures = []
    for source, target in zip(sources, targets, strict=True):
        try:
            one(source, target)
        except FramecastError as error:
            if len(sources) == 1 or isinstance(error, InterruptedRunError):
                raise
            from framecast.cli.console import show_error

            show_error(error)
            failures.append(str(source))
    if failures:
        raise PartialFailureError(
            f"{len(failures)} of {len(sources)} sources failed: {', '.join(failures)}"
        )


def is_main_process() -> bool:
    """Whether this process prints and writes: alone, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"
