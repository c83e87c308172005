"""The Moving MNIST benchmark: its generator, OpenSTL's recipe, the command as a whole; ablation."""

import gzip
import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.data.plan import make_plan
from framecast.errors import SourceError
from framecast.evaluation.report import MODEL
from framecast.prediction.baselines import persistence
from framecast.prediction.checkpoint import load_checkpoint
from framecast.training.pipeline import prepare, train
from framecast.video.readers.open import open_source
from tests.benchmarks import ablation, moving_mnist
from tests.benchmarks.shared import openstl_peers as peers
from tests.benchmarks.shared.digits import read_digits, sequences, trajectories
from tests.support.media import smooth_clip, write_folder

SMALL = ["--set=model.filters=[3]", "--set=model.patch=8", "--set=train.epochs=1"]
SMALL += ["--set=train.steps_per_epoch=1", "--set=train.batch_size=2", "--set=train.device=cpu"]


def digits(count=8010):
    """Digit number n is a full square of value 1 + n % 255."""
    values = (1 + np.arange(count) % 255).astype(np.uint8)
    return np.broadcast_to(values[:, None, None], (count, 28, 28))


def write_idx(path, images, packed, kind=2051):
    content = struct.pack(">4i", kind, *images.shape) + images.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_digits_are_read_packed_or_not(tmp_path, packed):
    path = write_idx(tmp_path / "digits", digits(), packed)
    np.testing.assert_array_equal(read_digits(path), digits())


def test_files_without_digits_are_refused(tmp_path):
    (tmp_path / "text").write_text("no digits")
    with pytest.raises(SourceError, match="cannot be read as digits"):
        read_digits(tmp_path / "text")
    with pytest.raises(SourceError, match="holds 90 images of 28x28"):
        read_digits(write_idx(tmp_path / "few", digits(90), True))
    with pytest.raises(SourceError, match="holds 8010 images"):
        read_digits(write_idx(tmp_path / "labels", digits(), True, kind=2049))


def test_digits_move_straight_and_turn_back_at_the_borders():
    """In a straight line of 3.6 pixels a frame, and from edge to edge in the long run."""
    generator = np.random.default_rng(0)
    places = trajectories(generator.random((2000, 2)), 2 * np.pi * generator.random(2000), 20)
    assert places.min() == 0
    assert places.max() == 36
    steps = np.diff(places, axis=1)
    inside = ((places[:, :-1] > 4) & (places[:, :-1] < 32)).all(axis=2)
    assert np.hypot(*steps[inside].T).max() < 3.6 + 2**0.5
    assert np.hypot(*steps[inside].T).mean() == pytest.approx(3.6, abs=0.1)
    # Between two turns the direction stays: second differences are rounding.
    calm = inside[:, :-1] & inside[:, 1:]
    assert abs(np.diff(steps, axis=1)[calm]).max() == 1
    # All directions are drawn alike, all places visited alike in rows and columns.
    assert abs(steps[:, 0].mean(axis=0)).max() < 0.2
    assert places.mean(axis=(0, 1)) == pytest.approx([17.6, 17.6], abs=0.5)


def test_sequences_are_two_digits_laid_over_one_another_and_fixed_by_their_seed():
    made_SHW = sequences(digits()[:200], 6, 5, seed=3)
    assert made_SHW.shape == (30, 64, 64)
    for clip_THW in made_SHW.reshape(6, 5, 64, 64):
        values = set(np.unique(clip_THW)) - {0}
        assert len(values) in (1, 2)  # one where both are the same digit
        brightest = max(values)
        assert ((clip_THW == brightest).sum(axis=(1, 2)) == 28 * 28).all()  # never covered
        assert ((clip_THW > 0).sum(axis=(1, 2)) <= 2 * 28 * 28).all()
    np.testing.assert_array_equal(made_SHW, sequences(digits()[:200], 6, 5, seed=3))
    assert (made_SHW != sequences(digits()[:200], 6, 5, seed=4)).any()


def test_each_window_of_the_training_is_one_sequence(tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((40 * 20, 64, 64), np.uint8))
    config = load_config(None, list(moving_mnist.TASK), {})
    split = make_plan([open_source(tmp_path / "clip.npy").info], config).split
    assert [window.start for window in split.train] == list(range(0, 36 * 20, 20))
    assert [window.start for window in split.validation] == list(range(36 * 20, 40 * 20, 20))


def test_cells_are_squares_of_pixels_and_become_frames_again():
    clips_BTCHW = torch.rand(2, 5, 1, 8, 12)
    cells_BTHWC = peers.to_cells(clips_BTCHW)
    assert cells_BTHWC.shape == (2, 5, 2, 3, 16)
    square_HW = clips_BTCHW[1, 4, 0, 4:8, 8:12]
    torch.testing.assert_close(cells_BTHWC[1, 4, 1, 2], square_HW.flatten())
    assert torch.equal(peers.from_cells(cells_BTHWC), clips_BTCHW)


def test_one_cycle_is_that_of_pytorch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=1001, final_div_factor=1e4
    )
    for step in range(1001):
        share, beta = peers.one_cycle(step / 1000)
        group = optimizer.param_groups[0]
        assert share == pytest.approx(group["lr"], rel=2e-2, abs=1e-5)
        assert beta == pytest.approx(group["betas"][0], abs=1e-3)
        optimizer.step()
        if step < 1000:
            cycle.step()


class Recurrent(torch.nn.Module):
    """Stands for OpenSTL's ConvLSTM_Model: says the frame it is shown, or its own last one."""

    def __init__(self, layers, hidden, settings):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.context = settings.pre_seq_length
        assert (layers, hidden) == (4, [128] * 4)

    def forward(self, frames, mask, return_loss=True):
        said = []
        for t in range(frames.shape[1] - 1):
            shown = 1 if t < self.context else mask[:, t - self.context]
            seen = shown * frames[:, t] + (1 - shown) * (said[-1] if said else 0)
            said.append(self.gain * seen)
        said = torch.stack(said, dim=1)
        loss = torch.nn.functional.mse_loss(said, frames[:, 1:]) if return_loss else None
        return said, loss


def test_the_recurrent_peer_is_shown_truth_in_training_and_itself_in_forecasts():
    peer = peers.ConvLSTMS(SimpleNamespace(ConvLSTM_Model=Recurrent), 5, 4, 8)
    clips_BTCHW = torch.rand(2, 9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context_BTCHW, future_BTCHW = clips_BTCHW.split((5, 4), dim=1)
    for frame, last in zip(peer(context_BTCHW, 4), persistence(context_BTCHW, 4), strict=True):
        assert torch.equal(frame, last)
    at_first = torch.nn.functional.mse_loss(clips_BTCHW[:, :-1], clips_BTCHW[:, 1:])
    assert peer.loss(clips_BTCHW, 5, 0).item() == pytest.approx(at_first.item())
    held = torch.cat([context_BTCHW[:, :-1], context_BTCHW[:, -1:].expand(-1, 4, -1, -1, -1)], 1)
    at_last = torch.nn.functional.mse_loss(held, clips_BTCHW[:, 1:])
    assert peer.loss(clips_BTCHW, 5, 50_000).item() == pytest.approx(at_last.item())
    assert future_BTCHW.shape[1] == 4


def test_peers_are_trained_for_their_time_and_absent_ones_are_told(tmp_path):
    peer = peers.ConvLSTMS(SimpleNamespace(ConvLSTM_Model=Recurrent), 10, 10, 64)
    clips_NTHW = sequences(digits()[:50], 20, 20, seed=0).reshape(20, 20, 64, 64)
    record = peers.train_peer(peer, clips_NTHW, 10, 0.005, "cpu")
    assert record["steps"] >= 1
    assert record["minutes"] >= 0.005
    assert record["parameters"] == 1
    assert peer.network.gain.item() != 1
    assert "openstl" in peers.load_models(tmp_path)


def test_moving_mnist_is_scored_as_openstl_does(tmp_path, monkeypatch, capsys):
    path = write_idx(tmp_path / "digits.gz", digits(), True)
    flags = ["--digits", path, "--sequences=40", "--tests=3", "--output", tmp_path, *SMALL]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags)])
    moving_mnist.main()
    record = json.loads((tmp_path / "moving_mnist.json").read_text())
    entry = record["entries"][0]
    assert entry["training"]["training_windows"] == {"training": 36}
    assert entry["peers"] == {"absent": "no checkout of OpenSTL was given"}
    tests_NTHW = sequences(digits()[8000:], 3, 20, 2).reshape(3, 20, 64, 64) / 255
    errors = (tests_NTHW[:, 10:] - tests_NTHW[:, 9:10]) ** 2
    found = entry["scores"]["last frame"]["mse"]
    np.testing.assert_allclose(found, errors.sum(axis=(2, 3)).mean(axis=0))
    assert entry["means"]["last frame"]["mse"] == pytest.approx(np.mean(found))
    squares = (tests_NTHW[:, 10:] ** 2).sum(axis=(2, 3)).mean(axis=0)
    np.testing.assert_allclose(entry["scores"]["black frames"]["mse"], squares)
    assert (tmp_path / "moving_mnist.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert f"{MODEL} flow-convlstm" in printed
    assert "published by OpenSTL, not measured here: 200 epochs" in printed
    assert "ConvLSTM-S                       mse 29.8" in printed


def test_every_part_of_the_ablation_changes_something():
    assert ablation.PARTS[0] == ablation.Part("default")
    default = load_config(None, [], {})
    for part in ablation.PARTS[1:]:
        assert (load_config(None, list(part.settings), {}) != default) != bool(part.change)


def trained_with(change, clip, runs):
    """The network that a training of some steps saves, with a change of it."""
    settings = [flag.removeprefix("--set=") for flag in SMALL]
    settings += ["data.cache_gb=0", "train.steps_per_epoch=3", "train.ema=0", "data.horizon=4"]
    config = load_config(None, settings, {})
    with ablation.altered(change):
        run = train(prepare([clip], config), runs, lambda event: None).run
    return load_checkpoint(run.last).forecaster()


def test_changes_of_the_network_last_through_training_and_only_there(tmp_path):
    np.save(tmp_path / "clip.npy", smooth_clip(40, 17, 26)[..., 0])
    changes = {part.name: part.change for part in ablation.PARTS if part.change}
    networks = {
        name: trained_with(change, tmp_path / "clip.npy", tmp_path / "runs")
        for name, change in (changes | {"default": None}).items()
    }

    def effect(name, part):
        weights = dict(networks[name].get_submodule(part).named_parameters())
        return any(weight.any() for key, weight in weights.items() if "bias" not in key)

    def memory(name):
        return any(layer.recurrent_kernel.any() for layer in networks[name].stack.layers)

    alone, without_h, mixes, paints, raw, upright = changes
    for name in networks:
        assert effect(name, "head") == (name not in (alone, paints)), name
        assert memory(name) == (name != without_h), name
    last = {name: list(networks[name].paint.parameters())[-2] for name in networks}
    assert {name for name in networks if not last[name].any()} == {alone, mixes}
    assert raw == "not calibrated"
    assert {name for name in networks if not networks[name].lean.any()} == {upright}


def test_ablation_compares_changes_with_the_default(tmp_path, monkeypatch, capsys):
    write_folder(tmp_path / "events/one", smooth_clip(60, 17, 26)[..., 0])
    only = "plain ConvLSTM, no motion"
    flags = ["--data", tmp_path / "events", "--windows=2", f"--only={only}", "--output", tmp_path]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags), *SMALL])
    ablation.main()
    entries = json.loads((tmp_path / "ablation.json").read_text())["entries"]
    assert [entry["part"] for entry in entries] == ["default", only]
    names = [entry["training"]["settings"]["model"]["name"] for entry in entries]
    assert names == [load_config(None, [], {}).model.name, "convlstm"]
    assert (tmp_path / "ablation-15.png").stat().st_size > 5_000
    assert f"{only}, 15 minutes, 1 steps: one " in capsys.readouterr().out
    first, second = (entry["clips"][0]["summary"]["mse"][MODEL] for entry in entries)
    assert ablation.costs(entries) == {only: {"one": pytest.approx(second / first - 1)}}


def test_ablation_on_digits_is_scored_as_moving_mnist_is(tmp_path, monkeypatch, capsys):
    path = write_idx(tmp_path / "digits.gz", digits(), True)
    flags = ["--digits", path, "--sequences=40", "--tests=3", "--output", tmp_path]
    flags += ["--only=not calibrated", "--only=plain ConvLSTM, no motion", *SMALL]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags)])
    ablation.main()
    entries = json.loads((tmp_path / "ablation.json").read_text())["entries"]
    assert [entry["part"] for entry in entries] == [
        "default",
        "not calibrated",
        "plain ConvLSTM, no motion",
    ]
    tests_NTHW = sequences(digits()[8000:], 3, 20, 2).reshape(3, 20, 64, 64) / 255
    errors = (tests_NTHW[:, 10:] - tests_NTHW[:, 9:10]) ** 2
    for entry in entries:
        assert entry["training"]["training_windows"] == {"training": 36}
        assert entry["training"]["settings"]["data"]["flip"] is False
        found = entry["clips"][0]["summary"]["mse"]["last frame"]
        assert found == pytest.approx(errors.sum(axis=(2, 3)).mean())
    mse = [entry["clips"][0]["summary"]["mse"][MODEL] for entry in entries]
    assert len(set(mse)) == 3
    assert f"default, 15 minutes, 1 steps: Moving MNIST {mse[0]:.1f}\n" in capsys.readouterr().out
    costs = ablation.costs(entries)["plain ConvLSTM, no motion"]
    assert costs == {"Moving MNIST": pytest.approx(mse[2] / mse[0] - 1)}


def test_ablation_takes_clips_or_digits(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--data=events", "--digits=digits.gz"])
    with pytest.raises(SystemExit, match="2"):
        ablation.main()
    assert "--digits: not allowed with argument --data" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["benchmark", "--digits=digits.gz", "--size=9x9"])
    with pytest.raises(SystemExit, match="2"):
        ablation.main()
    assert "--size and --keep: are for clips" in capsys.readouterr().err
