"""Kills trainings at the worst moments and resumes each once: is anything lost, torn or left over?

    python -m tests.benchmarks.soak --kills 200

Half of the kills, at most, are SIGKILLs right before a file operation (opening for writing, making
or removing a folder, renaming, deleting), spread over all operations of a run and of the resume of
one that was killed midway. The others are SIGKILL, SIGTERM and SIGINT, in turn, at random moments.
After each, one command: resume where there is a run folder, else the training once more. Then
everything must be as if nothing had happened: weights of best.pt and last.pt to the bit, the table
but for its minutes, the settings, the names of all files, and nothing more in the folder of the
runs nor in that for temporary files.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# One thread: children are forked, and threads of a pool do not live on in them.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch._dynamo  # loaded by the first optimizer of a process, here once for all children

from framecast.cli.main import main as framecast
from framecast.prediction.checkpoint import load_checkpoint
from framecast.runtime.output_files import YOUNG
from framecast.training import pipeline  # noqa: F401  (loaded once for all children)

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

FLAGS = (
    *("--epochs=3", "--context-length=2", "--horizon=2", "--batch-size=2", "--device=cpu"),
    *("--set=train.steps_per_epoch=2", "--set=data.scene_cuts=false", "--quiet"),
    # Else the first steps are timed, and which precision wins is by chance.
    "--set=train.precision=float32",
)
"""Of the default network, so that the pretrained start and the fitted blend are killed, too."""

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events, besides "open" for writing, of operations that change folders."""

MOST_SECONDS = 1800
"""A child that takes longer hangs; a busy machine may be slow."""


class Place:
    """A folder for one case: the clip, the runs, temporary files."""

    def __init__(self, folder: Path, origin: Place | None = None) -> None:
        """Make the folder, with the runs of another one where it begins with those."""
        self.clip, self.runs, self.temporary = (folder / n for n in ("clip.npy", "runs", "tmp"))
        if origin is None:
            self.runs.mkdir(parents=True)
        else:
            shutil.copytree(origin.runs, self.runs)
        self.temporary.mkdir()
        rng = np.random.default_rng(0)
        still_HW = rng.integers(0, 200, (12, 16))
        frames = [np.roll(still_HW, n, axis=1) + 3 * n for n in range(14)]
        np.save(self.clip, np.array(frames, dtype=np.uint8))

    @property
    def run(self) -> Path:
        return self.runs / "train-1"

    def command(self) -> list[str]:
        """Resume where there is a run, else begin."""
        if self.run.exists():
            return ["train", "--resume", str(self.run), "--quiet"]
        return ["train", str(self.clip), "--runs", str(self.runs), *FLAGS]

    def contents(self) -> dict[str, Any]:
        """All that a run leaves, without what differs each time: minutes and the bytes of zips."""
        found: dict[str, Any] = {"names": sorted(_names(self.runs)), "tmp": _names(self.temporary)}
        for name in ("best.pt", "last.pt"):
            found[name] = load_checkpoint(self.run / name).weights
        with (self.run / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found["table"] = [{key: row[key] for key in row if key != "minutes"} for row in rows]
        found["config.yaml"] = (self.run / "config.yaml").read_text(encoding="utf-8")
        found["sources"] = len(json.loads((self.run / "run.json").read_text())["sources"])
        found["preview.png"] = (self.run / "preview.png").read_bytes()
        return found


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def start(place: Place, before: Callable[[int], None] = lambda count: None) -> int:
    """Fork a child that runs the command; `before` is called before each of its file operations."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with (place.temporary.parent / "log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        tempfile.tempdir = str(place.temporary)
        _audit(place, before)
        code = framecast(place.command())
    finally:
        os._exit(code)


def _audit(place: Place, before: Callable[[int], None]) -> None:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event in WRITES
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) or bool(
                mode and set(mode) & set("wa+")
            )
        if writes and str(arguments[0]).startswith((str(place.runs), str(place.temporary))):
            count += 1
            before(count)

    sys.addaudithook(hook)


def wait(child: int) -> int:
    """The exit code of a child, negative for a signal; an endless one is an error."""
    for _ in range(100 * MOST_SECONDS):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"a child takes longer than {MOST_SECONDS} s")


def kill_before(number: int) -> Callable[[int], None]:
    """What makes a process kill itself before file operation `number`."""

    def before(count: int) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def counted_operations(place: Place) -> tuple[int, float]:
    """File operations and seconds of CPU time of an undisturbed command."""
    reading, writing = os.pipe()
    before = os.times()
    child = start(place, lambda count: os.write(writing, b"."))
    os.close(writing)
    operations = 0
    while block := os.read(reading, 4096):
        operations += len(block)
    os.close(reading)
    if wait(child) != 0:
        raise RuntimeError((place.temporary.parent / "log").read_text())
    after = os.times()
    return operations, sum(after[2:4]) - sum(before[2:4])


def wait_for(child: int, seconds: float) -> None:
    """Return once a child has computed for so many seconds, or has ended."""
    ticks = seconds * os.sysconf("SC_CLK_TCK")
    # Fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)), counted after the name in brackets.
    while True:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z" or int(fields[11]) + int(fields[12]) >= ticks:
            return
        time.sleep(0.002)


def recovered(place: Place, whole: dict[str, Any]) -> list[str]:
    """Give the one command after a kill; what is not as it should be then."""
    leftovers = [n for n in _names(place.runs) if ".part" in n]
    if leftovers:
        time.sleep(YOUNG)  # younger ones might belong to a process that is just starting
    if wait(start(place)) != 0:
        return [
            "the command after the kill failed: " + (place.temporary.parent / "log").read_text()
        ]
    found = place.contents()
    return [
        f"{key} differs" + (f": {found[key]}" if key in ("names", "tmp", "table") else "")
        for key, expected in whole.items()
        if not _same(found[key], expected)
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    return one == other


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; the exit code is 1 when there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    faults, done = [], Counter()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        reference = Place(folder / "whole")
        operations, seconds = counted_operations(reference)
        whole = reference.contents()
        midway = Place(folder / "midway")
        wait(start(midway, kill_before(operations // 2)))
        copy = Place(folder / "copy", midway)
        resumed, _ = counted_operations(copy)
        print(
            f"a run: {operations} file operations, {seconds:.1f} s; a resume: {resumed} "
            "file operations",
            flush=True,
        )
        before = [(None, n + 1) for n in range(operations)] + [
            (midway, n + 1) for n in range(resumed)
        ]
        chosen = rng.sample(before, min(len(before), options.kills // 2))
        for number in range(options.kills):
            case = folder / f"case-{number}"
            if number < len(chosen):
                origin, operation = chosen[number]
                place = Place(case, origin)
                kind, code = "before a file operation", wait(start(place, kill_before(operation)))
                what = f"SIGKILL before file operation {operation} of a "
                what += "run" if origin is None else "resume"
            else:
                place = Place(case)
                sent, moment = SIGNALS[number % 3], rng.random() * seconds
                child = start(place)
                wait_for(child, moment)
                os.kill(child, sent)
                kind, code = f"{sent.name} at random", wait(child)
                what = f"{sent.name} after {moment:.2f} s (exit {code})"
            done[kind] += 1
            problems = recovered(place, whole)
            if problems:
                faults.append(f"{what}: {'; '.join(problems)}")
                print(faults[-1], flush=True)
            shutil.rmtree(case)
    print(f"{options.kills} kills, {len(faults)} faults: {dict(done)}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
