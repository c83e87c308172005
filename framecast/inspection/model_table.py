"""A model's report as text: one line a layer, the sums, then what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from framecast.inspection.diagram import Box
from framecast.inspection.model_report import LayerLine, ModelReport
from framecast.inspection.sizes import Shape, product, show_count, show_millions
from framecast.inspection.sizes import show_shape as show
from framecast.nn.shapes import FLOAT_BYTES
from framecast.runtime.text import aligned, show_bytes

HEADER = ("layer", "output", "parameters", "padding", "receptive field")


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
    for number, shape in enumerate(line.outcome.outputs):
        yield f"{('output', 'h', 'c', 'h backward', 'c backward')[number]:6} {_orders(shape)}"
    if line.outcome.formulas:
        yield f"size   {'; '.join(line.outcome.formulas)}"
    for name, shape in line.outcome.weights:
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
