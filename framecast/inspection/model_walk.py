"""Walk through a model layer by layer, from its inputs to its output.

If a layer cannot work, the likeliest fix is assumed, so that one mistake does not hide the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from framecast.inspection import model_mistakes as mistakes
from framecast.inspection.keras_signatures import NEUTRAL
from framecast.inspection.layer_memory import elements_of
from framecast.inspection.layer_outcome import LayerOutcome
from framecast.inspection.layer_shapes import outcome_of
from framecast.inspection.model_graph import (
    Graph,
    Node,
    OpenAxes,
    Problem,
    Tensor,
    declared_shape,
    input_shape_of,
    named_axes,
)
from framecast.inspection.model_report import LayerLine, ModelReport, View
from framecast.inspection.sizes import Shape, Symbol, show_shape


def inspect_graph(
    graph: Graph, fed: Shape | None = None, target: Shape | None = None, samples: int | None = None
) -> ModelReport:
    """Walk through a model; `fed` is the shape of the array it is given, `target` of the one it is
    trained towards, `samples` the number that stateful layers are fed from in batches.
    """
    walk = _Walk(graph, fed)
    for number in range(len(graph.nodes)):
        walk.visit(number)
    output = walk.shape_of(graph.outputs[0]) if graph.outputs else None
    for line in walk.lines:
        walk.find(line.node, mistakes.batch_problems(line, samples))
    if target is not None and output is not None:
        last = walk.lines[graph.outputs[0].node]
        walk.find(last.node, mistakes.target_problems(walk.lines, last, output, target))
    notes = (*graph.notes, *walk.notes)
    return ModelReport(tuple(walk.lines), output, tuple(walk.findings), notes)


class _Walk:
    """The lines of the nodes so far, with findings and notes."""

    def __init__(self, graph: Graph, fed: Shape | None) -> None:
        self.nodes, self.fed = graph.nodes, fed
        self.lines: list[LayerLine] = []
        self.findings: list[Problem] = []
        self.notes: list[str] = []
        self.names: Counter[str] = Counter()
        self.called: set[object] = set()

    def visit(self, number: int) -> None:
        """Work out one node, whose inputs have been."""
        node = self.nodes[number]
        # Names are counted as Keras does: conv2d, conv2d_1
        self.names[node.name] += 1
        if count := self.names[node.name] - 1:
            node.name = f"{node.name}_{count}"
        self.find(node, node.problems)
        shapes: list[Shape | None] = [self._input_of(node, tensor) for tensor in node.inputs]
        # A first layer with input_shape= is its own Input
        shapes = shapes or [self._input_shape(number)]
        # An Input has no input: what it declares, or is fed, is its output
        if node.kind == "InputLayer":
            outcome = LayerOutcome(() if shapes[0] is None else (shapes[0],))
            self.lines.append(LayerLine(node, (), outcome, (), elements_of(node, outcome, [])))
            return
        outcome, shapes = self._outcome(node, shapes)
        # A layer that is called twice has one set of weights
        if node.identity in self.called:
            outcome = replace(outcome, weights={}, frozen=0)
        self.called.add(node.identity)
        self.find(node, outcome.warnings)
        states = [self.shape_of(tensor) for tensor in node.states]
        self.find(node, mistakes.state_problems(node, outcome, states))
        self.find(node, mistakes.likely_mistakes(self.lines, node, shapes[0]))
        views, elements = self._views(node, outcome), elements_of(node, outcome, shapes)
        self.lines.append(LayerLine(node, tuple(shapes), outcome, views, elements))

    def find(self, node: Node, problems: Iterable[Problem]) -> None:
        for problem in problems:
            finding = replace(problem, layer=node.name, line=node.line)
            if finding not in self.findings:
                self.findings.append(finding)

    def shape_of(self, tensor: Tensor) -> Shape | None:
        outputs = self.lines[tensor.node].outcome.outputs
        return dict(enumerate(outputs)).get(tensor.index or 0)

    def _input_of(self, node: Node, tensor: Tensor) -> Shape | None:
        line = self.lines[tensor.node]
        returned = len(line.outcome.outputs)
        if tensor.index is None and returned > 1:
            producer = mistakes.place(line.node)
            what = (
                f"gets {returned} tensors from {producer}, its output and its states, and takes "
                "only the output"
            )
            change = (
                f"set return_state=False in {producer}, or take its first tensor (assumed below)"
            )
            self.find(node, [Problem(what, change)])
        return self.shape_of(tensor)

    def _input_shape(self, number: int) -> Shape | None:
        """The shape that a node without an input is fed; symbols for what is unknown."""
        node = self.nodes[number]
        given, first = input_shape_of(node), self._first_reader(number)
        wanted = first.wanted_axes
        # A shape declared in the code wins over what the first layer needs
        if (declared := declared_shape(node)) is not None:
            return self._declared(node, first, declared)
        if self.fed is not None:
            return self.fed
        texts = [size.text for size in given or () if isinstance(size, OpenAxes)]
        what = f"{texts[0]} is not known here" if texts else f"{node.name} has no Input"
        self.notes.append(f"{what}, so its sizes stay open; --input B,T,H,W,C sets them")
        return _open_shape(given or (None,), wanted) if wanted else None

    def _declared(self, node: Node, first: Node, shape: Shape) -> Shape | None:
        """The shape that an Input declares, compared with what it is fed."""
        if any(isinstance(size, int) and size < 1 for size in shape):
            what = f"is declared as {show_shape(shape)}, where sizes are 1 or more, or None"
            self.find(node, [Problem(what, "declare the shape of one sample of the data")])
            return self.fed
        if self.fed is not None:
            self.find(node, mistakes.fed_problems(shape, self.fed))
            return self.fed
        if first.wanted_axes and len(shape) == first.wanted_axes + 1:
            self.find(node, mistakes.batch_in_shape(node, first, shape))
            shape = shape[1:]
        self.find(node, mistakes.fixed_sizes(first, shape))
        return shape

    def _first_reader(self, number: int) -> Node:
        """The first layer after a node that says how many axes it needs."""
        nodes = self.nodes
        while not nodes[number].wanted_axes and nodes[number].kind in ("InputLayer", *NEUTRAL):
            readers = (n for n, other in enumerate(nodes) if Tensor(number) in other.inputs)
            reader = next(readers, None)
            if reader is None:
                break
            number = reader
        return nodes[number]

    def _outcome(
        self, node: Node, shapes: list[Shape | None]
    ) -> tuple[LayerOutcome, list[Shape | None]]:
        """A layer's result and its inputs, with the likeliest fix if it cannot work with them."""
        if not node.kind:
            at = f"line {node.line}: " if node.line else ""
            what = f"{at}{node.name} is not followed"
            self.notes.append(f"{what}, so the shapes after it are unknown")
        outcome = outcome_of(node, shapes)
        if outcome.mistake is None:
            return outcome, shapes
        change, assumed = mistakes.remedy(self.lines, node, shapes, outcome.mistake)
        suffix = " (assumed below)" if assumed else ""
        self.find(node, [Problem(outcome.mistake.what, f"{change}{suffix}")])
        fixed = outcome_of(node, [assumed])
        return (fixed, [assumed]) if fixed.outputs else (outcome, shapes)

    def _views(self, node: Node, outcome: LayerOutcome) -> tuple[View, ...]:
        """The receptive field after a layer, along each axis of a frame; none if it is unknown."""
        if not outcome.outputs or node.moves_pixels:
            return ()
        fields = [self.lines[tensor.node].views for tensor in node.inputs]
        before: tuple[View, ...] = ()
        # Of tensors that are merged the largest field counts, if all are known
        if len({*map(len, fields)}) == 1:
            axes = zip(*fields, strict=True)
            before = tuple(View(*map(max, zip(*axis, strict=True))) for axis in axes)
        # Dropout, normalisation and other layers without a kernel see one pixel
        if (kernel := outcome.kernel) is None:
            return before
        # The first kernel decides how many sides a frame has: a view starts from a single pixel
        rank = len(kernel.spans)
        if not before and all(self.nodes[each.node].kind == "InputLayer" for each in node.inputs):
            before = (View(),) * rank
        if len(before) > rank:
            return ()
        moves = zip(kernel.spans, kernel.strides, outcome.state_kernel or (1,) * rank, strict=True)
        # A Conv3D after ConvLSTM2D slides over time first: rows and columns are the last two
        last = [*moves][rank - len(before) :]
        return tuple(view.through(*move) for view, move in zip(before, last, strict=True))


def _open_shape(given: Sequence[Any], wanted: int) -> Shape:
    """A shape of `wanted` axes with symbols for those that are not known."""
    # `*x.shape[2:]` stands for as many axes as the first layer lacks
    at = next((n for n, size in enumerate(given) if isinstance(size, OpenAxes)), len(given))
    before, after = list(given[:at]), list(given[at + 1 :])
    sizes = [*before, *[...] * (wanted - len(before) - len(after)), *after]
    shape = named_axes(sizes)
    return (*shape[:-1], Symbol("channels")) if sizes[-1] is ... else shape
