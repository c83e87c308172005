"""Whole commands as a user starts them: what they take of time and memory, what they import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

IMPORT_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    seconds: float
    processor_seconds: float
    """Of all threads, in user and system code; other programs hardly lengthen it."""
    peak_mb: float


def run(command: Sequence[str]) -> Cost:
    """Run a command to its end; leaves the program with its message when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command)}: {message}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_utime + usage.ru_stime, unit * usage.ru_maxrss / 1e6)


def imported(command: Sequence[str]) -> dict[str, float]:
    """Milliseconds that `python ARGUMENTS...` spends importing each top-level package."""
    interpreter, *arguments = command
    done = subprocess.run(
        [interpreter, "-X", "importtime", *arguments], check=True, capture_output=True, text=True
    )
    return package_ms(done.stderr)


def package_ms(report: str) -> dict[str, float]:
    """Milliseconds of each top-level package in what `python -X importtime` prints.

    They are those of its modules alone, without what these import; the dearest comes first.
    """
    microseconds: Counter[str] = Counter()
    for own, module in IMPORT_LINE.findall(report):
        microseconds[module.partition(".")[0]] += int(own)
    return {package: own / 1000 for package, own in microseconds.most_common()}
