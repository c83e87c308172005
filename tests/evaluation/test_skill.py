"""Skill, intervals and sentences from errors made up for the purpose."""

import numpy as np
import pytest

from framecast.data.windows import Window
from framecast.evaluation.skill import Skill, block_length, compare, ranges

COVERED = 12


def apart(count):
    """Windows that share no frame."""
    return [Window(0, 20 * number) for number in range(count)]


def overlapping(count):
    return [Window(0, number) for number in range(count)]


def errors(count, *per_lead, wobble=0.0, seed=0):
    """Squared errors (windows, lead times) around the given ones."""
    noise = np.random.default_rng(seed).standard_normal((count, len(per_lead)))
    return np.array(per_lead) * (1 + wobble * noise)


def difference(count, *per_lead):
    """Errors of a model that is now better, now worse by as much, in turn."""
    sign = np.where(np.arange(count) % 2, 1, -1)[:, None]
    return np.array(per_lead) * (1 + 0.1 * sign)


def test_the_sentence_names_baseline_leads_and_gain():
    flow = errors(40, *[10.0] * 12)
    model = np.concatenate([difference(40, 10.0, 10.0), 0.79 * flow[:, 2:]], axis=1)
    found = compare(model, {"last frame": 3 * flow, "optical flow": flow}, apart(40), COVERED)
    assert found.sentence == (
        "better than optical flow at leads 3-12 (by 21 % ± 0 %), no better at 1-2"
    )
    assert found.references == ("optical flow",) * 12
    assert found.reference == "optical flow"
    assert found.block == 1
    assert [skill.says for skill in found.skills] == ["no better"] * 2 + ["better"] * 10
    assert found.skills[5].value == pytest.approx(0.21)


def test_what_is_worse_is_said_as_plainly():
    still, flow = errors(30, 4.0, 8.0), errors(30, 10.0, 10.0)
    found = compare(1.5 * still, {"last frame": still, "optical flow": flow}, apart(30), COVERED)
    assert found.sentence == "worse than the last frame at all leads 1-2 (by 50 % ± 0 %)"
    mixed = np.stack([0.5 * still[:, 0], 2 * still[:, 1]], axis=1)
    found = compare(mixed, {"last frame": still, "optical flow": flow}, apart(30), COVERED)
    assert found.sentence == (
        "better than the last frame at lead 1 (by 50 % ± 0 %), worse at 2 (by 100 % ± 0 %)"
    )


def test_the_best_baseline_of_each_lead_is_the_reference():
    still, flow = errors(30, 4.0, 8.0, 16.0), errors(30, 5.0, 6.0, 7.0)
    baselines = {"last frame": still, "optical flow": flow}
    found = compare(0.5 * np.minimum(still, flow), baselines, apart(30), COVERED)
    assert found.references == ("last frame", "optical flow", "optical flow")
    assert found.reference == "optical flow"
    assert found.sentence == (
        "better than the best baseline (last frame at 1, optical flow at 2-3) at all leads 1-3 "
        "(by 50 % ± 0 %)"
    )
    model = np.stack([0.5 * still[:, 0], 2 * flow[:, 1], 2 * flow[:, 2]], axis=1)
    assert compare(model, baselines, apart(30), COVERED).sentence == (
        "better than the last frame at lead 1 (by 50 % ± 0 %), "
        "worse than optical flow at 2-3 (by 100 % ± 0 %)"
    )


def test_a_baseline_without_error_cannot_be_beaten():
    still = np.zeros((8, 2))
    found = compare(still + 1, {"last frame": still}, apart(8), COVERED)
    assert found.sentence == "no better than the last frame at all leads 1-2, which makes no error"
    assert found.skills == (Skill(None), Skill(None))
    assert found.overall == Skill(None)


def test_one_window_has_no_interval_and_says_so():
    flow = errors(1, 10.0, 20.0)
    found = compare(0.8 * flow, {"optical flow": flow}, apart(1), COVERED)
    assert found.sentence == (
        "better than optical flow at all leads 1-2 (by 20 %); 1 window is too few to tell it "
        "from chance"
    )
    assert (found.overall.low, found.overall.high) == (None, None)


def test_an_interval_needs_eight_windows():
    flow = errors(7, 10.0)
    found = compare(0.8 * flow, {"optical flow": flow}, apart(7), COVERED)
    assert found.overall == Skill(found.overall.value)
    assert found.sentence.endswith("; 7 windows are too few to tell it from chance")
    flow = errors(8, 10.0)
    found = compare(0.8 * flow, {"optical flow": flow}, apart(8), COVERED)
    assert found.overall.low == pytest.approx(0.2)
    assert "chance" not in found.sentence


def test_windows_that_nearly_all_predict_the_same_frames_have_no_interval():
    flow = errors(23, 10.0, wobble=0.1)
    found = compare(0.8 * flow, {"optical flow": flow}, overlapping(23), COVERED)
    assert found.block == COVERED
    assert found.sentence.endswith("; 23 windows are too few to tell it from chance")
    flow = errors(24, 10.0, wobble=0.1)
    found = compare(0.8 * flow, {"optical flow": flow}, overlapping(24), COVERED)
    assert found.sentence == "better than optical flow at lead 1 (by 20 % ± 0 %)"


def test_the_interval_of_independent_windows_is_scipys_bootstrap():
    from scipy import stats  # noqa: PLC0415  (slow to load, for this test alone)

    flow = errors(60, 10.0, wobble=0.2)
    model = errors(60, 8.0, wobble=0.3, seed=1)
    found = compare(model, {"optical flow": flow}, apart(60), COVERED).overall

    def skill(one, other, axis):
        return 1 - one.sum(axis=axis) / other.sum(axis=axis)

    expected = stats.bootstrap(
        (model[:, 0], flow[:, 0]), skill, paired=True, method="percentile", n_resamples=4000, rng=3
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.1 * width)
    assert found.high == pytest.approx(expected.high, abs=0.1 * width)


def test_windows_that_overlap_widen_the_interval():
    slow = np.repeat(errors(10, 8.0, wobble=0.3), 12, axis=0)
    flow = np.full((120, 1), 10.0)
    together = compare(slow, {"optical flow": flow}, overlapping(120), COVERED).overall
    as_if_apart = compare(slow, {"optical flow": flow}, apart(120), COVERED).overall
    assert together.value == as_if_apart.value
    assert together.high - together.low > 2 * (as_if_apart.high - as_if_apart.low)


def test_the_bootstrap_is_drawn_by_its_seed():
    flow, model = errors(30, 10.0, wobble=0.2), errors(30, 9.0, wobble=0.2, seed=1)
    draws = [compare(model, {"flow": flow}, apart(30), COVERED, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0].overall.low != draws[2].overall.low
    assert draws[0].overall.low < draws[0].overall.value < draws[0].overall.high


def test_a_block_holds_the_windows_that_predict_a_common_frame():
    assert block_length(overlapping(10), COVERED) == 10
    assert block_length(overlapping(50), COVERED) == 12
    assert block_length([Window(0, 4 * n) for n in range(9)], COVERED) == 3
    assert block_length([Window(clip, n) for clip in range(4) for n in range(5)], COVERED) == 5
    assert block_length([Window(clip, 0) for clip in range(7)], COVERED) == 1


def test_leads_in_words():
    assert ranges([1, 2, 3, 5, 8, 9]) == "1-3, 5, 8-9"
    assert ranges([4]) == "4"
