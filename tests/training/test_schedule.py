"""Budgets, learning rates and reasons to stop, worked out by hand."""

import numpy as np
import pytest

from framecast.config.schema import TrainConfig
from framecast.training.events import Counters
from framecast.training.schedule import Schedule


def schedule(steps_per_epoch=5, **settings):
    return Schedule(TrainConfig(**{"minutes": None, **settings}), steps_per_epoch)


def test_learning_rate_rises_then_falls_to_a_hundredth():
    plan = schedule(epochs=40, lr=0.01)
    rates = [plan.learning_rate(Counters(step=step)) for step in range(201)]
    assert rates[0] == pytest.approx(0.0005)
    assert max(rates) == pytest.approx(0.01)
    assert np.argmax(rates) == 10
    assert rates[-1] == pytest.approx(0.0001)
    assert all(np.diff(rates)[10:] < 0)
    # Half way through the fall the cosine is at its middle.
    assert rates[105] == pytest.approx(0.01 * (0.01 + 0.99 / 2))


def test_without_a_budget_the_rate_rises_and_stays():
    rates = [schedule(lr=0.02).learning_rate(Counters(step=step)) for step in (0, 49, 99, 5000)]
    assert rates == pytest.approx([0.0002, 0.01, 0.02, 0.02])


def test_progress_is_that_of_the_budget_which_is_used_up_first():
    both = schedule(minutes=8, epochs=4)
    assert both.progress(Counters(step=5, minutes=1)) == pytest.approx(5 / 20)
    assert both.progress(Counters(step=5, minutes=6)) == pytest.approx(6 / 8)
    assert both.progress(Counters(step=50)) == 1
    assert schedule().progress(Counters(step=50, minutes=70)) is None


@pytest.mark.parametrize(
    ("settings", "counters", "reserve", "reason"),
    [
        ({"epochs": 1}, {"epoch": 1}, 0, "1 epoch is done"),
        ({"epochs": 3}, {"epoch": 3}, 0, "3 epochs are done"),
        ({"epochs": 3}, {"epoch": 2, "best_epoch": 2}, 0, None),
        ({"minutes": 1}, {"minutes": 1.0}, 0, "the budget of 1 minute is used up"),
        ({"minutes": 0.5}, {"minutes": 0.4}, 0.1, "the budget of 0.5 minutes is used up"),
        ({"minutes": 0.5}, {"minutes": 0.4}, 0.09, None),
        ({"patience": 1}, {"epoch": 1}, 0, "no improvement for 1 epoch"),
        ({"patience": 4}, {"epoch": 9, "best_epoch": 5}, 0, "no improvement for 4 epochs"),
        ({"patience": 4}, {"epoch": 9, "best_epoch": 6}, 0, None),
        ({"patience": None}, {"epoch": 900}, 0, None),
    ],
)
def test_reasons_to_stop(settings, counters, reserve, reason):
    found = schedule(**{"patience": 20, **settings}).reason_to_stop(Counters(**counters), reserve)
    assert found == reason
