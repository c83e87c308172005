"""Help pages as they are read in a terminal, and what the shells complete."""

import os
import shlex
import subprocess
import sys

import pytest
import typer

from framecast.cli.main import app
from framecast.config.networks import NETWORKS

PROGRAM = typer.main.get_command(app)
COMMANDS = {
    **{name: command for name, command in PROGRAM.commands.items() if name != "config"},
    **{f"config {name}": command for name, command in PROGRAM.commands["config"].commands.items()},
}


@pytest.mark.parametrize("command", ["", "config", *COMMANDS])
def test_help_fits_80_columns_and_stands_in_panels(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {len(line) for line in lines if line[:1] in set("╭│╰")} == {80}
    assert any(line.startswith("╭─ Options ──") for line in lines)
    assert command == "config" or "--debug" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_two_examples_whose_options_exist(run, command):
    help_page = run(*command.split(), "--help")[1]
    examples = help_page.partition("Examples:")[2].rstrip().split("\n  ")[1:]
    assert len(examples) >= 2
    assert any(example.startswith(f"framecast {command}") for example in examples)
    for example in examples:
        words = shlex.split(example, comments=True)
        name = next(name for name in COMMANDS if example.startswith(f"framecast {name}"))
        flags = {"--debug"}.union(*(parameter.opts for parameter in COMMANDS[name].params))
        assert {word for word in words if word.startswith("-") and len(word) > 1} <= flags


def test_every_option_says_what_it_is_for():
    for command in COMMANDS.values():
        for parameter in command.params:
            assert parameter.help, (command.name, parameter.name)
            assert parameter.param_type_name == "argument" or parameter.rich_help_panel, parameter


def completed(*words, shell="bash"):
    """What the shell is offered for the last of the words."""
    line = " ".join(words)
    env = {
        **os.environ,
        "_FRAMECAST_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-m", "framecast"], env=env, check=False, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_networks_protocols_and_settings():
    assert completed("framecast", "train", "--model", "f") == [
        name for name in NETWORKS if name.startswith("f")
    ]
    assert completed("framecast", "evaluate", "--protocol", "o") == ["openstl"]
    assert completed("framecast", "train", "--set", "train.l") == [
        "train.lr=0.001",
        *(f"train.loss={loss}" for loss in ("skill", "mse", "mae", "mix", "bce")),
    ]


def test_bash_completes_run_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run_folder in ("runs/train-1", "runs/train-2", "runs/broken"):
        (tmp_path / run_folder).mkdir(parents=True)
    for name in ("train-1", "train-2"):
        (tmp_path / "runs" / name / "best.pt").touch()
    assert completed("framecast", "predict", "r") == ["runs/train-1", "runs/train-2"]
    assert completed("framecast", "predict", "runs/") == ["runs/train-1", "runs/train-2"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_with_the_sentence_of_a_setting(shell):
    lines = completed("framecast", "train", "--set", "train.prec", shell=shell)
    assert len(lines) == 3
    for line, value in zip(lines, ("auto", "float32", "bfloat16"), strict=True):
        assert f"train.precision={value}" in line
        assert "Arithmetic of the" in line
