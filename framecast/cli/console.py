"""All of Rich: reports, progress, the one-line error. Messages to stderr, results to stdout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from framecast.cli.score_tables import errors_by_lead, headline, other_figures
from framecast.inspection.tensor_table import COLUMNS, Inspection

if TYPE_CHECKING:
    from framecast.data.plan import Plan
    from framecast.evaluation.report import Report
    from framecast.inspection.layer_report import StackReport
    from framecast.training.events import EpochDone, StepDone, TrainingResult
    from framecast.training.pipeline import (
        ClipsReady,
        FrameDecoded,
        Outcome,
        Rehearsal,
        SessionEvent,
    )

messages = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
results = Console(highlight=False, soft_wrap=True, emoji=False)


def show_error(error: Exception) -> None:
    """One line for a user's mistake."""
    messages.print(Text.assemble(("error:", "bold red"), f" {one_line(str(error))}"))


def show_notes(notes: Iterable[str]) -> None:
    """Remarks that change nothing but are worth knowing."""
    for note in notes:
        messages.print(Text.assemble(("note:", "yellow"), f" {one_line(note)}"))


def show_result(text: str) -> None:
    """A line on stdout: what a program that called us wants to read."""
    results.print(one_line(text), markup=False)


def one_line(text: str) -> str:
    """The text with line breaks, control characters and undecodable bytes of names escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say what takes its time: a spinner on a terminal, else one line."""
    if messages.is_terminal:
        with messages.status(text):
            yield
    else:
        messages.print(f"{text} ...", markup=False)
        yield


def show_plan(plan: Plan) -> None:
    """The data report: what was found and what training will make of it."""
    data = plan.config.data
    table = Table(title="clips", title_justify="left", show_edge=False, pad_edge=False)
    for column, justify in (
        ("clip", "left"),
        ("frames", "right"),
        ("H x W", "right"),
        ("trained at", "right"),
        ("channels", "right"),
        ("fps", "right"),
    ):
        table.add_column(column, justify=justify)
    for info, size in zip(plan.infos, plan.sizes, strict=True):
        table.add_row(
            Text(one_line(info.path.name)),
            f"{info.frames}" if info.exact else f"about {info.frames}",
            f"{info.height} x {info.width}",
            f"{size[0]} x {size[1]}",
            f"{plan.channels}",
            f"{info.fps:g}" if info.fps else "-",
        )
    messages.print(table)
    split, by = plan.split, {"time": "the end of every clip", "clip": "whole clips"}
    messages.print(
        f"windows of {data.context_length} + {split.horizon} frames spanning {split.span}: "
        f"{len(split.train)} to train on, {len(split.validation)} held out "
        f"({by[split.mode]}; {len(plan.validation)} scored after each epoch)"
    )
    messages.print(
        f"{plan.config.model.name}, batches of {plan.batch_size} crops of "
        f"{plan.crop[0]} x {plan.crop[1]}, {plan.steps_per_epoch} steps per epoch"
    )
    if plan.config.model.traits.tied_to_size:
        show_notes(
            [
                f"{plan.config.model.name} is tied to frames of {plan.config.data.resize}, which "
                "it is trained on whole; clips of other sizes are resized to it when predicted"
            ]
        )
    show_notes(note for info in plan.infos for note in info.notes)
    if split.unused:
        names = ", ".join(plan.infos[number].path.name for number in split.unused)
        show_notes([f"too short for a window, not used: {names}"])


def show_rehearsal(rehearsal: Rehearsal) -> None:
    """What a dry run measured."""
    peak = "unknown" if rehearsal.peak_bytes is None else f"{rehearsal.peak_bytes / 1e9:.2f} GB"
    messages.print(
        f"dry run on {rehearsal.device}: {rehearsal.parameters:,} parameters, one batch has loss "
        f"{rehearsal.loss:.5f}, {rehearsal.step_seconds:.2f} s per step, about "
        f"{rehearsal.epoch_seconds:.0f} s per epoch, peak memory {peak}; nothing was written"
    )


def show_outcome(outcome: Outcome, quiet: bool) -> None:
    """The paths on stdout; unless quiet, the held-out errors beside the classical ones first."""
    if not quiet:
        _show_scores(outcome.result)
    if outcome.note is not None:
        show_notes([outcome.note])
    for path in (outcome.run.best, outcome.run.preview):
        show_result(str(path))


def _show_scores(result: TrainingResult) -> None:
    """The held-out errors per lead time beside the classical ones, and the verdict."""
    table = Table(
        title=f"held-out MSE x 1000 (frames in 0..1), best epoch {result.epoch}",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for column in ("lead", "framecast", "last frame", "optical flow"):
        table.add_column(column, justify="right")
    columns = (result.validation_mse_T, result.persistence_mse_T, result.flow_mse_T)
    for lead, row in enumerate(zip(*columns, strict=True), start=1):
        table.add_row(str(lead), *(f"{1000 * error:.3f}" for error in row))
    means = [sum(errors) / len(errors) for errors in columns]
    table.add_section()
    table.add_row("mean", *(f"{1000 * mean:.3f}" for mean in means))
    messages.print(table)
    messages.print(f"stopped after {result.steps} steps, {result.minutes:.1f} min: {result.reason}")
    for name, mean in zip(("the last frame repeated", "optical flow"), means[1:], strict=True):
        messages.print(_verdict(name, means[0], mean))


def _verdict(name: str, model: float, reference: float) -> str:
    if reference == 0:
        return f"nothing can be better than {name} here: it makes no error"
    skill = 1 - model / reference
    word = "better" if skill > 0 else "WORSE"
    return f"{abs(skill):.1%} {word} than {name} on held-out windows"


class Display:
    """Progress on stderr: bars on a terminal, else one plain line per epoch or clip."""

    def __init__(self, quiet: bool = False) -> None:
        self.live = messages.is_terminal and not quiet
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=messages,
            disable=not self.live,
        )
        self.tasks: dict[str, int] = {}

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def training_event(self, event: SessionEvent) -> None:
        """Show what a training emits, by the name of its type."""
        show = {
            "FrameDecoded": self._frame_decoded,
            "ClipsReady": self._clips_ready,
            "StepDone": self._step_done,
            "EpochDone": self._epoch_done,
        }
        show[type(event).__name__](event)

    def frame(self, name: str, total: int | None) -> None:
        """Count one more frame of the named work; None where nobody knows the total."""
        self.progress.advance(self._task(name, total))

    def _frame_decoded(self, event: FrameDecoded) -> None:
        self.frame("decoding", event.total)

    def _clips_ready(self, event: ClipsReady) -> None:
        if self.quiet:
            return
        if event.note:
            show_notes([event.note])
        elif event.folder is not None:
            messages.print(
                f"decoded frames: {event.found} of {event.clips} clips were in {event.folder}",
                markup=False,
            )

    def _step_done(self, event: StepDone) -> None:
        self.progress.update(
            self._task("training", None if event.progress is None else 1000),
            completed=event.step if event.progress is None else round(1000 * event.progress),
            text=f"epoch {event.epoch}, step {event.step}, loss {event.loss:.5f}",
        )

    def _epoch_done(self, event: EpochDone) -> None:
        if self.quiet:
            return
        loss = "-" if event.train_loss is None else f"{event.train_loss:.5f}"
        skill = 1 - event.validation_mse / event.persistence_mse if event.persistence_mse else 0.0
        messages.print(
            f"epoch {event.epoch:3d}  step {event.step:5d}  {event.minutes:5.1f} min  "
            f"loss {loss:>7}  held-out MSE x 1000 {1000 * event.validation_mse:.3f} "
            f"(last frame {1000 * event.persistence_mse:.3f}, flow {1000 * event.flow_mse:.3f}), "
            f"skill {skill:.1%}{'  best' if event.improved else ''}"
        )

    def _task(self, name: str, total: int | None) -> int:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(one_line(name), total=total, text="")
        return self.tasks[name]


def show_inspection(report: Inspection, as_json: bool) -> None:
    """A clip's way in tables, or as one JSON document; on stdout."""
    if as_json:
        results.print_json(json.dumps(report.to_dict()))
        return
    lines = [line.cells for section in report.sections for line in section.lines]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *lines, strict=True)]
    for section in report.sections:
        results.print(f"[bold]{escape(section.title)}[/]")
        results.print(f"[dim]{_aligned(COLUMNS, widths)}[/]")
        for line in section.lines:
            results.print(escape(_aligned(line.cells, widths)))
            results.print(f"[dim]    {escape(line.remark)}[/]")
        results.print()
    for _, _, sentence in report.figures:
        results.print(sentence, markup=False)
    for warning in report.warnings:
        results.print(f"[bold yellow]warning:[/] {escape(warning)}")
    show_notes(report.notes)


def show_layers(report: StackReport, as_json: bool) -> None:
    """ConvLSTM2D layers in a row, or as one JSON document; on stdout."""
    if as_json:
        results.print_json(json.dumps(report.to_dict()))
        return
    for number, layer in enumerate(report.layers, start=1):
        results.print(f"[bold]layer {number}: ConvLSTM2D[/]")
        for line in layer.lines:
            results.print(f"  {line}", markup=False)
    for warning in report.warnings:
        results.print(f"[bold yellow]warning:[/] {escape(warning)}")


def show_evaluation(report: Report, as_json: bool) -> None:
    """The errors beside the baselines', per lead time, and the verdict; or one JSON document."""
    if as_json:
        results.print_json(json.dumps(report.to_dict()))
        return
    messages.print(headline(report), markup=False)
    messages.print(errors_by_lead(report))
    if len(report.titles) > 1:
        messages.print(other_figures(report))
    messages.print(f"protocol {report.protocol}: {report.protocol_definition}", markup=False)
    for name, definition in report.definitions.items():
        messages.print(f"  {name}: {definition}", markup=False)
    show_notes(report.notes)
    messages.print(Text(report.summary, "bold"))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    *texts, number = cells
    columns = (text.ljust(width) for text, width in zip(texts, widths, strict=False))
    return "  ".join((*columns, number.rjust(widths[-1])))
