"""The result of inspecting a model: a line for each layer, their sums, and what is wrong.

As plain data, in which unknown sizes are symbols, and as text. Memory counts float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from framecast.inspection.diagram import Box
from framecast.inspection.layer_outcome import LayerOutcome, Problem
from framecast.inspection.model_graph import Node, state_count
from framecast.inspection.sizes import Shape, Size, product, show_count, show_millions
from framecast.inspection.sizes import show_shape as show
from framecast.nn.shapes import FLOAT_BYTES
from framecast.runtime.text import aligned, show_bytes

HEADER = ("layer", "output", "parameters", "padding", "receptive field")


class View(NamedTuple):
    """Receptive field along one axis of a frame, in samples of the input.

    An output depends on `sees` samples of the newest frame and on `reaches` more for each frame
    further back; neighbouring outputs lie `apart`.
    """

    sees: int = 1
    reaches: int = 0
    apart: int = 1

    def through(self, span: int, stride: int, state_side: int) -> View:
        """The field after one more kernel, of `state_side` in what a state goes through."""
        # Steps between neighbours multiply, fields grow by (kernel - 1) steps
        apart = self.apart * stride
        reaches = max(self.reaches, (state_side - 1) * apart)
        return View(self.sees + (span - 1) * self.apart, reaches, apart)


@dataclass(frozen=True)
class LayerLine:
    """One layer's result, with a View for each axis of a frame, none where it is not known.

    `elements` are those saved for the backward pass and the most alive without one, for the batch,
    or for one sample if its size is unknown.
    """

    node: Node
    inputs: tuple[Shape | None, ...]
    outcome: LayerOutcome
    views: tuple[View, ...]
    elements: tuple[int, int] | None

    @property
    def output(self) -> Shape | None:
        return next(iter(self.outcome.outputs), None)

    def to_dict(self) -> dict[str, Any]:
        outcome = self.outcome
        sees, reaches = ([getattr(view, n) for view in self.views] for n in ("sees", "reaches"))
        field = {"newest_frame": sees, "per_frame_back": reaches}
        return {
            "name": self.node.name,
            "kind": self.node.kind,
            "line": self.node.line,
            "inputs": [_plain(shape) for shape in self.inputs],
            "outputs": [_plain(shape) for shape in outcome.outputs] or None,
            "weights": {name: _plain(shape) for name, shape in outcome.weights.items()},
            "parameters": _plain(outcome.parameters),
            "macs_per_sample": _plain(outcome.macs) if outcome.outputs else None,
            "padding": outcome.padding,
            "formulas": list(outcome.formulas),
            "receptive_field": field if self.views else None,
            "training_bytes": FLOAT_BYTES * self.elements[0] if self.elements else None,
            "prediction_bytes": FLOAT_BYTES * self.elements[1] if self.elements else None,
        }


@dataclass(frozen=True)
class ModelReport:
    """All layers with their sums; `findings` say what is wrong, `notes` what was assumed."""

    lines: tuple[LayerLine, ...]
    output: Shape | None
    findings: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def works(self) -> bool:
        return not any(finding.fatal for finding in self.findings)

    @property
    def parameters(self) -> Size:
        return sum((line.outcome.parameters for line in self.lines), 0)

    @property
    def frozen(self) -> Size:
        return sum((line.outcome.frozen for line in self.lines), 0)

    @property
    def macs(self) -> Size:
        return sum((line.outcome.macs for line in self.lines), 0)

    @property
    def training_bytes(self) -> int | None:
        """Saved for the backward pass by all layers together; None if a size is unknown."""
        # One unknown size makes the sum unknown
        if any(line.elements is None for line in self.lines):
            return None
        return FLOAT_BYTES * sum(line.elements[0] for line in self.lines if line.elements)

    def to_dict(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON holds; unknown sizes are text."""
        return {
            "works": self.works,
            "layers": [line.to_dict() for line in self.lines],
            "parameters": _plain(self.parameters),
            "trainable_parameters": _plain(self.parameters - self.frozen),
            "macs_per_sample": _plain(self.macs),
            "training_bytes": self.training_bytes,
            "mistakes": [_problem_dict(each) for each in self.findings if each.fatal],
            "warnings": [_problem_dict(each) for each in self.findings if not each.fatal],
            "notes": list(self.notes),
        }


def _problem_dict(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("layer", "line", "what", "change")}


def _plain(value: Size | Shape | None) -> int | str | list[int | str] | None:
    """A size or shape for JSON, with text for what is not known."""
    if isinstance(value, tuple):
        return [_plain(size) for size in value]
    return value if isinstance(value, int | float | None) else str(value)


def table(report: ModelReport, *, verbose: bool = False) -> Iterator[str]:
    """Lines of the table and of the sums; with `verbose` every tensor below its layer."""
    header, *lines = aligned([HEADER, *map(_cells, report.lines)], right={2})
    yield header.rstrip()
    for line, text in zip(report.lines, lines, strict=True):
        yield text.rstrip()
        if verbose:
            yield from (f"    {detail}" for detail in _details(line))


def sums(report: ModelReport) -> Iterator[str]:
    trained = report.parameters - report.frozen
    frozen = "" if report.frozen == 0 else f", {show_count(trained)} of them trained"
    yield f"{show_count(report.parameters)} parameters{frozen}"
    macs = report.macs
    if isinstance(macs, int):
        yield f"{show_millions(macs)} multiply-adds for one sample"
    if report.training_bytes is not None:
        batch = report.lines[0].inputs or ((report.lines[0].output),)
        size = batch[0][0] if batch and batch[0] else 1
        whose = f"a batch of {size}" if isinstance(size, int) else "one sample"
        yield (
            f"about {show_bytes(report.training_bytes)} saved for the backward pass of {whose}, "
            "float32"
        )


def boxes(report: ModelReport) -> list[Box]:
    """The layers for a diagram, with a mark on those with a mistake or warning."""
    found = []
    for line in report.lines:
        marks = {each.fatal for each in report.findings if each.layer == line.node.name}
        mark = "mistake" if True in marks else "warning" if marks else ""
        parameters = line.outcome.parameters
        detail = show_count(parameters) if parameters != 0 else ""
        inputs = tuple(tensor.node for tensor in (*line.node.inputs, *line.node.states))
        found.append(Box(_cells(line)[0], show(line.output), detail, mark, inputs))
    return found


def _cells(line: LayerLine) -> tuple[str, ...]:
    node = line.node
    name = node.name if node.kind in ("", "InputLayer") else _with_kind(node.name, node.kind)
    sees = ""
    if line.views:
        fields, reaches, _ = zip(*line.views, strict=True)
        sees = " x ".join(map(str, fields))
        if any(reaches):
            sees += f", +{' x '.join(map(str, reaches))} per earlier frame"
    outcome = line.outcome
    return name, show(line.output), show_count(outcome.parameters), outcome.padding, sees


def _with_kind(name: str, kind: str) -> str:
    """A name with its kind, unless the name begins with it."""
    plain = name.replace("_", "").rstrip("0123456789").lower()
    return name if plain.startswith(kind.lower().rstrip("0123456789d")) else f"{name} ({kind})"


def _details(line: LayerLine) -> Iterator[str]:
    """Both axis orders of every tensor, formulas of sizes, weights, cost and memory."""
    for number, shape in enumerate(line.inputs):
        yield f"input{'' if len(line.inputs) == 1 else f' {number + 1}'}  {_orders(shape)}"
    # A pair of layers has a second output where both are not merged, and states of its own
    second = ["output backward"] if line.node.arguments.get("merge_mode", "") is None else []
    states = ["h", "c"][: state_count(line.node.inner_kind)]
    names = ["output", *second, *states, *(f"{state} backward" for state in states)]
    for name, shape in zip(names, line.outcome.outputs, strict=False):
        yield f"{name:6} {_orders(shape)}"
    if line.outcome.formulas:
        yield f"size   {'; '.join(line.outcome.formulas)}"
    for name, shape in line.outcome.weights.items():
        yield f"weight {name} {' x '.join(map(str, shape))} = {show_count(product(shape))}"
    if line.outcome.macs != 0:
        yield f"cost   {show_count(line.outcome.macs)} multiply-adds for one sample"
    if line.elements:
        saved, live = (show_bytes(FLOAT_BYTES * count) for count in line.elements)
        yield f"memory about {saved} saved for the backward pass, {live} at most while predicting"


def _orders(shape: Shape | None) -> str:
    if shape is None or len(shape) < 4:
        return show(shape)
    # Four axes are one frame, five have time in front of the channels
    lead = 1 if len(shape) == 4 else 2
    moved = (*shape[:lead], shape[-1], *shape[lead:-1])
    return f"{show(shape)}, channels first {show(moved)}"
