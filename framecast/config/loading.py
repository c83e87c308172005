"""The settings of a run, read from flag > environment > YAML file > default, and written as YAML.

The settings themselves are declared in `schema.py`.
"""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from framecast.config.brightness_scale import read_scale
from framecast.config.fields import ENV_PREFIX, FieldSpec, Section, prefix, specs
from framecast.config.networks import NETWORKS
from framecast.config.schema import PRETRAINED, DataConfig, ModelConfig, TrainConfig
from framecast.config.yaml_reader import compose, node_value, pairs
from framecast.errors import ConfigError

EXAMPLE_HEADER = """\
# Every setting of framecast with its default. Copy the file, keep the lines you change, and pass
# it with --config. A flag (--set train.lr=3e-4) wins over an environment variable
# (FRAMECAST_TRAIN_LR=3e-4), that over this file. none and null mean the same."""

# Of earlier versions: model files, YAML files and people's shells still have them
RETIRED = {"data.cache_gb"}
RETIRED_VARIABLES = {"FRAMECAST_CACHE"}


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        # Rules between settings; those of a single one are in its declaration
        read_scale(self.data.scale)
        if self.train.from_scratch and self.train.weights != PRETRAINED:
            raise ConfigError(
                "train.weights: a run from scratch has none to start from",
                remedy="leave out one of train.weights and train.from_scratch",
            )
        if self.train.loss == "bce" and not self.model.traits.gives_probabilities:
            able = [name for name, traits in NETWORKS.items() if traits.gives_probabilities]
            raise ConfigError(
                "train.loss: bce needs frames strictly between 0 and 1, which model.name "
                f"{self.model.name} does not give",
                remedy=f"set model.name to {' or '.join(able)}, or train.loss to skill",
            )


SECTIONS: dict[str, type[Section]] = {
    section.SECTION: section for section in (DataConfig, ModelConfig, TrainConfig)
}


def fields() -> tuple[FieldSpec, ...]:
    """Every setting, in the order of the example file."""
    return tuple(spec for section in SECTIONS.values() for spec in specs(section))


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
    for section, entries in _entries(values, "settings"):
        if section not in SECTIONS:
            raise _unknown_section(section)
        for name, value in _entries(entries, section):
            if f"{section}.{name}" in RETIRED:
                continue
            spec = _find(f"{section}.{name}")
            settings[spec.dotted] = spec.check(value)
    return _build(settings)


def load_config(
    path: Path | None = None,
    overrides: Sequence[str | tuple[str, object, str]] = (),
    env: Mapping[str, str] | None = os.environ,
    base: Config | None = None,
) -> Config:
    """The settings of a run; a flag wins over the environment, that over the file, over defaults.

    `path` is a YAML file, `base` replaces the defaults. `overrides` are `"train.lr=1e-3"` (from
    --set) or `("train.lr", 1e-3, "--lr")`, a named flag; of several for one setting the last wins.
    `env` holds variables such as `FRAMECAST_TRAIN_LR`. Raises ConfigError for a setting that is
    unknown, of the wrong type or out of range, even if a stronger layer replaces it; the message
    says where it was set.
    """
    settings = {} if base is None else _flat(base)
    for found, _ in _layers(path, overrides, env):
        settings |= found
    return _build(settings)


def origins(
    path: Path | None, overrides: Sequence[str | tuple[str, object, str]]
) -> dict[str, str]:
    """Where each setting that is not the default was set: a file, a variable or a flag.

    Arguments and errors as for `load_config`.
    """
    layers = _layers(path, overrides, os.environ)
    return {name: origin for found, origin in layers for name in found}


def _layers(
    path: Path | None,
    overrides: Sequence[str | tuple[str, object, str]],
    env: Mapping[str, str] | None,
) -> Iterator[tuple[dict[str, object], str]]:
    """Settings and where they were set, the weakest first: a later one replaces an earlier one."""
    if path is not None:
        yield _read_file(Path(path)), str(path)
    yield from _read_env(env or {})
    for override in overrides:
        yield _read_override(override), "--set" if isinstance(override, str) else override[2]


def differences(before: Config, after: Config) -> set[str]:
    """Full names of the settings that differ, such as `train.lr`."""
    one, other = _flat(before), _flat(after)
    return {name for name, value in one.items() if other[name] != value}


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
        for spec in specs(section):
            indents = {"initial_indent": "  # ", "subsequent_indent": "  # "}
            lines += textwrap.wrap(spec.help, 98, break_on_hyphens=False, **indents)
            line = _yaml_line(spec.name, defaults[name][spec.name])
            lines.append(f"  {line}  # {spec.expects}")
    return "\n".join(lines) + "\n"


def _flat(config: Config) -> dict[str, object]:
    """Every setting by its full name."""
    return {spec.dotted: getattr(getattr(config, spec.section), spec.name) for spec in fields()}


def _yaml_line(key: str, value: object) -> str:
    import yaml  # noqa: PLC0415  (importing config stays free of it)

    # Flow style keeps a list on one line; PyYAML ends a bare scalar with a document end, "..."
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return f"{key}: {text.removesuffix('...' + chr(10)).strip()}"


def _entries(values: object, name: str) -> list[tuple[str, object]]:
    # From a model file, which may come from a stranger
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name}: expected a mapping, got {values!r:.80}")
    return [(str(key), value) for key, value in values.items()]


def _build(settings: Mapping[str, object]) -> Config:
    sections = {
        name: section(
            **{s.name: settings[s.dotted] for s in specs(section) if s.dotted in settings}
        )
        for name, section in SECTIONS.items()
    }
    return Config(**sections)


def _find(dotted: str, where: str = "") -> FieldSpec:
    known = {spec.dotted: spec for spec in fields()}
    if dotted in known:
        return known[dotted]
    section = dotted.partition(".")[0]
    if close := _nearest(dotted):
        remedy = f"did you mean {close.dotted}?"
    elif section in SECTIONS:
        remedy = f"{section} has " + ", ".join(s.name for s in specs(SECTIONS[section]))
    else:
        remedy = "settings are named section.name, with the sections " + ", ".join(SECTIONS)
    raise ConfigError(f"{prefix(where)}{dotted}: unknown setting", remedy=remedy)


def _nearest(key: str) -> FieldSpec | None:
    """The setting that a wrong name may mean: by its beginning, its letters, or its sentence."""
    name = key.rpartition(".")[2]
    by_name = {spec.name: spec for spec in fields()}
    begun = [spec for spec in by_name.values() if spec.name.startswith(name) and name]
    if name in by_name or len(begun) == 1:
        return by_name.get(name, *begun)
    for close in difflib.get_close_matches(name, by_name, n=1):
        return by_name[close]
    # `learning_rate` is called lr, whose sentence says "learning rate"
    meant = [s for s in by_name.values() if "_" in name and name.replace("_", " ") in s.help]
    if len(meant) == 1:
        return meant[0]
    # With its section right, the part that is wrong has been compared
    has_section = key.partition(".")[0] in SECTIONS
    by_full_name = {} if has_section else {spec.dotted: spec for spec in fields()}
    for close in difflib.get_close_matches(key, by_full_name, n=1):
        return by_full_name[close]
    return None


def _unknown_section(key: str, where: str = "") -> ConfigError:
    close = difflib.get_close_matches(key, SECTIONS, n=1)
    if close and "." not in key:
        remedy = f"did you mean {close[0]}?"
    elif setting := _nearest(key):
        remedy = f"write {setting.name}: under {setting.section}:"
    else:
        remedy = "the sections are " + ", ".join(SECTIONS)
    return ConfigError(f"{prefix(where)}{key}: unknown section", remedy=remedy)


def _read_env(env: Mapping[str, str]) -> Iterator[tuple[dict[str, object], str]]:
    known = {spec.env: spec for spec in fields()}
    # In order, so that of several wrong variables the same one is always reported
    for variable in sorted(name for name in env if name.startswith(ENV_PREFIX)):
        if variable in RETIRED_VARIABLES:
            continue
        if variable not in known:
            section, _, name = variable.removeprefix(ENV_PREFIX).lower().partition("_")
            close = _nearest(f"{section}.{name}" if section in SECTIONS else f"{section}_{name}")
            raise ConfigError(
                f"{variable}: no setting has this environment variable",
                remedy=f"did you mean {close.env}?" if close else "unset it",
            )
        spec = known[variable]
        yield {spec.dotted: spec.parse(env[variable], variable)}, variable


def _read_override(override: str | tuple[str, object, str]) -> dict[str, object]:
    if isinstance(override, str):
        where = f"--set {override}"
        dotted, equals, value = override.partition("=")
        if not (equals and dotted.strip()):
            raise ConfigError(
                f"{where}: no {'name' if equals else 'value'}",
                remedy="write --set section.name=value, as in train.lr=1e-3",
            )
    else:
        dotted, value, where = override
    spec = _find(dotted.strip(), where)
    checked = spec.parse(value, where) if isinstance(value, str) else spec.check(value, where)
    return {spec.dotted: checked}


def _read_file(path: Path) -> dict[str, object]:
    settings: dict[str, object] = {}
    root = compose(path)
    for section, line, entries in pairs(root, str(path), "the file"):
        if section not in SECTIONS:
            raise _unknown_section(section, f"{path}:{line}")
        for name, name_line, node in pairs(entries, str(path), section):
            if f"{section}.{name}" in RETIRED:
                continue
            spec = _find(f"{section}.{name}", f"{path}:{name_line}")
            # A value may begin on a later line than its name
            settings[spec.dotted] = node_value(node, spec, f"{path}:{node.start_mark.line + 1}")
    return settings
