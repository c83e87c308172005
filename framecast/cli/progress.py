"""Progress on stderr: a bar on a terminal, plain lines in a pipe; never silent for long."""

from __future__ import annotations

import threading

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from framecast.cli.console import messages, one_line
from framecast.cli.training_report import show_epoch, show_precision, show_start
from framecast.training.events import EpochDone, Event, PrecisionChosen, Started, StepDone, Working

# Longest time in seconds without a sign of life, where there is no bar that moves
SILENCE = 2.0

# What the first seconds of a command are spent with
LOADING = "loading PyTorch"

# Parts of a training's budget, in which its bar counts: Rich counts whole numbers best
BUDGET_PARTS = 1000


class Amount(ProgressColumn):
    """What is done, how fast, and the time left."""

    max_refresh = 0.5  # seconds; numbers that change more often cannot be read

    def render(self, task: Task) -> Text:
        return Text(amount(task))


def amount(task: Task) -> str:
    """Describe the progress of a task: `40/120, 25/s, 3 s left`, or its own text and the time."""
    # Its own text is longer than the numbers, and both would not fit 80 columns
    parts = [task.fields["text"]]
    if not parts[0] and (task.completed or task.total):
        parts = [f"{task.completed:.0f}" + (f"/{task.total:.0f}" if task.total else "")]
        if task.speed:
            parts.append(f"{task.speed:.{0 if task.speed >= 10 else 1}f}/s")
    if task.time_remaining is not None and task.completed:
        parts.append(f"{duration(task.time_remaining)} left")
    elif task.elapsed is not None:
        parts.append(duration(task.elapsed))
    return ", ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A time as one reads it from a clock: `9 s`, `2:05 min`, `1:02:03 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"


class Display:
    """What one command is doing; `quiet` shows nothing of it.

    Shows one work at a time, the one that was heard of last. In a pipe a line is printed every two
    seconds, so that what takes less prints none.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            Amount(),
            console=messages,
            # Bars vanish when they are done: what stays on the screen is worth keeping
            transient=True,
            disable=quiet or not messages.is_terminal,
        )
        self.tasks: dict[str, Task] = {}
        self.current: Task | None = None
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def __enter__(self) -> Display:
        self.progress.start()
        if not self.quiet and not messages.is_terminal:
            self._lines.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self.progress.stop()

    def show(self, work: str, done: int = 0, total: int | None = None, text: str = "") -> None:
        """Say how much of some work is done; `text` is shown instead of the numbers."""
        before, task = self.current, self._task(work)
        # The same work once more, as the validation of each epoch: its time counts from now.
        if done < task.completed or (done == 0 and task is not before):
            self.progress.reset(task.id)
        self.progress.update(task.id, completed=done, total=total, text=text)

    def count(self, work: str, total: int | None = None, more: int = 1) -> None:
        """Say that more units of some work are done, of `total`; None where nobody knows."""
        task = self._task(work)
        finished = task.total is not None and task.completed >= task.total
        # Of a total that has grown, as that of windows which fit a budget, the count goes on.
        again = finished and (total is None or total <= task.total)
        self.show(work, more if again else int(task.completed) + more, total)

    def training_event(self, event: Event) -> None:
        """Show what a training emits."""
        match event:
            case Working():
                self.show(event.work, event.done, event.total)
            case Started() if not self.quiet:
                show_start(event)
            case PrecisionChosen() if not self.quiet:
                show_precision(event)
            case StepDone():
                text = f"epoch {event.epoch}, step {event.step}, loss {event.loss:.5f}"
                done, total = event.step, None
                if event.progress is not None:
                    done, total = round(BUDGET_PARTS * event.progress), BUDGET_PARTS
                self.show("training", done, total, text)
            case EpochDone() if not self.quiet:
                show_epoch(event)
                self._task("training")  # whose first step after a validation may take a while

    def _task(self, work: str) -> Task:
        """The task of a work, which is from now on the one that is shown."""
        if work not in self.tasks:
            number = self.progress.add_task(one_line(work), total=None, text="", visible=False)
            self.tasks[work] = self.progress.tasks[number]
        task = self.tasks[work]
        if task is not self.current:
            if self.current is not None:
                self.progress.update(self.current.id, visible=False)
            self.progress.update(task.id, visible=True)
            self.current = task
        return task

    def _print_lines(self) -> None:
        while not self._ended.wait(SILENCE):
            task = self.current
            if task is not None:
                messages.print(f"{task.description}: {amount(task)}", markup=False)
