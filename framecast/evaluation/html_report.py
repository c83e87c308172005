"""A report as one HTML page that needs nothing else: plots, figures, playable windows, settings."""

from __future__ import annotations

import io
import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from itertools import cycle
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
import yaml

from framecast.data.batches import WindowShape, collate
from framecast.evaluation.report import MODEL, Report, format_score
from framecast.evaluation.skill import Skill
from framecast.evaluation.window_scores import stream_windows
from framecast.video.comparison_figures import comparison_video
from framecast.video.pixels import from_unit
from framecast.video.writers.open import DEFAULT_FPS, write_frames

if TYPE_CHECKING:
    from framecast.evaluation.task import Task

NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

INK = "#010203"
"""A colour nothing else has, which becomes the page's own text colour, light or dark."""

MODEL_COLOR = "#2f6fde"
COLORS = ("#c2410c", "#7c8594", "#0f9d78", "#a855f7")
STROKES = ("-", "--", ":", "-.")
"""Lines of the others, which take all colours with the first stroke, then with the second, ..."""

VIDEOS = ("mp4", "webm")
"""What a browser may choose from: not every one has a licence for the first's H.264."""

PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))


def render(report: Report, task: Task) -> str:
    """The page of a report; plays the windows of `task` where the model did best, median, worst."""
    count = len(report.windows)
    return PAGE.substitute(
        title=escape(", ".join(Path(clip.path).name for clip in report.clips)),
        summary=escape(_capitalised(report.summary)),
        warning='<p class="warning">These windows hold frames the model was trained on.</p>'
        if report.includes_training
        else "",
        what=escape(
            f"{count} window{'s' if count > 1 else ''} of {report.context_length} + "
            f"{report.horizon} frames, every {_ordinal(report.stride)} start"
        ),
        error_plot=_error_plot(report),
        skill_plot=_skill_plot(report),
        windows="".join(_examples(report, task)),
        tables="".join(_tables(report)),
        definitions="".join(
            f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
            for name, text in (
                (f"protocol {report.protocol}", report.protocol_definition),
                *report.definitions.items(),
            )
        ),
        interval=escape(_interval(report)),
        clips="".join(_clip_rows(report)),
        notes="".join(f"<li>{escape(note)}</li>" for note in report.notes),
        settings=escape(yaml.safe_dump(dict(report.settings), sort_keys=False)),
        versions=escape(", ".join(f"{name} {text}" for name, text in report.versions.items())),
    )


def typical_windows(report: Report) -> dict[str, int]:
    """The windows with the highest, the middle and the lowest skill over the best baseline."""
    model_N = report.window_mse[MODEL].mean(axis=1)
    reference_N = report.window_mse[report.comparison.reference].mean(axis=1)
    # A window without error in the reference has no skill: then the error itself decides.
    least = np.finfo(float).tiny
    order = np.argsort(model_N / np.maximum(reference_N, least), kind="stable")
    places = {"best": 0, "median": (len(order) - 1) // 2, "worst": len(order) - 1}
    chosen = {name: int(order[place]) for name, place in places.items()}
    return {name: chosen[name] for name in places if _first_of(chosen, name)}


def _first_of(chosen: dict[str, int], name: str) -> bool:
    """Whether no name before this one stands for the same window."""
    return next(other for other in chosen if chosen[other] == chosen[name]) == name


def _examples(report: Report, task: Task) -> Iterator[str]:
    reference = report.comparison.reference
    for name, number in typical_windows(report).items():
        window = report.windows[number]
        model, other = (report.window_mse[kind][number].mean() for kind in (MODEL, reference))
        caption = (
            f"{Path(report.clips[window.clip].path).name}, frames from {window.start}: "
            f"MSE x 1000 {1000 * model:.3f}, {reference} {1000 * other:.3f}"
            + (f", skill {1 - model / other:.1%}" if other else "")
        )
        yield (
            f"<figure><h3>{name.capitalize()} window by skill over {escape(reference)}</h3>"
            f"<video controls loop muted autoplay playsinline>{_sources(task, number)}</video>"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )


def _sources(task: Task, number: int) -> str:
    """Input, prediction, truth and error of one window, in every one of `VIDEOS`."""
    window, shape = task.windows[number], task.shape
    source = task.sources[window.clip]
    size, channels = task.sizes[window.clip], task.forecaster.channels
    [frames_THWC] = stream_windows(source, [window.start], shape, size, channels)
    context_THWC, truth_THWC = np.split(frames_THWC, [shape.context_length])
    prediction = _predicted(task, frames_THWC, shape)
    fps = (source.info.fps or DEFAULT_FPS) / shape.frame_step
    shown = list(comparison_video(context_THWC, prediction, truth_THWC))
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        paths = [write_frames(Path(scratch, f"window.{kind}"), shown, fps=fps) for kind in VIDEOS]
        texts = [b64encode(path.read_bytes()).decode() for path in paths]
    return "".join(
        f'<source type="video/{kind}" src="data:video/{kind};base64,{text}">'
        for kind, text in zip(VIDEOS, texts, strict=True)
    )


def _predicted(task: Task, frames_THWC: np.ndarray, shape: WindowShape) -> list[np.ndarray]:
    context_BTCHW = collate([frames_THWC], shape.context_length).context_BTCHW
    frames = task.forecaster.extrapolate(context_BTCHW, shape.horizon)
    return [from_unit(frame[0].cpu().numpy(), frames_THWC.dtype) for frame in frames]


def _error_plot(report: Report) -> str:
    """The protocol's error of every forecaster over the lead times."""
    metric = next(iter(report.titles))
    leads = range(1, report.horizon + 1)
    figure, axes = _axes(report.titles[metric])
    lines = ((stroke, color) for stroke in cycle(STROKES) for color in COLORS)
    for name, figures in report.scores.items():
        values = [_number(value) * report.factors[metric] for value in figures[metric]]
        if name == MODEL:
            style = {"color": MODEL_COLOR, "linewidth": 2.6, "zorder": 3}
        else:
            stroke, color = next(lines)
            style = {"color": color, "linewidth": 1.4, "linestyle": stroke}
        axes.plot(leads, values, label=name, marker="o", ms=3, **style)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return _svg(figure)


def _skill_plot(report: Report) -> str:
    """The skill over the best baseline with its interval, in percent."""
    skills = report.comparison.skills
    leads = range(1, report.horizon + 1)
    figure, axes = _axes("skill over the best baseline, %")
    axes.axhline(0, color=INK, linewidth=0.9, alpha=0.6)
    value, low, high = (
        [100 * _number(getattr(skill, name)) for skill in skills]
        for name in ("value", "low", "high")
    )
    axes.fill_between(leads, low, high, color=MODEL_COLOR, alpha=0.22, linewidth=0)
    axes.plot(leads, value, color=MODEL_COLOR, linewidth=2.6, marker="o", ms=3)
    return _svg(figure)


def _axes(label: str) -> tuple[object, object]:
    """An empty plot over lead times; matplotlib is loaded when the first one is drawn."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("lead time, frames", color=INK)
    axes.set_ylabel(label, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=INK)
    axes.grid(alpha=0.15, color=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return figure, axes


def _svg(figure: object) -> str:
    from matplotlib import rc_context  # noqa: PLC0415

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "framecast"}):
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    drawing = text.getvalue()
    return drawing[drawing.index("<svg") :].replace(INK, "currentColor")


def _tables(report: Report) -> Iterator[str]:
    """Every metric per lead time, the first one open."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("lead", *report.scores))
    for place, (metric, title) in enumerate(report.titles.items()):
        rows = "".join(
            f"<tr><th>{lead}</th>"
            + "".join(f"<td>{format_score(value)}</td>" for value in values)
            + "</tr>"
            for lead, values in report.rows(metric)
        )
        yield (
            f"<details{' open' if place == 0 else ''}><summary>{escape(title)}</summary>"
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}'
            "</tbody></table></div></details>"
        )


def _interval(report: Report) -> str:
    comparison, count = report.comparison, len(report.windows)
    if comparison.overall.low is None:
        made = "1 window makes" if count == 1 else f"{count} windows make"
        return f"No interval: {made} fewer than two blocks of {comparison.block}."
    return (
        f"95 % intervals by a circular block bootstrap over {count} windows in blocks of "
        f"{comparison.block} consecutive ones, as many as predict a common frame; 2,000 draws. "
        f"Over all lead times: {_percent(comparison.overall)} against {comparison.reference}."
    )


def _percent(skill: Skill) -> str:
    if skill.value is None:
        return "no skill is defined"
    return f"skill {skill.value:.1%} ({_number(skill.low):.1%} to {_number(skill.high):.1%})"


def _clip_rows(report: Report) -> Iterator[str]:
    for clip in report.clips:
        trained = ", ".join(f"{start} to {stop - 1}" for start, stop in clip.trained) or "none"
        cells = (
            *(Path(clip.path).name, str(clip.frames), f"{clip.height} x {clip.width}"),
            *(trained, str(clip.windows)),
        )
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _capitalised(sentence: str) -> str:
    """With its full stop, and ranges such as 1-12 kept in one line."""
    joined = re.sub(r"(?<=\d)-(?=\d)", "\N{NON-BREAKING HYPHEN}", sentence)
    return f"{joined[:1].upper()}{joined[1:]}."


def _ordinal(number: int) -> str:
    return "possible" if number == 1 else f"{number}th possible"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
