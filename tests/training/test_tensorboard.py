"""`--tensorboard`: what TensorBoard's own reader finds in the run folder."""

import csv

import pytest

from framecast.runtime import extras
from tests.support.tiny_runs import TINY

NO_PACKAGE = (2, "", "error: train.tensorboard needs tensorboard, which is not installed; ")


@pytest.fixture
def events():
    """Read a run's scalars by tag as (step, value), and the tags of its other records."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(run_folder):
        board = module.EventAccumulator(str(run_folder / "tensorboard")).Reload()
        tags = board.Tags()
        scalars = {
            tag: [(event.step, event.value) for event in board.Scalars(tag)]
            for tag in tags["scalars"]
        }
        return scalars, (tags["images"], tags["tensors"])

    return read


def test_losses_errors_settings_and_preview_are_logged_and_resumed(run, clips, tmp_path, events):
    runs = tmp_path / "runs"
    code, out, _ = run("train", clips / "grey.npy", "--runs", runs, *TINY, "--tensorboard")
    assert code == 0
    assert out.splitlines()[0] == str(runs / "train-1/best.pt")
    scalars, others = events(runs / "train-1")
    assert others == (["preview"], ["settings/text_summary"])
    rows = list(csv.DictReader((runs / "train-1/metrics.csv").open()))
    expected = [(int(row["step"]), 1000 * float(row["validation_mse"])) for row in rows]
    assert [step for step, _ in scalars["loss/step"]] == [1, 2]
    # The file holds float32.
    assert scalars["mse_x1000/held_out"] == [
        (step, pytest.approx(value, rel=1e-6)) for step, value in expected
    ]
    assert scalars["loss/epoch"] == [(2, pytest.approx(float(rows[-1]["train_loss"]), rel=1e-6))]
    assert set(scalars) > {"learning_rate", "mse_x1000/last_frame", "mse_x1000/optical_flow"}
    assert run("train", "--resume", runs / "train-1", "--epochs=2", "--quiet")[0] == 0
    assert [step for step, _ in events(runs / "train-1")[0]["loss/step"]] == [1, 2, 3, 4]


def test_without_the_flag_nothing_is_logged(grey_run):
    assert not (grey_run / "tensorboard").exists()


def test_where_it_is_not_installed_nothing_begins(run, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    code, out, err = run("train", clips / "grey.npy", "--runs", tmp_path / "runs", "--tensorboard")
    assert (code, out, err.removesuffix('run pip install "framecast[tensorboard]"\n')) == NO_PACKAGE
    assert not (tmp_path / "runs").exists()
