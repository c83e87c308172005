"""The command line: what Typer calls, and errors, misuse and Ctrl-C as one line and a code."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer

from framecast.cli.commands import evaluate, export, inspect_shapes, predict, train
from framecast.cli.first_steps import config, demo, doctor, models
from framecast.cli.help import HelpCommand, HelpGroup
from framecast.cli.standard_streams import (
    check_working_folder,
    discard_output,
    explained,
    prepare_streams,
)
from framecast.config.argument_types import from_home
from framecast.errors import DivergedError, FramecastError, InterruptedRunError, UsageError
from framecast.runtime.interrupts import end_command, ending_signals
from framecast.runtime.processes import is_main_process
from framecast.runtime.processor import limited_threads

# The panel of the commands that come before one's own clips
FIRST_STEPS = "First steps"

app = typer.Typer(
    name="framecast",
    help="Predict the next frames of a video or frame sequence.",
    cls=HelpGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; before or after a command.")
    ] = False,
) -> None:
    if version:
        from framecast.runtime.versions import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UsageError.exit_code)


for body in (train, predict, evaluate, inspect_shapes, export):
    app.command(cls=HelpCommand)(body)
for body in (demo, models, doctor):
    app.command(cls=HelpCommand, rich_help_panel=FIRST_STEPS)(body)
app.add_typer(config, name="config", rich_help_panel=FIRST_STEPS)

# Errors that all processes of one training raise together
SHARED_ERRORS = (UsageError, DivergedError, InterruptedRunError)


def program() -> NoReturn:
    """Run the command line as a process, which ends with the exit code."""
    # As Ctrl-C does, so that nothing temporary stays on disk. That one has its handler already.
    for number in ending_signals():
        if number != signal.SIGINT:
            signal.signal(number, end_command)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # no longer open, which `main` has dealt with
            stream.flush()
    # What libraries have left to do: a temporary cache of matplotlib's is removed.
    atexit._run_exitfuncs()
    # Python would first take apart all that is loaded: 0.7 s of CPU with PyTorch, a third of what
    # predicting a small clip takes in all.
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. The one place where errors become text."""
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    # Threads of PyTorch (GNU OpenMP) that wait for one another spin for milliseconds by default. A
    # neighbour that needs a core then slows a training of 2 threads on 2 cores 1.5 times as much.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # PyTorch starts a thread for each processor, also where a container may use fewer of them: 2
    # threads that share 1 train a third longer than 1 thread.
    if (threads := limited_threads()) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        check_working_folder()
        check_arguments(arguments)
        # No command has this flag: it is the program's own, wherever it stands.
        code = run([with_home(argument) for argument in arguments if argument != "--debug"])
        sys.stdout.flush()
    except BrokenPipeError:  # as after `| head -1`: the reader has what it wanted
        discard_output()
        return 0
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            discard_output()  # else Python tries again to write it, and complains in its own words
        return report(known, "--debug" in arguments)
    return code


def check_arguments(arguments: list[str]) -> None:
    """Raise UsageError for an empty argument, as "$CLIP" is where the variable is not set.

    As a path it would be the working folder.
    """
    for argument in arguments:
        if re.fullmatch("(--[a-z-]+=)?", argument):
            raise UsageError(
                f"{argument or 'an argument'} is empty",
                remedy="check the variable that it was made from",
            )


def with_home(argument: str) -> str:
    """An argument with the home folder for ~, as in --runs=~/runs, which the shell leaves alone."""
    flag, path = re.fullmatch("(--[a-z-]+=)?(.*)", argument, re.DOTALL).groups("")
    return flag + from_home(path)


def report(error: FramecastError, debug: bool) -> int:
    """Print an error as one line, after its traceback with `debug`; returns its exit code."""
    from framecast.cli.console import show_error

    with suppress(OSError):  # standard error may be full or closed, too
        if debug:
            traceback.print_exc()
        if is_main_process() or not isinstance(error, SHARED_ERRORS):
            show_error(error)
    return error.exit_code


def run(arguments: list[str]) -> int:
    """Let Typer call the command; its errors for misuse and Ctrl-C become framecast errors."""
    try:
        with warnings_as_notes():
            code = app(arguments, prog_name="framecast", standalone_mode=False) or 0
    except typer.TyperException as misuse:
        # Only misuse of a command, not of the whole program, has a context that names it.
        context = getattr(misuse, "ctx", None)
        command = context.command_path if context else "framecast"
        message = " ".join(misuse.format_message().split()).rstrip(".")
        if "extra argument" in message:  # thousands, where a shell has expanded a pattern
            message = textwrap.shorten(message, 240)
        # What pydantic, which Typer asks, puts before its reason says nothing.
        message = message.replace("Value error, ", "")
        remedy = f"see {command} --help"
        if ". Did you mean" in message:
            message, _, guess = message.partition(". Did")
            remedy = f"did{guess}"
        for argument in arguments:
            if argument.startswith("-") and os.path.lexists(argument):
                remedy = f"write ./{argument} for the file of that name"
        raise UsageError(message, remedy=remedy) from misuse
    except typer.Abort:
        code = InterruptedRunError.exit_code
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # Typer and Rich make 1 of it
            raise stop.__context__ from None
        code = stop.code if isinstance(stop.code, int) else 1
    if code == InterruptedRunError.exit_code:  # Typer's code for Ctrl-C, too
        raise InterruptedRunError("interrupted", remedy="give the same command to start again")
    return code


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Say what libraries warn of in one line each, once, without the path of a library."""
    said: set[str] = set()

    def note(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        from framecast.cli.console import show_notes

        if str(message) not in said and issubclass(category, UserWarning | RuntimeWarning):
            said.add(str(message))
            show_notes([str(message)])

    with warnings.catch_warnings():
        warnings.showwarning = note
        yield
