"""Small changes of Python source: another comparison, sign, number, truth value, a call left out.

Left out are changes that no test can notice: of annotations, of decorators (`frozen=True`, sizes of
caches), of blocks that only type checkers read, and of `strict=True`, which checks the code itself.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult},
}
UNREAD = {"annotation", "returns", "decorator_list"}
"""Fields of nodes that no test can notice."""


@dataclass(frozen=True)
class Mutant:
    """One change: its file, the lines of its statement, the code before and after, the new file."""

    file: Path
    lines: range
    before: str
    after: str
    source: str


def picked(count: int, seed: int, parts: Sequence[Sequence[Path]]) -> list[Mutant]:
    """`count` changes at random, as many of each part."""
    draw, chosen = random.Random(seed), []
    for number, files in enumerate(parts):
        share = count // len(parts) + (number < count % len(parts))
        places = [
            (file, at)
            for file in files
            for at in range(len(list(_places(ast.parse(file.read_text(encoding="utf-8"))))))
        ]
        chosen += [mutant_at(*place) for place in draw.sample(places, min(share, len(places)))]
    draw.shuffle(chosen)  # so that the first hundred are a sample of all
    return chosen


def mutant_at(file: Path, number: int) -> Mutant:
    """The change of one node of a file, the one of this number that can be changed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    node, statement = list(_places(tree))[number]
    body = getattr(statement, "body", None)  # of a compound statement only its head counts
    end = body[0].lineno if body else statement.end_lineno + 1
    lines = range(statement.lineno, max(end, statement.lineno + 1))
    before = ast.unparse(node)
    _mutate(node)
    return Mutant(file, lines, before, ast.unparse(node), ast.unparse(tree))


def _places(tree: ast.AST, statement: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Nodes that can be changed, each with the statement that it is part of."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.keyword) and tree.arg == "strict":
        return
    if isinstance(tree, ast.stmt | ast.ExceptHandler):
        statement = tree
    if statement is not None and _can_mutate(tree):
        yield tree, statement
    for name, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and name not in UNREAD:
                yield from _places(node, statement)


def _can_mutate(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in SWAPS
    if isinstance(node, ast.BoolOp | ast.BinOp):
        return type(node.op) in SWAPS
    if isinstance(node, ast.Constant):
        return type(node.value) in (bool, int, float)
    if isinstance(node, ast.ExceptHandler):
        return isinstance(node.type, ast.Tuple)
    return isinstance(node, ast.If) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    )


def _mutate(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        # One more, or double where a number is so large that one more is nothing.
        more = max(1, abs(node.value)) if type(node.value) is float else 1
        node.value = not node.value if type(node.value) is bool else node.value + more
    elif isinstance(node, ast.ExceptHandler):
        node.type.elts = node.type.elts[1:]
    elif isinstance(node, ast.If):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(value=None)
