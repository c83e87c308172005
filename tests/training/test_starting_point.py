"""Runs that start from the pretrained weights: what is loaded, fitted, kept and said."""

import re

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.model_files import PRETRAINED_FILE
from framecast.training.preparation import prepare
from framecast.training.starting_point import starting_point
from tests.support.textures import translating

SHORT = ("--epochs=1", "--set=train.steps_per_epoch=1", "--batch-size=2", "--horizon=4")


@pytest.fixture
def clip(tmp_path):
    frames_THW = translating(40, 32, 48, (1.5, -0.5), seed=3).numpy()
    path = tmp_path / "clip.npy"
    np.save(path, (255 * frames_THW).astype(np.uint8))
    return path


def planned(clip, *settings):
    return prepare([clip], load_config(None, settings, {})).plan


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
def test_the_pretrained_weights_are_for_the_network_they_fit(clip, settings, pretrained):
    assert (starting_point(planned(clip, *settings)) is not None) == pretrained


def test_what_is_shipped_is_small_half_precision_and_has_its_provenance():
    shipped = load_checkpoint(PRETRAINED_FILE)
    assert PRETRAINED_FILE.stat().st_size < 6e6
    assert sum(weight.numel() for weight in shipped.weights.values()) < 2e6
    assert {weight.dtype for weight in shipped.weights.values()} == {torch.float16}
    text = PRETRAINED_FILE.with_name("PROVENANCE.md").read_text(encoding="utf-8")
    for word in ("commit: ", "seed: ", "steps: ", "CC BY 4.0", "held-out scenes"):
        assert word in text


def test_loading_computes_in_float32(clip):
    network = load_checkpoint(PRETRAINED_FILE).forecaster()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    network.load_state_dict(starting_point(planned(clip)).weights)
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


@pytest.fixture
def model(run, clip, tmp_path):
    """A small network, trained on the beginning of the clip, which has 28 of 40 frames."""
    frames_THW = np.load(clip)
    np.save(tmp_path / "early.npy", frames_THW[:28])
    settings = ("--set=model.filters=[6, 5]", "--set=model.kernel_size=[5, 3]")
    arguments = (*SHORT, *settings, f"--runs={tmp_path / 'runs'}", "--device=cpu")
    code, _, err = run("train", tmp_path / "early.npy", *arguments)
    assert code == 0, err
    return tmp_path / "runs/train-1"


def test_a_run_starts_from_an_earlier_model_with_its_network(run, clip, model, tmp_path):
    other = f"--runs={tmp_path / 'other'}"
    arguments = (*SHORT, other, "--device=cpu", "--lr=1e-30", f"--weights={model}")
    code, _, err = run("train", clip, *arguments)
    assert code == 0, err
    assert f"note: starts from the weights of {model}" in err
    assert "kept: " in err
    assert "of each stage: pretrained " in err
    new, old = load_checkpoint(tmp_path / "other/train-1"), load_checkpoint(model)
    assert new.config.model == old.config.model
    assert (new.config.model.filters, new.config.model.kernel_size) == ((6, 5), (5, 3))
    for name, weight in old.weights.items():
        if name != "blend":  # fitted to each clip
            torch.testing.assert_close(new.weights[name], weight)
    # What either was trained on is known to be so.
    assert [trained.name for trained in new.trained_on] == ["early.npy", "clip.npy"]
    assert new.trained_on[0] == old.trained_on[0]


def test_such_a_run_is_resumed_without_that_model(run, clip, model, tmp_path):
    other = tmp_path / "other"
    arguments = (*SHORT, f"--runs={other}", "--device=cpu", f"--weights={model}")
    assert run("train", clip, *arguments)[0] == 0
    model.rename(tmp_path / "away")
    code, _, err = run("train", "--resume", other / "train-1", "--epochs", 2)
    assert code == 0, err
    assert "of each stage: pretrained " in err
    assert "fine-tuned" in err


def test_held_out_frames_that_the_earlier_model_saw_are_said(run, clip, model, tmp_path):
    arguments = (*SHORT, f"--runs={tmp_path / 'other'}", "--device=cpu", f"--weights={model}")
    said = (
        "note: {} was trained on held-out frames of {}, so that errors of new frames may be higher"
    )
    # The same file, of which more is held out now
    code, _, err = run(
        "train", tmp_path / "early.npy", *arguments, "--set=data.validation_fraction=0.5"
    )
    assert code == 0, err
    assert said.format(model, "early.npy") in " ".join(err.split())
    code, _, err = run("train", tmp_path / "early.npy", clip, *arguments)
    assert code == 0, err
    assert "was trained on held-out frames" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            "--weights={model} --model=convlstm",
            2,
            "model.filters, model.kernel_size, model.name: not as in {model}, which the run starts "
            "from; leave out these settings, or the model",
        ),
        (
            "--weights={model} --from-scratch",
            2,
            "train.weights: a run from scratch has none to start from; leave out one of",
        ),
        ("--weights={folder}/none.pt", 4, "{folder}/none.pt: no such file; give a .pt file"),
        ("--weights={clip}", 4, "{clip}: is no model to start from; give a .pt file or a run"),
        (
            "--weights={plain} --color=rgb",
            4,
            "{plain}: the weights do not fit model.name convlstm: stem.0.weight is",
        ),
    ],
    ids=["network", "scratch", "missing", "clip", "channels"],
)
def test_models_that_a_run_cannot_start_from(run, clip, model, tmp_path, arguments, code, said):
    names = {"model": model, "clip": clip, "folder": tmp_path, "plain": tmp_path / "plain/train-1"}
    if "{plain}" in arguments:
        plain = (*SHORT, "--model=convlstm", "--set=model.filters=[4]", f"--runs={tmp_path}/plain")
        assert run("train", clip, *plain, "--device=cpu")[0] == 0
    given = [argument.format(**names) for argument in arguments.split()]
    found, out, err = run("train", clip, *SHORT, f"--runs={tmp_path / 'other'}", *given)
    assert (found, out) == (code, "")
    assert err.splitlines()[-1].startswith(f"error: {said.format(**names)}")
    if "{plain}" in arguments:
        remedy = "train on frames with the channels and the size that it was trained on"
        assert err.endswith(f"; {remedy}\n")
    assert not (tmp_path / "other").exists()
