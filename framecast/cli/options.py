"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from framecast.config.fields import FieldSpec, specs
from framecast.config.schema import DataConfig, ModelConfig, TrainConfig

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings, as framecast.yaml.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. train.lr=1e-3; repeatable."),
]
CLIP_KINDS = "Frame folders, videos, GIFs, .npy/.npz arrays"
Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", help=f"{CLIP_KINDS}, or folders of them.", show_default=False),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file or run folder.", show_default=False)
]
Horizon = Annotated[
    int | None, typer.Option(help="Frames to predict; default: as trained.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Match = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="How far to move forecasts to the last frame's distribution of brightness, 0 to 1.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Color = Annotated[Literal["gray", "rgb"] | None, typer.Option(help="Convert the frames first.")]
KeepReadable = Annotated[
    bool, typer.Option("--keep-readable", help="Use what is readable of damaged clips.")
]

Overrides = list[tuple[str, object, str]]
"""Settings that flags have set: the setting's full name, its value, the flag."""


def with_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting that declares one.

    The command receives those given as `flags`, in the form that `load_config` takes as overrides;
    values stay text, which the setting itself checks.
    """
    sections = (TrainConfig, ModelConfig, DataConfig)
    by_name = {
        spec.rule.flag.lstrip("-").replace("-", "_"): spec
        for section in sections
        for spec in specs(section)
        if spec.rule.flag
    }

    def called(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in by_name}
        flags = [
            (spec.dotted, given[name], spec.rule.flag)
            for name, spec in by_name.items()
            if given[name] is not None
        ]
        command(**arguments, flags=flags)

    own = signature(command, eval_str=True)
    parameters: list[Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name == "flags":  # the options stand in the help where it stood
            parameters += [_option(name, spec) for name, spec in by_name.items()]
        else:
            parameters.append(parameter)
    # Typer reads the options from the signature, which it must not evaluate again.
    called.__signature__ = own.replace(parameters=parameters)
    called.__annotations__ = {}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


def _option(name: str, spec: FieldSpec) -> Parameter:
    """The keyword parameter from which Typer makes the option of a setting."""
    if bool in spec.kinds:  # a switch has no value, and only turns the setting on
        kind, option = bool, typer.Option(spec.rule.flag, help=spec.help, show_default=False)
    else:
        shown = f"{spec.default:g}" if isinstance(spec.default, float) else spec.default or "none"
        text = f"{spec.help} [{spec.expects}; default: {shown}]"
        kind = str
        option = typer.Option(spec.rule.flag, help=text, metavar="VALUE", show_default=False)
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
