"""A report as one HTML page that needs nothing else: plots, scores, windows to step through."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from framecast.data.batches import collate
from framecast.data.windows import Window
from framecast.evaluation.report import MODEL, Report, format_score
from framecast.evaluation.window_scores import stream_windows
from framecast.prediction.baselines import BASELINES
from framecast.runtime.text import are, counted, listed
from framecast.video.comparison_figures import error_frame
from framecast.video.frame_style import FrameStyle, draw_legend
from framecast.video.frame_times import lead_label, time_unit
from framecast.video.line_plots import lines_plot, to_svg, training_curves
from framecast.video.pixels import from_unit
from framecast.video.sprites import sprite

if TYPE_CHECKING:
    from framecast.evaluation.task import Task

# Sides in pixels that frames are shrunk to, the first with which the page is small enough
SIDES = (320, 256, 192, 144, 96, 64)

LEGEND_HEIGHT = 240

# Clips that the title names at most
NAMED = 3

# Room for frames in a page of less than 3 MB; the rest is for plots and tables
SPRITE_BYTES = 2_000_000


def render(
    report: Report, task: Task, style: FrameStyle | None = None, step_minutes: float | None = None
) -> str:
    """The page of a report, with the windows of `task` where the model did best, median and worst.

    Frames are painted in `style`; lead times are in minutes where those between two frames of a
    clip are known: `step_minutes`, or what all clips' names say.
    """
    from jinja2 import Environment  # noqa: PLC0415  (only pages need it)

    style = style or FrameStyle()
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    count = len(report.windows)
    leads = range(1 - report.context_length, report.horizon + 1)
    model_step = _model_step(task, step_minutes)
    step, unit = (1, "frames") if model_step is None else time_unit(model_step)
    axis = {"x_label": f"lead time, {unit}", "step": step}
    every = report.windows_found == count
    return environment.from_string(template).render(
        report=report,
        title=listed([clip.name for clip in report.clips], NAMED),
        summary=_sentence(report.summary),
        legend=_legend(style),
        unit=style.scale.unit if style.scale else None,
        what=f"{counted(count, 'window')} of {report.context_length} + {report.horizon} frames, "
        + ("all there are" if every else f"evenly spread over {report.windows_found:,}"),
        skill_plot=_skill_plot(report, axis),
        interval=_interval(report),
        metrics=list(_metrics(report, axis)),
        windows=list(_shown_windows(report, task, style)),
        reference=shown_reference(report),
        labels=[lead_label(lead, model_step) for lead in leads],
        first=1 - report.context_length,
        shown=(report.horizon + 1) // 2,
        training=_training(task),
        settings=yaml.safe_dump(dict(report.settings), sort_keys=False),
    )


def _model_step(task: Task, step_minutes: float | None) -> float | None:
    """Minutes between two of the model's frames; None where nobody knows, or clips differ."""
    known = {source.info.step_minutes for source in task.sources}
    step = step_minutes or (known.pop() if len(known) == 1 else None)
    return step and step * task.shape.frame_step


def typical_windows(report: Report) -> dict[str, int]:
    """The windows with the highest, the middle and the lowest skill over the best baseline."""
    model_N = report.window_mse[MODEL].mean(axis=1)
    reference_N = report.window_mse[report.comparison.reference].mean(axis=1)
    # A window without error in the reference has no skill: then the error itself decides.
    least = np.finfo(float).tiny
    order = np.argsort(model_N / np.maximum(reference_N, least), kind="stable")
    places = {"best": 0, "median": (len(order) - 1) // 2, "worst": len(order) - 1}
    chosen: dict[str, int] = {}
    for name, place in places.items():
        if int(order[place]) not in chosen.values():  # of one window there is no worst
            chosen[name] = int(order[place])
    return chosen


def shown_reference(report: Report) -> str:
    """The best of the baselines that can be shown: others may be known by their scores alone."""
    errors = {name: report.window_mse[name].mean() for name in report.scores if name in BASELINES}
    return min(errors, key=errors.__getitem__) if errors else "last frame"


def _shown_windows(report: Report, task: Task, style: FrameStyle) -> Iterator[dict[str, Any]]:
    """The typical windows: caption, errors by lead time, and a sprite of each panel."""
    chosen = typical_windows(report)
    reference = shown_reference(report)
    panels = {
        name: _panels(task, report.windows[number], reference, style)
        for name, number in chosen.items()
    }
    # Larger frames first: the side is the largest with which the page stays small.
    for side in SIDES:
        sprites = {
            name: {title: sprite(frames, side) for title, frames in shown.items()}
            for name, shown in panels.items()
        }
        if sum(len(text) for shown in sprites.values() for text in shown.values()) <= SPRITE_BYTES:
            break
    for name, number in chosen.items():
        window = report.windows[number]
        kinds = [kind for kind in (MODEL, reference) if kind in report.window_mse]
        errors_T = {kind: report.window_mse[kind][number] for kind in kinds}
        model, *others = (float(errors.mean()) for errors in errors_T.values())
        height, width = next(iter(panels[name].values()))[0].shape[:2]
        yield {
            "name": name,
            "clip": Path(report.clips[window.clip].path).name,
            "start": window.start,
            "skill": f"{1 - model / others[0]:.1%}" if others and others[0] else None,
            "errors": {
                kind: [format_score(1000 * float(error)) for error in errors]
                for kind, errors in errors_T.items()
            },
            "panels": [
                {"title": title, "source": text, "frames": len(panels[name][title])}
                for title, text in sprites[name].items()
            ],
            "height": height,
            "width": width,
        }


def _panels(task: Task, window: Window, reference: str, style: FrameStyle) -> dict[str, list]:
    """Input, model, baseline, truth and error of one window, painted; all but the input over
    context and horizon, so that one slider moves through all of them."""
    shape = task.shape
    source, size = task.sources[window.clip], task.sizes[window.clip]
    [frames_THWC] = stream_windows(source, [window.start], shape, size)
    seen_THWC = frames_THWC[: shape.context_length]
    context_BTCHW = collate([frames_THWC], shape.context_length).context_BTCHW
    shown = {"input": seen_THWC}
    predictors = {"model": task.forecaster.extrapolate, reference: BASELINES[reference]}
    for name, predictor in predictors.items():
        future_BCHW = predictor(context_BTCHW, shape.horizon)
        future = [from_unit(frame[0].cpu().numpy(), frames_THWC.dtype) for frame in future_BCHW]
        shown[name] = [*seen_THWC, *future]
    shown["truth"] = frames_THWC
    painted = {title: [style.paint(frame) for frame in frames] for title, frames in shown.items()}
    # Over the context the model's are the frames seen, so that the error is 0 there.
    pairs = zip(shown["model"], frames_THWC, strict=True)
    return painted | {"error of the model": [error_frame(*pair) for pair in pairs]}


def _legend(style: FrameStyle) -> str | None:
    """What the colours of painted frames stand for, as a picture; None where it is not known."""
    if style.colormap is None or style.scale is None:
        return None
    return sprite([draw_legend(style.colormap, style.scale, LEGEND_HEIGHT)], LEGEND_HEIGHT)


def _metrics(report: Report, axis: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every metric with its plot over lead times and its table."""
    for name, title in report.titles.items():
        rows = list(report.rows(name))
        by_lead = (values for _, values in rows[:-1])  # without the mean over all of them
        lines = dict(zip(report.scores, zip(*by_lead, strict=True), strict=True))
        # Errors start at 0, so that their ratio can be seen; a skill or a correlation may be below
        negative = any(value is not None and value < 0 for line in lines.values() for value in line)
        figure = lines_plot(lines, y_label=title, from_zero=not negative, **axis)
        yield {
            "title": title,
            "definition": report.definitions[name],
            "plot": to_svg(figure),
            "rows": [(lead, [format_score(v) for v in values]) for lead, values in rows],
        }


def _skill_plot(report: Report, axis: Mapping[str, Any]) -> str:
    """The skill over the best baseline with its interval, in percent."""
    skills = report.comparison.skills
    value, low, high = (
        [None if (part := getattr(skill, name)) is None else 100 * part for skill in skills]
        for name in ("value", "low", "high")
    )
    figure = lines_plot(
        {MODEL: value},
        y_label="skill over the best baseline, %",
        from_zero=False,
        band=None if None in low else (low, high),
        zero_line=True,
        **axis,
    )
    return to_svg(figure)


def _training(task: Task) -> dict[str, str] | None:
    """The curves of the training that made the model, or why they are missing; None of a model
    file on its own and of a run without a finished epoch."""
    path = task.model and task.model / "metrics.csv"
    if path is None or not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {"curves": to_svg(training_curves(rows))} if rows else None
    except (OSError, csv.Error, LookupError, TypeError, ValueError, ArithmeticError):
        # A table that somebody has changed is no reason to lose the report
        return {"missing": f"{path} is not as framecast wrote it, so that its curves are not shown"}


def _interval(report: Report) -> str:
    comparison, count = report.comparison, len(report.windows)
    skill = comparison.overall
    if skill.value is None:
        return f"{comparison.reference} makes no error, so there is no skill to measure."
    over = f"over all lead times against {comparison.reference}"
    if skill.low is None or skill.high is None:
        return f"Skill {over}: {skill.value:.1%}; {are(count, 'window')} too few for an interval."
    return (
        f"Skill {over}: {skill.value:.1%} ({skill.low:.1%} to {skill.high:.1%}), a 95 % interval "
        f"by a circular block bootstrap: {count} windows in blocks of "
        f"{comparison.block}, as many in a row as predict a common frame, drawn 2,000 times."
    )


def _sentence(text: str) -> str:
    """With a capital and a full stop; ranges such as 1-12 and shares stay in one line."""
    # A line that ends in "1-" or begins with "%" would have to be read twice
    joined = re.sub(r"(?<=\d)-(?=\d)", "\N{NON-BREAKING HYPHEN}", text)
    joined = joined.replace(" %", "\N{NO-BREAK SPACE}%")
    return f"{joined[:1].upper()}{joined[1:]}."
