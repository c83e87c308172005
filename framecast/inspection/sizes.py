"""Sizes of axes that may be unknown: integers, or symbols such as `H` and `ceil(H/2)`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce


@dataclass(frozen=True, repr=False)
class Symbol:
    """scale * base + offset with an unknown base, simplified as far as is easy to read.

    `is_none` says that a None in an Input is part of it, so that no weight can have this size.
    """

    base: str
    scale: int = 1
    offset: int = 0
    is_none: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        text = self.base if self.scale == 1 else f"{self.scale}*{_grouped(self.base)}"
        sign = "+" if self.offset > 0 else "-"
        return f"{text} {sign} {abs(self.offset)}" if self.offset else text

    def __add__(self, other: Size) -> Size:
        if isinstance(other, int):
            return replace(self, offset=self.offset + other)
        offset, is_none = self.offset + other.offset, self.is_none or other.is_none
        if self.base == other.base:
            scale = self.scale + other.scale
            return Symbol(self.base, scale, offset, is_none) if scale else offset
        parts = (str(Symbol(each.base, each.scale)) for each in (self, other))
        return Symbol(" + ".join(parts), 1, offset, is_none)

    def __sub__(self, other: Size) -> Size:
        return self + -other

    def __neg__(self) -> Size:
        return self * -1

    def __mul__(self, other: Size) -> Size:
        if isinstance(other, int):
            scaled = replace(self, scale=self.scale * other, offset=self.offset * other)
            return scaled if other else 0
        # Products of unknown sizes stay text: H*W needs no algebra
        text = f"{_grouped(str(self))}*{_grouped(str(other))}"
        return Symbol(text, is_none=self.is_none or other.is_none)

    __radd__, __rmul__ = __add__, __mul__


# Number of elements along an axis
Size = int | Symbol

# A tensor's sizes in the order in which the code has its axes, the batch first
Shape = tuple[Size, ...]


def ceil_divide(size: Size, divisor: int) -> Size:
    """size / divisor, rounded up: `ceil(H/2)`; a half of it is `ceil(H/4)`."""
    if isinstance(size, int):
        return -(-size // divisor)
    if divisor == 1:
        return size
    # Halves of even multiples need no rounding
    if size.scale % divisor == 0 and size.offset % divisor == 0:
        return replace(size, scale=size.scale // divisor, offset=size.offset // divisor)
    text = str(size)
    # ceil(ceil(n / a) / b) = ceil(n / (a b)) for whole a and b
    nested = re.fullmatch(r"ceil\(([^c]+)/(\d+)\)", text)
    if nested:
        return Symbol(f"ceil({nested[1]}/{int(nested[2]) * divisor})", is_none=size.is_none)
    return Symbol(f"ceil({_grouped(text)}/{divisor})", is_none=size.is_none)


def quotient(size: Size, divisor: Size) -> Size:
    """size / divisor, which leaves nothing over: `(H*W)/4` where one of them is not known."""
    if is_known((size, divisor)):
        return size // divisor
    return Symbol(f"({size})/({divisor})", is_none=is_none(size) or is_none(divisor))


def is_none(size: Size) -> bool:
    """Whether a size depends on a None in an Input."""
    return isinstance(size, Symbol) and size.is_none


def product(sizes: Iterable[Size]) -> Size:
    """How many elements a tensor of these sizes has."""
    return reduce(lambda one, other: one * other, sizes, 1)


def is_known(sizes: Iterable[Size]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def show_shape(shape: Shape | None) -> str:
    """`(B, 10, 64, 64, 1)`; `?` if the number of axes is unknown."""
    if shape is None:
        return "?"
    comma = "," if len(shape) == 1 else ""
    return f"({', '.join(map(str, shape))}{comma})"


def show_count(count: Size) -> str:
    return f"{count:,}" if isinstance(count, int) else str(count)


def show_millions(count: int) -> str:
    """A large number in words: `3.38 billion`, `12.50 million`, `9,000`."""
    for word, scale in (("billion", 10**9), ("million", 10**6)):
        if count >= scale:
            return f"{count / scale:,.2f} {word}"
    return f"{count:,}"


def _grouped(text: str) -> str:
    """The text, in parentheses if it is a sum."""
    # Blanks inside of parentheses belong to sums that are grouped already
    return f"({text})" if " " in re.sub(r"\([^()]*\)", "", text) else text
