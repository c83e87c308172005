"""Whether the tests notice what is changed: python -m tests.benchmarks.mutants

Picks changes at random over the files below (another comparison, sign, number or truth value, an
exception that is not caught, a statement left out), makes each in a copy of the checkout, runs the
tests of that file's part, and names the changes that no test noticed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = {
    "framecast/video/readers/*.py": ["tests/video"],
    "framecast/video/writers/*.py": ["tests/video/test_writers.py", "tests/export"],
    "framecast/prediction/checkpoint*.py": ["tests/prediction/test_checkpoint.py"],
    "framecast/data/windows.py": ["tests/data"],
    "framecast/evaluation/metrics.py": ["tests/evaluation"],
    "framecast/training/run_folder.py": ["tests/training", "tests/cli/test_wrong_input.py"],
    "framecast/runtime/output_files.py": ["tests/runtime", "tests/video/test_writers.py"],
    "framecast/nn/recurrence/*.py": ["tests/nn/test_fused.py", "tests/nn/test_winograd.py"],
}
"""Files that are changed, and the tests that ought to notice."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult},
}


@dataclass(frozen=True)
class Mutant:
    """One change: its file and line, the code before and after, and the whole file after."""

    file: Path
    line: int
    before: str
    after: str
    source: str


def places_in(file: Path) -> list[int]:
    """The numbers of a file's nodes, in the order of `ast.walk`, that can be changed."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [
        number
        for number, node in enumerate(nodes)
        if hasattr(node, "lineno") and mutate(copy.deepcopy(node))
    ]


def mutant_at(file: Path, number: int) -> Mutant:
    """The change of one node of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    node = next(node for i, node in enumerate(ast.walk(tree)) if i == number)
    before = ast.unparse(node)
    mutate(node)
    return Mutant(file, node.lineno, before, ast.unparse(node), ast.unparse(tree))


def mutate(node: ast.AST) -> bool:
    """Change a node in its place; False where there is nothing to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        node.value += 1
    elif isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
        node.type.elts = node.type.elts[1:]
    elif isinstance(node, ast.If):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        node.value = ast.Constant(value=None)
    else:
        return False
    return True


def picked(count: int, seed: int) -> list[tuple[Mutant, list[str]]]:
    """`count` mutants at random, as many of each part as there are parts, with their tests."""
    draw = random.Random(seed)
    parts = list(TESTS)
    chosen: list[tuple[Mutant, list[str]]] = []
    for number, pattern in enumerate(parts):
        share = count // len(parts) + (number < count % len(parts))
        # By file first, so that a long file does not take all; then by node.
        files = [file for file in sorted(ROOT.glob(pattern)) if file.name != "__init__.py"]
        pools = {file: places_in(file) for file in files}
        found: list[Mutant] = []
        while len(found) < share and any(pools.values()):
            file = draw.choice([file for file in files if pools[file]])
            place = pools[file].pop(draw.randrange(len(pools[file])))
            found.append(mutant_at(file, place))
        chosen += [(mutant, TESTS[pattern]) for mutant in found]
    return chosen


def killed(mutant: Mutant, tests: list[str], checkout: Path, seconds: float) -> str:
    """Run the tests on the changed file; how they noticed it, "" where they did not."""
    target = checkout / mutant.file.relative_to(ROOT)
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env=environment,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "too slow"
    finally:
        target.write_text(original, encoding="utf-8")
    return "" if done.returncode == 0 else "noticed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="changes in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900, help="limit of the tests of one")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    given = parser.parse_args()
    sound: dict[str, bool] = {}
    survivors, counts = [], {"noticed": 0, "too slow": 0, "": 0}
    with tempfile.TemporaryDirectory(prefix="framecast-mutants-") as name:
        checkout = Path(name)
        for part in ("framecast", "tests", "sample_data", "pyproject.toml"):
            copied = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copied(ROOT / part, checkout / part)
        chosen = [
            item for item in picked(given.count, given.seed) if given.only in str(item[0].file)
        ]
        for mutant, tests in chosen:
            # Tests that fail anyway would notice everything.
            if str(tests) not in sound:
                unchanged = replace(mutant, source=mutant.file.read_text(encoding="utf-8"))
                sound[str(tests)] = not killed(unchanged, tests, checkout, given.seconds)
            if not sound[str(tests)]:
                print(f"left out: {mutant.file.name}: {' '.join(tests)} fail without a change")
                continue
            outcome = killed(mutant, tests, checkout, given.seconds)
            counts[outcome] += 1
            place = f"{mutant.file.relative_to(ROOT)}:{mutant.line}"
            change = f"{mutant.before!r:.80} -> {mutant.after!r:.80}"
            print(f"{outcome or 'SURVIVED'}: {place}: {change}", flush=True)
            if not outcome:
                survivors.append(place)
    total = sum(counts.values())
    print(f"{total - counts['']} of {total} noticed, {counts['too slow']} of them by their time")
    print("survivors: " + (", ".join(survivors) or "none"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
