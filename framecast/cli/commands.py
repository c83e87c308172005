"""The commands. Each body loads settings, makes one call and renders the result.

What is slow to load is imported where it is used, so that help and refusals are there at once.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from framecast.cli.options import (
    Exported,
    ModelAndSources,
    Overrides,
    Sources,
    Target,
)
from framecast.cli.signatures import with_options
from framecast.config.presets import find_preset, presets
from framecast.errors import UsageError
from framecast.evaluation.request import EvaluationRequest
from framecast.export.request import ExportRequest
from framecast.prediction.request import Computing, PredictionRequest, check_match
from framecast.runtime.device_names import check_device_name
from framecast.runtime.output_files import check_inputs, check_parent
from framecast.runtime.processes import is_main_process


@with_options
def train(
    sources: Sources = None,
    preset: str | None = None,
    config: Path | None = None,
    settings: list[str] | None = None,
    *,
    flags: Overrides,
    runs: Path | None = None,
    resume: Path | None = None,
    dry_run: bool = False,
    quiet: bool = False,
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
    from framecast.training.preparation import check_resume, prepare
    from framecast.training.run_folder import RunFolder, check_runs_folder, only_trainer

    overrides = [*(settings or []), *flags]
    main = is_main_process()
    silent = quiet or not main
    if resume is not None and (sources or config or preset or runs):
        raise UsageError(
            "--resume takes its sources, settings and place from the run",
            remedy="give only the run",
        )
    runs = runs or Path("runs")
    with Display(silent) as display:
        if resume is None:
            if not dry_run:
                check_runs_folder(runs)
            base = None if preset is None else find_preset(preset).load()
            settled = load_config(config, overrides, base=base)
            session = prepare(needed(sources), settled, display.count)
        else:
            check_resume(RunFolder(resume), overrides)
            if not dry_run:
                check_parent(RunFolder(resume).last)
        display.show(LOADING)
        from framecast.training import pipeline
    # Of the processes that torchrun starts, one holds the run for all
    with only_trainer(resume if main else None):
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


@with_options
def predict(
    paths: ModelAndSources,
    model: Path | None = None,
    output: list[str] | None = None,
    *,
    request: PredictionRequest,
    kind: Literal["gif", "mp4", "webm", "webp", "apng", "png", "npy", "tif", "nc"] | None = None,
    computing: Computing,
    overwrite: bool = False,
) -> None:
    """Predict the frames after a clip's last ones, into files that play or that keep values.

    Examples:

      framecast predict clip.mp4 --horizon 24 -o future.mp4

      framecast predict runs/train-1 camera:0 --stream -o nowcast.mp4
    """
    from framecast.cli.forecasts import check, predict_all

    asked = check(paths, model, output or [], kind, request, computing, overwrite)
    predict_all(asked, computing)


@with_options
def evaluate(
    paths: ModelAndSources,
    model: Path | None = None,
    *,
    request: EvaluationRequest,
    match: float = 0.0,
    json: bool = False,
    csv: Path | None = None,
    report: Path | None = None,
    colormap: str | None = None,
    step_minutes: float | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Compare a model with classical forecasts on frames it was not trained on.

    Examples:

      framecast evaluate runs/train-1 clip.mp4

      framecast evaluate runs/train-1 radar/ --protocol nowcast --report report.html
    """
    started = time.monotonic()  # of `minutes`
    from framecast.cli.console import show_network, show_outputs
    from framecast.cli.progress import LOADING, Display
    from framecast.cli.score_tables import show_evaluation
    from framecast.evaluation.report_files import ReportFiles
    from framecast.evaluation.task import check_fit, open_task
    from framecast.prediction.model_files import split_model
    from framecast.prediction.model_header import check_early, refuse_graph
    from framecast.prediction.request import asked_reading

    check_match(match)
    check_device_name(device)
    files = ReportFiles(csv, report, overwrite, colormap, step_minutes)
    chosen, sources = split_model(paths, model)
    for path in files.paths:
        check_inputs(path, [chosen, *sources])
    refuse_graph(chosen)
    header, clips = check_early(chosen, sources, **asked_reading(request))
    if header is not None:
        check_fit(request, header.config.data, clips)
        files.check(request, header.config.data, clips)
    with Display(quiet=not is_main_process()) as display:
        display.show(LOADING)
        from framecast.evaluation.evaluate import evaluate_task
        from framecast.runtime.distributed import joined
    with joined(device) as group:
        with Display(quiet=not group.main) as display:
            display.show("loading the model")
            task = open_task(chosen, sources, request, group.device, match, display.count, clips)
            files.check(request, task.forecaster.config.data, task.sources)
            if group.main:
                show_network(task.forecaster)
            display.show("scoring windows", 0, len(task.windows))
            count = partial(display.count, "scoring windows")
            found = evaluate_task(task, on_windows=count, group=group, started=started)
            if group.main and files.paths:
                display.show("writing the report")
                files.write(found, task)
        if group.main:
            show_evaluation(found, as_json=json)
            if not json:  # which is one document, and would not be with a path below it
                show_outputs(map(str, files.paths))


@with_options
def inspect_shapes(
    target: Target = None,
    model: Path | None = None,
    config: Path | None = None,
    settings: list[str] | None = None,
    size: str | None = None,
    channels: int | None = None,
    input_: str | None = None,
    goal: str | None = None,
    layers: list[str] | None = None,
    samples: int | None = None,
    verbose: bool = False,
    diagram: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Print each layer's output, parameters, padding and receptive field, and what is wrong.

    TARGET is frames, a run, a framecast.yaml, or a Keras model: model.keras, model.py or - for
    code on standard input, which is read and never run.

    Examples:

      framecast inspect-shapes model.py --input 8,10,64,64,1

      framecast inspect-shapes --input 8,10,64,64,1 --layer "filters=64 kernel=5"
    """
    from framecast.cli.shape_tables import show_inspection, show_model_report
    from framecast.inspection import model_source, network_report

    # Layers alone, or a Keras model; everything else is about framecast's own networks
    if layers or input_ or goal or samples is not None or model_source.is_model_source(target):
        if model or config or settings or size or channels:
            raise UsageError(
                "--config, --set, --size and --channels are for framecast's own networks",
                remedy="leave them out; --input has the sizes",
            )
        stack = model_source.inspect_model(target, layers or [], input_, goal, samples)
        show_model_report(stack, diagram, as_json=json, verbose=verbose, overwrite=overwrite)
        return
    report = network_report.inspect_target(
        one_of(target, model), config, settings or [], size, channels
    )
    show_inspection(report, diagram, as_json=json, verbose=verbose, overwrite=overwrite)


@with_options
def export(
    source: Exported = None,
    model: Path | None = None,
    *,
    output: list[str],
    request: ExportRequest,
    overwrite: bool = False,
) -> None:
    """Turn a model into ONNX, torch.export, TorchScript or safetensors, checked; or convert frames.

    Examples:

      framecast export runs/train-1 -o model.onnx

      framecast export ./frames -o clip.mp4 --fps 12
    """
    from framecast.cli.console import show_notes, show_outputs, show_text
    from framecast.cli.progress import Display
    from framecast.export.export import export as export_source

    exported = needed(one_of(source, model))
    for path in output:
        check_inputs(Path(path), [exported])
    with Display() as display:
        report = export_source(exported, output, request, overwrite, display.show)
    show_notes(report.notes)
    if report.snippet:
        show_text(f"run it on the frames of clip.npy with:\n\n{report.snippet}")
    show_outputs(map(str, report.paths))


Named = TypeVar("Named", Path, list[Path])


def one_of(target: Path | None, model: Path | None) -> Path | None:
    """What is looked at, which may be named as `--model`; UsageError where both are."""
    if target is not None and model is not None:
        raise UsageError(f"{target} and --model {model}: one of them is enough")
    return target or model


def needed(sources: Named | None) -> Named:
    """One path or several; UsageError if there is none."""
    if not sources:
        raise UsageError("no SOURCE given", remedy="name a frame folder, video, GIF or array")
    return sources
