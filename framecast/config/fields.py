"""How a setting is declared, checked and read from text; `schema.py` declares the settings.

A section is a frozen dataclass whose fields are `name: type = setting(default, help, ...)`.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import reprlib
import types
import typing
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from framecast.errors import ConfigError

ENV_PREFIX = "FRAMECAST_"

NONE_WORDS = ("none", "null", "~")
# Words of YAML 1.1, in lower case
BOOL_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# No leading zeros: `012` would be octal to YAML 1.1
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Digits of an integer: as many as 64 bits always hold; products of sizes are within floats
LONGEST_NUMBER = 18


def setting(default: Any, sentence: str, **limits: Any) -> Any:
    """A field of a section: its default, its sentence of help, and its limits, as in FieldSpec."""
    return field(default=default, metadata={"help": sentence, **limits})


class Section:
    """A group of settings; checks its fields when it is made, so one that exists is valid."""

    SECTION: ClassVar[str]

    def __post_init__(self) -> None:
        for spec in specs(type(self)):
            # The dataclass is frozen, and a list becomes a tuple here
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))


@dataclass(frozen=True)
class FieldSpec:
    """One setting as its section declares it; reads and checks its values.

    `at_least`, `above` and `below` bound a number or each number of a list; a string matches
    `pattern` as a whole, which `pattern_text` describes. `flag` is its option of `train`.
    """

    section: str
    name: str
    default: object
    kinds: tuple[type, ...]
    literals: tuple[str | int, ...]
    help: str
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    odd: bool = False
    pattern: str = ""
    pattern_text: str = ""
    flag: str = ""

    @property
    def dotted(self) -> str:
        """The setting's full name, `train.lr`."""
        return f"{self.section}.{self.name}"

    @property
    def env(self) -> str:
        """The environment variable that sets it, `FRAMECAST_TRAIN_LR`."""
        return f"{ENV_PREFIX}{self.section}_{self.name}".upper()

    @property
    def expects(self) -> str:
        """The values it takes, in words: `an integer >= 1 or auto`."""
        limits = ((">", self.above), (">=", self.at_least), ("<", self.below))
        bounds = " and".join(f" {sign} {limit}" for sign, limit in limits if limit is not None)
        odd = "odd " if self.odd else ""
        words = {
            int: f"an {odd}integer{bounds}",
            float: f"a number{bounds}",
            bool: "true or false",
            str: self.pattern_text,
            tuple: f"a list of {odd}integers{bounds} such as {'[5, 3]' if odd else '[64, 64]'}",
            type(None): "none",
        }
        if not self.kinds:
            return "one of " + ", ".join(map(str, self.literals))
        return " or ".join([*(words[kind] for kind in self.kinds), *map(str, self.literals)])

    def check(self, value: object, where: str = "") -> object:
        """The value in the field's own type; ConfigError `data.horizon: expected ..., got ...`.

        `where` names the origin of the value in front of the error.
        """
        try:
            return self._convert(value)
        except (ValueError, OverflowError):
            raise self._refusal(_shown(value), where) from None

    def parse(self, text: str, where: str = "", *, quoted: bool = False) -> object:
        """Read the text of a flag, a variable or a YAML scalar; the field's type decides how.

        Reading by type, not by YAML's own rules, makes `1e-3` a number, `no` a word and `012` an
        error. `quoted` text is a string, never a number or true/false.
        """
        try:
            return self._convert(self._read(text.strip(), quoted))
        except (ValueError, OverflowError):
            got = f'"{text}" in quotes' if quoted else text.strip() or "nothing"
            raise self._refusal(got, where) from None

    def _read(self, text: str, quoted: bool) -> object:
        # "4" in quotes is text, not one of the numbers 1, 2, 4, 8
        named = {str(literal): literal for literal in self.literals}
        if text in named and not (quoted and type(named[text]) is int):
            return named[text]
        if type(None) in self.kinds and text.lower() in NONE_WORDS:
            return None
        if quoted or str in self.kinds:
            return text
        if bool in self.kinds:
            return BOOL_WORDS.get(text.lower(), text)
        bracketed = text.startswith("[") and text.endswith("]")
        # `5` is a number where both fit, `5,3` and `[5]` are lists
        if tuple in self.kinds and (bracketed or "," in text or int not in self.kinds):
            inside = text[1:-1] if bracketed else text
            return [_number(item.strip()) for item in inside.split(",")]
        return _number(text)

    def _convert(self, value: object) -> object:
        # By exact type: True is an integer to isinstance, and equal to 1
        kind = type(value)
        if any(kind is type(literal) and value == literal for literal in self.literals):
            return value
        if kind in (bool, type(None)) and kind in self.kinds:
            return value
        if kind in (str, int) and str in self.kinds and re.fullmatch(self.pattern, str(value)):
            return str(value)  # a number from Python, such as the SIDE of data.resize
        if kind in (list, tuple) and tuple in self.kinds and value:
            if all(type(item) is int and self._in_range(item) for item in value):
                return tuple(value)
        elif kind is int and int in self.kinds and self._in_range(value):
            return value
        # float() raises OverflowError for an integer above 1.8e308
        elif kind in (int, float) and float in self.kinds and self._in_range(float(value)):
            return float(value)
        raise ValueError

    def _in_range(self, number: float) -> bool:
        # NaN passes every bound that is put as `not number < bound`
        return (
            (type(number) is int or math.isfinite(number))
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
            and not (self.odd and number % 2 == 0)
        )

    def _refusal(self, got: str, where: str) -> ConfigError:
        words = [literal for literal in self.literals if isinstance(literal, str)]
        close = difflib.get_close_matches(got, words, n=1)
        return ConfigError(
            f"{prefix(where)}{self.dotted}: expected {self.expects}, got {got}",
            remedy=f"did you mean {close[0]}?" if close else "",
        )


def prefix(where: str) -> str:
    """The origin of a value as an error message begins with it."""
    return f"{where}: " if where else ""


def _shown(value: object) -> str:
    plain = {True: "true", False: "false", None: "none"}
    return plain[value] if value is None or type(value) is bool else reprlib.repr(value)


def _number(text: str) -> int | float | str:
    """The number a text spells, or the text itself."""
    if len(text) <= LONGEST_NUMBER and INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


@functools.cache
def specs(section: type[Section]) -> tuple[FieldSpec, ...]:
    """The settings a section declares, in order."""
    # Annotations are text until they are resolved
    hints = typing.get_type_hints(section)
    specs = []
    for declared in fields(section):
        annotation = hints[declared.name]
        # `int | Literal["auto"]` is either kind of union, by the version of Python
        union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
        members = typing.get_args(annotation) if union else (annotation,)
        choices = [m for m in members if typing.get_origin(m) is Literal]
        kinds = tuple(typing.get_origin(m) or m for m in members if m not in choices)
        literals = tuple(word for choice in choices for word in typing.get_args(choice))
        known = (section.SECTION, declared.name, declared.default, kinds, literals)
        specs.append(FieldSpec(*known, **declared.metadata))
    return tuple(specs)
