"""Where the time goes: phases that add up, pause each other, and a profile in the run folder."""

import gzip
import json
import time

import pytest

from framecast.training import profiler
from framecast.training.profiler import PHASES, PROFILING, Stopwatch
from tests.support.tiny_runs import TINY


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless told to go on."""
    now = [100.0]
    monkeypatch.setattr(profiler.time, "perf_counter", lambda: now[0])

    def pass_(seconds):
        now[0] += seconds

    return pass_


def test_a_phase_inside_another_pauses_it_and_shares_add_up(clock):
    watch = Stopwatch("cpu", exact=True)

    def batches():
        for seconds in (3, 5):
            clock(seconds)
            yield seconds

    clock(1)
    with watch.phase("validation"):
        clock(2)
        for _ in watch.timed("data", batches()):
            clock(7)
    with watch.phase("saving"):
        clock(4)
    clock(2)
    shares = watch.shares()
    assert watch.seconds == {
        **dict.fromkeys(PHASES, 0.0),
        **{"other": 3, "validation": 16, "data": 8, "saving": 4},
    }
    assert shares["data"] == pytest.approx(8 / 31)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_phase_that_fails_is_booked_and_left(clock):
    watch = Stopwatch("cpu", exact=False)
    with pytest.raises(ValueError, match="stop"), watch.phase("forward"):
        clock(3)
        raise ValueError("stop")
    clock(1)
    assert watch.shares() == {**dict.fromkeys(PHASES, 0.0), "forward": 0.75, "other": 0.25}


def test_recording_operators_has_no_share_of_the_loop(clock):
    watch = Stopwatch("cpu", exact=True)
    clock(1)
    with watch.phase(PROFILING):
        clock(5)
    with watch.phase("forward"):
        clock(3)
    assert watch.shares() == {**dict.fromkeys(PHASES, 0.0), "forward": 0.75, "other": 0.25}
    assert watch.seconds[PROFILING] == 5


@pytest.mark.parametrize(("steps", "traced"), [(7, True), (2, False)])
def test_a_profile_lies_in_the_run_folder(run, clips, tmp_path, steps, traced):
    started = time.perf_counter()
    flags = ("--profile", "--set", f"train.steps_per_epoch={steps}")
    assert run("train", clips / "grey.npy", "--runs", tmp_path, *TINY, *flags)[0] == 0
    took, folder = time.perf_counter() - started, tmp_path / "train-1"
    figures = json.loads((folder / "profile.json").read_text())
    assert figures["steps"] == steps
    assert set(figures["shares"]) == set(PHASES)
    assert sum(figures["shares"].values()) == pytest.approx(1)
    assert 0 < sum(figures["seconds"].values()) < took
    assert figures["seconds_of_profiling"] > 0
    for name in ("data", "calibration", "forward", "backward", "optimizer", "validation", "saving"):
        assert figures["seconds"][name] > 0, name
    assert (folder / "profile.txt").exists() == traced
    assert (folder / "profile-trace.json.gz").exists() == traced
    if traced:
        assert "aten::convolution" in (folder / "profile.txt").read_text()
        with gzip.open(folder / "profile-trace.json.gz", "rt") as file:
            assert json.load(file)["traceEvents"]


def test_without_the_flag_nothing_is_added(run, clips, tmp_path):
    assert run("train", clips / "grey.npy", "--runs", tmp_path, *TINY)[0] == 0
    assert not list((tmp_path / "train-1").glob("profile*"))
