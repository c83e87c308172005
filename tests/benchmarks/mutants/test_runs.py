"""Tests of a checkout, run in forked children that share the imports of PyTorch and other packages.

Which tests run which lines is measured once; a changed line then needs only those.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

SHARED = ("av", "cv2", "hypothesis", "imageio", "matplotlib.figure", "numpy", "onnx", "PIL.Image")
SHARED += ("rich.console", "scipy.ndimage", "tifffile", "torch._dynamo", "typer", "yaml")
MEMORY = 6_000_000_000
"""Bytes that a child may add: a changed loop can allocate for ever."""
SLOW = 20.0
"""Seconds of CPU time of a test that is not run against changes."""

LineTests = dict[str, dict[int, list[str]]]
"""By file and line: the tests that run it, the quickest first."""


class _Recorder:
    """Tells coverage which test runs, and keeps how long each takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured, self.seconds = measured, defaultdict(float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # Without its parameters, whose names may hold what a change alters.
        name, started = item.nodeid.partition("[")[0], time.process_time()
        self.measured.switch_context(name)
        try:
            return (yield)
        finally:
            self.seconds[name] += time.process_time() - started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid.partition("[")[0])


def tests_by_line(checkout: Path, paths: list[str], record: Path) -> LineTests:
    """Run tests once and tell which of them run which line, without those that fail anyway.

    `record` keeps the answer; where it is there, nothing is run.
    """
    if not record.exists():
        data = record.with_suffix(".coverage")

        def call() -> int:
            measured = coverage.Coverage(str(data), config_file=False, source=["framecast"])
            recorder = _Recorder(measured)
            measured.start()
            code = pytest.main([*_quiet(checkout), *paths], plugins=[recorder])
            measured.stop()
            measured.save()
            for name in recorder.failed:  # it would notice everything
                print(f"left out, since it fails without a change: {name}")
                recorder.seconds[name] = SLOW
            found = _lines(measured.get_data(), recorder.seconds, checkout)
            record.write_text(json.dumps(found), encoding="utf-8")
            return code

        run_forked(call, checkout, seconds=3 * 3600, log=record.with_suffix(".log"))
    found = json.loads(record.read_text(encoding="utf-8"))
    return {
        file: {int(line): tests for line, tests in lines.items()} for file, lines in found.items()
    }


def _lines(
    data: coverage.CoverageData, seconds: dict[str, float], checkout: Path
) -> dict[str, dict[int, list[str]]]:
    found = {}
    for file in data.measured_files():
        found[str(Path(file).relative_to(checkout))] = {
            line: sorted((c for c in contexts if seconds.get(c, SLOW) < SLOW), key=seconds.get)
            for line, contexts in data.contexts_by_lineno(file).items()
        }
    return found


def tests_of(lines: range, file: str, known: LineTests) -> list[str]:
    """The tests that run one of these lines; of those that run at import, all tests of the file."""
    by_line = known.get(file, {})
    found = {test: None for line in lines for test in by_line.get(line, [])}
    return [*found] or [*{test: None for tests in by_line.values() for test in tests}]


def run_tests(checkout: Path, tests: list[str], seconds: float) -> int:
    """pytest's exit code, or minus the signal that ended it: SIGPROF or SIGALRM for too slow."""
    return run_forked(
        lambda: pytest.main([*_quiet(checkout), "-x", *tests]), checkout, seconds, Path(os.devnull)
    )


def _quiet(checkout: Path) -> list[str]:
    plugins = ("no:cacheprovider", "no:xdist")
    return ["-q", f"--rootdir={checkout}", *(part for name in plugins for part in ("-p", name))]


def share_imports() -> None:
    """Import in this process what every child would import."""
    for name in SHARED:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)  # threads do not live on in a forked child
    sys.modules["cv2"].setNumThreads(1)


def run_forked(call: Callable[[], Any], folder: Path, seconds: float, log: Path) -> int:
    """Call a function in a child in `folder`, which also leads `sys.path`; its exit code."""
    child = os.fork()
    if child == 0:
        _become_child(call, folder, seconds, log)  # never returns
    _, status, _ = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError):  # what its tests started and left
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _become_child(call: Callable[[], Any], folder: Path, seconds: float, log: Path) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        sys.path[0] = str(folder)
        os.environ["PYTHONPATH"] = str(folder)  # of what tests start
        # Compiled files are told from their sources by second and size, which a change may keep.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for name in [n for n in sys.modules if n.partition(".")[0] in ("framecast", "tests")]:
            del sys.modules[name]
        # CPU time, since a busy machine is slow; ten times as long for tests that only wait.
        for signal_of, timer, factor in (
            (signal.SIGPROF, signal.ITIMER_PROF, 1),
            (signal.SIGALRM, signal.ITIMER_REAL, 10),
        ):
            signal.signal(signal_of, signal.SIG_DFL)
            signal.setitimer(timer, factor * seconds)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        code = int(call())
    finally:
        os._exit(code)
