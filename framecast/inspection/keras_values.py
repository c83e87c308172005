"""Values in Keras code, and the graph that is built by calling layers on tensors."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from framecast.inspection.model_graph import RECURRENT, Graph, Node, Tensor
from framecast.inspection.sizes import Symbol
from framecast.nn.convlstm.keras_identifiers import to_snake_case


@dataclass(frozen=True)
class TensorValue:
    """A tensor that a layer returned; `index` None is everything it returned."""

    node: int
    index: int | None = None


@dataclass
class ModelValue:
    """A Sequential under construction, or a functional model; `is_part`: of another model."""

    layers: list[Node] | None
    outputs: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    line: int = 0
    is_part: bool = False


class GraphBuilder:
    """Nodes in the order in which layers are called, and the models made of them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.models: list[ModelValue] = []

    def apply(
        self, layer: Node, positional: list[Any], keywords: dict[str, Any], line: int | None
    ) -> TensorValue:
        """Call a layer; `line` is that of the call."""
        # Lists of tensors, also nested ones, are several inputs
        inputs, states = tensors_in(positional[:1]), []
        # Keras takes states by keyword or as further arguments
        if layer.kind in (*RECURRENT, "Bidirectional"):
            states = tensors_in([positional[1:], keywords.get("initial_state")])
        return self.add(replace(layer, line=line), inputs, states)

    def add(
        self, layer: Node, inputs: Sequence[TensorValue], states: Sequence[TensorValue] = ()
    ) -> TensorValue:
        """Append a node for a layer that reads these tensors."""
        ends = [tuple((each.node, each.index) for each in group) for group in (inputs, states)]
        name = layer.name or to_snake_case(layer.kind)
        self.nodes.append(replace(layer, name=name, inputs=ends[0], states=ends[1]))
        return TensorValue(len(self.nodes) - 1)

    def chain(self, layers: list[Any], x: TensorValue | None) -> TensorValue | None:
        """Call layers one after another."""
        for layer in layers:
            if isinstance(layer, ModelValue):
                layer.is_part = True
            if isinstance(layer, ModelValue) and layer.layers is None:
                ends = (TensorValue(*end) for end in layer.outputs[:1])
                x = next(ends, None) if x is None else self._replay(layer, [x])
            elif isinstance(layer, ModelValue):
                x = self.chain(layer.layers, x)
            elif isinstance(layer, Node):
                x = self.apply(layer, [] if x is None else [x], {}, layer.line)
            elif isinstance(layer, TensorValue):
                x = layer if x is None else x
            else:
                self.notes.append(f"the layer {layer} is not followed")
        return x

    def apply_model(self, model: ModelValue, positional: list[Any], node: ast.Call) -> Any:
        x = next(iter(tensors_in(positional)), None)
        model.is_part = x is not None
        if model.layers is not None and x is not None:
            layers = [each for each in model.layers if getattr(each, "kind", "") != "InputLayer"]
            return self.chain(layers, x)
        if x is None or not model.outputs:
            return to_symbol(node)
        return self._replay(model, flat(positional))

    def _replay(self, model: ModelValue, given: list[Any]) -> TensorValue:
        """Apply a functional model to other tensors, by a copy of its nodes."""
        moved = {
            old[0]: (new.node, new.index) for old, new in zip(model.inputs, given, strict=False)
        }
        for number in sorted(_ancestors(self.nodes, model.outputs)):
            # Its Input is replaced by the tensor it is called on
            if number in moved:
                continue
            self.nodes.append(_rewired(self.nodes[number], moved))
            moved[number] = (len(self.nodes) - 1, None)
        return TensorValue(*_moved(model.outputs[0], moved))

    def layers_of(self, model: ModelValue) -> list[Node]:
        """The layers of a part in a row, without its Input; none of a model that branches."""
        model.is_part = True
        found: list[Any] = []
        for layer in model.layers or ():
            found += self.layers_of(layer) if isinstance(layer, ModelValue) else [layer]
        if model.layers is None:
            found = [self.nodes[number] for number in sorted(_ancestors(self.nodes, model.outputs))]
        in_a_row = all(isinstance(each, Node) and len(each.inputs) < 2 for each in found)
        return [each for each in found if each.kind != "InputLayer"] if in_a_row else []

    def outputs_of(self, model: ModelValue) -> tuple[Tensor, ...]:
        if model.layers:
            end = self.chain(model.layers, None)
            model.layers, model.outputs = None, () if end is None else ((end.node, end.index),)
        return model.outputs

    def graph(self) -> Graph:
        """The largest model that was built, or all layers that were called."""
        for model in self.models:
            self.outputs_of(model)
        # What is part of another model is no model to choose
        whole = [each for each in self.models if each.outputs and not each.is_part]
        # A pasted fragment: no model, only layers and perhaps models that were called
        if not whole:
            used = {tensor[0] for node in self.nodes for tensor in node.inputs}
            end = tuple((n, None) for n in range(len(self.nodes)) if n not in used)[-1:]
            called = any(each.outputs for each in self.models)
            return (_only if called else Graph)(self.nodes, end, self.notes)
        sizes = [len(_ancestors(self.nodes, model.outputs)) for model in whole]
        # A file may build an encoder and a decoder, too; the whole model is the largest
        chosen = whole[max(range(len(whole)), key=lambda number: (sizes[number], number))]
        if len(whole) > 1:
            found = f"{len(whole)} models are built; this is the largest, of line {chosen.line}"
            self.notes.append(found)
        return _only(self.nodes, chosen.outputs, self.notes)


def to_symbol(node: ast.AST) -> Symbol:
    text = re.sub(r"\s+", " ", ast.unparse(node))
    return Symbol(text if len(text) <= 40 else f"{text[:37]}...")


def flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [each for value in values for each in flat(value)]
    return [values]


def tensors_in(values: Any) -> list[TensorValue]:
    return [each for each in flat(values) if isinstance(each, TensorValue)]


def _rewired(node: Node, moved: dict[int, Tensor]) -> Node:
    """A node that reads other tensors."""
    inputs, states = (
        tuple(_moved(each, moved) for each in tensors) for tensors in (node.inputs, node.states)
    )
    return replace(node, inputs=inputs, states=states)


def _moved(tensor: Tensor, moved: dict[int, Tensor]) -> Tensor:
    node, index = moved.get(tensor[0], tensor)
    return (node, tensor[1] if index is None else index)


def _ancestors(nodes: Sequence[Node], ends: Sequence[Tensor]) -> set[int]:
    found, left = set(), [tensor[0] for tensor in ends]
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += [tensor[0] for tensor in (*nodes[number].inputs, *nodes[number].states)]
    return found


def _only(nodes: Sequence[Node], ends: tuple[Tensor, ...], notes: list[str]) -> Graph:
    """The part of the nodes that the ends depend on, numbered from 0."""
    kept = sorted(_ancestors(nodes, ends))
    places = {old: (new, None) for new, old in enumerate(kept)}
    chosen = [_rewired(nodes[number], places) for number in kept]
    return Graph(chosen, tuple(_moved(each, places) for each in ends), notes)
