"""The settings of a run: frozen dataclasses, filled from flag > environment > YAML file > default.

Every setting is declared once, below: its type, default, range and one sentence. Help texts, error
messages and `framecast.yaml.example` are all made from that declaration.
"""

from __future__ import annotations

import difflib
import functools
import math
import os
import re
import reprlib
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from framecast.errors import ConfigError

if TYPE_CHECKING:
    import yaml

ENV_PREFIX = "FRAMECAST_"
NONE_WORDS = ("none", "null", "~")
BOOL_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
LONGEST_NUMBER = 300
YAML_TAG = "tag:yaml.org,2002:"
EXAMPLE_HEADER = """\
# Every setting of framecast with its default. Copy the file, keep the lines you change, and pass
# it with --config. A flag (--set train.lr=3e-4) wins over an environment variable
# (FRAMECAST_TRAIN_LR=3e-4), that over this file. none and null mean the same."""


@dataclass(frozen=True)
class Rule:
    """What a setting means and, beyond its type, which values it takes."""

    help: str
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    odd: bool = False
    pattern: str = ""
    pattern_text: str = ""


class _Section:
    """Checks every field where the object is made, so a section that exists is valid."""

    SECTION: ClassVar[str]

    def __post_init__(self) -> None:
        for spec in _specs(type(self)):
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))


@dataclass(frozen=True)
class DataConfig(_Section):
    """How clips become training and validation windows."""

    SECTION: ClassVar[str] = "data"

    context_length: Annotated[
        int, Rule("Frames the model sees before it predicts.", at_least=1)
    ] = 6
    horizon: Annotated[
        int | Literal["auto"],
        Rule(
            "Lead times trained and validated on; auto: 12, or fewer when the clips are short.",
            at_least=1,
        ),
    ] = "auto"
    frame_step: Annotated[
        int, Rule("Distance between the frames inside a window, in frames.", at_least=1)
    ] = 1
    stride: Annotated[int, Rule("Distance between window starts, in frames.", at_least=1)] = 1
    validation_fraction: Annotated[
        float,
        Rule(
            "Share of every clip's end, or of the clips, held out for validation.", above=0, below=1
        ),
    ] = 0.25
    split: Annotated[
        Literal["auto", "time", "clip"],
        Rule("Hold out the end of every clip (time) or whole clips; auto: clip from 5 clips on."),
    ] = "auto"
    color: Annotated[
        Literal["auto", "gray", "rgb"],
        Rule("Colours the model works in; auto: gray when the frames are stored gray, else rgb."),
    ] = "auto"
    resize: Annotated[
        str,
        Rule(
            "Frame size the model works at; auto: as stored, shrunk when a side exceeds 768.",
            pattern=r"auto|none|[1-9][0-9]*x[1-9][0-9]*",
            pattern_text="auto, none or HEIGHTxWIDTH such as 96x160",
        ),
    ] = "auto"
    crop: Annotated[
        int,
        Rule(
            "Side in pixels of the random squares trained on; 0 trains on whole frames.", at_least=0
        ),
    ] = 128
    flip: Annotated[bool, Rule("Mirror training windows at random.")] = True
    keep_readable: Annotated[
        bool, Rule("Keep the frames before a corrupt one instead of stopping with an error.")
    ] = False


@dataclass(frozen=True)
class ModelConfig(_Section):
    """The network."""

    SECTION: ClassVar[str] = "model"

    name: Annotated[
        Literal["flow-convlstm", "convlstm"],
        Rule("Architecture; flow-convlstm starts from the motion between the context frames."),
    ] = "flow-convlstm"
    filters: Annotated[
        tuple[int, ...], Rule("Hidden channels, one ConvLSTM2D layer for each number.", at_least=1)
    ] = (64, 64)
    kernel_size: Annotated[
        int, Rule("Side of the convolution kernels, in cells.", at_least=1, odd=True)
    ] = 3
    patch: Annotated[
        Literal[1, 2, 4, 8, 16],
        Rule("Side of the square of pixels that is one cell of the network's grid."),
    ] = 8


@dataclass(frozen=True)
class TrainConfig(_Section):
    """The training loop."""

    SECTION: ClassVar[str] = "train"

    minutes: Annotated[float | None, Rule("Wall-clock budget; none: no limit.", above=0)] = 10.0
    epochs: Annotated[int | None, Rule("Number of epochs; none: no limit.", at_least=1)] = None
    steps_per_epoch: Annotated[
        int | Literal["auto"],
        Rule("Optimizer steps between two validations; auto: chosen from the data.", at_least=1),
    ] = "auto"
    patience: Annotated[
        int | None,
        Rule("Epochs without a better validation before stopping; none: never.", at_least=1),
    ] = 20
    batch_size: Annotated[
        int | Literal["auto"],
        Rule("Windows per optimizer step; auto: what the device holds.", at_least=1),
    ] = "auto"
    lr: Annotated[float, Rule("Highest learning rate.", above=0)] = 1e-3
    weight_decay: Annotated[float, Rule("Weight decay of AdamW.", at_least=0)] = 1e-4
    clip_norm: Annotated[float, Rule("Largest norm of the gradient of one step.", above=0)] = 1.0
    loss: Annotated[
        Literal["mse", "mae", "mix"],
        Rule("Training loss: mean squared error, mean absolute error, or the mean of both."),
    ] = "mse"
    ema: Annotated[
        float,
        Rule(
            "Decay of the averaged weights that are validated and saved; 0: off.",
            at_least=0,
            below=1,
        ),
    ] = 0.98
    seed: Annotated[
        int, Rule("Seed of weights, windows and augmentation.", at_least=0, below=2**32)
    ] = 0
    device: Annotated[
        str,
        Rule(
            "Where to train; auto: cuda, then mps, then cpu.",
            pattern=r"auto|cpu|cuda(:[0-9]+)?|mps",
            pattern_text="auto, cpu, cuda, cuda:N or mps",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Rule("Arithmetic of the network; auto: bfloat16 autocast on cuda, float32 elsewhere."),
    ] = "auto"


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


SECTIONS: dict[str, type[_Section]] = {
    section.SECTION: section for section in (DataConfig, ModelConfig, TrainConfig)
}


@dataclass(frozen=True)
class FieldSpec:
    """One setting as declared above; reads and checks its values."""

    section: str
    name: str
    default: object
    rule: Rule
    kinds: tuple[type, ...]
    literals: tuple[str | int, ...]

    @property
    def dotted(self) -> str:
        """The setting's full name, `train.lr`."""
        return f"{self.section}.{self.name}"

    @property
    def env(self) -> str:
        """The environment variable that sets it, `FRAMECAST_TRAIN_LR`."""
        return f"{ENV_PREFIX}{self.section}_{self.name}".upper()

    @property
    def help(self) -> str:
        """The setting's one sentence."""
        return self.rule.help

    @property
    def expects(self) -> str:
        """The values it takes, in words: `an integer >= 1 or auto`."""
        rule = self.rule
        limits = ((">", rule.above), (">=", rule.at_least), ("<", rule.below))
        bounds = " and".join(f" {sign} {limit}" for sign, limit in limits if limit is not None)
        words = {
            int: f"an {'odd ' if rule.odd else ''}integer{bounds}",
            float: f"a number{bounds}",
            bool: "true or false",
            str: rule.pattern_text,
            tuple: f"a list of integers{bounds} such as [64, 64]",
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
        except ValueError:
            raise self._refusal(_shown(value), where) from None

    def parse(self, text: str, where: str = "", *, quoted: bool = False) -> object:
        """Read the text of a flag, a variable or a YAML scalar; the field's type decides how.

        Reading by type rather than by YAML's own rules is what makes `1e-3` a number, `no` a word
        and `012` an error. `quoted` text is a string, never a number or true/false.
        """
        try:
            return self._convert(self._read(text.strip(), quoted))
        except ValueError:
            got = f'"{text}" in quotes' if quoted else text.strip() or "nothing"
            raise self._refusal(got, where) from None

    def _read(self, text: str, quoted: bool) -> object:
        named = {str(literal): literal for literal in self.literals}
        if text in named and not (quoted and type(named[text]) is int):
            return named[text]
        if type(None) in self.kinds and text.lower() in NONE_WORDS:
            return None
        if quoted or str in self.kinds:
            return text
        if bool in self.kinds:
            return BOOL_WORDS.get(text.lower(), text)
        if tuple in self.kinds:
            inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
            return [_number(item.strip()) for item in inside.split(",")]
        return _number(text)

    def _convert(self, value: object) -> object:
        kind = type(value)
        if any(kind is type(literal) and value == literal for literal in self.literals):
            return value
        if kind in (bool, type(None)) and kind in self.kinds:
            return value
        if kind is str and str in self.kinds and re.fullmatch(self.rule.pattern, value):
            return value
        if kind in (list, tuple) and tuple in self.kinds and value:
            if all(type(item) is int and self._in_range(item) for item in value):
                return tuple(value)
        elif kind is int and int in self.kinds and self._in_range(value):
            return value
        elif kind in (int, float) and float in self.kinds and self._in_range(float(value)):
            return float(value)
        raise ValueError

    def _in_range(self, number: float) -> bool:
        rule = self.rule
        return (
            (type(number) is int or math.isfinite(number))
            and (rule.at_least is None or number >= rule.at_least)
            and (rule.above is None or number > rule.above)
            and (rule.below is None or number < rule.below)
            and not (rule.odd and number % 2 == 0)
        )

    def _refusal(self, got: str, where: str) -> ConfigError:
        words = [str(literal) for literal in self.literals if isinstance(literal, str)]
        close = difflib.get_close_matches(got, words, n=1)
        return ConfigError(
            f"{_prefix(where)}{self.dotted}: expected {self.expects}, got {got}",
            remedy=f"did you mean {close[0]}?" if close else "",
        )


def _prefix(where: str) -> str:
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
def _specs(section: type[_Section]) -> tuple[FieldSpec, ...]:
    hints = typing.get_type_hints(section, include_extras=True)
    specs = []
    for declared in dataclass_fields(section):
        annotation, rule = typing.get_args(hints[declared.name])
        union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
        members = typing.get_args(annotation) if union else (annotation,)
        choices = [m for m in members if typing.get_origin(m) is Literal]
        kinds = tuple(typing.get_origin(m) or m for m in members if m not in choices)
        literals = tuple(word for choice in choices for word in typing.get_args(choice))
        specs.append(
            FieldSpec(section.SECTION, declared.name, declared.default, rule, kinds, literals)
        )
    return tuple(specs)


def fields() -> tuple[FieldSpec, ...]:
    """Every setting, in the order of the example file."""
    return tuple(spec for section in SECTIONS.values() for spec in _specs(section))


def to_dict(config: Config) -> dict[str, dict[str, object]]:
    """The settings as plain nested data that JSON, YAML and a checkpoint hold without loss."""
    return {
        name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(getattr(config, name)).items()
        }
        for name in SECTIONS
    }


def from_dict(values: Mapping[str, object]) -> Config:
    """The inverse of `to_dict`; settings left out take their defaults.

    Raises ConfigError for unknown names, wrong types and values out of range.
    """
    settings: dict[str, object] = {}
    for section, entries in values.items():
        if section not in SECTIONS or not isinstance(entries, Mapping):
            raise _unknown_section(str(section))
        for name, value in entries.items():
            spec = _find(f"{section}.{name}")
            settings[spec.dotted] = spec.check(value)
    return _build(settings)


def load_config(
    path: Path | None = None,
    overrides: Sequence[str | tuple[str, object, str]] = (),
    env: Mapping[str, str] | None = None,
) -> Config:
    """The settings of a run; a flag wins over the environment, that over the file, over defaults.

    `path` is a YAML file. `overrides` are `"train.lr=1e-3"` (from --set) or
    `("train.lr", 1e-3, "--lr")`, a named flag the user gave; of several for one setting the last
    wins. `env` (`os.environ` when None) holds `FRAMECAST_TRAIN_LR` and the like.
    Raises ConfigError for what cannot be read, is unknown, of the wrong type or out of range, even
    where a stronger layer would have replaced it; the message says where it was set.
    """
    settings = _read_file(Path(path)) if path is not None else {}
    settings |= _read_env(os.environ if env is None else env)
    for override in overrides:
        settings |= _read_override(override)
    return _build(settings)


def to_yaml(config: Config) -> str:
    """The settings as a YAML file that `load_config` reads back to an equal Config."""
    return "\n".join(
        f"{name}:\n" + "".join(f"  {_yaml_line(key, value)}\n" for key, value in entries.items())
        for name, entries in to_dict(config).items()
    )


def example_yaml() -> str:
    """The text of `framecast.yaml.example`: every setting, its default, its sentence."""
    lines = [EXAMPLE_HEADER]
    defaults = to_dict(Config())
    for name, section in SECTIONS.items():
        lines += ["", f"# {section.__doc__}", f"{name}:"]
        for spec in _specs(section):
            sentence = f"{spec.help} ({spec.expects})"
            lines += textwrap.wrap(sentence, 100, initial_indent="  # ", subsequent_indent="  # ")
            lines.append("  " + _yaml_line(spec.name, defaults[name][spec.name]))
    return "\n".join(lines) + "\n"


def _yaml_line(key: str, value: object) -> str:
    import yaml  # noqa: PLC0415  (importing config stays free of it)

    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return f"{key}: {text.removesuffix('...' + chr(10)).strip()}"


def _build(settings: Mapping[str, object]) -> Config:
    sections = {
        name: section(
            **{s.name: settings[s.dotted] for s in _specs(section) if s.dotted in settings}
        )
        for name, section in SECTIONS.items()
    }
    return Config(**sections)


def _find(dotted: str, where: str = "") -> FieldSpec:
    known = {spec.dotted: spec for spec in fields()}
    if dotted in known:
        return known[dotted]
    section, _, name = dotted.rpartition(".")
    by_name = {spec.name: spec.dotted for spec in fields()}
    close = (
        [by_name[name]] if name in by_name else difflib.get_close_matches(dotted, known, n=1)
    ) or [by_name[hit] for hit in difflib.get_close_matches(name, by_name, n=1)]
    if close:
        remedy = f"did you mean {close[0]}?"
    elif section in SECTIONS:
        remedy = f"{section} has " + ", ".join(s.name for s in _specs(SECTIONS[section]))
    else:
        remedy = "settings are named section.name, with the sections " + ", ".join(SECTIONS)
    raise ConfigError(f"{_prefix(where)}{dotted}: unknown setting", remedy=remedy)


def _unknown_section(key: str, where: str = "") -> ConfigError:
    name = key.rpartition(".")[2]
    homes = [spec for spec in fields() if spec.name == name]
    close = difflib.get_close_matches(key, SECTIONS, n=1)
    if homes:
        remedy = f"write {name}: under {homes[0].section}:"
    elif close:
        remedy = f"did you mean {close[0]}?"
    else:
        remedy = "the sections are " + ", ".join(SECTIONS)
    return ConfigError(f"{_prefix(where)}{key}: unknown section", remedy=remedy)


def _read_env(env: Mapping[str, str]) -> dict[str, object]:
    known = {spec.env: spec for spec in fields()}
    settings = {}
    for variable in sorted(name for name in env if name.startswith(ENV_PREFIX)):
        if variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            raise ConfigError(
                f"{variable}: no setting has this environment variable",
                remedy=f"did you mean {close[0]}?" if close else "unset it",
            )
        spec = known[variable]
        settings[spec.dotted] = spec.parse(env[variable], variable)
    return settings


def _read_override(override: str | tuple[str, object, str]) -> dict[str, object]:
    if isinstance(override, str):
        where = f"--set {override}"
        dotted, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(
                f"{where}: no value", remedy="write --set section.name=value, as in train.lr=1e-3"
            )
    else:
        dotted, value, where = override
    spec = _find(dotted.strip(), where)
    checked = spec.parse(value, where) if isinstance(value, str) else spec.check(value, where)
    return {spec.dotted: checked}


def _read_file(path: Path) -> dict[str, object]:
    settings: dict[str, object] = {}
    root = _compose(path)
    for section, line, entries in _pairs(root, str(path), "the file"):
        if section not in SECTIONS:
            raise _unknown_section(section, f"{path}:{line}")
        for name, name_line, node in _pairs(entries, str(path), section):
            spec = _find(f"{section}.{name}", f"{path}:{name_line}")
            settings[spec.dotted] = _node_value(node, spec, f"{path}:{node.start_mark.line + 1}")
    return settings


def _compose(path: Path) -> yaml.Node | None:
    import yaml  # noqa: PLC0415  (importing config stays free of it)

    try:
        text = path.read_bytes().decode("utf-8-sig")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(
            f"{path}: {(error.strerror or str(error)).lower()}", remedy="check the path of --config"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", remedy="save it as UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(
            f"{path}:{line}: not YAML: character {error.character:#04x}", remedy="remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{path}:{mark.line + 1}: not YAML: {error.problem}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: nested too deeply") from None


def _pairs(node: yaml.Node | None, path: str, name: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """Key, its line and its value's node; an empty mapping may be written as nothing at all."""
    if node is None or node.tag == YAML_TAG + "null":
        return
    line = node.start_mark.line + 1
    if node.id != "mapping":
        raise ConfigError(
            f"{path}:{line}: {name}: expected settings as `name: value` lines, got {_found(node)}"
        )
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.id != "scalar":
            raise ConfigError(f"{path}:{line}: expected a setting's name, got {_found(key_node)}")
        key = key_node.value
        if key in lines:
            raise ConfigError(
                f"{path}:{line}: {key}: set twice, first on line {lines[key]}", remedy="keep one"
            )
        lines[key] = line
        yield key, line, value_node


def _node_value(node: yaml.Node, spec: FieldSpec, where: str) -> object:
    if node.id == "sequence" and all(item.id == "scalar" for item in node.value):
        return spec.parse(", ".join(item.value for item in node.value), where)
    if node.id == "scalar" and node.tag == YAML_TAG + "null":
        return spec.check(None, where)
    if node.id == "scalar" and node.tag.startswith(YAML_TAG):
        return spec.parse(node.value, where, quoted=node.style is not None)
    raise ConfigError(f"{where}: {spec.dotted}: expected {spec.expects}, got {_found(node)}")


def _found(node: yaml.Node) -> str:
    if node.id == "scalar":
        return node.value if node.tag.startswith(YAML_TAG) else f"the YAML tag {node.tag}"
    return {"sequence": "a list", "mapping": "a mapping"}[node.id]
