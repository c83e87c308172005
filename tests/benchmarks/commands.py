"""Whole commands as a user starts them: seconds, processor seconds, peak memory.

python -m tests.benchmarks.commands [--rounds 5] [--frames 100 1000] [--only TEXT]

The table shows that refusals come at once, that memory does not grow with the clip, and what
tiles save of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from framecast.video.writers.open import write_frames

from .shared.output import command_line, table, write_json


class Cost(NamedTuple):
    """What one command took; `processor_seconds` are of all threads, in user and system code."""

    seconds: float
    processor_seconds: float
    peak_mb: float


LAUNCHER = """
import json, os, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
peak = unit * usage.ru_maxrss / 1e6
print(json.dumps([done.returncode, seconds, usage.ru_utime + usage.ru_stime, peak]))
"""
"""Starts the command from a process of its own: the system counts a child's memory from before it
becomes the command, when it is as large as its parent."""


def run(arguments: Sequence[str], allowed: int = 0) -> Cost:
    """Run `python ARGUMENTS...` to its end; leaves with its message where it fails.

    `allowed` is the exit code of a command that is meant to be refused.
    """
    command = [sys.executable, "-c", LAUNCHER, sys.executable, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    code, *figures = json.loads(done.stdout)
    if code not in (0, allowed):
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return Cost(*figures)


def cases(folder: Path, model: str, frames: Sequence[int]) -> dict[str, tuple[list[str], int]]:
    """Arguments of Python by what is done, with the exit code that is right."""
    framecast = ["-m", "framecast"]
    layer = ["--input", "8,10,64,64,1", "--layer", "filters=64 kernel=5 strides=2"]
    refused = [*framecast, "predict", model, str(folder / "no such clip.mp4")]
    found = {
        "python -c pass": (["-c", "pass"], 0),
        "framecast --help": ([*framecast, "--help"], 0),
        "inspect-shapes --input --layer": ([*framecast, "inspect-shapes", *layer], 0),
        "predict, no such clip": (refused, 3),
        "import torch": (["-c", "import torch"], 0),
    }
    for count in frames:
        clip = make_clip(folder / f"{count}.mp4", count)
        predict = [*framecast, "predict", model, str(clip), "-o", str(folder / "future.gif")]
        found[f"predict after {count} frames"] = ([*predict, "--overwrite"], 0)
        score = [*framecast, "evaluate", model, str(clip), "--windows", "8"]
        found[f"evaluate on {count} frames"] = (score, 0)
    large = make_clip(folder / "large.mp4", 20, (1080, 1920))
    for kind in ("gif", "mp4"):
        predict = [*framecast, "predict", str(large), "-o", str(folder / f"large future.{kind}")]
        found[f"predict 1080p to .{kind}"] = ([*predict, "--horizon=12", "--overwrite"], 0)
    huge = make_clip(folder / "huge.mp4", 8, (2048, 2048))
    for name, tiles in {"whole": [], "in tiles of 256": ["--tile=256"]}.items():
        predict = [*framecast, "predict", str(huge), "-o", str(folder / "huge future.npy"), *tiles]
        found[f"predict 2048x2048 {name}"] = ([*predict, "--horizon=12", "--overwrite"], 0)
    return found


def make_clip(path: Path, frames: int, size: tuple[int, int] = (64, 80)) -> Path:
    """A video of waves that pass, in colour."""
    rows, columns, channel = np.mgrid[0 : size[0], 0 : size[1], 0:3]
    waves = (np.sin(0.2 * rows + 0.1 * columns - 0.3 * t + channel) for t in range(frames))
    write_frames(str(path), ((127 + 100 * wave).astype(np.uint8) for wave in waves), fps=25)
    return path


def train_small_model(folder: Path) -> str:
    """One step of training on 60 frames: what is timed does not depend on what was learnt."""
    clip = make_clip(folder / "training.mp4", 60)
    command = ["-m", "framecast", "train", str(clip), "--runs", str(folder / "runs"), "--quiet"]
    run([*command, "--epochs=1", "--set=train.steps_per_epoch=1", "--set=model.filters=[8]"])
    return str(folder / "runs/train-1")


def main() -> None:
    parser = command_line("commands", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000], metavar="N")
    parser.add_argument("--only", default="", metavar="TEXT", help="commands whose name holds this")
    options = parser.parse_args()
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        found = cases(Path(scratch), train_small_model(Path(scratch)), options.frames)
        for number in range(options.rounds + 1):  # the first round only fills the disk's cache
            for name, (arguments, code) in found.items():
                if options.only in name:
                    cost = run(arguments, code)
                    costs.setdefault(name, []).extend([cost] if number else [])
    record = {name: [cost._asdict() for cost in rounds] for name, rounds in costs.items()}
    write_json(options.output / "commands.json", {"costs": record})
    rows = []
    for name, rounds in costs.items():
        seconds, processor, peak = (statistics.median(each) for each in zip(*rounds, strict=True))
        rows.append([name, f"{seconds:.2f}", f"{processor:.2f}", f"{peak:.0f}"])
    print(table(["command", "seconds", "of a processor", "peak MB"], rows))


if __name__ == "__main__":
    main()
