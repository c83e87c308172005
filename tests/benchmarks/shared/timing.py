"""Times of several runs that take turns, so that other work on the machine slows all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]


def interleaved(
    runs: Mapping[str, Run],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    least: float = 0,
) -> dict[str, list[float]]:
    """Seconds of each run in every round, after one round that does not count.

    Runs shorter than `least` seconds are repeated until that time has passed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            started, count = clock(), 0
            while count == 0 or clock() - started < least:
                run()
                count += 1
            seconds[name].append((clock() - started) / count)
    return {name: found[1:] for name, found in seconds.items()}


def median_milliseconds(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: 1000 * statistics.median(found) for name, found in seconds.items()}
