"""Text that several wings write alike: counts with their nouns, bytes, and columns."""

from __future__ import annotations

from collections.abc import Container, Sequence


def counted(number: float, noun: str) -> str:
    """A number with its noun: "1 epoch", "1,200 windows", "0.5 minutes"."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"


def are(number: int, noun: str) -> str:
    """The same with its verb: "1 frame is", "2 frames are"."""
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def listed(items: Sequence[object], most: int = 10) -> str:
    """The first items and how many more there are: "a, b, c and 2 more"."""
    more = len(items) - most
    return ", ".join(map(str, items[:most])) + (f" and {more:,} more" if more > 0 else "")


def encodable(text: str) -> str:
    """A text with what UTF-8 lacks, such as the undecodable bytes of file names, escaped."""
    return text.encode(errors="backslashreplace").decode()


def show_bytes(count: float) -> str:
    """A number of bytes in the largest unit of which it has one or more: "1.5 GB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return counted(count, "byte")


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Rows as lines with two spaces between columns; those numbered `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (
        [
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(row) for row in cells]
