"""The README's commands do what they say, in the order they stand there."""

import os
import re
import shlex
import shutil
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"

import keras
import numpy as np
import torch

import framecast
from framecast.cli.main import main
from framecast.config.loading import load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = ["--epochs", "1", "--set", "train.steps_per_epoch=1", "--set", "model.filters=[4]"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def framecast_commands():
    """Every `framecast ...` of the shell blocks, also between `&&`."""
    for block in blocks("sh"):
        for line in block.splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:1] == ["framecast"]:
                    yield words[1:]


def shortened(words):
    """The same command with a budget of one step, or a short horizon: a test has no minutes."""
    words = list(words)
    if words[:2] == ["export", "runs/train-1"]:
        return [*words, "--horizon", "1", "--context-length", "2", "--size", "24x16"]
    if words[0] != "train" or "--dry-run" in words:
        return words
    if "--minutes" in words:
        place = words.index("--minutes")
        del words[place : place + 2]
    return [*words, *(["--epochs", "2"] if "--resume" in words else SMALL)]


def test_commands_and_python_run_in_the_order_of_the_readme(tmp_path, monkeypatch, capfd):
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    shutil.copy(ROOT / "framecast.yaml.example", tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = list(framecast_commands())
    assert {words[0] for words in commands} == {
        *("train", "predict", "evaluate", "inspect-shapes", "export")
    }
    for words in commands:
        assert main(shortened(words)) == 0, (words, capfd.readouterr().err)
    for name in re.findall(r"(?:-o|--csv|--report) (\S+)", "".join(blocks("sh"))):
        assert (tmp_path / name).exists(), name
    for name in re.findall(r"`(\w+\.(?:pt|gif|png|csv|yaml|json))`", README.split("## Predict")[0]):
        found = (tmp_path / "runs/train-1" / name, tmp_path / name)
        assert any(path.exists() for path in found), name
    names = {"context_THWC": np.full((6, 40, 56, 1), 90, dtype=np.uint8)}
    exec(blocks("python")[0], names)
    assert names["future_THWC"].shape == (12, 40, 56, 1)
    assert names["future_THWC"].dtype == np.uint8


def test_settings_can_be_given_as_they_stand(tmp_path):
    (tmp_path / "gpu.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    config = load_config(tmp_path / "gpu.yaml", env={})
    assert (config.model.name, config.model.filters) == ("frame-convlstm", (128,) * 4)
    assert (config.train.loss, config.train.lr) == ("bce", 1e-3)


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
    _, *of_the_layer = blocks("python")
    assert len(of_the_layer) == 4
    for block in of_the_layer:
        exec(block, names)
    for name, shape in {
        "output_BTHWF": (2, 5, 48, 64, 16),
        "h_BHWF": (2, 48, 64, 16),
        "later_BHWF": (2, 24, 32, 8),
        "days_BTSC": (2, 7, 24, 3),
        "output_BSF": (2, 24, 8),
    }.items():
        assert names[name].shape == shape, name
    assert (tmp_path / "back.weights.h5").exists()
    assert names["encoder"](torch.rand(2, 5, 3, 7, 8)).shape == (2, 5, 6, 7, 8)


def test_pictures_and_links_point_at_files():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"<!-- tests -->\n```sh\n(.*?)\n```", README, re.DOTALL).group(1)
    assert command.endswith("pytest -n 2")
    assert "<!-- tests -->" in (ROOT / ".ci/run").read_text(encoding="utf-8")
