"""Options that several commands share, in the panels in which help shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from framecast.config.fields import FieldSpec, specs
from framecast.config.presets import presets
from framecast.config.schema import DataConfig, ModelConfig, TrainConfig

INPUT, FORECAST, OUTPUT, MACHINE = "Input", "Forecast", "Output", "Machine"
SETTINGS, RUN, SCORING = "Settings", "Run", "Scoring"
LAYERS, OF_MODELS = "Layers alone", "Models"
"""Themes of options; the flags of settings have their section's name as theme."""

SECTIONS = (TrainConfig, ModelConfig, DataConfig)
"""Sections of the settings in the order in which help shows their flags."""

CLIP_KINDS = "Frame folders, videos, GIFs, TIFF stacks, arrays, @lists"
RESULT_KINDS = ".gif, .mp4, .webm, .webp, .apng, .npy, .tif or .nc file, or a folder for PNGs"


def complete_setting() -> Iterator[tuple[str, str]]:
    """Offer every setting with each value it may have, or with its default where it has any."""
    for section in SECTIONS:
        for spec in specs(section):
            words = ("true", "false") if bool in spec.kinds else spec.literals
            for word in words or ("none" if spec.default is None else spec.default,):
                yield f"{spec.dotted}={word}", spec.help


def complete_run(incomplete: str) -> Iterator[str]:
    """Offer run folders and model files: of `runs`, and of the folder that is being typed."""
    typed = Path(incomplete)
    for folder in dict.fromkeys((Path("runs"), typed if typed.is_dir() else typed.parent)):
        yield from (str(path.parent) for path in sorted(folder.glob("*/best.pt")))
        yield from (str(path) for path in sorted(folder.glob("*.pt")))


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings in YAML, as in framecast.yaml.example.",
        rich_help_panel=SETTINGS,
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Settings of a published or measured network; help lists them with their sources.",
        rich_help_panel=SETTINGS,
        autocompletion=lambda: [(p.name, p.summary) for p in presets().values()],
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting, e.g. train.lr=1e-3; repeatable. `framecast config show` lists all.",
        rich_help_panel=SETTINGS,
        autocompletion=complete_setting,
    ),
]
Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", help=f"{CLIP_KINDS}, or folders of them.", show_default=False),
]
ModelAndSources = Annotated[
    list[Path],
    typer.Argument(
        metavar="[MODEL] SOURCE",
        help="A model file or run folder, none: the pretrained model; then "
        f"{CLIP_KINDS[0].lower()}{CLIP_KINDS[1:]}, or folders of them.",
        show_default=False,
        autocompletion=complete_run,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model file, a run folder or `pretrained`, instead of a first argument.",
        show_default=False,
        rich_help_panel=INPUT,
        autocompletion=complete_run,
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(
        metavar="FRAMES",
        help="Frames to predict; default: as trained.",
        show_default=False,
        rich_help_panel=FORECAST,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=OUTPUT)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUT)
]
Match = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="How far to move forecasts to the last frame's distribution of brightness, 0 to 1.",
        rich_help_panel=FORECAST,
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MACHINE),
]
Color = Annotated[
    Literal["gray", "rgb"] | None,
    typer.Option(help="Convert the frames first.", rich_help_panel=INPUT),
]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="LETTERS",
        help="Order of an array's axes, such as TNHW; default: as trained, or told from it.",
        rich_help_panel=INPUT,
    ),
]
Variable = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Array to read from a file of several.", rich_help_panel=INPUT
    ),
]
KeepReadable = Annotated[
    bool,
    typer.Option(
        "--keep-readable", help="Use what is readable of damaged clips.", rich_help_panel=INPUT
    ),
]

Colormap = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Colours of grey frames: a name of matplotlib's, or radar for dBZ.",
        rich_help_panel=OUTPUT,
    ),
]
Labels = Annotated[
    bool,
    typer.Option("--labels", help="Write the time above every frame.", rich_help_panel=OUTPUT),
]
ValueScale = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help='What black and white stand for, "-10..60 dBZ": adds a legend to colours.',
        rich_help_panel=OUTPUT,
    ),
]
StepMinutes = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES",
        help="Minutes between two frames: times are then shown in minutes.",
        rich_help_panel=OUTPUT,
    ),
]

Overrides = list[tuple[str, object, str]]
"""Settings that flags have set: the setting's full name, its value, the flag."""

METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}
"""What stands for a setting's value in help, by its type; a name where it is one of a list."""


def with_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting that declares one.

    The command receives those given as `flags`, in the form that `load_config` takes as overrides;
    values stay text, which the setting itself checks.
    """
    by_name = {
        spec.rule.flag.lstrip("-").replace("-", "_"): spec
        for section in SECTIONS
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
    theme = spec.section.capitalize()
    if bool in spec.kinds:  # a switch has no value, and only turns the setting on
        kind = bool
        option = typer.Option(
            spec.rule.flag, help=spec.help, show_default=False, rich_help_panel=theme
        )
    else:
        kind = str
        default = spec.default
        shown = f"{default:g}" if isinstance(default, float) else str(default).lower()
        option = typer.Option(
            spec.rule.flag,
            help=f"{spec.help} [{spec.expects}; default: {shown}]",
            metavar=next((METAVARS[kind] for kind in spec.kinds if kind in METAVARS), "NAME"),
            show_default=False,
            rich_help_panel=theme,
            autocompletion=lambda: [str(literal) for literal in spec.literals],
        )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
