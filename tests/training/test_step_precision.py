"""Whether training steps compute in float32 or bfloat16, where the setting leaves it open."""

import pytest

from framecast.prediction.checkpoint import load_checkpoint
from framecast.training import step_precision
from framecast.training.step_precision import StepPrecision
from tests.support.tiny_runs import TINY

SECONDS = {"float32": 2.0, "bfloat16": 1.5}


@pytest.fixture
def taken(monkeypatch):
    """The precision of every step, on a processor on which those in bfloat16 are the faster."""
    real, steps = StepPrecision.record, []

    def record(self, seconds):
        steps.append(self.next)
        real(self, SECONDS[self.next])

    monkeypatch.setattr(step_precision, "computes_bfloat16", lambda: True)
    monkeypatch.setattr(StepPrecision, "record", record)
    return steps


def test_each_is_timed_by_turns_and_the_faster_second_step_wins(monkeypatch):
    monkeypatch.setattr(step_precision, "computes_bfloat16", lambda: True)
    precision, taken = StepPrecision("auto", "cpu"), []
    assert precision.chosen is None
    assert precision.steps_left == 4
    for seconds in (9.0, 1.0, 3.0, 4.0, 0.1):  # the first steps prepare, later ones do not count
        taken.append(precision.next)
        precision.record(seconds)
    assert taken == ["float32", "bfloat16", "float32", "bfloat16", "float32"]
    assert precision.chosen == "float32"
    assert precision.seconds == {"float32": [9.0, 3.0], "bfloat16": [1.0, 4.0]}


@pytest.mark.parametrize(
    ("setting", "device", "able", "expected"),
    [
        ("float32", "cpu", True, "float32"),
        ("bfloat16", "cpu", False, "bfloat16"),
        ("auto", "cpu", False, "float32"),
        ("auto", "cuda:1", True, "bfloat16"),
        ("auto", "mps", True, "float32"),
    ],
)
def test_nothing_is_timed_where_the_answer_is_known(monkeypatch, setting, device, able, expected):
    monkeypatch.setattr(step_precision, "computes_bfloat16", lambda: able)
    precision = StepPrecision(setting, device)
    assert precision.steps_left == 0
    assert precision.next == precision.chosen == expected
    precision.restore({"chosen": "neither", "seconds": {}})
    assert precision.next == expected, "a setting wins over what an earlier run has measured"


def test_a_run_says_what_it_chose_and_one_that_is_resumed_goes_on_measuring(
    run, clips, tmp_path, taken
):
    settings = [flag for flag in TINY if flag not in ("--quiet", "--epochs=1")]
    settings += ["--set=train.steps_per_epoch=1", "--set=train.precision=auto"]
    settings.append(f"--runs={tmp_path}")
    code, _, err = run("train", clips / "grey.npy", *settings, "--epochs=3")
    assert code == 0, err
    assert "in float32 or bfloat16, whichever the first steps show to be faster" in err
    assert "going on" not in err
    folder = tmp_path / "train-1"
    code, _, err = run("train", "--resume", folder, "--epochs=5")
    assert code == 0, err
    assert "going on in bfloat16 (a step takes: float32 2 s, bfloat16 1.5 s)" in err
    assert taken == ["float32", "bfloat16", "float32", "bfloat16", "bfloat16"]
    found = load_checkpoint(folder / "last.pt").progress["precision"]
    assert found == {"chosen": "bfloat16", "seconds": {n: [s, s] for n, s in SECONDS.items()}}
    code, _, err = run("train", "--resume", folder, "--epochs=6")
    assert code == 0, err
    assert " on cpu in bfloat16" in err
    assert "going on" not in err
    assert taken[5:] == ["bfloat16"]
