"""Pretraining: scenes split by group, batches that a seed fixes, runs that resume to the step."""

import csv
from argparse import Namespace

import numpy as np
import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.prediction.baselines import persistence
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from tests.benchmarks import pretrain, scenes
from tests.benchmarks.pretrain import Pretraining, decay_groups, relative_error
from tests.benchmarks.scenes import score_scenes, score_table, summary
from tests.benchmarks.shared.scene_batches import SceneBatches, appear, changes, usual_changes
from tests.benchmarks.shared.scenes import Scene, read_scenes, split_scenes, windows
from tests.benchmarks.shared.synthetic_scenes import SyntheticScenes
from tests.support.textures import translating

FRAMES, HEIGHT, WIDTH = 21, 100, 104


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six scenes of two kinds, three groups each, as arrays with an index."""
    folder = tmp_path_factory.mktemp("scenes")
    rows = []
    for number in range(6):
        kind = ("radar", "street")[number % 2]
        grey_THW = translating(FRAMES, HEIGHT, WIDTH, (0.5 * number, 1.0), seed=number).numpy()
        rgb_THWC = np.repeat((255 * grey_THW).astype(np.uint8)[..., None], 3, axis=3)
        np.save(folder / f"scene{number}.npy", rgb_THWC)
        rows.append(
            {
                "name": f"scene{number}",
                "kind": kind,
                "file": f"scene{number}.npy",
                "source": "us/own",
                "licence": "CC0",
                "group": f"group{number}",
            }
        )
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def scene(name, kind="street", group=None, frames=FRAMES):
    grey = np.zeros((frames, 8, 8), np.uint8)
    return Scene(name, kind, group or name, "a/b", "MIT", grey[..., None].repeat(3, 3), grey)


def test_scenes_are_decoded_once_and_grey_by_rec_601(folder, tmp_path):
    first = read_scenes(folder, tmp_path)
    assert [(s.name, s.kind) for s in first][:2] == [("scene0", "radar"), ("scene1", "street")]
    assert first[0].rgb_THWC.shape == (FRAMES, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(first[0].grey_THW, first[0].rgb_THWC[..., 1])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    read_scenes(folder, tmp_path)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_group_is_on_one_side_and_every_kind_on_both():
    given = [scene(f"s{i}", f"kind{i % 3}", f"g{i // 2}") for i in range(60)]
    training, held_out = split_scenes(given)
    assert {s.name for s in training} | {s.name for s in held_out} == {s.name for s in given}
    assert not {s.name for s in training} & {s.name for s in held_out}
    for kind in ("kind0", "kind1", "kind2"):
        groups = [{s.group for s in part if s.kind == kind} for part in (training, held_out)]
        assert groups[0]
        assert groups[1]
        assert not groups[0] & groups[1]
    assert split_scenes(given[::-1])[1][::-1] == held_out, "whatever order the index has"


def test_one_group_alone_is_learnt_from_but_regions_of_radar_are_groups():
    assert not split_scenes([scene(f"s{i}", "heart", "one") for i in range(9)])[1]
    assert len(split_scenes([scene(f"s{i}", "radar", "one") for i in range(9)])[1]) == 2


def test_windows_are_spread_over_a_scene():
    found = list(windows(scene("a", frames=30), 3))
    assert [window.shape for window in found] == [(18, 8, 8)] * 3
    assert not list(windows(scene("a", frames=17), 3))
    assert len(list(windows(scene("a", frames=19), 3))) == 2


def test_layers_decay_most_and_biases_not_at_all():
    network = torch.nn.ModuleDict(
        {"stack": ConvLSTM2D(2, 3, in_channels=4), "embed": torch.nn.Conv2d(3, 5, 1)}
    )
    network["embed"].weight.requires_grad_(False)
    network["mix"] = torch.nn.Conv2d(5, 6, 1)
    found = {group["weight_decay"]: len(group["params"]) for group in decay_groups(network)}
    # Kernel and recurrent kernel; the mixing weights; three biases.
    assert found == {pretrain.DECAY_IN_LAYERS: 2, pretrain.DECAY_OF_WEIGHTS: 1, 0.0: 3}


def test_a_batch_is_a_function_of_seed_and_step(folder, tmp_path):
    given = tuple(read_scenes(folder, tmp_path))
    batches = SceneBatches(given, 3, seed=7)
    one, usual = batches[5]
    assert one.shape == (3, 18, 1, 96, 96)
    assert one.dtype == usual.dtype == torch.float32
    assert 0 <= one.min() < one.max() <= 1
    assert usual.shape == (3, 12)
    assert 0 < usual.min() < usual.max() < 1
    again = SceneBatches(given, 3, seed=7)[5]
    torch.testing.assert_close((one, usual), again, rtol=0, atol=0)
    assert not torch.equal(one, batches[6][0])
    assert not torch.equal(one, SceneBatches(given, 3, seed=8)[5][0])
    torch.testing.assert_close(tuple(next(batches.from_step(5, 0))), (one, usual), rtol=0, atol=0)


def test_usual_changes_are_means_over_a_scene_at_a_speed():
    frames = np.arange(40, dtype=np.uint8)[:, None, None] ** 2 % 251
    random = np.random.default_rng(1)
    grey_THW = (frames + random.integers(0, 5, (40, 6, 9))).astype(np.uint8)
    assert changes(grey_THW, [3], 2)[4] == pytest.approx(
        np.square(grey_THW[13].astype(float) - grey_THW[3]).mean()
    )
    given = Scene("a", "street", "a", "a/b", "MIT", grey_THW[..., None].repeat(3, 3), grey_THW)
    # The last of 8 starts is 24 frames, 12 at a speed of 2, before the end.
    starts = [0, 2, 4, 6, 8, 10, 12, 15]
    expected = [
        np.mean([np.square(grey_THW[s + 2 * k].astype(float) - grey_THW[s]).mean() for s in starts])
        for k in range(1, 13)
    ]
    np.testing.assert_allclose(usual_changes(given, 2), np.array(expected) / 255**2, rtol=1e-5)


def test_parts_of_another_window_appear_at_once_and_stay_or_vanish():
    random = np.random.default_rng(0)
    stayed, vanished = 0, 0
    for _ in range(20):
        window_THW = np.zeros((18, 40, 40), np.float32)
        appear(random, window_THW, np.ones((18, 40, 40), np.float32))
        rows, columns = (window_THW.any(axis=(0, axis)) for axis in (2, 1))
        assert min(rows.sum(), columns.sum()) >= 5
        # One rectangle, all of it in the same frames, which are one after another.
        shown_T = window_THW.any(axis=(1, 2))
        assert window_THW.sum() == shown_T.sum() * rows.sum() * columns.sum() > 0
        assert not shown_T[0] and np.diff(shown_T.astype(int)).clip(0).sum() == 1
        stayed, vanished = stayed + shown_T[-1], vanished + (not shown_T[-1])
    assert stayed > vanished > 0


@pytest.mark.parametrize("kind", range(5))
def test_synthetic_scenes_move_and_stay_in_range(kind):
    synthetic = SyntheticScenes(np.random.default_rng(kind), 64, 18)
    synthetic.shares = np.eye(5)[kind]
    found = [synthetic.window() for _ in range(6)]
    for window in found:
        assert window.shape == (18, 64, 64)
        assert window.dtype == np.float32
        assert window.min() >= 0
        assert window.max() <= 1
    assert max(np.abs(np.diff(window, axis=0)).max() for window in found) > 0.05
    again = SyntheticScenes(np.random.default_rng(kind), 64, 18)
    again.shares = np.eye(5)[kind]
    np.testing.assert_array_equal(again.window(), found[0])


def test_scores_are_relative_to_the_better_baseline(folder, tmp_path):
    given = read_scenes(folder, tmp_path)
    scores = score_scenes(persistence, given, 2)
    assert len(scores) == 6
    for score in scores:
        expected = (score.last_T.mean() + 1 / 12 / 255**2) / (
            min(score.last_T.mean(), score.flow_T.mean()) + 1 / 12 / 255**2
        )
        assert score.relative() == pytest.approx(expected)
        np.testing.assert_allclose(score.mse_T, score.last_T)
    found = summary(scores)
    everywhere = [score.relative() for score in scores]
    assert found["relative_mse"] == pytest.approx(np.prod(everywhere) ** (1 / 6))
    assert found["worse"] == np.mean(np.array(everywhere) > 1) > 0.5
    assert score_table(scores).splitlines()[-1].split(" | ")[:2] == ["| all", "6"]


def test_the_loss_weighs_logs_of_errors_relative_to_what_is_usual_in_a_scene():
    target = torch.full((1, 3, 1, 4, 4), 0.5)
    target[:, 1] = 0.7
    frames = torch.tensor([0.6, 0.6, 0.9]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 4, 4)
    usual = np.array([0.02, 0.05, 0.3])
    errors, reference = np.array([0.01, 0.01, 0.16]), 0.5 * usual + 1e-6
    each = np.log(1 + errors / reference)
    together = np.log(1 + errors.mean() / reference.mean())
    found = relative_error(frames, target, torch.from_numpy(usual[None]))
    expected = 0.6 * together + 0.2 * each.mean() + 0.2 * each[0]
    assert found.item() == pytest.approx(expected, rel=1e-4)


def options(folder, work, *more):
    given = ["--data", folder, "--work", work, "--steps=4", "--batch-size=2", "--lr=1e-3"]
    given += ["--seed=3", "--device=cpu", "--validations=1", "--windows=1", "--no-bfloat16", *more]
    return pretrain.command_line().parse_args([*map(str, given)])


def test_a_run_resumes_to_the_step_and_writes_what_is_shipped(folder, tmp_path):
    whole = Pretraining(options(folder, tmp_path / "whole"))
    whole.run()
    first = Pretraining(options(folder, tmp_path / "parts"))
    batches = SceneBatches(tuple(first.training), 2, 3).from_step(0, 0)
    for _ in range(2):
        first.learn(*next(batches))
    first.save()
    second = Pretraining(options(folder, tmp_path / "parts", "--resume"))
    assert second.step == 2
    second.run()
    for name, weight in whole.average.state_dict().items():
        torch.testing.assert_close(second.average.state_dict()[name], weight, rtol=0, atol=0)
    shipped = load_checkpoint(tmp_path / "whole" / "flow-convlstm.pt")
    assert shipped.weights["embed.weight"].dtype == torch.float16
    assert shipped.trained_on == ()
    context = np.zeros((6, 20, 24, 3), np.uint8)
    assert LoadedForecaster(shipped, "cpu").predict(context, 2).shape == (2, 20, 24, 3)
    text = (tmp_path / "whole" / "PROVENANCE.md").read_text()
    assert "- us/own: CC0; scenes " in text
    assert "- seed: 3" in text
    assert "- steps: 4 of 2 windows" in text
    held_out = {s.name for s in whole.held_out}
    assert held_out
    assert not any(name in text for name in held_out)


def test_scenes_are_scored_from_the_command_line(folder, tmp_path, monkeypatch, capsys):
    arguments = ["scenes", "--data", str(folder), "--model", "optical flow", "--windows", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--json", str(tmp_path / "found.json")])
    scenes.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| kind | scenes | all leads | lead 1 | worse on |"
    assert lines[-1].startswith("| all | 2 | ")
    assert '"model": "optical flow"' in (tmp_path / "found.json").read_text()


def test_the_budget_ends_a_run():
    run = Pretraining.__new__(Pretraining)
    run.options, run.step, run.seconds = Namespace(steps=None, hours=0.5, lr=1), 100, 900.0
    assert run.progress == 0.5
    assert run.schedule() == pytest.approx((1 + pretrain.LAST_LR) / 2)
    run.seconds = 4000.0
    assert run.progress == 1
    assert run.schedule() == pytest.approx(pretrain.LAST_LR)
