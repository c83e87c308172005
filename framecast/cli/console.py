"""Console output: messages and errors to stderr, results to stdout."""

from __future__ import annotations

import json
import os
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.measure import measure_renderables
from rich.table import Table
from rich.text import Text

from framecast.runtime.text import counted


class Messages(Console):
    """Without a reader messages end quietly, and the work continues."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


if TYPE_CHECKING:
    from framecast.prediction.loaded_forecaster import LoadedForecaster
    from framecast.prediction.onnx_forecaster import OnnxForecaster

# Columns that no table reaches
WIDEST_TABLE = 1000

# Notes that are printed at most
MOST_NOTES = 20

# File names may hold what Rich would read as colours or emoji. Rich breaks lines between words for
# a reader at a terminal; a program that reads messages finds each in one line, and paths whole.
messages = Messages(stderr=True, highlight=False, soft_wrap=True, emoji=False)
results = Console(highlight=False, soft_wrap=True, emoji=False)
messages.soft_wrap = not messages.is_terminal


def show_error(error: Exception) -> None:
    """Print a user's mistake as one line."""
    messages.print(Text.assemble(("error:", "bold red"), f" {one_line(str(error))}"))


def show_notes(notes: Sequence[str]) -> None:
    """Print remarks that change nothing but are worth knowing: the first ones, where each of
    thousands of clips has some.
    """
    shown = [*notes[:MOST_NOTES]]
    if (more := len(notes) - MOST_NOTES) > 0:
        shown.append(f"{counted(more, 'more note')} like these")
    for note in shown:
        messages.print(Text.assemble(("note:", "yellow"), f" {one_line(note)}"))


def show_network(forecaster: LoadedForecaster | OnnxForecaster) -> None:
    """Print which network computes, and where and how."""
    name, device = forecaster.config.model.name, forecaster.device
    messages.print(f"{name} on {device} in {forecaster.precision}", markup=False)


def show_warnings(warnings: Iterable[str]) -> None:
    """Print what is certainly wrong with an inspected model or clip, among the results."""
    for warning in warnings:
        results.print(Text.assemble(("warning:", "bold yellow"), f" {one_line(warning)}"))


def show_result(text: str) -> None:
    """Print a line to stdout: what a program that called us wants to read."""
    results.print(one_line(text), markup=False)


def show_outputs(paths: Iterable[str]) -> None:
    """Print the paths of outputs to stdout, none of them where frames have gone there."""
    from framecast.video.writers.open import STANDARD_OUTPUT

    named = [*paths]
    for path in named if STANDARD_OUTPUT not in named else ():
        show_result(path)


def show_line(text: str, style: str = "", column: int = 0) -> None:
    """Print a line to stdout; a terminal that is too narrow has its rest below, from `column` on.

    In a pipe it stays one line, whatever its length.
    """
    text = one_line(text)
    lines = [text]
    if results.is_terminal:
        # With fewer than 15 columns a rest would be hard to read.
        column = min(column, results.width - 15)
        lines = textwrap.wrap(
            text, results.width, subsequent_indent=" " * column, break_on_hyphens=False
        ) or [""]
    for line in lines:
        results.print(Text(line, style))


def show_text(text: str) -> None:
    """Print several lines for a person to read or to copy, as they are."""
    messages.print(text, markup=False, soft_wrap=True)


def show_json(document: dict[str, Any]) -> None:
    """Print one JSON document to stdout."""
    # In ASCII, as the encoding of standard output may be none that JSON allows
    results.print_json(json.dumps(document), ensure_ascii=True)


def one_line(text: str) -> str:
    """Escape line breaks, control characters and the undecodable bytes of file names."""
    return "".join(
        character if _is_shown(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_shown(character: str) -> bool:
    """Whether a character belongs to words: to Python, spaces that do not break and the joiners of
    Persian words and emoji are not printable."""
    is_space = unicodedata.category(character) == "Zs"
    return character.isprintable() or is_space or character in "\u200c\u200d"


def open_table(*columns: str, title: str | None = None, left: int = 1, lines: bool = True) -> Table:
    """Start a table without a frame; all columns but the first `left` are aligned to the right.

    Without `lines` nothing but space is between the columns.
    """
    style = {} if lines else {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
    # Without edges a table of seven columns fits 80
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False, **style)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right")
    return table


def show_table(console: Console, table: Table) -> None:
    """Print a table; where the terminal is too narrow for its words, wider than the terminal.

    Rich would cut them short, and 108.4 would read 10 with dots.
    """
    options = console.options.update_width(WIDEST_TABLE)
    for column in table.columns:
        cells = [column.header, *column.cells]
        column.min_width = measure_renderables(console, options, cells).minimum
    console.print(table, crop=False)
