"""The README's commands do what they say, in the order they stand there."""

import re
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import framecast
from framecast.cli.main import main

ROOT = Path(__file__).parents[2]
READMES = {
    "/".join(path.relative_to(ROOT).parts): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "framecast").rglob("README.md")),
        ROOT / "tests/benchmarks/README.md",
    )
}
README, LAYER = READMES["README.md"], READMES["framecast/nn/README.md"]
SMALL = ["--epochs", "1", "--set", "train.steps_per_epoch=1", "--resize", "32", "--batch-size", "4"]
NETWORK = ["--set", "model.filters=[4]"]
SHORT = ["--horizon", "3"]


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def framecast_commands(text):
    """Every `framecast ...` of the shell blocks, also between `&&`."""
    for block in blocks("sh", text):
        for line in block.splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:1] == ["framecast"]:
                    yield words[1:]


def shortened(words):
    """The same command with a budget of one step and a short horizon: a test has no minutes."""
    words = list(words)
    if words[:2] == ["export", "runs/train-1"]:
        return [*words, "--horizon", "1", "--context-length", "2", "--size", "24x16"]
    if words[0] != "train":
        return words
    if "--minutes" in words:
        place = words.index("--minutes")
        del words[place : place + 2]
    if "--resume" in words:
        return [*words, "--epochs", "2"]
    network = [] if "--weights" in words else NETWORK
    return [*words, *SMALL, *network, *([] if "--horizon" in words else SHORT)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as a user has it after the first command of the README, with a quick network."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    shutil.copy(ROOT / "framecast.yaml.example", folder)
    sample, runs = folder / "sample_data/rain", folder / "runs"
    flags = ["--model", "convlstm", *SMALL, *NETWORK, *SHORT]
    assert main(["train", str(sample), "--runs", str(runs), "--quiet", *flags]) == 0
    return folder


@pytest.mark.parametrize("name", READMES)
def test_commands_run_in_the_order_of_each_readme(name, trained, tmp_path, monkeypatch, capfd):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    monkeypatch.chdir(home)
    if name == "README.md":
        shutil.rmtree("runs")
    for words in dict.fromkeys(map(tuple, framecast_commands(READMES[name]))):
        assert main(shortened(words)) == 0, (words, capfd.readouterr().err)
    for made in re.findall(r"(?:-o|--csv|--report) (\S+)", "".join(blocks("sh", READMES[name]))):
        assert (home / made).exists(), made
    for made in re.findall(r"`(?:runs/train-1/)?(\w+\.(?:pt|gif|png|csv|json))`", READMES[name]):
        found = (home / "runs/train-1" / made, home / made)
        assert any(path.exists() for path in found), made


def test_the_readme_names_every_command():
    named = {words[0] for words in framecast_commands(README)}
    assert named >= {"train", "predict", "evaluate", "inspect-shapes", "export"}
    assert README.count("\n") <= 150


def test_the_python_of_the_readme_runs(trained, monkeypatch):
    monkeypatch.chdir(trained)
    names = {"context_THWC": np.full((6, 40, 56, 1), 90, dtype=np.uint8)}
    exec(blocks("python", README)[0], names)
    assert names["future_THWC"].shape == (12, 40, 56, 1)
    assert names["future_THWC"].dtype == np.uint8


def test_the_python_of_the_layer_runs_in_the_order_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = framecast.ConvLSTM2D(4, 3, in_channels=2)
    sequential = [
        keras.layers.Input((5, 7, 8, 2)),
        keras.layers.ConvLSTM2D.from_config(framecast.to_keras_config(ours)),
    ]
    keras.Sequential(sequential).save("model.keras")
    conv = {"weight": torch.rand(4 * 6, 3 + 6, 3, 3), "bias": torch.rand(4 * 6)}
    torch.save({f"cell_list.0.conv.{name}": w for name, w in conv.items()}, "ndrplz.pt")
    names = {"framecast": framecast, "torch": torch}
    for block in blocks("python", LAYER):
        exec(block, names)
    for name, shape in {
        "output_BTHWF": (2, 5, 48, 64, 16),
        "h_BHWF": (2, 48, 64, 16),
        "sum_BTHWF": (2, 5, 44, 60, 8),
        "later_BHWF": (2, 24, 32, 8),
        "days_BTSC": (2, 7, 24, 3),
        "output_BSF": (2, 24, 8),
    }.items():
        assert names[name].shape == shape, name
    assert (tmp_path / "back.weights.h5").exists() and (tmp_path / "whole.weights.h5").exists()
    assert names["encoder"](torch.rand(2, 5, 3, 7, 8)).shape == (2, 5, 6, 7, 8)


@pytest.mark.parametrize("name", READMES)
def test_pictures_and_links_point_at_files(name):
    for target in re.findall(r"\]\(([^)]+)\)", READMES[name]):
        place = (ROOT / name).parent / target
        assert target.startswith("https://") or place.exists(), target


@pytest.mark.parametrize("name", READMES)
def test_sentences_can_be_read_in_one_breath(name):
    text = re.sub(r"^```.*?^```$|^(?:\||#|!|<).*?$", "", READMES[name], flags=re.M | re.S)
    text = re.sub(r"\([^)]*\)|`[^`]*`", "x", text)
    for sentence in re.split(r"(?<=[.:;!?])\*?\s+|\n\n", text):
        assert len(sentence.split()) <= 35, sentence


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"<!-- tests -->\n```sh\n(.*?)\n```", README, re.DOTALL).group(1)
    assert command.endswith("pytest -n 2 --dist worksteal")
    assert "<!-- tests -->" in (ROOT / ".ci/run").read_text(encoding="utf-8")
