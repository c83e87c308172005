"""The result of inspecting a model: a line for each layer, their sums, and what is wrong.

Plain data; unknown sizes are symbols. Memory counts float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from framecast.inspection.layer_outcome import LayerOutcome, Problem
from framecast.inspection.model_graph import Node
from framecast.inspection.sizes import Shape, Size, Symbol
from framecast.nn.shapes import FLOAT_BYTES


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
        return {
            "name": self.node.name,
            "kind": self.node.kind,
            "line": self.node.line,
            "inputs": [_plain(shape) for shape in self.inputs],
            "outputs": [_plain(shape) for shape in outcome.outputs] or None,
            "weights": {name: _plain(shape) for name, shape in outcome.weights},
            "parameters": _plain(outcome.parameters),
            "macs_per_sample": _plain(outcome.macs) if outcome.outputs else None,
            "padding": outcome.padding,
            "formulas": list(outcome.formulas),
            "receptive_field": (
                {
                    "newest_frame": [view.sees for view in self.views],
                    "per_frame_back": [view.reaches for view in self.views],
                }
                if self.views
                else None
            ),
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
    return str(value) if isinstance(value, Symbol) else value
