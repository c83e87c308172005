"""Values of expressions in Keras code: constants, tensors, layers, or symbols.

Numbers, lists and comparisons are evaluated; everything else is left to the reader of calls
(`keras_calls.py`) or becomes a symbol with its source text.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from framecast.inspection.keras_signatures import KINDS
from framecast.inspection.keras_values import (
    Function,
    GraphBuilder,
    ModelValue,
    Namespace,
    flat,
    to_symbol,
)
from framecast.inspection.model_graph import Node, OpenAxes, Tensor
from framecast.inspection.sizes import Symbol

# Iterations of a loop that are followed; no model has as many layers
LONGEST_LOOP = 500

LONGEST_LIST = 10_000
# Larger values are no sizes, and evaluating them could fill memory: they become symbols
_LARGEST_NUMBER = 10**18

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, others: one in others,
    ast.NotIn: lambda one, others: one not in others,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
# Values that are neither true nor false, and through which no loop goes
UNKNOWN = Symbol | Tensor
_TENSOR_OPERATORS = {ast.Add: "Add", ast.Sub: "Subtract", ast.Mult: "Multiply"}
# Methods of lists and dictionaries that change them
CHANGING_METHODS = {
    *("append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault"),
    *("sort", "update"),
}
# These and methods of texts are called as Python does
METHODS = CHANGING_METHODS | {
    *("copy", "count", "get", "index", "items", "keys", "values"),
    *("capitalize", "endswith", "lower", "split", "startswith", "strip", "upper"),
}
# Builtins that have no effect but their result
_BUILTINS = (range, enumerate, zip, reversed, sorted, len, min, max, sum, abs, round, any, all)
_MATHS = (math.ceil, math.floor, math.log2, math.prod, math.sqrt)
_PURE = {each.__name__: each for each in (*_BUILTINS, *_MATHS, int, str, bool, tuple, list, dict)}


class ExpressionReader(GraphBuilder):
    """Evaluates expressions with the values that names have; a subclass evaluates calls."""

    call: Callable[[ast.Call], Any]

    def __init__(self) -> None:
        super().__init__()
        # Those of the innermost scope first, those of the file last
        self.names: ChainMap[str, Any] = ChainMap()
        # Where names that are declared `global` or `nonlocal` in this scope belong
        self.declared: dict[str, MutableMapping[str, Any]] = {}
        self.expressions: dict[type, Callable[[Any], Any]] = {
            ast.Constant: self._constant,
            ast.Name: lambda node: self.names.get(node.id, Symbol(node.id)),
            ast.Tuple: lambda node: tuple(self.items(node.elts)),
            ast.List: lambda node: self.items(node.elts),
            ast.Set: lambda node: set(self.items(node.elts)),
            ast.Dict: self._dictionary,
            ast.Slice: self._slice,
            ast.UnaryOp: lambda node: self.operate(node, node.op, node.operand),
            ast.BinOp: lambda node: self.operate(node, node.op, node.left, node.right),
            ast.Compare: self._compare,
            ast.BoolOp: self._logic,
            ast.IfExp: self._conditional,
            ast.Subscript: self._subscript,
            ast.Attribute: lambda node: self.attribute(node, self.value(node.value)),
            ast.Call: self.call,
            ast.NamedExpr: self._named,
            ast.JoinedStr: self._text,
            ast.FormattedValue: lambda node: (
                to_symbol(node) if node.format_spec else self.value(node.value)
            ),
            ast.Lambda: lambda node: Function(node, self.names),
            **dict.fromkeys((ast.ListComp, ast.GeneratorExp, ast.DictComp), self._comprehension),
        }

    def note(self, node: ast.AST, text: str) -> None:
        note = f"line {node.lineno}: {text}"
        if note not in self.notes:
            self.notes.append(note)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression: a constant, a tensor, a layer, or a symbol."""
        follow = self.expressions.get(type(node), to_symbol)
        try:
            return follow(node)
        # What Python would refuse, or cannot be done with symbols, is its own source text
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return to_symbol(node)

    def _constant(self, node: ast.Constant) -> Any:
        return to_symbol(node) if _has_large_number([node.value]) else node.value

    def _dictionary(self, node: ast.Dict) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            # {**settings, "filters": 8} has no key for the first part
            found |= self.value(value) if key is None else {self.value(key): self.value(value)}
        return found

    def _named(self, node: ast.NamedExpr) -> Any:
        value = self.value(node.value)
        self.assign(node.target, value)
        return value

    def _text(self, node: ast.JoinedStr) -> Any:
        """An f-string of known texts and integers."""
        parts = self.items(node.values)
        known = all(isinstance(part, str | int) for part in parts)
        text = "".join(map(str, parts)) if known else ""
        return text if known and len(text) <= LONGEST_LIST else to_symbol(node)

    def _compare(self, node: ast.Compare) -> Any:
        # 1 < n < 5 compares each two
        sides = [node.left, *node.comparators]
        found = [
            self.operate(node, *each) for each in zip(node.ops, sides, sides[1:], strict=False)
        ]
        return next((each for each in found if isinstance(each, UNKNOWN)), all(found))

    def _logic(self, node: ast.BoolOp) -> Any:
        values = [self.value(each) for each in node.values]
        if any(isinstance(each, Symbol) for each in values):
            return to_symbol(node)
        # Python's `or` gives the first true value, not True: `filters or 64`
        decides = isinstance(node.op, ast.Or)
        return next((each for each in values[:-1] if bool(each) == decides), values[-1])

    def _conditional(self, node: ast.IfExp) -> Any:
        test = self.value(node.test)
        # Of an unknown test the first branch is taken
        return self.value(node.body if isinstance(test, Symbol) or test else node.orelse)

    def items(self, elements: Sequence[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for element in elements:
            if not isinstance(element, ast.Starred):
                items.append(self.value(element))
                continue
            # (None, *x_train.shape[2:]): some number of sizes
            inside = self.value(element.value)
            if isinstance(inside, tuple | list):
                items += inside
            else:
                items.append(OpenAxes(str(inside)))
        return items

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Any:
        is_dictionary = isinstance(node, ast.DictComp)
        element = ast.Tuple([node.key, node.value]) if is_dictionary else node.elt
        with self.scope(self.names):
            values = list(self._elements(node.generators, element, iter(range(LONGEST_LIST))))
        return dict(values) if is_dictionary else values

    def _elements(
        self, loops: Sequence[ast.comprehension], element: ast.expr, left: Iterator[int]
    ) -> Iterator[Any]:
        """The elements that nested loops make, in as many turns as are `left` for all of them.

        Raises LookupError or TypeError where they cannot be followed.
        """
        if not loops:
            yield self.value(element)
            return
        for number, turn in enumerate(self.value(loops[0].iter)):
            self.assign(loops[0].target, turn)
            tests = [self.value(test) for test in loops[0].ifs]
            unknown = any(isinstance(test, UNKNOWN) for test in tests)
            if unknown or number >= LONGEST_LOOP or next(left, None) is None:
                raise LookupError
            if all(tests):
                yield from self._elements(loops[1:], element, left)

    @contextmanager
    def scope(self, around: ChainMap[str, Any]) -> Iterator[None]:
        """See the names `around`; new ones are gone at the end."""
        outside, declared = self.names, self.declared
        self.names, self.declared = around.new_child(), {}
        try:
            yield
        finally:
            self.names, self.declared = outside, declared

    def name(self, name: str, value: Any) -> None:
        self.declared.get(name, self.names)[name] = value

    def operate(self, node: ast.expr, op: ast.AST, *operands: ast.expr) -> Any:
        """Apply an operator: two tensors become a layer, numbers a number."""
        values = [self.value(each) for each in operands]
        is_test = isinstance(op, ast.cmpop | ast.Not)
        if is_test and any(isinstance(each, Symbol) for each in flat(values)):
            return to_symbol(node)
        tensors = [each for each in values if isinstance(each, Tensor)]
        if not tensors or isinstance(op, ast.Is | ast.IsNot):
            if _is_too_large(op, values):
                return to_symbol(node)
            result = _OPERATORS[type(op)](*values)
            too_long = isinstance(result, str | list | tuple) and len(result) > LONGEST_LIST
            return to_symbol(node) if too_long else result
        return self.combine(_TENSOR_OPERATORS.get(type(op), ""), tensors, node)

    def combine(self, kind: str, tensors: Sequence[Tensor], node: ast.expr) -> Tensor:
        """Two tensors as a layer; a tensor with a sign or a number keeps its shape."""
        if len(tensors) == 1:
            return tensors[0]
        name = "" if kind else str(to_symbol(node))
        return self.add(Node(kind, name, {"operator": True}, line=node.lineno), tensors)

    def _subscript(self, node: ast.Subscript) -> Any:
        value, index = self.value(node.value), self.value(node.slice)
        if not isinstance(value, Tensor):
            return value[index]
        # y[0] of a layer with return_state is its output, of a tensor its first sample
        if isinstance(index, int | slice) and len(together := self.parts_of(value)) > 1:
            return together[index]
        parts = index if isinstance(index, tuple) else (index,)
        # `x[:, n]` with an unknown n is followed no further
        known = all(isinstance(part, int | slice) or part in (None, ...) for part in parts)
        name = f"[{ast.unparse(node.slice)}]".replace("[(", "[").replace(")]", "]")
        kind, arguments = ("GetItem", {"index": parts}) if known else ("", {})
        return self.add(Node(kind, name, arguments, line=node.lineno), [value])

    def _slice(self, node: ast.Slice) -> Any:
        bounds = (node.lower, node.upper, node.step)
        values = [None if part is None else self.value(part) for part in bounds]
        known = all(value is None or isinstance(value, int) for value in values)
        return slice(*values) if known else to_symbol(node)

    def attribute(self, node: ast.Attribute, owner: Any) -> Any:
        """An attribute of a value that is known: a part, a shape, a method; or a symbol."""
        name, found = node.attr, None
        if isinstance(owner, Namespace) and name in owner.attributes:
            return self._member(owner, owner.attributes[name])
        if isinstance(owner, list | dict | str) and name in METHODS:
            return getattr(owner, name)
        if name in KINDS:
            return Symbol(name)
        if isinstance(owner, Tensor) and name == "shape":
            found = self.shape_of(owner)
        elif isinstance(owner, Node) and name == "output":
            found = self.output_of(owner)
        # Feature extractors: Model(base.inputs, base.layers[-2].output)
        elif isinstance(owner, ModelValue) and name == "layers":
            found = self.layers_in(owner)
        elif isinstance(owner, ModelValue) and name.rstrip("s") in ("input", "output"):
            given = name.startswith("input")
            ends = self.inputs_of(owner) if given else self.outputs_of(owner)
            found = ends[0] if len(ends) == 1 and not name.endswith("s") else list(ends) or None
        return to_symbol(node) if found is None else found

    def _member(self, owner: Namespace, value: Any) -> Any:
        """An attribute's value; a method of an object with that object, a property as it is now."""
        written = value.node if isinstance(value, Function) else None
        decorators = {ast.unparse(each) for each in getattr(written, "decorator_list", ())}
        is_bound = not owner.is_class or "classmethod" in decorators
        if written is None or not is_bound or "staticmethod" in decorators:
            return value
        method = value if value.owner else replace(value, owner=owner)
        return self.call_function(method) if "property" in decorators else method

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.name(target.id, value)
        elif isinstance(target, ast.Subscript):
            self.change(target, lambda owner, index: operator.setitem(owner, index, value))
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value)
            if isinstance(owner, Namespace):
                owner.attributes[target.attr] = value
            for layer in self.layers_in(owner) if target.attr == "trainable" else ():
                layer.arguments["trainable"] = value
        elif isinstance(target, ast.Tuple | ast.List):
            names, parts = list(target.elts), self._parts(value, len(target.elts))
            # `first, *others, last = ...`
            for number, each in enumerate(names):
                if isinstance(each, ast.Starred):
                    end = len(parts) - (len(names) - number - 1)
                    names[number], parts[number:end] = each.value, [parts[number:end]]
                    break
            for each, part in zip(names, parts, strict=False):
                self.assign(each, part)

    def change(self, target: ast.Subscript, how: Callable[[Any, Any], None]) -> None:
        """Change an element of a list or dictionary; a note where it is not known which."""
        owner, index = self.value(target.value), self.value(target.slice)
        try:
            if isinstance(owner, list | dict):
                how(owner, index)
        except (LookupError, TypeError, ValueError):
            self.note(target, f"the change of {to_symbol(target)} is not followed")

    def _parts(self, value: Any, count: int) -> list[Any]:
        """The values of the names in `a, b, c = value`."""
        if isinstance(value, Tensor):
            count = max(count, self.nodes[value.node].returned)
            return [Tensor(value.node, number) for number in range(count)]
        if isinstance(value, tuple | list):
            return list(value)
        return [Symbol(f"{value}[{number}]") for number in range(count)]


def _is_too_large(op: ast.AST, values: Sequence[Any]) -> bool:
    """Whether the operation would fill memory or take forever."""
    first, last = values[0], values[-1]
    if _has_large_number(values):
        return True
    if isinstance(op, ast.Pow):
        return not (isinstance(last, int | float) and abs(last) <= 64)
    if isinstance(op, ast.In | ast.NotIn):  # all but integers are looked for one by one
        return isinstance(last, range) and not isinstance(first, int)
    if isinstance(op, ast.Mod) and isinstance(first, str):  # "%1000000000d" % n
        return re.search(r"[\d*]", first) is not None
    if isinstance(op, ast.Mult):
        lengths = [len(each) for each in values if isinstance(each, str | list | tuple)]
        times = [each for each in values if isinstance(each, int)]
        return sum(lengths) * max(times, default=1) > LONGEST_LIST
    return False


def _has_large_number(values: Sequence[Any]) -> bool:
    return any(isinstance(each, int) and abs(each) > _LARGEST_NUMBER for each in values)


def pure_call(name: str, positional: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """Call a builtin function with known values; LookupError if it is not one of `_PURE`."""
    lengths = [len(each) for each in positional if hasattr(each, "__len__")]
    too_long = max(lengths, default=0) > LONGEST_LIST
    # round(5, -10**18) would take forever
    digits = positional[1:] if name == "round" else ()
    if name not in _PURE or digits or too_long or _has_large_number(flat(positional)):
        raise LookupError(name)
    result = _PURE[name](*positional, **keywords)
    # Iterators could be used up once only
    return list(islice(result, LONGEST_LIST)) if hasattr(result, "__next__") else result
