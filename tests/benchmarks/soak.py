"""Kills trainings at the worst moments and resumes them: is anything lost, torn or left over?

    python -m tests.benchmarks.soak --kills 200

Each kill is a SIGKILL right before a file operation: opening for writing, making or removing a
folder, renaming, deleting. One is spread over all operations of a run, the next falls on any of the
command after it: resume where there is a run folder, else the training once more. That command is
given again, and then everything must be as if nothing had happened. Weights of best.pt and last.pt
are compared to the bit, the table but for its minutes, the settings and the names of all files;
nothing more may be in the folder of the runs nor in that for temporary files.
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
from collections.abc import Callable
from itertools import count
from multiprocessing import Value
from pathlib import Path
from typing import Any

# One thread: children are forked, and threads of a pool do not live on in them.
os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib.figure
import numpy as np
import torch
import torch._dynamo

from framecast.cli.main import main as framecast
from framecast.prediction.checkpoint import load_checkpoint
from framecast.training import pipeline
from tests.support.children import Outcome, run_child

LOADED = (pipeline, matplotlib.figure, torch._dynamo)
"""What a training loads on its way, here once for all children; an optimizer loads the last."""

FLAGS = (
    *("--epochs=3", "--context-length=2", "--horizon=2", "--batch-size=2", "--device=cpu"),
    *("--set=train.steps_per_epoch=2", "--set=data.scene_cuts=false", "--quiet"),
    # Else the first steps are timed, and which precision wins is by chance.
    "--set=train.precision=float32",
)
"""Of the default network, so that the pretrained start and the fitted blend are killed, too."""

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events, besides "open" for writing, of operations that change folders."""

HANG = 1800
"""Seconds; a busy machine may be slow."""


class Place:
    """A folder for one case: the clip, the runs, temporary files."""

    def __init__(self, folder: Path) -> None:
        self.clip, self.runs, self.temporary = (folder / n for n in ("clip.npy", "runs", "tmp"))
        self.run = self.runs / "train-1"
        self.runs.mkdir(parents=True)
        self.temporary.mkdir()
        rng = np.random.default_rng(0)
        still_HW = rng.integers(0, 200, (12, 16))
        frames = [np.roll(still_HW, n, axis=1) + 3 * n for n in range(14)]
        np.save(self.clip, np.array(frames, dtype=np.uint8))

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


def run(place: Place, before: Callable[[int], None] = lambda number: None) -> Outcome:
    """Run the command in a child that calls `before` ahead of each file operation."""
    numbers, folders = count(1), (str(place.runs), str(place.temporary))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in WRITES
        if event == "open":
            _, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR) or set(mode or "") & set("wa+")
        if writes and str(arguments[0]).startswith(folders):
            before(next(numbers))

    def call() -> int:
        tempfile.tempdir = str(place.temporary)
        sys.addaudithook(hook)
        return framecast(place.command())

    return run_child(call, place.runs.parent, HANG)


def kill_before(operation: int) -> Callable[[int], None]:
    """What makes a process kill itself before a file operation, counted from 1."""

    def before(number: int) -> None:
        if number == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def faults(place: Place, kills: tuple[int, int], whole: dict[str, Any]) -> list[str]:
    """Kill two commands, give a third; what is not as it should be then."""
    for operation in kills:
        outcome = run(place, kill_before(operation))
        if outcome.code != -signal.SIGKILL:  # it had fewer operations
            break
    else:
        outcome = run(place)
    if outcome.code != 0:
        return [f"the command after a kill failed: {outcome.err}"]
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


def main() -> int:
    """Run the soak; the exit code is 1 when there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="of runs, at most (default 200)")
    most, bad = parser.parse_args().kills, 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        reference, operations = Place(Path(name, "whole")), Value("i")  # which the child shares
        outcome = run(reference, lambda number: setattr(operations, "value", number))
        if outcome.code != 0:
            raise RuntimeError(outcome.err)
        whole, last = reference.contents(), operations.value
        print(f"{last} file operations of a run")
        chosen = np.linspace(1, last, min(most, last), dtype=int).tolist()
        for operation in chosen:
            kills = (operation, random.Random(operation).randint(1, last))
            place = Place(Path(name, f"case-{operation}"))
            if problems := faults(place, kills, whole):
                bad += 1
                print(f"killed before operations {kills}: {'; '.join(problems)}", flush=True)
            shutil.rmtree(place.runs.parent)
    print(f"{len(chosen)} kills, {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
