"""Where a training's time goes: by phase of the loop, and by operator in a few of its steps."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, schedule
from torch.profiler import profile as trace

from framecast.runtime.output_files import write_error
from framecast.training.run_folder import RunFolder

COMPUTE = ("calibration", "forward", "backward", "optimizer", "validation")
PHASES = ("data", *COMPUTE, "saving", "other")
"""Phases of the loop; "other" is what remains: the events and the loop itself."""

PROFILING = "profiling"
"""What recording operators takes: no part of the loop, so it has no share."""

TRACED = schedule(wait=2, warmup=1, active=3, repeat=1)
"""The steps whose operators are recorded: three, when the first ones are over."""

OPERATORS = 25

Item = TypeVar("Item")


class Stopwatch:
    """Seconds spent in each phase; a phase inside another one pauses that.

    `exact` waits for a GPU to finish at every border, without which its work shows up later.
    """

    def __init__(self, device: str, exact: bool) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.waits = exact and device.startswith("cuda")
        self._phases, self._since = ["other"], time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the time spent inside on `name`."""
        self._book()
        self._phases.append(name)
        try:
            yield
        finally:
            self._book()
            self._phases.pop()

    def timed(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The items, the time they take to come booked on `name`."""
        while True:
            with self.phase(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def _book(self) -> None:
        if self.waits:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._phases[-1]] += now - self._since
        self._since = now

    def shares(self) -> dict[str, float]:
        """Share of each phase of the loop in its time until now; they add up to 1."""
        self._book()
        total = sum(self.seconds[name] for name in PHASES)
        return {name: self.seconds[name] / total for name in PHASES}


class Profile:
    """A profile of one run: `step` after every optimizer step, `write` at the end."""

    def __init__(self, device: str) -> None:
        activities = [ProfilerActivity.CPU]
        if device.startswith("cuda"):
            activities.append(ProfilerActivity.CUDA)
        self._steps = 0
        self._trace = trace(activities=activities, schedule=TRACED, acc_events=True)
        self._trace.start()

    def step(self) -> None:
        """Count one step of the loop."""
        self._steps += 1
        if self._steps <= 6:
            self._trace.step()
        if self._steps == 6:
            self._trace.stop()

    def write(self, run: RunFolder, watch: Stopwatch) -> None:
        """Write the run's profile.json, and profile.txt and the trace when 6 steps were done.

        Raises ResourceError when the disk is full, OutputError when it refuses otherwise.
        """
        shares = watch.shares()
        figures = {
            "steps": self._steps,
            "compute_share": sum(shares[name] for name in COMPUTE),
            "shares": shares,
            "seconds": {name: watch.seconds[name] for name in PHASES},
            "seconds_of_profiling": watch.seconds[PROFILING],
        }
        try:
            run.profile.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            if self._steps < 6:
                self._trace.stop()
                return
            table = self._trace.key_averages().table("self_cpu_time_total", row_limit=OPERATORS)
            run.operators.write_text(table + "\n", encoding="utf-8")
            self._trace.export_chrome_trace(str(run.trace))
        except OSError as error:
            raise write_error(run.profile, "profile", error) from error
