"""Help pages with a panel for every theme, as Rich draws them.

Drawn here because loading Rich and Typer's own drawing takes longer than all else that help needs.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from framecast.errors import EXIT_CODES

# Columns of a page, whatever the terminal's width
NARROWEST, WIDEST = 60, 100

# Most columns for the names of options; longer ones have their text in the next line
NAMES = 26

# Where options without a theme stand
OTHER = "Options"

# The program's own flag, which may stand after a command, too
DEBUG = ("--debug", "Show tracebacks of errors.")

# What introduces the command lines at the end of a command's docstring
EXAMPLES = "Examples:"

Rows = list[tuple[str, str]]


class HelpCommand(TyperCommand):
    """A command whose options stand in panels by their `rich_help_panel`."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:
        found = panels(self, ctx)
        found[OTHER].append(DEBUG)
        formatter.write("\n".join(page(self, ctx, found)) + "\n")


class HelpGroup(TyperGroup):
    """A group of commands in panels; that of the program ends with what exit codes mean."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:
        found = {**commands(self), **panels(self, ctx)}
        if ctx.parent is None:
            found["Exit codes"] = [(str(code), text) for code, text in EXIT_CODES.items()]
        formatter.write("\n".join(page(self, ctx, found)) + "\n")


def page(command: Any, context: typer.Context, shown: dict[str, Rows]) -> Iterator[str]:
    """Yield the lines of a command's help: usage, purpose, panels, examples."""
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    # The docstring is written once, for help and for readers of the code
    purpose, _, examples = inspect.cleandoc(command.help or "").partition(EXAMPLES)
    usage = f"{typer.style('Usage:', bold=True)} {context.command_path} "
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"{usage}{pieces}\n"
    yield textwrap.fill(" ".join(purpose.split()), width) + "\n"
    for title, rows in shown.items():
        yield from panel(title, rows, width)
    if examples:
        yield f"\n{typer.style(EXAMPLES, bold=True)}"
        yield from (f"  {line.strip()}" for line in examples.splitlines() if line.strip())


def panels(command: Any, context: typer.Context) -> dict[str, Rows]:
    """The arguments and options of a command by theme, each as its names and its text."""
    found: dict[str, Rows] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:  # a hidden one
            continue
        theme = parameter.rich_help_panel or OTHER
        if parameter.param_type_name == "argument":
            # Typer writes the type after the name, which says less than the text does.
            theme, record = "Arguments", (parameter.metavar, record[1])
        found.setdefault(theme, []).append(record)
    last = found.pop(OTHER, [])
    return {**found, OTHER: last}


def commands(group: TyperGroup) -> dict[str, Rows]:
    """The commands of a group by theme, each with the first sentence of its help."""
    found: dict[str, Rows] = {}
    for name, command in group.commands.items():
        theme = getattr(command, "rich_help_panel", None) or "Commands"
        text = inspect.cleandoc(command.help or "").partition("\n\n")[0]
        found.setdefault(theme, []).append((name, " ".join(text.split())))
    return found


def panel(title: str, rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield the lines of a box with a title: names to the left, text to the right, wrapped."""
    rows, dim = list(rows), {"dim": True}
    # Colours are left out by Typer where no terminal reads
    edge = typer.style("│", **dim)
    first = min(max(len(name) for name, _ in rows), NAMES)
    room = width - first - 6  # two edges with a space each, two spaces between the columns
    yield typer.style(f"╭─ {title} {'─' * (width - len(title) - 5)}╮", **dim)
    for name, text in rows:
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        names = [name] + [""] * (len(lines) - 1)
        if len(name) > first:  # its text begins in the line below
            yield f"{edge} {typer.style(name.ljust(width - 4), bold=True)} {edge}"
            names[0] = ""
        for left, right in zip(names, lines, strict=True):
            shown = typer.style(left.ljust(first), bold=True)
            yield f"{edge} {shown}  {right.ljust(room)} {edge}"
    yield typer.style(f"╰{'─' * (width - 2)}╯", **dim)
