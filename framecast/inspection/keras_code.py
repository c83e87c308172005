"""Read Keras code without running it: follow its syntax tree as far as shapes depend on it.

Followed are Sequential lists and `add`, functional chains, constants and arithmetic, `match`, loops
over known ranges or while a known test holds, and functions and classes of the file. Everything
else becomes a symbol with its source text, or a note with its line. Nothing is imported or called.
"""

from __future__ import annotations

import ast
import re
import textwrap

from framecast.errors import UsageError
from framecast.inspection.keras_statements import StatementReader, StrayError
from framecast.inspection.model_graph import Graph, Node, Tensor

# Fences and a notebook's commands: `%time`, `!ls`, `files = !ls`, `?model` and `model?`; but not
# `% n` or `!= n`, with which a line of Python may begin
_NO_PYTHON = re.compile(r"\s*(```|(\w+ *= *)?(%%?[a-z]|!(?!=))|\?|[\w.]+\?+\s*$)")


def read_code(text: str, title: str) -> Graph:
    """Follow a file's code to the model it builds; UsageError for what is not Python or no model.

    `title` names the file in messages.
    """
    source = _cleaned(text)
    reader = StatementReader()
    try:
        reader.run_file(ast.parse(source).body)
    except SyntaxError as error:
        raise UsageError(
            f"{title}{f':{error.lineno}' if error.lineno else ''}: not Python: {error.msg}",
            remedy="give a file of Python code with a Keras model, a .keras file, or frames",
        ) from None
    except (StrayError, RuntimeError, MemoryError, ValueError):
        # Null bytes, thousands of brackets, a return outside of functions, a dictionary that grows
        # while a loop goes through it
        raise UsageError(
            f"{title}: this code cannot be followed", remedy="give the part that builds the model"
        ) from None
    graph = reader.graph()
    if not graph.nodes:
        found = "; ".join(graph.notes)
        raise UsageError(
            f"{title}: no Keras layers that can be followed" + (f" ({found})" if found else ""),
            remedy="give code with a Sequential model, or layers that are called on an Input",
        )
    return graph


def read_layer(text: str, where: str) -> tuple[Node, list[str]]:
    """One layer as Keras spells it, `ConvLSTM2D(filters=40, kernel_size=3)`, and notes on it."""
    reader, example = StatementReader(), 'write e.g. "ConvLSTM2D(filters=40, kernel_size=(3, 3))"'
    try:
        value = reader.value(ast.parse(text.strip().rstrip(","), mode="eval").body)
    except SyntaxError as error:
        raise UsageError(f"{where}: not Python: {error.msg}", remedy=example) from None
    except (RuntimeError, MemoryError):  # thousands of signs or brackets
        value = None
    # `Input(...)` is called as soon as it is made
    if isinstance(value, Tensor):
        value = reader.remove(value)
    if not isinstance(value, Node):
        raise UsageError(f"{where}: {text!r:.60} is not a known layer", remedy=example)
    return value, [f"{where}: {note.partition(': ')[2]}" for note in reader.notes]


def _cleaned(text: str) -> str:
    """Code as pasted from a page or a notebook: without prompts, fences and magic commands."""
    # Tabs count 8 in Python 2 and are mixed with blanks on web pages
    lines = textwrap.dedent(text.replace("\t", "    ")).splitlines()
    if any(line.lstrip().startswith(">>> ") for line in lines):
        prompted = (re.match(r"\s*(?:>>>|\.\.\.) ?(.*)", line) for line in lines)
        return "\n".join(match[1] for match in prompted if match)
    return "\n".join("" if _NO_PYTHON.match(line) else line for line in lines)
