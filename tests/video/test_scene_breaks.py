"""Scene cuts as breaks: marked, told, and crossed by no window of any command."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from framecast.video import scene_detection
from framecast.video.readers.open import open_source
from framecast.video.scene_detection import split_scenes
from tests.support.media import joined
from tests.support.tiny_runs import CONTEXT, HORIZON, TINY

LENGTHS = (23, 19, 26)
CUTS = (23, 42)
SPAN = CONTEXT + HORIZON
# Which windows there are does not depend on the network; this one scores them in a moment
PLAIN = (*TINY, "--set=model.name=convlstm")


@pytest.fixture
def film(tmp_path):
    np.save(tmp_path / "film.npy", joined(*LENGTHS))
    return tmp_path / "film.npy"


def crosses(start):
    return any(start < cut < start + SPAN for cut in CUTS)


def test_cuts_become_breaks_beside_those_that_were_there(film):
    source, seen = open_source(film), []
    source.info = replace(source.info, breaks=(42, 50), notes=("a gap",))
    split_scenes([source], lambda *frame: seen.append(frame))
    assert source.info.breaks == (23, 42, 50)
    note = "film.npy cuts to another scene at frame 23; no window crosses a cut"
    assert source.info.notes == ("a gap", note)
    assert seen == [("looking for cuts in film.npy", 68)] * 68


def test_many_cuts_are_counted_not_listed(film, monkeypatch):
    monkeypatch.setattr(scene_detection, "find_cuts", lambda frames: tuple(range(5, 65, 6)))
    source = open_source(film)
    split_scenes([source])
    assert "at frames 5, 11, 17, 23, 29, 35 and 4 more;" in source.info.notes[0]


def test_no_window_of_training_or_evaluation_crosses_a_cut(run, film, tmp_path):
    loud = [flag for flag in PLAIN if flag != "--quiet"]
    code, _, err = run("train", film, "--runs", tmp_path, *loud)
    assert code == 0
    assert "film.npy cuts to another scene at frames 23, 42; no window crosses a cut" in flat(err)
    # The last quarter, 17 of 68 frames, is held out; a scene of n frames holds n - 6 windows.
    assert re.search(r"frames spanning 7: 33 to train on, 11 held out", flat(err))
    code, out, _ = run("evaluate", tmp_path / "train-1", film, "--json", "--include-training")
    assert code == 0
    report = json.loads(out)
    found = [start for clip, start in windows(report)]
    assert found == [start for start in range(68 - SPAN + 1) if not crosses(start)]
    assert any("cuts to another scene" in note for note in report["notes"])


def test_cuts_are_let_be_where_that_is_set(run, film, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_detection, "_counted_frames", None)  # nobody may look for them
    flags = ["--set", "data.scene_cuts=false", *PLAIN]
    assert run("train", film, "--runs", tmp_path, *flags)[0] == 0
    code, out, _ = run("evaluate", tmp_path / "train-1", film, "--json", "--include-training")
    assert code == 0
    assert [start for clip, start in windows(json.loads(out))] == list(range(68 - SPAN + 1))


def test_too_many_cuts_to_train_are_an_error_that_says_so(run, tmp_path):
    np.save(tmp_path / "clips.npy", joined(*[5] * 8))
    code, _, err = run("train", tmp_path / "clips.npy", "--runs", tmp_path, *TINY)
    assert code == 3
    assert "too many gaps or cuts: " in err
    assert "the longest run has 5" in err


def test_a_dry_run_looks_for_cuts(run, film):
    code, _, err = run("train", film, "--dry-run", *TINY[:-1])
    assert code == 0
    assert "cuts to another scene at frames 23, 42" in flat(err)


def flat(text):
    return " ".join(text.split())


def windows(report):
    return [(window["clip"], window["start"]) for window in report["windows"]]
