"""What training says of itself: words for errors, epoch lines that fit a terminal."""

from dataclasses import replace

import numpy as np
import pytest

from framecast.cli import training_report
from framecast.config.loading import load_config
from framecast.data.plan import make_plan
from framecast.training.events import EpochDone, TrainingResult
from framecast.video.readers.open import open_sources


@pytest.mark.parametrize(
    ("error", "reference", "words"),
    [
        (0.958, 1.0, "4.2 % lower"),
        (1.13, 1.0, "13.0 % higher"),
        (3.0, 1.25, "2.4 times as high"),
        (16.345, 1.0, "16 times as high"),
        (1.0, 0.0, "above its zero"),
        (0.0, 0.0, "equal"),
        (1.0004, 1.0, "equal"),
    ],
)
def test_errors_are_compared_in_words(error, reference, words):
    assert training_report.compared(error, reference) == words


def test_epoch_lines_fit_80_columns(capfd):
    common = {"minutes": 1234.5, "lr": 1e-3, "persistence_mse": 0.25, "flow_mse": 0.125}
    for epoch, loss in ((0, None), (99999, 12.34567)):
        training_report.show_epoch(
            EpochDone(epoch, 1234567, train_loss=loss, validation_mse=0.1, improved=True, **common)
        )
    lines = capfd.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "held-out MSE x 1000: last frame 250.000, optical flow 125.000"
    assert lines[-1] == "99999 1234567    1234.5 12.34567        100.000   20.0 % lower        best"


def test_of_hundreds_of_clips_some_are_shown(tmp_path, capfd):
    for number in range(112):
        frames = 20 if number < 100 else 3
        np.save(tmp_path / f"{number}.npy", np.zeros((frames, 16, 24), np.uint8))
    sources = open_sources([tmp_path])
    for number, source in enumerate(sources):
        source.add_note(f"note on {number}")
        source.use_newest(19 if number == 1 else 20)
    config = load_config(None, ["data.context_length=3", "data.horizon=2"], {})
    training_report.show_plan(make_plan([source.info for source in sources], config))
    lines = capfd.readouterr().err.splitlines()
    rows = [line.split() for line in lines if "\N{BOX DRAWINGS LIGHT VERTICAL}" in line]
    assert [row[0] for row in rows] == [*(f"{number}.npy" for number in range(20)), "and"]
    assert [row[2] for row in rows[:3]] == ["20", "19", "20"]
    assert rows[1][2:5] == ["19", "of", "20"]
    assert rows[-1][:3] == ["and", "92", "more"]
    notes = [line.removeprefix("note: ") for line in lines if line.startswith("note: ")]
    unused = ", ".join(f"{number}.npy" for number in range(100, 110))
    assert notes == [
        f"too short for a window, not used: {unused} and 2 more",
        *(f"note on {number}" for number in range(19)),
        "93 more notes like these",
    ]


@pytest.mark.parametrize(("persistence", "told"), [(0.0, 1), (1e-9, 0)])
def test_frames_that_all_are_alike_are_noted_at_the_start(capfd, persistence, told):
    common = {"minutes": 0, "lr": 1e-3, "persistence_mse": persistence, "flow_mse": 0.0}
    common |= {"validation_mse": 0.0, "improved": False}
    for epoch, loss in ((0, None), (1, 0.5)):
        training_report.show_epoch(EpochDone(epoch, epoch, train_loss=loss, **common))
    note = "note: nothing changes in the held-out frames, so there is nothing to predict\n"
    assert capfd.readouterr().err.count(note) == told


@pytest.mark.parametrize(
    ("trained", "steps", "words"),
    [
        (0.0215, 1, "the {} model is less than 1 % better than its start"),
        (0.022, 1, "the {} model did not beat its start"),
        (0.022, 0, "the budget held no step of fine-tuning"),
    ],
)
def test_a_start_that_is_kept_is_explained_by_the_figures(trained, steps, words):
    mse_T = (0.0200, 0.0232)
    figures = TrainingResult(
        epoch=0,
        steps=steps,
        minutes=1.0,
        reason="the budget of 1 minute is used up",
        validation_mse_T=mse_T,
        kept="fitted",
        stage_mse={"pretrained": 0.0218, "fitted": 0.0216, "fine-tuned": trained},
        persistence_mse_T=mse_T,
        flow_mse_T=mse_T,
    )
    assert words.format("fine-tuned") in training_report._kept_start(figures)
    from_scratch = replace(figures, kept="start", stage_mse={"start": 0.0216, "trained": trained})
    assert words.format("trained") in training_report._kept_start(from_scratch)
