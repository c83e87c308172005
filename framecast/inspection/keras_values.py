"""Values in Keras code, and the graph that is built by calling layers on tensors."""

from __future__ import annotations

import ast
import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from framecast.inspection.keras_signatures import MERGES
from framecast.inspection.layer_shapes import outcome_of
from framecast.inspection.model_graph import (
    RECURRENT,
    Graph,
    Node,
    Tensor,
    declared_shape,
    over_time,
)
from framecast.inspection.sizes import Shape, Symbol
from framecast.nn.convlstm.keras_identifiers import to_snake_case


@dataclass(repr=False)
class ModelValue:
    """A Sequential under construction, or a functional model; `is_part`: of another model.

    `wrapper` has the arguments of the TimeDistributed around it.
    """

    layers: list[Node] | None
    outputs: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    line: int = 0
    is_part: bool = False
    wrapper: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return "a model"


@dataclass(frozen=True, eq=False, repr=False)
class Function:
    """A function that the file defines, with the names that it sees around it.

    `owner` is the object whose method it is, its first argument.
    """

    node: ast.FunctionDef | ast.Lambda
    names: ChainMap[str, Any]
    owner: Namespace | None = None

    def __repr__(self) -> str:
        return getattr(self.node, "name", "lambda")


@dataclass(frozen=True, eq=False, repr=False)
class Namespace:
    """The attributes of a class that the file defines, of an object, or of an array: its shape."""

    name: str
    attributes: dict[str, Any]
    is_class: bool = False

    def __repr__(self) -> str:
        return self.name


class GraphBuilder:
    """Nodes in the order in which layers are called, and the models made of them.

    A reader of statements has `call_function`: function and its arguments to value.
    """

    call_function: Callable[..., Any]

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.models: list[ModelValue] = []
        # Whether layers are called that are in a model inside TimeDistributed
        self._in_steps = False
        # Shapes that the first nodes return, none where they are not known
        self._results: list[tuple[Shape, ...]] = []
        # The nodes of each call of a model: Keras keeps all of its layers, whichever output is used
        self._calls: list[set[int]] = []

    def apply(
        self, layer: Node, positional: list[Any], keywords: dict[str, Any], line: int | None
    ) -> Tensor:
        """Call a layer; `line` is that of the call."""
        # Lists of tensors, also nested ones, are several inputs
        named = [keywords.get("inputs"), keywords.get("sequences")]
        inputs, states = tensors_in(positional[:1] or named), []
        # Keras takes states by keyword or as further arguments
        if layer.kind in (*RECURRENT, "Bidirectional"):
            states = tensors_in([positional[1:], keywords.get("initial_state")])
        return self.add(replace(layer, line=line), inputs, states)

    def add(self, layer: Node, inputs: Sequence[Tensor], states: Sequence[Tensor] = ()) -> Tensor:
        """Append a node for a layer that reads these tensors."""
        # What a layer with states or directions returns is a list to merge
        if layer.kind in MERGES:
            inputs = [each for tensor in inputs for each in self.parts_of(tensor)]
        name = layer.name or to_snake_case(layer.kind)
        self.nodes.append(replace(layer, name=name, inputs=tuple(inputs), states=tuple(states)))
        return Tensor(len(self.nodes) - 1)

    def parts_of(self, tensor: Tensor) -> list[Tensor]:
        """All tensors that a layer has returned together, or the one that is given."""
        count = self.nodes[tensor.node].returned if tensor.index is None else 1
        return [tensor] if count == 1 else [Tensor(tensor.node, n) for n in range(count)]

    def remove(self, tensor: Tensor) -> Node:
        """Take back the node that was added last, which returned this tensor."""
        del self._results[tensor.node :]
        return self.nodes.pop(tensor.node)

    def shape_of(self, tensor: Tensor) -> Shape | None:
        """A tensor's shape, with symbols for unknown sizes; None where it is not followed."""
        for node in self.nodes[len(self._results) : tensor.node + 1]:
            self._results.append(self._results_of(node))
        return dict(enumerate(self._results[tensor.node])).get(tensor.index or 0)

    def _results_of(self, node: Node) -> tuple[Shape, ...]:
        if node.kind == "InputLayer":
            shape = declared_shape(node)
            return () if shape is None else (shape,)
        shapes = [self.shape_of(each) for each in node.inputs]
        return outcome_of(node, shapes).outputs if shapes else ()

    def layers_in(self, value: Any) -> list[Node]:
        """The layers of a layer or a model in the order of their calls."""
        if not isinstance(value, ModelValue):
            return [value] if isinstance(value, Node) else []
        if value.layers is None:
            return [self.nodes[n] for n in sorted(_ancestors(self.nodes, value.outputs))]
        layers = [each for layer in value.layers for each in self.layers_in(layer)]
        # Keras' Sequential leaves out its Input
        return [each for each in layers if each.kind != "InputLayer"]

    def output_of(self, layer: Node) -> Tensor | None:
        """What a layer has returned where it was called first, if need be by its Sequential."""
        for model in self.models:
            if any(each.identity is layer.identity for each in self.layers_in(model)):
                self.outputs_of(model)
        calls = (n for n, each in enumerate(self.nodes) if each.identity is layer.identity)
        return next(map(Tensor, calls), None)

    def chain(self, layers: Sequence[Any], x: list[Tensor]) -> list[Tensor]:
        """Call layers one after another on one tensor, or on none where they begin a model."""
        for layer in layers:
            if isinstance(layer, ModelValue):
                x = self.call_model(layer, x)[:1]
            elif isinstance(layer, Node):
                x = [self.apply(layer, x, {}, layer.line)]
            elif isinstance(layer, Tensor):
                x = x or [layer]
            elif x:
                # Of a function over each step the shapes are not known
                is_followed = isinstance(layer, Function) and not self._in_steps
                made = self.call_function(layer, *x) if is_followed else None
                x = [made if isinstance(made, Tensor) else self.add(Node("", str(layer), {}), x)]
            else:
                self.notes.append(f"the layer {layer} is not followed")
        return x

    def call_model(self, model: ModelValue, given: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of a model that is part of another one; without tensors, on its own Input."""
        model.is_part = True
        around, first = self._in_steps, len(self.nodes)
        self._in_steps = around or model.wrapper is not None
        if model.layers is None:
            ends = self._replay(model, given) if given else [*model.outputs]
        else:
            layers = model.layers
            # Its own Input is what it is called on, or has the shape of a single step
            if given or self._in_steps:
                layers = [each for each in layers if getattr(each, "kind", "") != "InputLayer"]
            ends = self.chain(layers, list(given[:1]))
        self._in_steps = around
        if model.wrapper is not None:
            self.nodes[first:] = [over_time(node, model.wrapper) for node in self.nodes[first:]]
            del self._results[first:]
        return ends

    def _replay(self, model: ModelValue, given: Sequence[Tensor]) -> list[Tensor]:
        """Apply a functional model to other tensors, by a copy of its nodes."""
        moved = {old.node: new for old, new in zip(model.inputs, given, strict=False)}
        first = len(self.nodes)
        for number in sorted(_ancestors(self.nodes, model.outputs)):
            # Its Input is replaced by the tensor it is called on
            if number in moved:
                continue
            self.nodes.append(_rewired(self.nodes[number], moved))
            moved[number] = Tensor(len(self.nodes) - 1)
        self._calls.append(set(range(first, len(self.nodes))))
        return [_moved(end, moved) for end in model.outputs]

    def outputs_of(self, model: ModelValue) -> tuple[Tensor, ...]:
        if model.layers and not model.outputs:
            model.outputs = tuple(self.chain(model.layers, []))
        return model.outputs

    def inputs_of(self, model: ModelValue) -> tuple[Tensor, ...]:
        """A model's Inputs, which a Sequential has among its layers."""
        if model.layers is None:
            return model.inputs
        nodes = sorted(_ancestors(self.nodes, self.outputs_of(model)))
        return tuple(Tensor(n) for n in nodes if self.nodes[n].kind == "InputLayer")

    def graph(self) -> Graph:
        """The largest model that was built, or all layers that were called."""
        # Parts are mostly made first, and known as such once the model around them is called
        for model in reversed(self.models):
            if not model.is_part:
                self.outputs_of(model)
        # What is part of another model is no model to choose
        whole = [each for each in self.models if each.outputs and not each.is_part]
        # A pasted fragment: no model, only layers and perhaps models that were called
        if not whole:
            used = {tensor.node for node in self.nodes for tensor in node.inputs}
            end = tuple(Tensor(n) for n in range(len(self.nodes)) if n not in used)[-1:]
            called = any(each.outputs for each in self.models)
            return self._only(end) if called else Graph(self.nodes, end, self.notes)
        # A file may build an encoder and a decoder, too; the whole model is the largest
        whole.reverse()  # of models of equal size the last
        chosen = max(whole, key=lambda model: len(_ancestors(self.nodes, model.outputs)))
        if len(whole) > 1:
            found = f"{len(whole)} models are built; this is the largest, of line {chosen.line}"
            self.notes.append(found)
        return self._only(chosen.outputs)

    def _only(self, ends: tuple[Tensor, ...]) -> Graph:
        """The part of the nodes that the ends depend on, numbered from 0."""
        found = _ancestors(self.nodes, ends)
        for call in reversed(self._calls):
            found |= call if found & call else set()
        kept = sorted(found)
        places = {old: Tensor(new) for new, old in enumerate(kept)}
        chosen = [_rewired(self.nodes[number], places) for number in kept]
        return Graph(chosen, tuple(_moved(each, places) for each in ends), self.notes)


def to_symbol(node: ast.AST) -> Symbol:
    text = re.sub(r"\s+", " ", ast.unparse(node))
    return Symbol(text if len(text) <= 40 else f"{text[:37]}...")


def flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [each for value in values for each in flat(value)]
    return [values]


def tensors_in(values: Any) -> list[Tensor]:
    return [each for each in flat(values) if isinstance(each, Tensor)]


def _rewired(node: Node, moved: dict[int, Tensor]) -> Node:
    """A node that reads other tensors."""
    inputs, states = (
        tuple(_moved(each, moved) for each in tensors) for tensors in (node.inputs, node.states)
    )
    return replace(node, inputs=inputs, states=states)


def _moved(tensor: Tensor, moved: dict[int, Tensor]) -> Tensor:
    new = moved.get(tensor.node, tensor)
    return new if new.index is not None else Tensor(new.node, tensor.index)


def _ancestors(nodes: Sequence[Node], ends: Sequence[Tensor]) -> set[int]:
    found, left = set(), [tensor.node for tensor in ends]
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += [tensor.node for tensor in (*nodes[number].inputs, *nodes[number].states)]
    return found
