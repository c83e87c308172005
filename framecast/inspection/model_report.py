"""The result of inspecting a model: a line for each layer, their sums, and what is wrong.

Plain data; unknown sizes are symbols. Memory counts float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framecast.inspection.layer_outcome import LayerOutcome, Problem
from framecast.inspection.model_graph import Node
from framecast.inspection.sizes import Shape, Size, Symbol
from framecast.nn.shapes import FLOAT_BYTES


@dataclass(frozen=True)
class View:
    """Receptive field along the axes of a frame, in samples of the input.

    An output depends on `sees` samples of the newest frame and on `reaches` more for each frame
    further back; neighbouring outputs lie `apart`.
    """

    sees: tuple[int, ...]
    reaches: tuple[int, ...]
    apart: tuple[int, ...]

    @classmethod
    def widest(cls, views: Sequence[View | None]) -> View | None:
        """The field of tensors that are merged: the largest of each, None if one is unknown."""
        known = [view for view in views if view is not None]
        if not known or len({len(view.sees) for view in known}) > 1 or len(known) < len(views):
            return None
        fields = ([getattr(view, name) for view in known] for name in ("sees", "reaches", "apart"))
        return cls(*(tuple(map(max, *each, each[0])) for each in fields))

    def through(self, outcome: LayerOutcome) -> View:
        """The field after one more layer with a kernel; of more axes the last ones count."""
        # A Conv3D after ConvLSTM2D slides over time first: rows and columns are the last two
        rank = len(self.sees)
        spans, strides = outcome.kernel.spans[-rank:], outcome.kernel.strides[-rank:]
        kernel = outcome.state_kernel[-rank:] or (1,) * rank
        # Steps between neighbours multiply, fields grow by (kernel - 1) steps
        apart = tuple(step * stride for step, stride in zip(self.apart, strides, strict=True))
        return View(
            tuple(
                seen + (span - 1) * step
                for seen, span, step in zip(self.sees, spans, self.apart, strict=True)
            ),
            tuple(
                max(reach, (side - 1) * step)
                for reach, side, step in zip(self.reaches, kernel, apart, strict=True)
            ),
            apart,
        )


@dataclass(frozen=True)
class LayerLine:
    """One layer's result.

    `elements` are those saved for the backward pass and the most alive without one, for the batch,
    or for one sample if its size is unknown.
    """

    node: Node
    inputs: tuple[Shape | None, ...]
    outcome: LayerOutcome
    view: View | None
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
                {"newest_frame": list(self.view.sees), "per_frame_back": list(self.view.reaches)}
                if self.view
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
