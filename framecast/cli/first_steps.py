"""Commands for the first minutes: a demonstration, the models, the machine and the settings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from framecast.cli.help import HelpCommand, HelpGroup
from framecast.cli.options import PATHS, Overrides
from framecast.cli.signatures import with_options
from framecast.errors import OutputError

config = typer.Typer(
    cls=HelpGroup,
    rich_markup_mode=None,
    help="Show the settings with where each comes from, or write a file of them.",
)


@with_options
def demo(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A new folder for clips, model and forecasts.", **PATHS
        ),
    ] = Path("framecast-demo"),
    minutes: float = 1.0,
    samples: bool = False,
) -> None:
    """Write sample clips, train on one for a minute and predict it; shows each command it runs.

    Examples:

      framecast demo

      framecast demo clips --samples
    """
    from framecast.cli.console import messages, show_result
    from framecast.cli.progress import Display
    from framecast.config.loading import load_config
    from framecast.video.samples import write_samples

    load_config(None, [("train.minutes", minutes, "--minutes")])  # refused before clips are painted
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder} exists already", remedy="give the name of a new folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    with Display() as display:
        clips = write_samples(folder, lambda name: display.count(f"painting {name}"))
    for clip in clips:
        show_result(str(clip))
    if samples:
        return
    model, rain = folder / "runs/train-1", clips[0]
    program = context.find_root().command
    for command in (
        ["train", rain, "--minutes", f"{minutes:g}", "--runs", folder / "runs"],
        ["predict", model, rain, "--horizon", 12, "-o", folder / "future.gif"],
        ["predict", model, rain, "--compare", "-o", folder / "compared.gif"],
    ):
        words = [str(word) for word in command]
        messages.print(f"\n$ framecast {shlex.join(words)}", style="bold", markup=False)
        # The program itself, so that the commands shown are those that ran
        program.main(words, prog_name="framecast", standalone_mode=False)
    messages.print(
        f"\nOpen {folder / 'compared.gif'} to see input, forecast, truth and error.", markup=False
    )


def doctor() -> None:
    """Show versions, codecs, devices and memory, and test decoding, encoding and a training step.

    Examples:

      framecast doctor

      framecast doctor > report.txt
    """
    from framecast.cli.doctor import examine, show_examination
    from framecast.cli.progress import Display

    with Display() as display:
        display.show("examining this machine")
        facts, problems = examine()
    show_examination(facts, problems)


def models() -> None:
    """List the networks and the pretrained models, each with its size and what it is for.

    Examples:

      framecast models

      framecast train ./frames --model convlstm
    """
    from framecast.cli.model_table import show_models

    show_models()


@config.command("show", cls=HelpCommand)
@with_options
def show_config(
    config: Path | None = None, settings: list[str] | None = None, *, flags: Overrides
) -> None:
    """Print every setting as YAML, with where each that is not the default was set.

    Examples:

      framecast config show

      framecast config show --config framecast.yaml --set train.lr=3e-4
    """
    from framecast.cli.console import results
    from framecast.config.loading import load_config, origins, to_yaml

    overrides = [*(settings or []), *flags]
    text = to_yaml(load_config(config, overrides))
    sources, section = origins(config, overrides), ""
    for line in text.splitlines():
        name = line.partition(":")[0].strip()
        # YAML indents the settings of a section below its name
        if not line.startswith(" "):
            section = name
        origin = sources.get(f"{section}.{name}")
        results.print(f"{line:<40}  # {origin}" if origin else line, markup=False)


@config.command("init", cls=HelpCommand)
@with_options
def init_config(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write.", **PATHS)
    ] = Path("framecast.yaml"),
    overwrite: bool = False,
) -> None:
    """Write a YAML file with every setting, its default and what it means.

    Examples:

      framecast config init

      framecast config init radar.yaml
    """
    from framecast.cli.console import show_result
    from framecast.config.loading import example_yaml
    from framecast.runtime.output_files import check_target, write_whole

    check_target(file, "settings file", overwrite)
    write_whole(file, example_yaml(), "settings file", overwrite)
    show_result(str(file))
