"""Any path of any option that cannot be: too long, or in a folder that is closed to the user."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from framecast.cli.main import main
from tests.support.children import run_child

NOBODY = 65534
LONG = "a" * 300

# The path that cannot be stands as {bad}; {model} and {clip} are in order. Suffixes where they
# decide what is written.
COMMANDS = {
    "predict: model": ["predict", "{bad}.pt", "{clip}", "-o", "out.gif"],
    "predict: run folder": ["predict", "--model", "{bad}", "{clip}", "-o", "out.gif"],
    "predict: source": ["predict", "{model}", "{bad}.npy", "-o", "out.gif"],
    "predict: output": ["predict", "{model}", "{clip}", "-o", "{bad}.gif"],
    "predict: PNG folder": ["predict", "{model}", "{clip}", "-o", "{bad}/"],
    "predict: several": ["predict", "{model}", "{clip}", "other.npy", "-o", "{bad}"],
    "evaluate: model": ["evaluate", "{bad}.pt", "{clip}"],
    "evaluate: source": ["evaluate", "{model}", "{bad}"],
    "evaluate: table": ["evaluate", "{model}", "{clip}", "--csv", "{bad}.csv"],
    "evaluate: page": ["evaluate", "{model}", "{clip}", "--report", "{bad}.html"],
    "export: source": ["export", "{bad}", "-o", "out.gif"],
    "export: model": ["export", "{bad}.pt", "-o", "out.torchscript"],
    "export: frames": ["export", "{clip}", "-o", "{bad}.npy"],
    "export: output": ["export", "{model}", "-o", "{bad}.torchscript"],
    "inspect-shapes: source": ["inspect-shapes", "{bad}"],
    "inspect-shapes: model": ["inspect-shapes", "{bad}.pt"],
    "inspect-shapes: settings": ["inspect-shapes", "--config", "{bad}.yaml"],
    "train: source": ["train", "{bad}", "--dry-run"],
    "train: list": ["train", "@{bad}.txt", "--dry-run"],
    "train: settings": ["train", "{clip}", "--config", "{bad}.yaml"],
    "train: runs": ["train", "{clip}", "--runs", "{bad}/runs"],
    "train: resume": ["train", "--resume", "{bad}"],
    "config: settings": ["config", "show", "--config", "{bad}.yaml"],
    "config: file": ["config", "init", "{bad}.yaml"],
    "demo: folder": ["demo", "{bad}", "--samples"],
}


def filled(command, bad, here):
    values = {"bad": bad, "model": here / "best.pt", "clip": here / "grey.npy"}
    return [part.format(**values) for part in command]


@pytest.fixture(scope="module")
def here(clips, grey_run):
    """A folder that anyone may enter, with a clip and a model, and another that nobody may."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for file in (clips / "grey.npy", grey_run / "best.pt"):
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o644)
        shutil.copy(folder / "grey.npy", folder / "other.npy")
        (folder / "closed").mkdir(mode=0o700)
        yield folder


def check(code, out, err, said):
    assert code in (2, 3, 4, 5), err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert any(words in errors[0] for words in said), err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_is_too_long_is_one_sentence(run, here, monkeypatch, name):
    monkeypatch.chdir(here)
    before = sorted(here.iterdir())
    check(*run(*filled(COMMANDS[name], LONG, here)), ("too long", "no folder", "cannot be read"))
    assert sorted(here.iterdir()) == before


def as_nobody(arguments):
    """What runs a command line as a user who owns nothing."""

    def call():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return main(arguments)

    return call


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_is_closed_to_the_user_is_one_sentence(here, name):
    arguments = filled(COMMANDS[name], "closed/file", here)

    (here / "work").mkdir(mode=0o755, exist_ok=True)
    arguments = [part.replace("closed/", f"{here}/closed/") for part in arguments]
    outcome = run_child(as_nobody(arguments), here / "work", seconds=200)
    check(outcome.code, outcome.out, outcome.err, ("denied", "read-only", "cannot be read"))
    assert [*(here / "closed").iterdir()] == []


UNREADABLE = {
    "clip": (["evaluate", "best.pt", "secret"], 3),
    "clip of several": (["train", "grey.npy", "secret"], 3),
    "frames": (["export", "secret", "-o", "out.gif"], 3),
    "model": (["export", "secret.pt", "-o", "out.torchscript"], 4),
    "model of a clip": (["predict", "--model", "secret.pt", "grey.npy"], 4),
    "run": (["train", "--resume", "secret"], 4),
    "settings": (["train", "grey.npy", "--config", "secret.pt"], 2),
}


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_the_user_may_not_read_has_the_exit_code_of_what_it_is(here, name):
    arguments, code = UNREADABLE[name]
    (here / "secret").mkdir(exist_ok=True, mode=0)
    (here / "secret.pt").touch(mode=0)

    outcome = run_child(as_nobody(arguments), here, seconds=200)
    assert (outcome.code, outcome.out) == (code, "")
    said = re.escape(next(part for part in arguments if part.startswith("secret")))
    assert re.fullmatch(rf"error: {said}: [^\n]*(permission|cannot be read)[^\n]*\n", outcome.err)


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can be another")
def test_a_run_that_the_user_may_only_read_is_refused_before_training(here, grey_run, tmp_path):
    folder = here / "run"
    shutil.copytree(grey_run, folder)
    # The clip's own folder is closed to others.
    record = json.loads((folder / "run.json").read_text())
    record["sources"][0]["path"] = str(here / "grey.npy")
    (folder / "run.json").write_text(json.dumps(record))
    arguments = ["train", "--resume", str(folder), "--epochs", "9"]
    outcome = run_child(as_nobody(arguments), tmp_path, seconds=200)
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        f"error: {folder}/last.pt: cannot write in {folder} (Permission denied)\n"
    )


def test_a_name_of_255_bytes_is_usable(run, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = "a" * 251 + ".npy"
    assert run("export", here / "grey.npy", "-o", target)[0] == 0
    assert run("inspect-shapes", target)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [target]


def test_the_home_folder_is_a_tilde(run, here, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(here)
    before = sorted(here.iterdir())
    assert run("config", "init", "~/settings.yaml")[:2] == (0, f"{tmp_path}/settings.yaml\n")
    # As a shell gives it, which leaves a ~ after a = alone.
    code, out, _ = run("export", "grey.npy", "--output=~/copy.npy")
    assert (code, out) == (0, f"{tmp_path}/copy.npy\n")
    assert run("inspect-shapes", "~/copy.npy", "--config=~/settings.yaml")[0] == 0
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("command", ["config init -", "evaluate best.pt grey.npy --csv -"])
def test_no_file_is_called_as_standard_output_is(run, here, monkeypatch, command):
    monkeypatch.chdir(here)
    code, out, err = run(*command.split())
    assert (code, out) == (5, "")
    assert re.fullmatch("error: - is no name of a [A-Za-z ]*; choose another name\n", err), err
    assert not (here / "-").exists()


def test_a_user_that_does_not_exist_is_a_name_like_any_other(run):
    code, out, err = run("inspect-shapes", "~nosuchuser/clip.npy")
    assert (code, out) == (3, "")
    assert err == "error: ~nosuchuser/clip.npy: no such file or folder; check the path\n"


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can be another")
def test_without_a_home_and_a_name_clips_are_read_and_written(here, monkeypatch):
    for variable in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    folder = here / "homeless"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)

    def as_stranger():
        os.setgroups([])
        os.setgid(54321)  # neither has an entry in passwd or group
        os.setuid(54321)
        arguments = ["predict", here / "best.pt", here / "grey.npy", "-o", "out.npy"]
        return main([str(argument) for argument in arguments])

    outcome = run_child(as_stranger, folder, seconds=200)
    assert outcome.code == 0, outcome.err
    assert (folder / "out.npy").exists()
