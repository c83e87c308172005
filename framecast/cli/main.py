"""The command line: what Typer calls, and errors, misuse and Ctrl-C as one line and a code."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from framecast.cli.commands import evaluate, export, inspect_shapes, is_main_process, predict, train
from framecast.errors import DivergedError, FramecastError, InterruptedRunError, UsageError

app = typer.Typer(
    name="framecast",
    help="Predict the next frames of a video or frame sequence.",
    epilog="Exit codes: 0 done, 1 unexpected failure, 2 usage or settings, 3 input frames, 4 model "
    "file, 5 output, 6 training diverged, 7 some of several sources failed, 8 export differs, "
    "9 out of memory, disk or device, 130 interrupted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing help with Rich takes twice as long
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    if version:
        from framecast.runtime.versions import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UsageError.exit_code)


for body in (train, predict, evaluate, inspect_shapes, export):
    app.command()(body)

SHARED_ERRORS = (UsageError, DivergedError, InterruptedRunError)
"""Errors that all processes of one training raise together."""

WrongCommandLine = typer.BadParameter.__base__
"""Any misuse of the command line; Typer exports only one kind of it by name."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. The one place where errors become text."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return run(arguments)
    except FramecastError as error:
        from framecast.cli.console import show_error

        if "--debug" in arguments:
            traceback.print_exc()
        if is_main_process() or not isinstance(error, SHARED_ERRORS):
            show_error(error)
        return error.exit_code


def run(arguments: list[str]) -> int:
    """Let Typer call the command; what it raises for misuse and Ctrl-C becomes an error of ours."""
    try:
        with terminable():
            code = app(arguments, prog_name="framecast", standalone_mode=False) or 0
    except WrongCommandLine as misuse:
        command = misuse.ctx.command_path if misuse.ctx else "framecast"
        message = " ".join(misuse.format_message().split()).rstrip(".")
        raise UsageError(message, remedy=f"see {command} --help") from misuse
    except typer.Abort:
        code = InterruptedRunError.exit_code
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    if code == InterruptedRunError.exit_code:
        raise InterruptedRunError("interrupted", remedy="give the same command to start again")
    return code


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that nothing temporary is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
