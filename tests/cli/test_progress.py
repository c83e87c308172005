"""Signs of life: what is done, how fast, how much is left; nothing where all is done at once."""

import time

import pytest

from framecast.cli import progress
from framecast.training.events import StepDone


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2:05 min"), (3723, "1:02:03 h")]
)
def test_times_are_read_as_from_a_clock(seconds, words):
    assert progress.duration(seconds) == words


def test_work_that_is_done_at_once_prints_nothing(capfd):
    with progress.Display() as display:
        for _ in range(3):
            display.count("decoding", 3)
    assert capfd.readouterr().err == ""


def test_a_pipe_gets_a_line_for_each_silence(capfd, monkeypatch):
    monkeypatch.setattr(progress, "SILENCE", 0.05)
    with progress.Display() as display:
        display.show("loading PyTorch")
        time.sleep(0.2)
        for _ in range(4):
            time.sleep(0.1)
            display.count("decoding [red]", 8)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("loading PyTorch: 0 s")
    assert any(line.startswith("decoding [red]: 2/8, ") and "/s" in line for line in lines)
    assert all(line.endswith((" s", " left")) for line in lines)


def test_quiet_prints_nothing_however_long_it_takes(capfd, monkeypatch):
    monkeypatch.setattr(progress, "SILENCE", 0.02)
    with progress.Display(quiet=True) as display:
        display.show("decoding", 1, 2)
        time.sleep(0.1)
    assert capfd.readouterr().err == ""


def test_the_same_work_done_again_starts_from_nothing():
    display = progress.Display()
    for _ in range(5):
        display.count("validating", 3)
    assert display.tasks["validating"].completed == 2


def test_training_shows_its_step_and_loss():
    display = progress.Display()
    display.training_event(StepDone(epoch=2, step=7, loss=0.125, progress=0.25))
    task = display.current
    assert (task.description, task.percentage) == ("training", 25)
    assert progress.amount(task).startswith("epoch 2, step 7, loss 0.12500")
