"""ConvLSTM2D layers given as text, "filters=64 kernel=5 strides=2", and the input they are fed.

Only arguments that change shapes, weights or memory are taken. Knows no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from framecast.errors import UsageError
from framecast.nn.shapes import ConvGeometry, to_sizes

FORMATS = ("channels_last", "channels_first")
EXAMPLE_INPUT = "--input 8,10,64,64,1"


@dataclass(frozen=True)
class LayerSettings:
    """One layer's arguments, checked; those without a default are needed."""

    filters: int
    geometry: ConvGeometry
    data_format: str = "channels_last"
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    return_sequences: bool = False
    return_state: bool = False
    stateful: bool = False
    peephole: bool = False


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
    for word in text.split():
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
    try:
        return LayerSettings(geometry=ConvGeometry.parse(2, **geometry), **given)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _unknown(where: str, word: str, is_setting: bool) -> UsageError:
    if not is_setting:
        return UsageError(
            f"{where}: {word!r} is no NAME=VALUE", remedy='write e.g. "filters=64 kernel=5"'
        )
    near = difflib.get_close_matches(word, (*_READERS, "kernel"), 1, 0.5)
    return UsageError(
        f"{where}: {word} is no setting that changes shapes, weights or memory",
        remedy=f"did you mean {near[0]}?" if near else f"there are {', '.join(_READERS)}",
    )


def _integers(name: str, text: str) -> tuple[int, ...]:
    parts = text.strip("()[]").split(",")
    try:
        sizes = [int(part) for part in parts]
    except ValueError:
        raise ValueError(f"{name} must be integers, e.g. 3 or 3,5; received {text!r}") from None
    return to_sizes(sizes[0] if len(sizes) == 1 else sizes, 2, name)


def _filters(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"filters must be an integer of 1 or more; received {text!r}")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false; received {text!r}")
    return text.lower() == "true"


def _rate(name: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate < 1.0:
        raise ValueError(
            f"{name} must be at least 0 and less than 1, at which nothing would be left to learn "
            f"from; received {text}; use e.g. {name}=0.2"
        )
    return rate


def _format(text: str) -> str:
    if text.lower() not in FORMATS:
        raise ValueError(f"data_format must be {' or '.join(FORMATS)}; received {text!r}")
    return text.lower()


_GEOMETRY = ("kernel_size", "strides", "padding", "dilation_rate")
_READERS: dict[str, Callable[[str], object]] = {
    "filters": _filters,
    **{name: partial(_integers, name) for name in ("kernel_size", "strides", "dilation_rate")},
    "padding": str,
    "data_format": _format,
    **{name: partial(_rate, name) for name in ("dropout", "recurrent_dropout")},
    **{
        name: partial(_flag, name)
        for name in ("use_bias", "return_sequences", "return_state", "stateful", "peephole")
    },
}
