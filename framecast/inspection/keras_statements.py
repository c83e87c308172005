"""The statements of Keras code: what they do to names, and what functions and classes do."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from framecast.inspection.keras_calls import CallReader
from framecast.inspection.keras_expressions import CHANGING_METHODS, LONGEST_LOOP, UNKNOWN
from framecast.inspection.keras_signatures import KINDS
from framecast.inspection.keras_values import Function, ModelValue, Namespace, flat, to_symbol
from framecast.inspection.model_graph import Node, Tensor
from framecast.inspection.sizes import Symbol

# Statements that are followed until a loop over data or steps of training is left, at first; then
# half as many, and so on
MOST_STATEMENTS = 10_000

# Code that calls more layers than this is not building a model
MOST_LAYERS = 5_000

# A recursion that goes deeper is taken to be endless
DEEPEST_CALL = 20


class StrayError(Exception):
    """Following ends here: the code is too long, or leaves a loop or function that it is not in."""


class _TooLongError(StrayError):
    """Code that would take too long to follow."""


class _LeaveError(StrayError):
    """`break`, `continue` or `return`, as it is written, out of what is followed."""

    def __init__(self, node: ast.Break | ast.Continue | ast.Return, value: Any = None) -> None:
        self.node, self.value = node, value


class StatementReader(CallReader):
    """Follows statements, with the values that names have so far."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[ast.FunctionDef] = set()
        self.depth = 0
        self.left = self.allowed = MOST_STATEMENTS
        self.statements: dict[type, Callable[[Any], None]] = {
            **dict.fromkeys((ast.Assign, ast.AnnAssign), self._assignment),
            ast.AugAssign: self._augmented,
            ast.Delete: self._delete,
            ast.Expr: lambda node: self.value(node.value),
            ast.FunctionDef: lambda node: self.name(node.name, Function(node, self.names)),
            ast.ClassDef: self._class,
            **dict.fromkeys((ast.Return, ast.Break, ast.Continue), self._leave),
            **dict.fromkeys((ast.Import, ast.ImportFrom), self._import),
            ast.For: self._for,
            ast.While: self._while,
            ast.If: self._branch,
            ast.Match: self._match,
            **dict.fromkeys((ast.With, ast.Try), lambda node: self.run(node.body)),
            **dict.fromkeys((ast.Global, ast.Nonlocal), self._declare),
        }

    def run(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self._count()
            # Other statements, such as assert, build nothing
            follow = self.statements.get(type(statement))
            if follow is not None:
                follow(statement)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _TooLongError

    def run_file(self, body: Sequence[ast.stmt]) -> None:
        """Follow a file's statements, then functions that it never calls, such as `build_model`."""
        for statement in body:
            self._follow(statement, self.run, [statement])
        # If code at the top level has built something, they are only helpers
        if self.nodes or any(model.layers for model in self.models):
            return
        for value in list(self.names.values()):
            if isinstance(value, Function) and value.node not in self.called:
                self._follow(value.node, self.call_function, value)
            elif isinstance(value, Namespace):
                self._follow(body[-1], self._use, value)

    def _use(self, value: Namespace) -> None:
        """Follow what a file defines and never calls: `call` of a model, all methods of others."""
        made = self.new_object(value) if value.is_class else value
        is_model = isinstance(made.attributes.get("call"), Function)
        for name, method in list(made.attributes.items()):
            uncalled = isinstance(method, Function) and method.node not in self.called
            if uncalled and (name == "call" if is_model else not name.startswith("__")):
                given = [self.add(Node("InputLayer", "", {}), [])] if is_model else []
                self.call_function(replace(method, owner=made), *given)

    def _follow(self, node: ast.stmt, follow: Callable[..., object], *arguments: object) -> None:
        """Follow a part of a file; where that takes too long, keep what it has built."""
        built = self._built()
        try:
            follow(*arguments)
        except _TooLongError:
            if self._built() > MOST_LAYERS:
                raise
            self._forget(node)
            self.allowed //= 2
            self.left = self.allowed
            if self._built() > built:
                self.note(node, "this takes too long to be followed to its end")

    def _assignment(self, node: ast.Assign | ast.AnnAssign) -> None:
        if node.value is None:
            return
        value = self.value(node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self.assign(target, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        added = ast.BinOp(node.target, node.op, node.value)
        before, value = self.value(node.target), self.value(ast.copy_location(added, node))
        # A list stays the same one, which may have other names
        if isinstance(before, list) and isinstance(value, list):
            before[:] = value
            value = before
        self.assign(node.target, value)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                self.change(target, operator.delitem)

    def _declare(self, node: ast.Global | ast.Nonlocal) -> None:
        *_, file = self.names.maps
        around = self.names.maps[1:-1] if isinstance(node, ast.Nonlocal) else []
        for name in node.names:
            self.declared[name] = next((names for names in around if name in names), file)

    def _leave(self, node: ast.Break | ast.Continue | ast.Return) -> None:
        value = getattr(node, "value", None)
        raise _LeaveError(node, value and self.value(value))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        # `from keras.layers import ConvLSTM2D as Recurrent`; plain imports need no name
        for alias in node.names:
            if alias.asname and alias.name in KINDS:
                self.name(alias.asname, Symbol(alias.name))

    def _class(self, node: ast.ClassDef) -> None:
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        attributes: dict[str, Any] = {}
        for base in map(self.value, node.bases):
            attributes |= base.attributes if isinstance(base, Namespace) else {}
        with self.scope(self.names):
            self.names["__class__"] = Namespace(node.name, {**attributes})
            self.run(node.body)
            attributes |= self.names.maps[0]
        # As dataclasses name their fields in the order of their arguments
        declared = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
        fields = [target.id for target in declared if isinstance(target, ast.Name)]
        attributes["__match_args__"] = (*attributes.get("__match_args__", ()), *fields)
        # Weights that no layer has are made by code alone
        own_weights = "add_weight" in ast.unparse(node) or "call" not in attributes
        if bases & {"Model", "Layer", "Sequential", "Module"} and own_weights:
            self.note(node, f"class {node.name} is subclassed code, whose call is not followed")
        else:
            self.name(node.name, Namespace(node.name, attributes, is_class=True))

    def _for(self, node: ast.For) -> None:
        turns = self.value(node.iter)
        with self._quiet_where_nothing_is_built():
            if not hasattr(turns, "__iter__"):
                self.note(node, f"the loop over {ast.unparse(node.iter)} is followed only once")
                self._loop(node, [Symbol(ast.unparse(node.target))])
                self._forget(node)
            else:
                self._loop(node, turns)

    def _while(self, node: ast.While) -> None:
        with self._quiet_where_nothing_is_built():
            self._loop(node, self._turns(node))
        if isinstance(self.value(node.test), UNKNOWN):
            self.note(node, "the while loop is not followed any further")
            self._forget(node)

    def _turns(self, node: ast.While) -> Iterator[None]:
        while not isinstance(test := self.value(node.test), UNKNOWN) and test:
            yield

    def _loop(self, node: ast.For | ast.While, turns: Iterable[Any]) -> None:
        for number, turn in enumerate(turns):
            if number >= LONGEST_LOOP:
                self.note(node, f"the loop is followed for {LONGEST_LOOP} turns")
                self._forget(node)
                break
            if isinstance(node, ast.For):
                self.assign(node.target, turn)
            try:
                self.run(node.body)
            except _LeaveError as left:
                if isinstance(left.node, ast.Return):
                    raise
                if isinstance(left.node, ast.Break):
                    break
        else:
            self.run(node.orelse)

    def _forget(self, node: ast.stmt) -> None:
        """Values that a statement changes are unknown after it: it is not followed to its end.

        Layers and tensors stay, so that there is a model to show.
        """
        for each in ast.walk(node):
            target = each
            # `n = 3`, `n[0] = 3` and `n.append` change n
            changes = isinstance(each, ast.Attribute) and each.attr in CHANGING_METHODS
            if changes or isinstance(getattr(each, "ctx", None), ast.Store | ast.Del):
                while isinstance(target, ast.Subscript | ast.Attribute):
                    target = target.value
                known = isinstance(target, ast.Name) and target.id in self.names
                if known and _is_plain(self.names[target.id]):
                    self.name(target.id, Symbol(f"{target.id} after line {node.lineno}"))

    def _branch(self, node: ast.If) -> None:
        test = self.value(node.test)
        # if __name__ == "__main__": the file is inspected as a script
        if ast.unparse(node.test).startswith("__name__"):
            test = True
        if isinstance(test, UNKNOWN):
            # Arguments that are checked are right
            test = not isinstance(node.body[-1], ast.Raise)
            if test:
                self.note(node, f"{ast.unparse(node.test)} is unknown; taken as true")
        self.run(node.body if test else node.orelse)

    def _match(self, node: ast.Match) -> None:
        subject = self.value(node.subject)
        for case in node.cases:
            fits = self._fits(case.pattern, subject)
            if fits is True and case.guard is not None:
                fits = self.value(case.guard)
            if isinstance(fits, UNKNOWN):
                what = f"match {ast.unparse(node.subject)}: case {ast.unparse(case.pattern)}"
                self.note(case.pattern, f"{what} is unknown; taken as true")
            if fits:
                return self.run(case.body)
        return None

    def _fits(self, pattern: ast.pattern, subject: Any) -> Any:
        """Whether a value has a pattern, whose names it then gives values; a symbol if unknown."""
        if isinstance(pattern, ast.MatchAs):
            fits = pattern.pattern is None or self._fits(pattern.pattern, subject)
            if fits and pattern.name is not None:
                self.name(pattern.name, subject)
            return fits
        if isinstance(pattern, ast.MatchOr):
            found = (self._fits(each, subject) for each in pattern.patterns)
            return next((fits for fits in found if fits), False)
        value: Any = to_symbol(pattern)  # of patterns of sequences, dictionaries and classes
        if isinstance(pattern, ast.MatchSingleton):
            value = pattern.value
        elif isinstance(pattern, ast.MatchValue):
            value = self.value(pattern.value)
        is_known = not isinstance(value, Symbol) and not isinstance(subject, UNKNOWN)
        return subject == value if is_known else to_symbol(pattern)

    def call_function(self, function: Function, /, *positional: Any, **keywords: Any) -> Any:
        self.called.add(function.node)
        if self.depth > DEEPEST_CALL:
            self.note(function.node, f"{function} calls itself too often to be followed")
            return Symbol(str(function))
        self.depth += 1
        positional = positional if function.owner is None else (function.owner, *positional)
        try:
            with self.scope(function.names), self._quiet_where_nothing_is_built():
                self.names |= self._parameters(function.node.args, positional, keywords)
                if isinstance(function.node, ast.Lambda):
                    self._count()
                    return self.value(function.node.body)
                self.run(function.node.body)
        except _LeaveError as returned:
            return returned.value
        finally:
            self.depth -= 1
        return None

    def _parameters(
        self, given: ast.arguments, positional: tuple[Any, ...], keywords: dict[str, Any]
    ) -> dict[str, Any]:
        """The values of a function's parameters in a call."""
        names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
        # Only the last of the positional arguments have defaults
        lacking = [None] * (len(names) - len(given.defaults))
        defaults = [*lacking, *given.defaults, *given.kw_defaults]
        declared = [*names, *(argument.arg for argument in given.kwonlyargs)]
        values = {
            name: Symbol(name) if default is None else self.value(default)
            for name, default in zip(declared, defaults, strict=True)
        }
        values |= {**dict(zip(names, positional, strict=False)), **keywords}
        if given.vararg:
            values[given.vararg.arg] = positional[len(names) :]
        if given.kwarg:
            others = {name: value for name, value in keywords.items() if name not in declared}
            values[given.kwarg.arg] = others
        return values

    @contextmanager
    def _quiet_where_nothing_is_built(self) -> Iterator[None]:
        """Drop notes on code that made no layer, such as code that prepares data."""
        built, noted = self._built(), len(self.notes)
        try:
            yield
        finally:
            if self._built() == built:
                del self.notes[noted:]

    def _built(self) -> int:
        return len(self.nodes) + len(self.models) + self.layers


def _is_plain(value: Any) -> bool:
    """Whether a value neither is nor holds layers, tensors, models, functions or objects."""
    parts = flat([*value.values()] if isinstance(value, dict) else value)
    kept = Tensor | Node | ModelValue | Function | Namespace
    return not any(isinstance(each, kept) for each in parts)
