"""A model as layers and the tensors between them, whether it came as code, as a file or as flags.

Also how arguments find their names: Keras' order, its old names, and what is no argument at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framecast.inspection.keras_signatures import OF_ANY_LAYER, OLD_NAMES, parameters_of
from framecast.inspection.layer_outcome import Problem, wanted_axes
from framecast.inspection.sizes import Size, Symbol
from framecast.nn.convlstm.argument_checks import to_rate
from framecast.nn.convlstm.keras_identifiers import check_name
from framecast.nn.convlstm.keras_names import (
    ACTIVATION_COSTS,
    CONSTRAINT_NAMES,
    INITIALIZER_NAMES,
    REGULARIZER_NAMES,
)

Tensor = tuple[int, int | None]
"""One output of a node: the node's number and which of its outputs; None for all it returns."""


@dataclass
class Node:
    """A layer in a model: its kind and arguments, where its input comes from, its line of code.

    `states` are the tensors given as `initial_state`. A `kind` of "" is a layer that is not known.
    """

    kind: str
    name: str
    arguments: dict[str, Any]
    inputs: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    line: int | None = None
    problems: tuple[Problem, ...] = ()


@dataclass
class Graph:
    """Nodes in the order in which they are called, what comes out, and what was not followed."""

    nodes: list[Node] = field(default_factory=list)
    outputs: tuple[Tensor, ...] = ()
    notes: list[str] = field(default_factory=list)


NEUTRAL = (
    *("Masking", "Rescaling", "Dropout", "GaussianNoise", "GaussianDropout", "Activation", "ReLU"),
    *("LeakyReLU", "BatchNormalization", "LayerNormalization", "Identity"),
)
"""Layers that leave a shape of any number of axes as it is."""

RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


def axes_wanted(node: Node) -> int:
    """Axes that a layer's input needs, the batch included; 0 where any number will do."""
    inner = node.arguments.get("layer")
    inner = inner if isinstance(inner, tuple) else None  # `...` where no layer was given
    if node.kind == "TimeDistributed" and inner:
        return wanted_axes(inner[0]) and wanted_axes(inner[0]) + 1
    return wanted_axes(inner[0] if node.kind == "Bidirectional" and inner else node.kind)


@dataclass(frozen=True)
class OpenAxes:
    """Several sizes of a shape that are not known, nor how many they are: `*x_train.shape[2:]`."""

    text: str


_OLD_FORMATS = {"th": "channels_first", "tf": "channels_last"}


def bind(
    kind: str, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """All arguments of a layer by name, and what is wrong with those that were written."""
    known, problems = parameters_of(kind), []
    names = list(known)
    if len(positional) > len(names):
        problems.append(
            Problem(f"takes at most {len(names)} arguments", "leave out what is too many")
        )
    given = dict(zip(names, positional, strict=False))
    written, keywords = dict(keywords), dict(keywords)
    if "nb_row" in keywords or "nb_col" in keywords:
        given["kernel_size"] = (keywords.pop("nb_row", 3), keywords.pop("nb_col", 3))
    problems += _keras_1_kernel(kind, given)
    old: dict[str, str] = {}
    for word, value in keywords.items():
        # `bias` or `init` may be a name of today elsewhere, so today's names go first
        name = OLD_NAMES.get(word, word) if word not in known else word
        if name not in known:
            if word not in OF_ANY_LAYER:
                problems.append(unknown_argument(kind, word))
            continue
        new = _OLD_FORMATS.get(str(value), value) if word == "dim_ordering" else value
        if name != word:
            old[word] = f"{name}={new if isinstance(new, Symbol) else repr(new)}"
        if name in given:
            problems.append(Problem(f"{name} is given twice", "leave one out"))
        given[name] = new
    if rows := [word for word in ("nb_row", "nb_col") if word in written]:
        old[" and ".join(rows)] = f"kernel_size={given['kernel_size']}"
    if old:
        names = (
            f"old names, {', '.join(old)}" if len(old) > 1 else f"an old name, {next(iter(old))}"
        )
        problems.append(Problem(f"has {names}", f"write {', '.join(old.values())}"))
    arguments = {**known, **given}
    missing = [name for name, value in arguments.items() if value is ...]
    if missing:
        example = {"kernel_size": "kernel_size=3", "filters": "filters=64", "units": "units=64"}
        shown = " and ".join(missing)
        change = ", ".join(example.get(name, f"{name}=...") for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        problems.append(Problem(f"{shown} {verb} missing", f"add {change}"))
    return arguments, problems


def unknown_argument(kind: str, word: str) -> Problem:
    near = difflib.get_close_matches(word, list(parameters_of(kind)), 1, 0.5)
    change = f"did you mean {near[0]}?" if near else "leave it out"
    return Problem(f"{word} is no argument of {kind}", change)


def _keras_1_kernel(kind: str, given: Mapping[str, Any]) -> list[Problem]:
    """Rows and columns as Keras 1 had them: `Conv2D(32, 3, 3)`."""
    kernel, strides = given.get("kernel_size"), given.get("strides")
    if "Conv" not in kind or not (isinstance(kernel, int) and isinstance(strides, int)):
        return []
    # Conv2D(32, 3, 1) is right in any Keras
    if strides == 1:
        return []
    what = (
        f"{kind}(..., {kernel}, {strides}) reads as kernel_size={kernel}, strides={strides}; Keras "
        "1 meant rows and columns"
    )
    change = f"write kernel_size=({kernel}, {strides}), or strides={strides} by its name"
    return [Problem(what, change, fatal=False)]


def value_problems(kind: str, arguments: Mapping[str, Any]) -> list[Problem]:
    """Values that a recurrent layer refuses: dropout rates and names that stand for functions."""
    found = []
    for name, value in arguments.items():
        try:
            if name in ("dropout", "recurrent_dropout"):
                to_rate(value, name)
            elif isinstance(value, str) and (known := _names_for(name)):
                check_name(name, value, known)
        except ValueError as error:
            what, _, change = str(error).partition("; ")
            found.append(Problem(what, change))
    return found


def _names_for(argument: str) -> Iterable[str]:
    if argument in ("activation", "recurrent_activation"):
        return (*ACTIVATION_COSTS, "glu", "threshold")
    if argument.endswith("_regularizer"):
        return (*REGULARIZER_NAMES, "l1_l2", "orthogonal_regularizer")
    if argument.endswith("_constraint"):
        return CONSTRAINT_NAMES
    return (*INITIALIZER_NAMES, "identity") if argument.endswith("_initializer") else ()


def input_shape_of(arguments: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The shape, batch included, that an Input or a first layer's keywords give; None for none.

    None among the sizes stays None; `batch_input_shape` and `input_shape` are Keras 2's.
    """
    batch = arguments.get("batch_size")
    for name in ("batch_shape", "batch_input_shape"):
        if arguments.get(name) and isinstance(arguments[name], tuple | list):
            return tuple(arguments[name])
    for name in ("shape", "input_shape"):
        given = arguments.get(name)
        if isinstance(given, tuple | list):
            return (batch, *given)
        if isinstance(given, int):  # `shape=(10)` is no tuple, and Keras takes it for one axis
            return (batch, given)
        if isinstance(given, Symbol):
            return (batch, OpenAxes(str(given)))
    if isinstance(arguments.get("input_dim"), int | Symbol):
        length = arguments.get("input_length", 0)
        return (batch, *(() if length == 0 else (length,)), arguments["input_dim"])
    return None


def named_axes(sizes: Sequence[Any]) -> tuple[Size | OpenAxes, ...]:
    """Sizes with a symbol for each None: B, T, H, W, C by what the axis most likely is."""
    # By the number of axes: what each most likely is, channels last
    letters = {2: "BC", 3: "BTC", 4: "BHWC", 5: "BTHWC", 6: "BTDHWC"}.get(len(sizes), "BTDHWXYC")
    return tuple(
        Symbol(letter) if size is None else size
        for letter, size in zip(letters, sizes, strict=False)
    )
