"""Functions in forked children of their own, with a limit on time, and what came of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from framecast.cli.main import program

HANGS = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
"""Signals that end a child that computes for too long, or waits for too long."""

WAITING = 20
"""A child that only waits hangs after so many times the seconds; a busy machine is slow."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended: exit code or minus the signal, and what it printed."""

    code: int
    out: str
    err: str


def without_progress(err: str) -> list[str]:
    """The lines of standard error but for those that tell slow machines what is being done.

    A pipe is told every two seconds: "loading PyTorch: 2 s", "forecasting: 2, 1.8/s, 1 s".
    """
    return [line for line in err.splitlines() if not re.search(r": .*[0-9] s$", line)]


def run_child(call: Callable[[], int], folder: Path, seconds: float) -> Outcome:
    """Call a function in a forked child in `folder`; it hangs after `seconds` of CPU time."""
    return run_children({folder: call}, seconds)[0]


def run_children(calls: Mapping[Path, Callable[[], int]], seconds: float) -> list[Outcome]:
    """The same of several functions at once, each with the folder that it runs in.

    Without threads: in a child Python takes apart what other threads had, and PyAV 19 then waits
    for ever for threads of its own.
    """
    children = []
    for folder, call in calls.items():
        outputs = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
        child = os.fork()
        if child == 0:
            _become_child(call, folder, outputs, seconds)  # never returns
        children.append((child, outputs))
    outcomes = []
    for child, outputs in children:
        _, status = os.waitpid(child, 0)
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in outputs]
        for path in outputs:
            path.unlink()
        outcomes.append(Outcome(os.waitstatus_to_exitcode(status), *texts))
    return outcomes


def forked_program(*arguments: object) -> subprocess.Popen[bytes]:
    """The command line in a forked process, with pipes as its standard streams.

    A new interpreter would first import PyTorch, for longer than most tests take.
    """

    def become_program() -> None:
        os.closerange(3, 4096)  # so that Popen, which waits for this, takes the program as started
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
        )
        sys.argv = ["framecast", *map(str, arguments)]
        program()  # never returns

    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable],
        preexec_fn=become_program,  # noqa: PLW1509
        restore_signals=False,  # as an interpreter has them: a pipe without a reader is an error
        **pipes,
    )


def _become_child(
    call: Callable[[], int], folder: Path, outputs: list[Path], seconds: float
) -> None:
    code = 70
    try:
        os.chdir(folder)
        # Default handlers, which no Python code can delay: a hang ends as one of these signals.
        for signal_of, timer in HANGS.items():
            signal.signal(signal_of, signal.SIG_DFL)
            signal.setitimer(timer, seconds * (1 if timer == signal.ITIMER_PROF else WAITING))
        for number, path in enumerate(outputs, start=1):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        # Whoever called us may have replaced these, as pytest does.
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        code = call()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback  # noqa: PLC0415

        os.write(2, traceback.format_exc().encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
