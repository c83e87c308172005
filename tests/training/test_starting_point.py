"""Runs that start from the pretrained weights: what is loaded, fitted, kept and said."""

import re

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.model_files import PRETRAINED_FILE
from framecast.training.starting_point import pretrained_weights
from tests.support.textures import translating

SHORT = ("--epochs=1", "--set=train.steps_per_epoch=1", "--batch-size=2", "--horizon=4")


@pytest.fixture
def clip(tmp_path):
    frames_THW = translating(40, 32, 48, (1.5, -0.5), seed=3).numpy()
    path = tmp_path / "clip.npy"
    np.save(path, (255 * frames_THW).astype(np.uint8))
    return path


@pytest.mark.parametrize(
    ("settings", "pretrained"),
    [
        ([], True),
        (["train.from_scratch=true"], False),
        (["model.filters=[6, 5]"], False),
        (["model.kernel_size=5"], False),
        (["model.name=convlstm"], False),
        (["model.patch=4"], True),  # which the default network does not read
    ],
)
def test_the_pretrained_weights_are_for_the_network_they_fit(settings, pretrained):
    weights = pretrained_weights(load_config(None, settings, {}))
    assert (weights is not None) == pretrained


def test_what_is_shipped_is_small_half_precision_and_has_its_provenance():
    shipped = load_checkpoint(PRETRAINED_FILE)
    assert PRETRAINED_FILE.stat().st_size < 6e6
    assert sum(weight.numel() for weight in shipped.weights.values()) < 2e6
    assert {weight.dtype for weight in shipped.weights.values()} == {torch.float16}
    text = PRETRAINED_FILE.with_name("PROVENANCE.md").read_text(encoding="utf-8")
    for word in ("commit: ", "seed: ", "steps: ", "CC BY 4.0", "held-out scenes"):
        assert word in text


def test_loading_computes_in_float32():
    network = load_checkpoint(PRETRAINED_FILE).forecaster()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    network.load_state_dict(pretrained_weights(load_config(None, [], {})))
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert network.paint.weight.abs().max() > 0


def test_a_run_says_what_it_kept_and_what_each_stage_gained(run, clip, tmp_path):
    code, _, err = run("train", clip, *SHORT, f"--runs={tmp_path / 'runs'}", "--device=cpu")
    assert code == 0, err
    said = " ".join(err.split())
    found = re.search(
        r"kept: (pretrained|fitted|fine-tuned); held-out MSE x 1000 of each stage: pretrained "
        r"([\d.]+), fitted ([\d.]+) \(.*\), fine-tuned ([\d.]+) \(.*?\)",
        said,
    )
    assert found, said
    kept = float(found[{"pretrained": 2, "fitted": 3, "fine-tuned": 4}[found[1]]])
    assert kept <= float(found[2]) + 1e-3
    assert load_forecaster(tmp_path / "runs" / "train-1").channels == 1


def test_from_scratch_starts_where_chance_does(run, clip, tmp_path):
    arguments = ("--set=model.filters=[6, 5]", f"--runs={tmp_path / 'runs'}", "--device=cpu")
    code, _, err = run("train", clip, *SHORT, *arguments, "--from-scratch")
    assert code == 0, err
    assert re.search(r"kept: (start|trained); held-out MSE x 1000 of each stage: start ", err)
