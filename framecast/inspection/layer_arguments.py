"""A layer's arguments: Keras' names and order, its old names, and what each argument may be.

`bind` and `value_problems` serve Keras code; `read_settings` reads a ConvLSTM2D that is given as
text, "filters=64 kernel=5 strides=2", by the layer's own rules. Does not import torch.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framecast.errors import UsageError
from framecast.inspection.keras_signatures import OF_ANY_LAYER, OLD_NAMES, parameters_of
from framecast.inspection.layer_outcome import Problem
from framecast.inspection.sizes import Symbol
from framecast.nn.convlstm.argument_checks import to_data_format, to_factor, to_layer_norm, to_rate
from framecast.nn.convlstm.keras_identifiers import check_name
from framecast.nn.convlstm.keras_names import (
    ACTIVATION_COSTS,
    CONSTRAINT_NAMES,
    INITIALIZER_NAMES,
    REGULARIZER_NAMES,
)
from framecast.nn.shapes import ConvGeometry, to_sizes

_KIND = "ConvLSTM2D"
# One setting: no white space or comma, except in brackets, in quotes, and between digits
_WORD = re.compile(r"(?:\([^)]*\)?|\[[^\]]*\]?|'[^']*'|\"[^\"]*\"|,(?=\d)|[^\s,(\[])+")

_OLD_FORMATS = {"th": "channels_first", "tf": "channels_last"}

# By the last word of an argument: names that framecast knows, and those that only Keras does
_NAMES: dict[str, tuple[Iterable[str], tuple[str, ...]]] = {
    "activation": (ACTIVATION_COSTS, ("glu", "threshold")),
    "initializer": (INITIALIZER_NAMES, ("identity",)),
    "regularizer": (REGULARIZER_NAMES, ("l1_l2", "orthogonal_regularizer")),
    "constraint": (CONSTRAINT_NAMES, ()),
}


def bind(
    kind: str, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """All arguments of a layer by name, and what is wrong with those that were written."""
    known, problems = parameters_of(kind), []
    if len(positional) > len(known):
        problems.append(Problem(f"takes at most {len(known)} arguments", "leave out the others"))
    given = dict(zip(known, positional, strict=False))
    problems += _keras_1_kernel(kind, given)
    keywords, old = dict(keywords), {}
    # Keras 1 had an argument for each side of a kernel
    if sides := [word for word in ("nb_row", "nb_col") if word in keywords]:
        given["kernel_size"] = (keywords.pop("nb_row", 3), keywords.pop("nb_col", 3))
    for word, value in keywords.items():
        # `bias` or `init` may be a current name elsewhere, so current names go first
        name = word if word in known else OLD_NAMES.get(word, word)
        if name not in known:
            if word not in OF_ANY_LAYER:
                near = difflib.get_close_matches(word, known, 1, 0.5)
                change = f"did you mean {near[0]}?" if near else "leave it out"
                problems.append(Problem(f"{word} is not an argument of {kind}", change))
            continue
        new = _OLD_FORMATS.get(str(value), value) if word == "dim_ordering" else value
        if name != word:
            old[word] = f"{name}={new if isinstance(new, Symbol) else repr(new)}"
        if name in given:
            problems.append(Problem(f"{name} is given twice", "leave one out"))
        given[name] = new
    if sides:
        old[" and ".join(sides)] = f"kernel_size={given['kernel_size']}"
    if old:
        names = f"{'old names' if len(old) > 1 else 'an old name'}, {', '.join(old)}"
        problems.append(Problem(f"has {names}", f"write {', '.join(old.values())}"))
    arguments = {**known, **given}
    if missing := [name for name, value in arguments.items() if value is ...]:
        examples = {"kernel_size": "3", "filters": "64", "units": "64"}
        change = ", ".join(f"{name}={examples.get(name, '...')}" for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        problems.append(Problem(f"{' and '.join(missing)} {verb} missing", f"add {change}"))
    return arguments, problems


def _keras_1_kernel(kind: str, given: Mapping[str, Any]) -> list[Problem]:
    """Rows and columns as Keras 1 had them: `Conv2D(32, 3, 3)`."""
    kernel, strides = given.get("kernel_size"), given.get("strides")
    # Conv2D(32, 3, 1) means the same in every version of Keras
    is_doubtful = isinstance(kernel, int) and isinstance(strides, int) and strides != 1
    if "Conv" not in kind or not is_doubtful:
        return []
    what = (
        f"{kind}(..., {kernel}, {strides}) reads as kernel_size={kernel}, strides={strides}; Keras "
        "1 meant rows and columns"
    )
    change = f"write kernel_size=({kernel}, {strides}), or strides={strides} by its name"
    return [Problem(what, change, fatal=False)]


def value_problems(arguments: Mapping[str, Any]) -> list[Problem]:
    """Values in Keras code that a layer refuses: dropout rates and names of functions."""
    found = []
    for name, value in arguments.items():
        try:
            if name in ("dropout", "recurrent_dropout"):
                to_rate(value, name)
            elif isinstance(value, str) and (names := _NAMES.get(name.rpartition("_")[2])):
                check_name(name, value, (*names[0], *names[1]))
        except ValueError as error:
            what, _, change = str(error).partition("; ")
            found.append(Problem(what, change))
    return found


def read_settings(text: str, where: str) -> dict[str, Any]:
    """All arguments of a ConvLSTM2D; UsageError names `where`, the setting and what it may be."""
    given: dict[str, Any] = {}
    for word in _WORD.findall(text):
        name, equals, value = word.partition("=")
        # The short name that the help shows
        name = "kernel_size" if name == "kernel" else name
        if not equals:
            raise UsageError(
                f"{where}: {word!r} is not NAME=VALUE",
                remedy='write e.g. "filters=64 kernel=5", or "ConvLSTM2D(filters=64, ...)"',
            )
        if name in given:
            raise UsageError(f"{where}: {name} is given twice", remedy="leave one out")
        given[name] = _literal(value)
    arguments, problems = bind(_KIND, (), given)
    if problems:
        raise UsageError(f"{where}: {problems[0].what}", remedy=problems[0].change)
    try:
        _check_values(arguments)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return {**given, **arguments}


def _literal(text: str) -> Any:
    """Numbers, sizes, true, false and none as Python has them; any other text as it is."""
    text = text.strip("'\"")
    try:
        return ast.literal_eval(text.title() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text


def _check_values(arguments: Mapping[str, Any]) -> None:
    """Raise the ValueError that the layer itself raises for these arguments."""
    (filters,) = to_sizes(arguments["filters"], 1, "filters")
    geometry = ("kernel_size", "strides", "padding", "dilation_rate")
    ConvGeometry.parse(2, **{name: arguments[name] for name in geometry})
    if arguments["recurrent_kernel_size"] is not None:
        to_sizes(arguments["recurrent_kernel_size"], 2, "recurrent_kernel_size")
    to_data_format(arguments["data_format"])
    for name, value in arguments.items():
        if isinstance(parameters_of(_KIND)[name], bool) and not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false; received {value!r}; write {name}=true")
        if name in ("dropout", "recurrent_dropout"):
            to_rate(value, name)
        kind = name.rpartition("_")[2]
        # Every weight has to start somehow, so only an initializer cannot be none
        if kind in _NAMES and (value is not None or kind == "initializer"):
            if "(" in str(value):
                _check_penalty(name, value)
            else:
                check_name(name, value, _NAMES[kind][0])
    if not isinstance(arguments["seed"], int | None):
        raise ValueError(f"seed must be an integer or none; received {arguments['seed']!r}")
    to_layer_norm(arguments["layer_norm"], filters)
    # An orthogonal matrix has two axes or more, and a bias is a vector
    if arguments["use_bias"] and str(arguments["bias_initializer"]).lower() == "orthogonal":
        raise ValueError(
            f"orthogonal weights need two or more axes; received shape {(4 * filters,)}; use "
            "another initializer for a bias"
        )


def _check_penalty(argument: str, text: str) -> None:
    """Check a regularizer that is written with its factors: l2(0.01), l1_l2(0.01, 0.02)."""
    name, _, rest = text.partition("(")
    check_name(argument, name, (*REGULARIZER_NAMES, "l1_l2"))
    accepted = [factor for factor in ("l1", "l2") if factor in name.lower()]
    factors = rest.removesuffix(")").split(",")
    if not rest.endswith(")") or len(factors) > len(accepted):
        example = f"{name}({', '.join('0.01' for _ in accepted)})"
        rule = f"{argument}: {name} takes {' and '.join(accepted)}"
        raise ValueError(f"{rule}; received {text!r}; write {argument}={example}")
    for factor, written in zip(accepted, factors, strict=False):
        to_factor(_literal(written.strip()), factor)
