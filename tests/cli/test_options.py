"""Flags of `train`: one for each setting that declares one, given to the command as overrides."""

import typer
from typer.testing import CliRunner

from framecast.cli.options import Overrides
from framecast.cli.signatures import with_options
from framecast.config.loading import fields, load_config


def parse(*arguments):
    """The overrides that a command with these arguments receives."""
    received = []
    app = typer.Typer()

    @app.command()
    @with_options
    def command(name: str = "none", *, flags: Overrides, loud: bool = False) -> None:
        received.append((name, flags, loud))

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return received[0]


def test_only_given_flags_are_overrides_and_other_options_stay():
    assert parse() == ("none", [], False)
    name, flags, loud = parse("--lr", "1e-3", "--name", "a", "--loud", "--keep-readable")
    assert (name, loud) == ("a", True)
    assert flags == [
        ("train.lr", "1e-3", "--lr"),
        ("data.keep_readable", True, "--keep-readable"),
    ]


def test_flags_reach_their_settings():
    config = load_config(None, parse("--model", "convlstm", "--minutes", "none")[1], {})
    assert (config.model.name, config.train.minutes) == ("convlstm", None)


def test_help_is_what_the_setting_says(run):
    _, shown, _ = run("train", "--help")
    text = " ".join(shown.replace("│", " ").split())
    for spec in fields():
        if spec.flag:
            assert f"{spec.flag} " in text
            assert spec.help in text
    assert "[a number > 0; default: 0.001]" in text
    assert "[an integer >= 1 or none; default: none]" in text
    assert "[an integer >= 0; default: 224]" in text
    assert "[an integer >= 0 and < 4294967296; default: 0]" in text
