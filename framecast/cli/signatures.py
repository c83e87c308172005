"""The signature that Typer reads, made from the one that a command is written with.

A command names its options and their types; what help says of each stands once, in `options`. A
parameter that is a dataclass stands for one option for each of its fields, and the command gets it
built; `flags` stands for every setting that has a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from framecast.cli.options import COMPLETIONS, FLAGS, OPTIONS, PATHS, SECTIONS, Overrides
from framecast.config.fields import FieldSpec, specs

# What stands for a setting's value in help, by its type; a name where it is one of a list
METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}

# Every setting that declares a flag, by the parameter's name
SETTINGS = {
    spec.flag.lstrip("-").replace("-", "_"): spec
    for section in SECTIONS
    for spec in specs(section)
    if spec.flag
}

# What makes a command's argument of the values that Typer has read, which it takes out
Source = Callable[[dict[str, Any]], Any]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that its parameters stand for."""
    parameters: list[Parameter] = []
    sources: dict[str, Source] = {}
    # Not get_type_hints, which wraps what may be None in an Optional until Python 3.11.
    own = signature(command, eval_str=True)
    for name, parameter in own.parameters.items():
        kind = parameter.annotation
        if kind == Overrides:
            parameters += _setting_options()
            sources[name] = _given_settings
        elif is_dataclass(kind):
            parameters += _field_options(command.__name__, kind)
            sources[name] = partial(_built, kind)
        else:
            parameters.append(_option(command.__name__, name, kind, parameter.default))

    def called(**arguments: Any) -> None:
        made = {name: source(arguments) for name, source in sources.items()}
        command(**arguments, **made)

    # All by name, since options with a default may come before those that are required.
    called.__signature__ = own.replace(
        parameters=[each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    )
    called.__annotations__ = {}  # else Typer would evaluate those of `called`
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


def _option(command: str, name: str, kind: Any, default: Any) -> Parameter:
    """A parameter with what help says of its option; one that says so itself stays as it is."""
    known = OPTIONS.get(f"{command}.{name}") or OPTIONS.get(name)
    if known and get_origin(kind) is not Annotated:
        panel, metavar, text = known
        flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
        # A flag that is named has no --no-flag, which would say nothing new.
        shown = {"metavar": metavar, "help": text, "rich_help_panel": panel, **PATHS}
        offered = COMPLETIONS.get(name)
        kind = Annotated[kind, typer.Option(*flag.split(), autocompletion=offered, **shown)]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _field_options(command: str, kind: type) -> Iterator[Parameter]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        if get_origin(hints[field.name]) is tuple:  # of any length, which Typer calls a list
            yield _option(command, field.name, list[get_args(hints[field.name])[0]] | None, None)
        else:
            default = Parameter.empty if field.default is MISSING else field.default
            yield _option(command, field.name, hints[field.name], default)


def _built(kind: type, arguments: dict[str, Any]) -> Any:
    values = {field.name: arguments.pop(field.name) for field in fields(kind)}
    given = {name: value for name, value in values.items() if value is not None}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in given.items()})


def _given_settings(arguments: dict[str, Any]) -> Overrides:
    """The flags that were given, as `load_config` takes overrides; the setting checks the text."""
    given = [(spec, arguments.pop(name)) for name, spec in SETTINGS.items()]
    return [(spec.dotted, value, spec.flag) for spec, value in given if value is not None]


def _setting_options() -> Iterator[Parameter]:
    for name, spec in SETTINGS.items():
        kind, metavar, text = bool, None, spec.help
        if bool not in spec.kinds:  # a switch has no value, and only turns the setting on
            default = f"{spec.default:g}" if isinstance(spec.default, float) else spec.default
            text = f"{text} [{spec.expects}; default: {str(default).lower()}]"
            metavar = next((METAVARS[kind] for kind in spec.kinds if kind in METAVARS), "NAME")
            kind = str
        shown = {"metavar": metavar, "help": text, "rich_help_panel": spec.section.capitalize()}
        option = typer.Option(spec.flag, autocompletion=_offer(spec), **shown)
        annotation = Annotated[kind | None, option]
        yield Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _offer(spec: FieldSpec) -> Callable[[], list[str]]:
    """What the shell completes: a function without parameters, which Typer takes for others."""
    return lambda: [str(literal) for literal in spec.literals]
