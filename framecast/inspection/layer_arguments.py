"""ConvLSTM2D layers given as text, "filters=64 kernel=5 strides=2", and the input they are fed.

Every argument of the layer is read and held against the layer's own rules; those that change
shapes, weights or memory are kept. Knows no torch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial

from framecast.errors import UsageError
from framecast.nn.convlstm.argument_checks import to_data_format, to_factor, to_layer_norm, to_rate
from framecast.nn.convlstm.keras_identifiers import check_name
from framecast.nn.convlstm.keras_names import (
    ACTIVATION_COSTS,
    CONSTRAINT_NAMES,
    INITIALIZER_NAMES,
    REGULARIZER_NAMES,
)
from framecast.nn.shapes import ConvGeometry, to_sizes

EXAMPLE_INPUT = "--input 8,10,64,64,1"


@dataclass(frozen=True)
class LayerSettings:
    """One layer's arguments, checked; those without a default are needed."""

    filters: int
    geometry: ConvGeometry
    data_format: str = "channels_last"
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    return_sequences: bool = False
    return_state: bool = False
    stateful: bool = False
    peephole: bool = False
    layer_norm: bool = False
    recompute: bool = False

    @property
    def scanned(self) -> bool:
        """Whether the layer runs as one operation (`nn/scan.py`), dropout in training apart."""
        usual = (self.activation, self.recurrent_activation) == ("tanh", "sigmoid")
        return usual and not self.layer_norm


def parse_input(text: str) -> tuple[int, ...]:
    """Five sizes from "8,10,64,64,1"; UsageError for any other count, or sizes below 1."""
    try:
        sizes = tuple(int(number) for number in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UsageError(
            f"--input {text}: expected five integers of 1 or more, separated by commas",
            remedy=f"e.g. {EXAMPLE_INPUT} for batch, time, height, width, channels",
        )
    if len(sizes) == 4:
        first, rest = sizes[0], ",".join(map(str, sizes[1:]))
        raise UsageError(
            f"--input {text}: 4 axes, and ConvLSTM2D takes 5: batch or time is missing",
            remedy=f"one clip of {first} frames is --input 1,{first},{rest}, "
            f"{first} clips of one frame are --input {first},1,{rest}",
        )
    if len(sizes) != 5:
        raise UsageError(
            f"--input {text}: {len(sizes)} axes, and ConvLSTM2D takes 5",
            remedy=f"give batch, time, height, width, channels, e.g. {EXAMPLE_INPUT}",
        )
    return sizes


def parse_layers(texts: Sequence[str]) -> tuple[LayerSettings, ...]:
    """Read each layer; UsageError names the layer, the setting and what it may be."""
    return tuple(_parse_layer(number, text) for number, text in enumerate(texts, start=1))


def _parse_layer(number: int, text: str) -> LayerSettings:
    where = f"--layer {number}"
    given: dict[str, object] = {}
    for word in _WORD.findall(text):
        name, equals, value = word.partition("=")
        name = "kernel_size" if name == "kernel" else name
        if not equals or name not in _READERS:
            raise _unknown(where, word if not equals else name, bool(equals))
        if name in given:
            raise UsageError(f"{where}: {name} is given twice", remedy="leave one out")
        try:
            given[name] = _READERS[name](value)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    for name, example in (("filters", "filters=64"), ("kernel_size", "kernel=3")):
        if name not in given:
            raise UsageError(f"{where}: {name} is missing", remedy=f"add {example}")
    given.setdefault("padding", "valid")
    geometry = {name: given.pop(name) for name in _GEOMETRY if name in given}
    kept = {field.name: given[field.name] for field in fields(LayerSettings) if field.name in given}
    try:
        _check_together(given)
        return LayerSettings(geometry=ConvGeometry.parse(2, **geometry), **kept)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _unknown(where: str, word: str, is_setting: bool) -> UsageError:
    if not is_setting:
        return UsageError(
            f"{where}: {word!r} is no NAME=VALUE", remedy='write e.g. "filters=64 kernel=5"'
        )
    near = difflib.get_close_matches(word, (*_READERS, "kernel"), 1, 0.5)
    return UsageError(
        f"{where}: {word} is no argument of ConvLSTM2D",
        remedy=f"did you mean {near[0]}?" if near else f"there are {', '.join(_READERS)}",
    )


def _check_together(given: dict[str, object]) -> None:
    filters = given["filters"]
    to_layer_norm(given.get("layer_norm", False), filters)
    orthogonal = str(given.get("bias_initializer")).lower() == "orthogonal"
    if orthogonal and given.get("use_bias", True):
        raise ValueError(
            f"orthogonal weights need two or more axes; received shape {(4 * filters,)}; use "
            "another initializer for a bias"
        )


def _integers(text: str) -> object:
    """The integer or integers a text spells, or else the text, which the layer's rules refuse."""
    try:
        sizes = [int(part) for part in text.strip("()[]").split(",")]
    except ValueError:
        return text
    return sizes[0] if len(sizes) == 1 else tuple(sizes)


def _filters(text: str) -> int:
    return to_sizes(_integers(text), 1, "filters")[0]


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false; received {text!r}; write {name}=true")
    return text.lower() == "true"


def _number(text: str) -> float | str:
    """The number a text spells, or else the text, which the layer's rules refuse."""
    try:
        return float(text)
    except ValueError:
        return text


def _rate(name: str, text: str) -> float:
    return to_rate(_number(text), name)


def _seed(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal():
        raise ValueError(f"seed must be an integer or none; received {text!r}; use e.g. seed=1")
    return int(text)


def _name(argument: str, known: Iterable[str], nothing: str | None, text: str) -> str | None:
    """A name that is known; `none` where the argument may be left empty, which is `nothing`."""
    if text.lower() == "none" and nothing is not None:
        return nothing
    check_name(argument, text, known)
    return text


def _regularizer(argument: str, text: str) -> str:
    """A name that is known, or such a one with its factors: l2(0.01), l1_l2(0.01, 0.02)."""
    name, bracket, rest = text.partition("(")
    if not bracket:
        return _name(argument, REGULARIZER_NAMES, "", text)
    check_name(argument, name, (*REGULARIZER_NAMES, "l1_l2"))
    takes = [factor for factor in ("l1", "l2") if factor in name.lower()]
    factors = rest.removesuffix(")").split(",")
    if not rest.endswith(")") or len(factors) > len(takes):
        example = f"{name}({', '.join('0.01' for _ in takes)})"
        rule = f"{argument}: {name} takes {' and '.join(takes)}"
        raise ValueError(f"{rule}; received {text!r}; write {argument}={example}")
    for factor, number in zip(takes, factors, strict=False):
        to_factor(_number(number.strip()), factor)
    return text


_WORD = re.compile(r"(?:\([^)]*\)?|[^\s(])+")
"""One setting of a layer: no white space, but inside parentheses."""

_GEOMETRY = ("kernel_size", "strides", "padding", "dilation_rate")
_WEIGHTS = ("kernel", "recurrent", "bias")
_RATES = ("dropout", "recurrent_dropout")
_FLAGS = (
    *("use_bias", "unit_forget_bias", "return_sequences", "return_state", "go_backwards"),
    *("stateful", "unroll", "zero_output_for_mask", "peephole", "layer_norm", "recompute"),
)
_ACTIVATIONS = ("activation", "recurrent_activation")
_REGULARIZERS = tuple(f"{name}_regularizer" for name in (*_WEIGHTS, "activity"))
_INITIALIZERS = tuple(f"{name}_initializer" for name in _WEIGHTS)
_CONSTRAINTS = tuple(f"{name}_constraint" for name in _WEIGHTS)
_READERS: dict[str, Callable[[str], object]] = {
    "filters": _filters,
    **dict.fromkeys(("kernel_size", "strides", "dilation_rate"), _integers),
    "padding": str,
    "data_format": to_data_format,
    **{name: partial(_name, name, ACTIVATION_COSTS, "linear") for name in _ACTIVATIONS},
    **{name: partial(_flag, name) for name in _FLAGS},
    **{name: partial(_rate, name) for name in _RATES},
    "seed": _seed,
    **{name: partial(_name, name, INITIALIZER_NAMES, None) for name in _INITIALIZERS},
    **{name: partial(_regularizer, name) for name in _REGULARIZERS},
    **{name: partial(_name, name, CONSTRAINT_NAMES, "") for name in _CONSTRAINTS},
}
