"""Whether the tests notice what is changed: python -m tests.benchmarks.mutants

Picks changes at random over the files below (another comparison, sign, number or truth value, an
exception that is not caught, a statement left out), makes each in a copy of the checkout, runs the
tests that run the changed line, and names the changes that none of them noticed. Needs fork.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="agg")

from .changes import Mutant, picked
from .test_runs import run_tests, share_imports, tests_by_line, tests_of

ROOT = Path(__file__).parents[3]

RECURRENCE = ("equations", "fused", "pointwise", "direct", "winograd", "winograd_transforms")
# Not `chunks` and `cost`, which choose among equal results the one that is fast.

PARTS = {
    "readers": (["framecast/video/readers/*.py"], ["tests/video"]),
    "writers": (["framecast/video/writers/*.py"], ["tests/video", "tests/export"]),
    "checkpoint": (
        ["framecast/prediction/checkpoint*.py", "framecast/prediction/model_header.py"],
        [
            *("tests/prediction/test_checkpoint.py", "tests/prediction/test_model_header.py"),
            "tests/cli/test_early_refusals.py",
        ],
    ),
    "windows": (["framecast/data/windows.py"], ["tests/data"]),
    "metrics": (
        ["framecast/evaluation/metrics.py"],
        ["tests/evaluation/test_metrics.py", "tests/evaluation/test_skill.py"],
    ),
    "resume": (
        ["framecast/training/run_folder.py", "framecast/training/pipeline.py"],
        [
            *("tests/training/test_run_folder.py", "tests/training/test_trainer.py"),
            *("tests/cli/test_wrong_input.py", "tests/cli/test_main.py"),
        ],
    ),
    "atomic write": (
        ["framecast/runtime/output_files.py", "framecast/runtime/folder_lock.py"],
        [
            *("tests/runtime/test_output_files.py", "tests/runtime/test_folder_lock.py"),
            "tests/training/test_run_folder.py",
        ],
    ),
    "fused recurrence": (
        [f"framecast/nn/recurrence/{name}.py" for name in RECURRENCE],
        [f"tests/nn/test_{name}.py" for name in ("fused", "step", "winograd")],
    ),
}
"""Files that are changed, and tests: those that run the changed line ought to notice."""

GOAL = 0.9
"""Share of the changes that the tests are to notice."""


def outcome(mutant: Mutant, tests: list[str], checkout: Path, seconds: float) -> str:
    """Run the tests on the changed file; how they noticed it, "" where they did not."""
    original = mutant.file.read_text(encoding="utf-8")
    mutant.file.write_text(mutant.source, encoding="utf-8")
    try:
        code = run_tests(checkout, tests, seconds)
    finally:
        mutant.file.write_text(original, encoding="utf-8")
    return {0: "", -signal.SIGPROF: "too slow", -signal.SIGALRM: "too slow"}.get(code, "noticed")


def copied(folder: Path) -> Path:
    """A copy of the checkout to change."""
    for part in ("framecast", "tests", "sample_data", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    return folder


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="changes in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=300, help="of CPU time, for the tests of one"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="only these parts")
    parser.add_argument("--first", type=int, default=0, help="begin with the one of this number")
    parser.add_argument("--record", type=Path, help="file that keeps which tests run which line")
    return parser.parse_args()


def main() -> int:
    given = options()
    chosen = [PARTS[name] for name in given.only or PARTS]
    paths = [*{path: None for _, tests in chosen for path in tests}]
    survivors, counts = [], Counter()
    with tempfile.TemporaryDirectory(prefix="framecast-mutants-") as name:
        checkout = copied(Path(name))
        parts = [
            sorted(f for p in patterns for f in checkout.glob(p) if f.stem != "__init__")
            for patterns, _ in chosen
        ]
        tempfile.tempdir = os.environ["TMPDIR"] = str(checkout)  # of the tests, removed with it
        share_imports()
        known = tests_by_line(checkout, paths, (given.record or checkout / "record").resolve())
        for number, mutant in enumerate(picked(given.count, given.seed, parts)):
            if number < given.first:
                continue
            file = str(mutant.file.relative_to(checkout))
            tests = tests_of(mutant.lines, file, known)
            found = outcome(mutant, tests, checkout, given.seconds) if tests else ""
            counts[found] += 1
            change = f"{mutant.before!r:.80} -> {mutant.after!r:.80}"
            place = f"{file}:{mutant.lines.start}"
            print(f"{number} {found or 'SURVIVED'}: {place}: {change} ({len(tests)} tests)",
                  flush=True)  # fmt: skip
            if not found:
                survivors.append(f"{place} {change}")
    total, noticed = counts.total(), counts.total() - counts[""]
    print(f"{noticed} of {total} noticed, {counts['too slow']} of them by their time; survivors:")
    print("\n".join(survivors) or "none")
    return 0 if noticed >= GOAL * total else 1


if __name__ == "__main__":
    sys.exit(main())
