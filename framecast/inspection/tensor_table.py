"""Tensors from a clip's file to its forecast, as rows of text and as plain data for programs.

Does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framecast.nn.cost_model.tensors import Axes, LayerRecord, channels_last, size
from framecast.nn.shapes import FLOAT_BYTES
from framecast.runtime.text import show_bytes

ITEM_BYTES = {"uint8": 1, "uint16": 2, "float32": FLOAT_BYTES}
_SIDES = ("top", "bottom", "left", "right")


# Tensors by stage, such as the training batch, in the order of the stages
Sections = Mapping[str, Sequence[LayerRecord]]


@dataclass(frozen=True)
class Inspection:
    """All stages; `figures` are sums over them, as (key, value, sentence).

    `warnings` are certain and each has a remedy; `notes` say what was found or assumed.
    """

    sections: Sections
    figures: tuple[tuple[str, int, str], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON holds."""
        return {
            "sections": [
                {"title": title, "tensors": [*map(tensor_dict, lines)]}
                for title, lines in self.sections.items()
            ],
            "figures": {key: value for key, value, _ in self.figures},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def tensor_dict(line: LayerRecord) -> dict[str, Any]:
    return {
        "name": line.name,
        "operation": line.operation,
        "input": dict(line.input),
        "channels_first": dict(line.output),
        "channels_last": dict(channels_last(line.output)),
        "dtype": line.dtype,
        "tensors": line.tensors,
        "calls": line.calls,
        "padding": dict(zip(_SIDES, line.padding, strict=True)),
        "parameters": {name: list(shape) for name, shape in line.parameters},
        "macs": line.macs,
        "bytes": _bytes(line),
    }


def row(line: LayerRecord) -> tuple[str, str, str, str]:
    """A tensor on one line: name, output, parameters, and the operation with its padding."""
    times = f", {line.calls} times" if line.calls > 1 else ""
    count = f"{line.parameter_count:,}" if line.parameters else ""
    operation = f"{line.operation}{times}{_padding(line)}"
    return line.name, show_axes(line.output), count, operation


def details(line: LayerRecord) -> Iterator[str]:
    """The other order of axes with the bytes of one result, and the weights."""
    yield f"channels last {show_axes(channels_last(line.output))}, {show_bytes(_bytes(line))}"
    for name, shape in line.parameters:
        yield f"{name} {' x '.join(map(str, shape))} = {math.prod(shape):,}"


def _bytes(line: LayerRecord) -> int:
    """Bytes of the result of one call."""
    return ITEM_BYTES[line.dtype] * line.tensors * size(line.output)


def _padding(line: LayerRecord) -> str:
    """Where padding is added and how much, empty for none."""
    if len(set(line.padding)) == 1:
        return f", padding {line.padding[0]} on each side" if line.padding[0] else ""
    sides = zip(_SIDES, line.padding, strict=True)
    return ", padding " + ", ".join(f"{count} {side}" for side, count in sides if count)


def show_axes(axes: Axes) -> str:
    """Named axes as text: `B=8 T=6 C=1 H=128 W=128`."""
    return " ".join(f"{letter}={length}" for letter, length in axes)
