"""Progress on stderr: bars on a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from framecast.cli.console import messages, one_line, show_notes
from framecast.cli.training_report import show_epoch
from framecast.training.events import ClipsReady, EpochDone, FrameDecoded, SessionEvent, StepDone

BUDGET_PARTS = 1000
"""Parts of a training's budget, in which its bar counts: Rich counts whole numbers best."""


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say what takes its time: a spinner on a terminal, else one line."""
    if messages.is_terminal:
        with messages.status(text):
            yield
    else:
        messages.print(f"{text} ...", markup=False)
        yield


class Display:
    """Progress of one command; `quiet` shows nothing of it."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=messages,
            disable=quiet or not messages.is_terminal,
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

    def frame(self, name: str, total: int | None) -> None:
        """Count one more frame of the named work; None where nobody knows the total."""
        self.progress.advance(self._task(name, total))

    def training_event(self, event: SessionEvent) -> None:
        """Show what a training emits."""
        match event:
            case FrameDecoded():
                self.frame("decoding", event.total)
            case StepDone():
                self._step_done(event)
            case EpochDone() if not self.quiet:
                show_epoch(event)
            case ClipsReady() if not self.quiet:
                _clips_ready(event)

    def _step_done(self, event: StepDone) -> None:
        self.progress.update(
            self._task("training", None if event.progress is None else BUDGET_PARTS),
            completed=event.step
            if event.progress is None
            else round(BUDGET_PARTS * event.progress),
            text=f"epoch {event.epoch}, step {event.step}, loss {event.loss:.5f}",
        )

    def _task(self, name: str, total: int | None) -> int:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(one_line(name), total=total, text="")
        return self.tasks[name]


def _clips_ready(event: ClipsReady) -> None:
    if event.note:
        show_notes([event.note])
    elif event.folder is not None:
        messages.print(
            f"decoded frames: {event.found} of {event.clips} clips were in {event.folder}",
            markup=False,
        )
