"""Damaged and hostile input of every kind: python -m tests.benchmarks.fuzz

Each case is drawn from --seed and its number and run in a forked child with limits on time and
memory. It must end with a documented exit code, at most one line of error, no traceback, and its
input unchanged. Prints every fault with the command that repeats it, and how many cases there were
of each kind. Needs Linux or another system with fork.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", COLUMNS="120", NO_COLOR="1", TERM="dumb")

import cv2
import numpy as np
import torch

from framecast.cli.main import main as framecast
from tests.support.children import GIGABYTE, Limits, Outcome, digests, faults, run_child

from .generators import GENERATORS, Generator, H, T, W, valid_files


def run_case(
    kind: str, seed: int, place: Path, valid: dict[str, bytes], limits: Limits
) -> tuple[list[str], list[str], Outcome]:
    """One case in the empty folder `place / "case"`: its command line, its faults, its outcome."""
    draw, folder = random.Random(f"{kind} {seed}"), place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    generate: Generator = GENERATORS[kind]
    arguments = generate(draw, folder, valid)
    inputs = [place / "model.pt", *folder.iterdir()]
    before = digests(inputs)
    outcome = run_child(lambda: framecast(arguments), folder, limits)
    after = digests([path for path in inputs if path.exists()])
    return arguments, faults(outcome, limits, before, after), outcome


PRELOADED = (
    *("framecast.cli.console", "framecast.evaluation.evaluate", "framecast.export.export"),
    *("framecast.inspection.network_report", "framecast.prediction.predict_stream"),
    *("framecast.training.pipeline", "framecast.video.readers.video_file"),
    *("scenedetect", "yaml"),
)
"""Modules that commands import while they run, so that children share them."""


def preload(place: Path) -> None:
    """Do once what every child would do again: imports, building the commands, first forecasts."""
    for module in PRELOADED:
        importlib.import_module(module)
    torch.set_num_threads(1)  # a child has none of its parent's threads
    cv2.setNumThreads(1)
    clip, model = str(place / "clip.npy"), str(place / "model.pt")
    np.save(clip, np.zeros((T, H, W, 3), np.uint8))
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        framecast(["config", "show"])
        framecast(["inspect-shapes", clip])
        framecast(["predict", model, clip, "-o", str(place / "out.npy")])
        framecast(["evaluate", model, clip, "--windows", "1"])
        framecast(["inspect-shapes", str(place / "gone.npy")])
    # The collector writes into every object that it visits, and so copies its page.
    gc.collect()
    gc.freeze()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="cases of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--kind", choices=GENERATORS, action="append", help="only these kinds")
    parser.add_argument("--seconds", type=float, default=60, help="of CPU time, limit of one case")
    parser.add_argument("--show", action="store_true", help="print how every case ends")
    parser.add_argument("--keep", type=Path, help="folder for the inputs of faulty cases")
    given = parser.parse_args()
    limits, kinds = Limits(given.seconds), given.kind or [*GENERATORS]
    cases, codes, faulty, largest = Counter(), Counter(), Counter(), 0
    # Ctrl-C ends a long run with what was found until then.
    with tempfile.TemporaryDirectory(prefix="framecast-fuzz-") as name, suppress(KeyboardInterrupt):
        place = Path(name)
        valid = valid_files(place)
        preload(place)
        for number in range(given.cases):
            kind, seed = kinds[number % len(kinds)], given.seed + number // len(kinds)
            arguments, found, outcome = run_case(kind, seed, place, valid, limits)
            cases[kind] += 1
            codes[outcome.code] += 1
            largest = max(largest, outcome.memory)
            if found or given.show:
                repeat = f"--kind {shlex.quote(kind)} --seed {seed} --cases 1 --show"
                said = [*found, outcome.err.strip()[-300:]] if given.show else found
                print(f"{kind} {seed}: {shlex.join(arguments)[:300]}\n    {'; '.join(said)}\n"
                      f"    repeat with {repeat}", flush=True)  # fmt: skip
            if found:
                faulty[kind] += 1
                if given.keep:
                    fifos = shutil.ignore_patterns("fifo")
                    shutil.copytree(place / "case", given.keep / f"{kind} {seed}", ignore=fifos)
    for kind, count in cases.items():
        print(f"{kind}: {count} cases, {faulty[kind]} faulty")
    print(f"exit codes: {dict(sorted(codes.items()))}")
    print(f"largest memory above the idle program's: {largest / GIGABYTE:.2f} GB")
    print(f"{sum(cases.values())} cases, {sum(faulty.values())} faulty")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
