"""A function in a forked child of its own, with limits on time and memory, and what came of it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from framecast.errors import EXIT_CODES, PartialFailureError

GIGABYTE = 1_000_000_000
HANGS = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
"""Signals that end a child that computes for too long, or waits for too long."""
PARTIAL = PartialFailureError.exit_code
"""Of several sources each that fails has an error of its own."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended: exit code or minus the signal, seconds, peak bytes above its first."""

    code: int
    seconds: float
    memory: int
    out: str
    err: str


@dataclass(frozen=True)
class Limits:
    """Seconds of CPU time after which a child hangs, bytes of resident memory it may add."""

    seconds: float = 60
    memory: int = GIGABYTE
    waiting: float = 20
    """A child that only waits hangs after so many times the seconds; a busy machine is slow."""


def run_child(call: Callable[[], int], folder: Path, limits: Limits) -> Outcome:
    """Call a function in a forked child whose working directory is `folder`."""
    started, (reading, writing) = time.monotonic(), os.pipe()
    outputs = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        # A child does not have all pages of its parent, so it tells what it begins with.
        os.write(writing, str(_resident()).encode())
        _become_child(call, folder, outputs, limits)  # never returns
    _, status, used = os.wait4(child, 0)
    with suppress(ProcessLookupError):  # what it started and left, where it leads a group
        os.killpg(child, signal.SIGKILL)
    before = int(os.read(reading, 100))
    for end in (reading, writing):
        os.close(end)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in outputs]
    for path in outputs:
        path.unlink()
    peak = 1024 * used.ru_maxrss - before  # Linux counts kilobytes
    return Outcome(
        os.waitstatus_to_exitcode(status), time.monotonic() - started, max(peak, 0), *texts
    )


def _become_child(
    call: Callable[[], int], folder: Path, outputs: Sequence[Path], limits: Limits
) -> None:
    code = 70
    try:
        os.chdir(folder)
        # Default handlers, which no Python code can delay: a hang ends as one of these signals.
        for signal_of, timer in HANGS.items():
            signal.signal(signal_of, signal.SIG_DFL)
            factor = 1 if timer == signal.ITIMER_PROF else limits.waiting
            signal.setitimer(timer, factor * limits.seconds)
        # Beyond the limit that is judged, so that it is measured and not only refused.
        room = _virtual() + 2 * limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
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


def faults(
    outcome: Outcome,
    limits: Limits,
    before: Mapping[Path, bytes],
    after: Mapping[Path, bytes],
) -> list[str]:
    """What is wrong with how a child ended; `before` and `after` are digests of its inputs."""
    found = []
    if -outcome.code in HANGS:
        found.append(f"hangs for {outcome.seconds:.0f} s")
    elif outcome.code not in EXIT_CODES or outcome.code == 1:
        found.append(f"ends with code {outcome.code}")
    if "Traceback" in outcome.err:
        found.append("traceback: " + outcome.err.strip().splitlines()[-1][:200])
    elif outcome.code not in (0, PARTIAL) and outcome.err.count("error: ") != 1:
        found.append(f"not one error: {outcome.err[:300]!r}")
    if outcome.memory > limits.memory:
        found.append(f"takes {outcome.memory / GIGABYTE:.1f} GB")
    if before != after:
        found.append("changes its input")
    return found


def digests(paths: Sequence[Path]) -> dict[Path, bytes]:
    """The content of the files below some paths, as digests."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    return {f: blake2b(f.read_bytes(), digest_size=16).digest() for f in files if f.is_file()}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
