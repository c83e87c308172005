"""A layer's arguments: Keras' names and order, its old names, and what each argument may be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framecast.inspection.keras_signatures import OF_ANY_LAYER, OLD_NAMES, parameters_of
from framecast.inspection.layer_outcome import Problem
from framecast.inspection.sizes import Symbol
from framecast.nn.convlstm.argument_checks import to_factor, to_layer_norm, to_rate, to_seed
from framecast.nn.convlstm.keras_identifiers import check_name
from framecast.nn.convlstm.keras_names import (
    ACTIVATION_NAMES,
    CONSTRAINT_NAMES,
    INITIALIZER_NAMES,
    REGULARIZER_NAMES,
)
from framecast.runtime.text import counted

_OLD_FORMATS = {"th": "channels_first", "tf": "channels_last"}

# By the last word of an argument: names that framecast knows, then those that only Keras does
_NAMES: dict[str, tuple[str, ...]] = {
    "activation": (*ACTIVATION_NAMES, "glu", "threshold"),
    "initializer": (*INITIALIZER_NAMES, "identity"),
    "regularizer": (*REGULARIZER_NAMES, "l1_l2", "orthogonal_regularizer"),
    "constraint": (*CONSTRAINT_NAMES,),
}

_NUMBERS = {
    **dict.fromkeys(("dropout", "recurrent_dropout", "rate"), to_rate),
    **dict.fromkeys(("stddev", "negative_slope", "threshold"), to_factor),
}

# Of UpSampling2D, `ops.image.resize` in Keras
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")

# Factors of penalties on weights, by the names of Keras' functions and classes
PENALTIES = {
    **dict.fromkeys(("l1", "L1"), ("l1",)),
    **dict.fromkeys(("l2", "L2"), ("l2",)),
    **dict.fromkeys(("l1_l2", "L1L2"), ("l1", "l2")),
}


@dataclass(frozen=True)
class Penalty:
    """A penalty as it is called with its factors: `l2(0.01)`, `L1L2(l1=0.01, l2=0.02)`."""

    name: str
    positional: Sequence[Any]
    keywords: Mapping[str, Any]

    def check(self, argument: str) -> None:
        """Raise a ValueError for what Keras refuses, with the name of the layer's `argument`."""
        known = PENALTIES[self.name]
        given = {**dict(zip(known, self.positional, strict=False)), **self.keywords}
        if len(self.positional) > len(known) or not {*given} <= {*known}:
            example = f"{argument}={self.name}({', '.join('0.01' for _ in known)})"
            factors = f"{counted(len(known), 'factor')}, {' and '.join(known)}"
            raise ValueError(f"{argument}: {self.name} takes {factors}; write {example}")
        for factor, number in given.items():
            if not isinstance(number, Symbol | None):
                to_factor(number, factor)


def bind(
    kind: str, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """All arguments of a layer by name, and what is wrong with those that were written."""
    known, problems = parameters_of(kind), []
    if len(positional) > len(known):
        what = f"takes at most {counted(len(known), 'argument')}"
        problems.append(Problem(what, "leave out the others"))
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


def value_problems(kind: str, arguments: Mapping[str, Any]) -> list[Problem]:
    """Values that a layer refuses: rates, seeds, rules for weights, other values for a flag.

    Sizes are checked by the layer's shape rule.
    """
    found = []
    for name, value in arguments.items():
        if value is ... or isinstance(value, Symbol):  # missing, or not followed
            continue
        try:
            if check := _NUMBERS.get(name):
                check(value, name)
            elif name == "layer_norm":
                to_layer_norm(value, arguments["filters"])
            elif name == "seed":
                to_seed(value)
            elif name == "interpolation" and str(value).lower() not in _INTERPOLATIONS:
                rule = f"interpolation must be one of {', '.join(_INTERPOLATIONS)}"
                raise ValueError(f"{rule}; received {value!r}; use interpolation='nearest'")
            elif names := _NAMES.get(name.rpartition("_")[2]):
                _check_rule(kind, name, value, names)
            has_bias = name == "bias_initializer" and arguments.get("use_bias", True)
            if has_bias and str(value).lower() == "orthogonal":
                rule = f"{name}: orthogonal weights need two or more axes, and a bias has one"
                raise ValueError(f"{rule}; use another initializer")
            # Text is true to Python, "False" too, as is a number that belongs to another argument
            if isinstance(parameters_of(kind)[name], bool) and value not in (True, False, None):
                rule = f"{name} must be true or false; received {value!r}"
                raise ValueError(f"{rule}; write {name}=True or {name}=False")
        except ValueError as error:
            what, _, change = str(error).rpartition("; ")
            found.append(Problem(what, change))
    return found


def _check_rule(kind: str, name: str, value: Any, known: Iterable[str]) -> None:
    """Check an activation, initializer, regularizer or constraint; objects are the user's own."""
    if isinstance(value, Penalty):
        value.check(name)
    elif isinstance(value, str | int | float | list | tuple):
        check_name(name, value, known)
    # Other layers of Keras start a kernel by their own rule then
    elif value is None and name.endswith("initializer") and kind.startswith("ConvLSTM"):
        raise ValueError(f'{name} must not be None; use "zeros" for weights that start at 0')
