"""Calls in Keras code: of layers, models, functions on tensors, and builtins."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from framecast.inspection.keras_expressions import (
    LONGEST_LIST,
    UNKNOWN,
    ExpressionReader,
    pure_call,
)
from framecast.inspection.keras_signatures import (
    ELEMENTWISE,
    KINDS,
    MERGES,
    OF_ANY_LAYER,
    freezes_weights,
    parameters_of,
)
from framecast.inspection.keras_values import (
    Function,
    ModelValue,
    Namespace,
    flat,
    tensors_in,
    to_symbol,
)
from framecast.inspection.layer_arguments import PENALTIES, Penalty, bind, value_problems
from framecast.inspection.layer_outcome import Problem
from framecast.inspection.model_graph import Node, OpenAxes, Tensor, input_shape_of
from framecast.inspection.sizes import Symbol, show_shape

# Arguments that may stay unknown: shapes have a symbol in them, or do not depend on them
_MAY_BE_SYMBOLS = {"filters", "units", "target_shape", "n", "input_dim", "output_dim", "layer"}
_MAY_BE_SYMBOLS |= {"rate", "stddev"}

# Of these the default is not assumed: if it is wrong, layers further on would be called mistaken
_SET_SHAPES = (
    *("return_sequences", "return_state", "keepdims", "data_format", "axis", "merge_mode"),
    *("padding", "strides", "dilation_rate", "pool_size", "size", "output_padding", "cropping"),
    "groups",
)

# Functions that add an axis of 1 or drop one, by what stands for it in an index
_REDUCTIONS = ("max", "mean", "min", "prod", "sum")
_AXIS_CALLS = {
    **{"expand_dims": None, "squeeze": 0},
    **dict.fromkeys((*_REDUCTIONS, *(f"reduce_{name}" for name in _REDUCTIONS)), 0),
}

# NumPy's functions that make arrays, of a shape or of a number for each axis
_ARRAYS = {"empty", "full", "ones", "random", "zeros"}
_ARRAYS_BY_AXES = {"rand", "randn"}

# Layers without a rule, recognised by name even when imported without `layers.`
_LAYER_WORDS = {"Lambda", "RNN", "MultiHeadAttention", "Attention"}


def _is_unknown(name: str, value: Any) -> bool:
    """Whether shapes cannot be worked out with a value, or with one inside of it: `(k, 3)`."""
    if isinstance(value, tuple | list):  # sums of pixels are worked out with symbols
        inside = name not in ("padding", "cropping", "target_shape")
        return inside and any(isinstance(each, Symbol) for each in flat(value))
    return isinstance(value, Symbol) and name not in _MAY_BE_SYMBOLS


@dataclass(frozen=True)
class _Call:
    """A call of a function by its name, "" for a value of another kind, with its arguments."""

    name: str
    positional: list[Any]
    keywords: dict[str, Any]
    node: ast.Call

    @property
    def first(self) -> Any:
        return next(iter(self.positional), None)

    @property
    def given(self) -> Any:
        """The only argument, by its place or by its name."""
        return next(iter([*self.positional, *self.keywords.values()]), None)

    def unknown(self, name: str = "") -> Node:
        """The layer that stands for a call which is not followed."""
        return Node("", name or self.name, {}, line=self.node.lineno)


class CallReader(ExpressionReader):
    """Evaluates calls by the name that is called, however it was imported."""

    def __init__(self) -> None:
        super().__init__()
        self.data_format: str | None = None
        # How many have been read, called or not
        self.layers = 0

    def call(self, node: ast.Call) -> Any:
        called, owner = node.func, None
        if isinstance(called, ast.Attribute):
            owner = self.value(called.value)
            function = self.attribute(called, owner)
        else:
            function = self.value(called)
        # keras.layers.X, layers.X, tf.keras.layers.X and X are the same
        name = str(function).rpartition(".")[2] if isinstance(function, Symbol) else ""
        call = _Call(name, *self._arguments(node), node)
        if isinstance(owner, ModelValue):
            return self._model_method(owner, call)
        if callable(function):
            return self._method(function, call)
        # A subclassed model's own method, which takes a shape
        if isinstance(owner, Namespace) and name == "build" and call.given:
            x = self.add(Node("InputLayer", "", {"batch_shape": call.given}), [])
            return self._call_object(owner, replace(call, positional=[x], keywords={}))
        return self._call_by_name(call) if name else self._call_value(function, call)

    def _call_value(self, function: Any, call: _Call) -> Any:
        """A call of a layer, a model, or a function or class of the file."""
        if isinstance(function, Node):
            return self.apply(function, call.positional, call.keywords, call.node.lineno)
        if isinstance(function, Function):
            return self.call_function(function, *call.positional, **call.keywords)
        if isinstance(function, Namespace):
            return self._call_object(function, call)
        tensors = tensors_in(call.positional)
        if isinstance(function, ModelValue) and tensors:
            outputs = self.call_model(function, tensors)
            return outputs if len(outputs) > 1 else outputs[0]
        return self._call_by_name(call)

    def _call_object(self, called: Namespace, call: _Call) -> Any:
        """A new object of a class, or the result of an object that is called as a layer is."""
        if called.is_class:
            return self.new_object(called, *call.positional, **call.keywords)
        method = called.attributes.get("call", called.attributes.get("__call__"))
        if isinstance(method, Function):
            bound = replace(method, owner=called)
            return self.call_function(bound, *call.positional, **call.keywords)
        tensors = tensors_in(call.positional)
        return self.add(call.unknown(called.name), tensors) if tensors else to_symbol(call.node)

    def new_object(self, of: Namespace, /, *positional: Any, **keywords: Any) -> Namespace:
        made = Namespace(of.name, {**of.attributes})
        method = made.attributes.get("__init__")
        if isinstance(method, Function):
            self.call_function(replace(method, owner=made), *positional, **keywords)
        else:  # a dataclass or named tuple has its arguments as attributes
            fields = made.attributes.get("__match_args__", ())
            made.attributes.update(zip(fields, positional, strict=False), **keywords)
        return made

    def _arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        """Positional arguments, with an OpenAxes for `**unknown`, and those given by name."""
        positional, keywords = self.items(node.args), {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict) and all(isinstance(name, str) for name in value):
                keywords |= value
            else:
                positional.append(OpenAxes(ast.unparse(keyword.value)))
        return positional, keywords

    def _method(self, method: Callable[..., Any], call: _Call) -> Any:
        """A method of a list, dictionary or text; a symbol for arguments that it does not take."""
        name = method.__name__
        try:
            if name == "extend" and len(method.__self__) + len(call.first) > LONGEST_LIST:
                raise ValueError
            found = method(*call.positional, **call.keywords)
        except (AttributeError, LookupError, TypeError, ValueError):
            self.note(call.node, f"{to_symbol(call.node)} is not followed")
            return to_symbol(call.node)
        return list(found) if name in ("items", "keys", "values") else found

    def _call_by_name(self, call: _Call) -> Any:
        """A call of a layer, a model, or a function that shapes depend on."""
        name = call.name
        if kind := KINDS.get(name):
            if any(isinstance(each, OpenAxes) for each in call.positional):  # *sizes, **settings
                layer = call.unknown(ast.unparse(call.node))
            else:
                layer = self._around_model(kind, call) or self._layer(kind, call)
            return self.add(layer, []) if name == "Input" else layer
        if name.capitalize() in MERGES and (merged := self._merged(call)) is not None:
            return merged
        if name == "Sequential":
            return self._sequential(call)
        if name == "Model":
            return self._functional(call)
        if name == "set_image_data_format" and call.positional:
            self.data_format = call.first
            return None
        return self._other_call(call)

    def _other_call(self, call: _Call) -> Any:
        """Functions of Python, NumPy and Keras that make no layer but decide on shapes."""
        name, first = call.name, call.first
        if name == "Lambda" and isinstance(first, Function):
            return first
        if name == "partial" and call.positional:
            return self._partial(call.node)
        if name in ("SimpleNamespace", "namedtuple"):
            return _namespace(call)
        owner, within = self.names.get("self"), self.names.get("__class__")
        if name == "super" and isinstance(owner, Namespace) and isinstance(within, Namespace):
            return _bound(within, owner)
        shape = first if name in _ARRAYS else call.positional if name in _ARRAYS_BY_AXES else None
        if isinstance(shape, tuple | list) and shape and not tensors_in(shape):
            return Namespace(name, {"shape": tuple(shape)})
        return self._unknown_call(call)

    def _partial(self, node: ast.Call) -> Function:
        """`partial(f, a, b=c)` is `lambda *args, **keywords: f(a, *args, b=c, **keywords)`."""
        text = "lambda *args, **keywords: f(*args, **keywords)"
        made = ast.parse(text, mode="eval").body
        inner = made.body
        inner.func, inner.args = node.args[0], [*node.args[1:], *inner.args]
        inner.keywords = [*node.keywords, *inner.keywords]
        inner.lineno = made.lineno = node.lineno
        return Function(made, self.names)

    def _merged(self, call: _Call) -> Tensor | None:
        """A merge by a function, `layers.add([a, b])` or `ops.add(a, b)`; None for other calls."""
        kind, keywords, line = call.name.capitalize(), dict(call.keywords), call.node.lineno
        named = [keywords.pop(word) for word in ("inputs", "xs", "x1", "x2") if word in keywords]
        given = [*call.positional, *named]
        tensors = tensors_in(given)
        if tensors and isinstance(given[0], list | tuple):
            layer = self._layer(kind, replace(call, positional=given[1:], keywords=keywords))
            return self.apply(layer, given[:1], {}, line)
        if not tensors or len(given) != 2 or kind in ("Average", "Concatenate"):
            return None
        return self.combine(kind, tensors, call.node)

    def _unknown_call(self, call: _Call) -> Any:
        """A builtin, a function on tensors or a layer that is not followed, or a symbol."""
        if not any(isinstance(each, UNKNOWN) for each in call.positional):
            # What Python would refuse, too
            with suppress(LookupError, TypeError, ValueError, OverflowError):
                return pure_call(call.name, call.positional, call.keywords)
        name, path = call.name, ast.unparse(call.node.func)
        if tensors := tensors_in([call.positional, [*call.keywords.values()]]):
            if name in ("shape", "int_shape"):
                return self.shape_of(tensors[0]) or to_symbol(call.node)
            if name in ELEMENTWISE and len(tensors) == 1:
                return self.add(Node("Activation", name, {"activation": name}), tensors)
            return self.add(_axis_call(call) or call.unknown(name or path), tensors)
        if name in PENALTIES:
            return Penalty(name, call.positional, call.keywords)
        is_layer = name in _LAYER_WORDS or re.search(r"(^|\.)layers\.[A-Z]\w*$", path)
        return call.unknown() if is_layer else to_symbol(call.node)

    def _layer(self, kind: str, call: _Call) -> Node:
        self.layers += 1
        arguments, problems = bind(kind, call.positional, call.keywords)
        for name, value in arguments.items():
            if name in ("layer", "backward_layer") and value is not None and value is not ...:
                arguments[name] = self._wrapped(value, problems)
            # An unknown activation changes no shape, unknown strides do
            elif _is_unknown(name, value) and kind != "InputLayer":
                arguments[name] = ... if name in _SET_SHAPES else parameters_of(kind)[name]
                if not name.endswith(("activation", "initializer", "regularizer", "constraint")):
                    assumed = "the default is assumed"
                    if arguments[name] is ...:
                        assumed = "the shape of the output is unknown"
                    shown = show_shape(value) if isinstance(value, tuple | list) else value
                    self.note(call.node, f"{name}={shown} is not followed; {assumed}")
        if "data_format" in arguments and arguments["data_format"] is None:
            arguments["data_format"] = self.data_format
        problems += value_problems(kind, arguments)
        # A name may be an expression that is not followed
        name = str(call.keywords.get("name") or "")
        # Such as input_shape
        common = {word: call.keywords[word] for word in OF_ANY_LAYER & {*call.keywords}}
        if common.get("trainable") is False and not freezes_weights(kind):
            del common["trainable"]
            what = "has trainable=False, which Keras does not hand on to its weights"
            change = "set its attribute, layer.trainable = False, once it is made"
            problems.append(Problem(what, change, fatal=False))
        arguments = {**common, **arguments}
        return Node(kind, name, arguments, line=call.node.lineno, problems=tuple(problems))

    def _around_model(self, kind: str, call: _Call) -> ModelValue | Node | None:
        """A wrapper around more than a layer: a model, or what is not followed; else None."""
        inner = call.keywords.get("layer", call.first)
        if kind == "TimeDistributed" and isinstance(inner, ModelValue):
            inner.is_part = True
            given = {name: value for name, value in call.keywords.items() if name != "layer"}
            return replace(inner, wrapper=given)
        unknown = [
            layer
            for layer in (inner, call.keywords.get("backward_layer"))
            if isinstance(layer, Symbol) or (isinstance(layer, Node) and not layer.kind)
        ]
        if kind not in ("TimeDistributed", "Bidirectional") or not unknown:
            return None
        return call.unknown(f"{kind} of {unknown[0]}")

    def _wrapped(self, value: Any, problems: list[Problem]) -> Any:
        """The layer inside a wrapper as its kind and arguments; `...` if it is not a layer."""
        if not isinstance(value, Node) or not value.kind:
            problems.append(Problem(f"wraps {value}, which is not a known layer", "wrap a layer"))
            return ...
        problems += value.problems
        return value.kind, value.arguments

    def _sequential(self, call: _Call) -> ModelValue:
        layers = call.keywords.get("layers", call.first) or []
        if not isinstance(layers, list | tuple):
            self.note(call.node, f"the layers {layers} are not followed")
            layers = []
        model = ModelValue(list(layers), line=call.node.lineno)
        self.models.append(model)
        return model

    def _functional(self, call: _Call) -> ModelValue:
        # Model(x, y), Model(inputs=x, outputs=y), and Keras 1's Model(input=x, output=y)
        given = {**dict(zip(("input", "output"), call.positional, strict=False)), **call.keywords}
        inputs, outputs = (given.get(f"{name}s", given.get(name)) for name in ("input", "output"))
        if isinstance(outputs, Symbol):
            self.note(call.node, f"outputs={outputs} is not followed")
        ends = (tuple(tensors_in(each)) for each in (outputs, inputs))
        model = ModelValue(None, *ends, call.node.lineno)
        self.models.append(model)
        return model

    def _model_method(self, model: ModelValue, call: _Call) -> Any:
        given = call.given
        if call.name == "add" and model.layers is not None and given is not None:
            # model.add(Input(...)) adds the Input itself
            model.layers.append(self.remove(given) if isinstance(given, Tensor) else given)
        elif call.name == "build" and model.layers and given is not None:
            first = model.layers[0]
            if isinstance(first, Node) and input_shape_of(first) is None:
                model.layers.insert(0, Node("InputLayer", "", {"batch_shape": given}))
        elif call.name == "pop" and model.layers:
            model.layers.pop()
        elif call.name == "get_layer" and given is not None:
            layers = enumerate(self.layers_in(model))
            found = (each for number, each in layers if given in (number, each.name))
            return next(found, to_symbol(call.node))
        return None


def _namespace(call: _Call) -> Namespace:
    """A `SimpleNamespace(rows=3)`, or the class of a `namedtuple("Sizes", "rows columns")`."""
    if call.name == "SimpleNamespace":
        return Namespace(call.name, call.keywords)
    _, fields, *_ = (*call.positional, None, None)
    names = fields.replace(",", " ").split() if isinstance(fields, str) else fields
    known = tuple(names) if isinstance(names, list | tuple) else ()
    return Namespace(call.name, {"__match_args__": known}, is_class=True)


def _bound(inherited: Namespace, owner: Namespace) -> Namespace:
    """What `super()` is in a method: the attributes of the classes before, for its object."""
    bound = {
        name: replace(value, owner=owner) if isinstance(value, Function) else value
        for name, value in inherited.attributes.items()
    }
    return Namespace("super()", bound)


def _axis_call(call: _Call) -> Node | None:
    """`expand_dims` or `mean` over an axis as an index with that effect, x[:, None] or x[:, 0]."""
    axis = call.keywords.get("axis", [*call.positional, None, None][1])
    keeps = {"keepdims", "keep_dims"} & {*call.keywords}
    if call.name not in _AXIS_CALLS or not isinstance(axis, int) or keeps:
        return None
    whole, part = slice(None), _AXIS_CALLS[call.name]
    index = (*[whole] * axis, part) if axis >= 0 else (..., part, *[whole] * (-axis - 1))
    return Node("GetItem", call.name, {"index": index}, line=call.node.lineno)
