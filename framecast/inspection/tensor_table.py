"""Tensors on a clip's way as tables of text, and as plain data for programs. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from framecast.nn.cost_model.tensors import Axes, channels_last, size
from framecast.nn.shapes import FLOAT_BYTES

ITEM_BYTES = {"uint8": 1, "uint16": 2, "float32": FLOAT_BYTES}
COLUMNS = ("tensor", "channels_first", "channels_last", "size")


@dataclass(frozen=True)
class Line:
    """One tensor: what made it, its axes channels first, and what it cost."""

    name: str
    operation: str
    output: Axes
    input: Axes = ()
    dtype: str = "float32"
    tensors: int = 1
    calls: int = 1
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    macs: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of one call's result."""
        return ITEM_BYTES[self.dtype] * self.tensors * size(self.output)

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The tensor as text, one for each of COLUMNS."""
        first, last = show_axes(self.output), show_axes(channels_last(self.output))
        return self.name, first, last, show_bytes(self.bytes)

    @property
    def count(self) -> str:
        """Its parameters as text, empty for none."""
        count = sum(math.prod(shape) for _, shape in self.parameters)
        return f"{count:,}" if count else ""

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The tensor on one line: name, output, parameters, what happens and with which padding."""
        padding = show_padding(self.padding)
        how = self.operation + (f", {self.calls} times" if self.calls > 1 else "")
        how += f", padding {padding}" if padding else ""
        return self.name, show_axes(self.output), self.count, how

    @property
    def remark(self) -> str:
        """What happens, how often, with which padding and weights."""
        padding = show_padding(self.padding)
        parts = [
            self.operation + (f" ({self.calls} times)" if self.calls > 1 else ""),
            f"padding {padding}" if padding else "",
            *(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.parameters),
        ]
        return ", ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "operation": self.operation,
            "input": dict(self.input),
            "channels_first": dict(self.output),
            "channels_last": dict(channels_last(self.output)),
            "dtype": self.dtype,
            "tensors": self.tensors,
            "calls": self.calls,
            "padding": dict(zip(("top", "bottom", "left", "right"), self.padding, strict=True)),
            "parameters": {name: list(shape) for name, shape in self.parameters},
            "macs": self.macs,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class TensorSection:
    """A stretch of the way, a line a tensor."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Inspection:
    """The whole way; `figures` are its sums, as (key, value, sentence).

    `warnings` are certain, each with what mends it; `notes` say what was found or assumed.
    """

    sections: tuple[TensorSection, ...]
    figures: tuple[tuple[str, int, str], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON holds."""
        return {
            "sections": [
                {"title": section.title, "tensors": [line.to_dict() for line in section.lines]}
                for section in self.sections
            ],
            "figures": {key: value for key, value, _ in self.figures},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def show_axes(axes: Axes) -> str:
    """Named axes as text: `B=8 T=6 C=1 H=128 W=128`."""
    return " ".join(f"{letter}={length}" for letter, length in axes)


def show_padding(padding: tuple[int, int, int, int]) -> str:
    """Where padding is added and how much, empty for none."""
    if len(set(padding)) == 1:
        return f"{padding[0]} on each side" if padding[0] else ""
    sides = zip(("top", "bottom", "left", "right"), padding, strict=True)
    return ", ".join(f"{count} {side}" for side, count in sides if count)


def show_bytes(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
