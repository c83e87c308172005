"""A ConvLSTM2D layer given as text, "filters=64 kernel=5 strides=2", by the layer's own rules.

Knows no torch.
"""

from __future__ import annotations

import re
from typing import Any

from framecast.errors import UsageError
from framecast.inspection.keras_signatures import parameters_of
from framecast.inspection.model_graph import bind, unknown_argument
from framecast.nn.convlstm.argument_checks import (
    to_data_format,
    to_factor,
    to_layer_norm,
    to_rate,
)
from framecast.nn.convlstm.keras_identifiers import check_name
from framecast.nn.convlstm.keras_names import (
    ACTIVATION_COSTS,
    CONSTRAINT_NAMES,
    INITIALIZER_NAMES,
    REGULARIZER_NAMES,
)
from framecast.nn.shapes import ConvGeometry, to_sizes

_KIND = "ConvLSTM2D"
_ALONE = ("kernel_size", "strides", "dilation_rate")
_WORD = re.compile(r"(?:\([^)]*\)?|\[[^\]]*\]?|'[^']*'|\"[^\"]*\"|,(?=\d)|[^\s,(\[])+")
"""One setting: no white space or comma, but in brackets, in quotes, and between digits."""


def read_settings(text: str, where: str) -> dict[str, Any]:
    """All arguments of a layer; UsageError names `where`, the setting and what it may be."""
    given: dict[str, Any] = {}
    extras = {**parameters_of(_KIND), "unroll": False, "zero_output_for_mask": False}
    for word in _WORD.findall(text):
        name, equals, value = word.partition("=")
        # The short name that the help shows
        name = "kernel_size" if name == "kernel" else name
        if not equals:
            raise UsageError(
                f"{where}: {word!r} is no NAME=VALUE",
                remedy='write e.g. "filters=64 kernel=5", or "ConvLSTM2D(filters=64, ...)"',
            )
        if name not in extras:
            # Old names are told with their new ones, as for Keras code
            written = int(value) if value.isdecimal() else value
            _, problems = bind(_KIND, (), {"filters": 1, "kernel_size": 1, name: written})
            problem = problems[0] if problems else unknown_argument(_KIND, name)
            raise UsageError(f"{where}: {problem.what}", remedy=problem.change)
        if name in given:
            raise UsageError(f"{where}: {name} is given twice", remedy="leave one out")
        try:
            given[name] = _value(name, value.strip("'\""), extras[name])
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    for name, example in (("filters", "filters=64"), ("kernel_size", "kernel=3")):
        if name not in given:
            raise UsageError(f"{where}: {name} is missing", remedy=f"add {example}")
    try:
        _check_together(given)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return {**parameters_of(_KIND), **given}


def _check_together(given: dict[str, Any]) -> None:
    filters = given["filters"]
    geometry = {name: given[name] for name in (*_ALONE, "padding") if name in given}
    ConvGeometry.parse(2, **{"padding": "valid", **geometry})
    to_layer_norm(given.get("layer_norm", False), filters)
    # Orthogonal needs a matrix, and a bias is a vector
    orthogonal = str(given.get("bias_initializer")).lower() == "orthogonal"
    if orthogonal and given.get("use_bias", True):
        raise ValueError(
            f"orthogonal weights need two or more axes; received shape {(4 * filters,)}; use "
            "another initializer for a bias"
        )


def _value(name: str, text: str, default: Any) -> Any:
    """What a setting's text stands for; ValueError with the layer's own sentence."""
    if name == "recurrent_kernel_size":
        return to_sizes(_integers(text), 2, name)
    if name in ("filters", *_ALONE):
        sizes = _integers(text)
        return to_sizes(sizes, 1, name)[0] if name == "filters" else sizes
    if name == "data_format":
        return to_data_format(text)
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false; received {text!r}; write {name}=true")
        return text.lower() == "true"
    if name in ("dropout", "recurrent_dropout"):
        return to_rate(_number(text), name)
    return _seed(text) if name == "seed" else _name(name, text)


def _name(argument: str, text: str) -> str | None:
    """A function by its name; None where the argument may be left empty."""
    if argument == "padding":
        return text
    if text.lower() == "none" and not argument.endswith("_initializer"):
        return None
    if argument.endswith("_regularizer"):
        return _regularizer(argument, text)
    known = ACTIVATION_COSTS if argument.endswith("activation") else INITIALIZER_NAMES
    check_name(argument, text, CONSTRAINT_NAMES if argument.endswith("_constraint") else known)
    return text


def _integers(text: str) -> object:
    """The integer or integers a text spells, or else the text, which the layer's rules refuse."""
    try:
        sizes = [int(part) for part in text.strip("()[]").split(",")]
    except ValueError:
        return text
    return sizes[0] if len(sizes) == 1 else tuple(sizes)


def _number(text: str) -> float | str:
    """The number a text spells, or else the text, which the layer's rules refuse."""
    try:
        return float(text)
    except ValueError:
        return text


def _seed(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal():
        raise ValueError(f"seed must be an integer or none; received {text!r}; use e.g. seed=1")
    return int(text)


def _regularizer(argument: str, text: str) -> str:
    """A name that is known, or one with its factors: l2(0.01), l1_l2(0.01, 0.02)."""
    name, bracket, rest = text.partition("(")
    if not bracket:
        check_name(argument, text, REGULARIZER_NAMES)
        return text
    check_name(argument, name, (*REGULARIZER_NAMES, "l1_l2"))
    accepted = [factor for factor in ("l1", "l2") if factor in name.lower()]
    factors = rest.removesuffix(")").split(",")
    if not rest.endswith(")") or len(factors) > len(accepted):
        example = f"{name}({', '.join('0.01' for _ in accepted)})"
        rule = f"{argument}: {name} takes {' and '.join(accepted)}"
        raise ValueError(f"{rule}; received {text!r}; write {argument}={example}")
    for factor, number in zip(accepted, factors, strict=False):
        to_factor(_number(number.strip()), factor)
    return text
