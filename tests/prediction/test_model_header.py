"""What a model file tells without PyTorch: its settings, or why it is none."""

import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.errors import CheckpointError, CorruptSourceError, SourceError
from framecast.prediction.checkpoint import load_checkpoint, save_checkpoint
from framecast.prediction.model_header import check_early, read_header
from tests.support.models import random_checkpoint


@pytest.fixture
def model(tmp_path):
    save_checkpoint(tmp_path / "best.pt", random_checkpoint(1))
    return tmp_path / "best.pt"


def test_the_header_is_that_of_the_checkpoint(model):
    for path in (model, model.parent):
        header = read_header(path)
        assert (header.config, header.channels) == (random_checkpoint(1).config, 1)
    assert read_header(Path("pretrained")).config.model.name == "flow-convlstm"


def test_a_header_of_absurd_size_is_not_read(model, monkeypatch):
    with zipfile.ZipFile(model) as archive:
        (size,) = (e.file_size for e in archive.infolist() if e.filename.endswith("data.pkl"))
    monkeypatch.setattr("framecast.prediction.model_header.LARGEST_HEADER", size)
    assert read_header(model).channels == 1
    monkeypatch.setattr("framecast.prediction.model_header.LARGEST_HEADER", size - 1)
    with pytest.raises(CheckpointError, match=r"best\.pt: damaged, or not a model"):
        read_header(model)


@pytest.mark.parametrize("name", ["model.onnx", "model.ONNX", "model.safetensors", "model.bin"])
def test_other_kinds_of_files_tell_more_when_they_are_loaded(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    assert read_header(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("a.onnx", "only `predict` runs"),
        ("a.ONNX", "only `predict` runs"),
        ("a.pt2", "is for other programs"),
        ("a.torchscript", "is for other programs"),
    ],
)
def test_exported_graphs_are_not_called_damaged(tmp_path, name, use):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=f"{name}: an exported graph, which {use}; give the"):
        load_checkpoint(tmp_path / name)


def test_what_is_refused_when_loaded_is_refused_early(model):
    with zipfile.ZipFile(model, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/data/99", bytes(10**6))
    with pytest.raises(CheckpointError, match=r"best\.pt: damaged, or not a model"):
        check_early(model)
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        check_early(model.parent / "gone.pt")


@pytest.mark.parametrize("options", [{}, {"keep_readable": True}])
def test_sources_are_looked_at_early(model, options):
    with pytest.raises(SourceError, match=r"gone\.gif: no such file"):
        check_early(model, ["gone.gif"], **options)


def test_damage_is_expected_where_the_user_says_so_not_where_training_did(tmp_path):
    model, clip = tmp_path / "best.pt", tmp_path / "clip.npy"
    save_checkpoint(model, random_checkpoint(1, "data.keep_readable=true"))
    np.save(clip, np.zeros((9, 10, 12), np.uint8))
    os.truncate(clip, clip.stat().st_size - 130)  # the last frame has 120 bytes
    with pytest.raises(CorruptSourceError, match="frame 7 cannot be read"):
        check_early(model, [clip])


@pytest.mark.parametrize("channels", [math.inf, "many", None])
def test_what_only_loading_can_explain_is_left_to_it(model, channels):
    contents = torch.load(model, weights_only=True)
    contents["clip"]["channels"] = channels
    torch.save(contents, model)
    assert read_header(model) is None
    with pytest.raises(CheckpointError, match=f"clip: channels is {channels!r}"):
        load_checkpoint(model)
