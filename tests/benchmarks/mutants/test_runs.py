"""Tests of a checkout, run in forked children that share the imports of PyTorch and other packages.

Which tests run which lines is measured once; a changed line then needs only those.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import coverage
import pytest

from ..fuzz.children import Limits, Outcome, run_child

SHARED = ("av", "cv2", "hypothesis", "imageio", "matplotlib.figure", "numpy", "onnx", "PIL.Image")
SHARED += ("rich.console", "scipy.ndimage", "tifffile", "torch._dynamo", "typer", "yaml")
MEMORY = 3_000_000_000
"""Bytes, half of those at which a child ends: a changed loop can allocate for ever."""
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

        outcome = run_forked(call, checkout, seconds=3 * 3600)
        record.with_suffix(".log").write_text(outcome.out + outcome.err, encoding="utf-8")
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
    call = partial(pytest.main, [*_quiet(checkout), "-x", *tests])
    return run_forked(call, checkout, seconds).code


def _quiet(checkout: Path) -> list[str]:
    plugins = ("no:cacheprovider", "no:xdist")
    return ["-q", f"--rootdir={checkout}", *(part for name in plugins for part in ("-p", name))]


def share_imports() -> None:
    """Import in this process what every child would import."""
    for name in SHARED:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)  # threads do not live on in a forked child
    sys.modules["cv2"].setNumThreads(1)


def run_forked(call: Callable[[], Any], folder: Path, seconds: float) -> Outcome:
    """Call a function in a child in `folder`, which also leads `sys.path`."""

    def in_folder() -> int:
        os.setsid()
        sys.path[0] = str(folder)
        os.environ["PYTHONPATH"] = str(folder)  # of what tests start
        # Compiled files are told from their sources by second and size, which a change may keep.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for name in [n for n in sys.modules if n.partition(".")[0] in ("framecast", "tests")]:
            del sys.modules[name]
        return int(call())

    return run_child(in_folder, folder, Limits(seconds, MEMORY, waiting=10))
