"""Windows and splits: no frame on both sides, none across a break, counts as by brute force."""

import re
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from framecast.config.schema import DataConfig
from framecast.data.windows import (
    ClipLength,
    Window,
    WindowShape,
    auto_horizon,
    plan_split,
    plan_windows,
    split_by_clip,
    split_by_time,
)
from framecast.errors import SourceError

SMALL = st.integers(1, 5)
FRACTIONS = st.floats(0, 1, exclude_min=True, exclude_max=True)
CLIPS = st.lists(
    st.builds(
        lambda frames, breaks: ClipLength(frames, tuple(sorted(breaks))),
        st.integers(0, 60),
        st.sets(st.integers(1, 59), max_size=3),
    ),
    min_size=1,
    max_size=8,
)
DATA = st.builds(
    DataConfig,
    context_length=SMALL,
    horizon=SMALL | st.just("auto"),
    frame_step=st.integers(1, 3),
    stride=SMALL,
    validation_fraction=FRACTIONS,
    split=st.sampled_from(["auto", "time", "clip"]),
)


def frames_of(window, split, data):
    """Every index a window reads, enumerated one by one."""
    length = data.context_length + split.shape.horizon
    return [(window.clip, window.start + k * data.frame_step) for k in range(length)]


@pytest.mark.parametrize(
    ("context_length", "horizon", "frame_step", "span"),
    [(6, 12, 1, 18), (2, 5, 3, 19), (1, 1, 7, 8), (3, 2, 2, 9)],
)
def test_window_span(context_length, horizon, frame_step, span):
    assert WindowShape(context_length, horizon, frame_step).span == span
    assert len(range(0, span, frame_step)) == context_length + horizon


@pytest.mark.parametrize(
    ("frames", "fraction", "span", "train", "validation"),
    [
        (100, 0.25, 18, range(75), range(75, 100)),
        (288, 0.25, 18, range(216), range(216, 288)),
        (50, 0.25, 18, range(32), range(32, 50)),
        (50, 0.9, 18, range(18), range(18, 50)),
        (36, 0.25, 18, range(18), range(18, 36)),
        (35, 0.25, 18, range(35), range(35, 35)),
        (9, 0.25, 18, range(9), range(9, 9)),
        (0, 0.25, 18, range(0), range(0)),
        (10, 0.25, 1, range(7), range(7, 10)),
    ],
)
def test_split_by_time(frames, fraction, span, train, validation):
    assert split_by_time(range(frames), fraction, span) == (train, validation)


@given(
    first=st.integers(0, 30),
    frames=st.integers(0, 500),
    fraction=FRACTIONS,
    span=st.integers(1, 60),
)
def test_split_by_time_covers_each_frame_once(first, frames, fraction, span):
    used = range(first, first + frames)
    train, validation = split_by_time(used, fraction, span)
    assert [*train, *validation] == list(used)
    if frames >= 2 * span:
        assert min(len(train), len(validation)) >= span


@given(clips=st.integers(2, 60), fraction=FRACTIONS, seed=st.integers(0, 2**32 - 1))
def test_split_by_clip_gives_each_clip_to_one_side(clips, fraction, seed):
    train, validation = split_by_clip(clips, fraction, seed)
    assert sorted(train + validation) == list(range(clips))
    assert train == tuple(sorted(train))
    assert validation == tuple(sorted(validation))
    assert min(len(train), len(validation)) >= 1
    assert abs(len(validation) - clips * fraction) <= 1
    assert (train, validation) == split_by_clip(clips, fraction, seed)


def test_split_by_clip_draws_by_seed():
    # The eight numbers of random.Random(7) are smallest at places 6 and 3.
    assert split_by_clip(8, 0.25, 7) == ((0, 1, 2, 4, 5, 7), (3, 6))
    assert len({split_by_clip(8, 0.25, seed) for seed in range(20)}) > 5


@given(
    start=st.integers(0, 20),
    length=st.integers(0, 60),
    span=st.integers(1, 12),
    stride=SMALL,
    breaks=st.lists(st.integers(0, 90), max_size=5),
)
def test_plan_windows_equals_brute_force(start, length, span, stride, breaks):
    part = range(start, start + length)
    expected = []
    since = 0
    for index in part:
        if index in breaks or index == start:
            since = index
        covered = range(index, index + span)
        whole = covered[-1] in part and not any(b in covered[1:] for b in breaks)
        if whole and (index - since) % stride == 0:
            expected.append(Window(3, index))
    assert plan_windows(part, 3, span, stride, breaks) == expected


def test_a_break_before_the_last_frame_counts():
    assert plan_windows(range(3, 10), 0, span=7, stride=1, breaks=[9]) == []
    assert plan_windows(range(3, 10), 0, span=7, stride=1, breaks=[3, 10]) == [Window(0, 3)]


def test_plan_windows_starts_again_after_a_break():
    starts = [w.start for w in plan_windows(range(2, 30), 5, span=6, stride=3, breaks=[13, 40])]
    assert starts == [2, 5, 13, 16, 19, 22]


def test_longest_run():
    assert ClipLength(30, (13, 20)).longest_run == 13
    assert ClipLength(30).longest_run == 30
    assert ClipLength(0).longest_run == 0
    assert ClipLength(30, (13, 20), first=18).longest_run == 10


@given(
    clips=st.lists(
        st.builds(
            lambda first, frames, breaks: ClipLength(first + frames, tuple(sorted(breaks)), first),
            st.integers(0, 40),
            st.integers(0, 60),
            st.sets(st.integers(1, 99), max_size=3),
        ),
        min_size=1,
        max_size=8,
    ),
    data=DATA,
)
def test_frames_before_the_first_used_one_are_as_if_they_were_not_there(clips, data):
    firsts = [clip.first for clip in clips]
    shorter = [
        ClipLength(len(clip.used), tuple(b - clip.first for b in clip.breaks if b > clip.first))
        for clip in clips
    ]
    try:
        split = plan_split(clips, data)
    except SourceError as error:
        said = str(error).replace("use more frames (data.max_frames)", "give more frames")
        assert any(firsts) == (said != str(error)) or "set data.split to time" in said
        with pytest.raises(SourceError, match=re.escape(said)):
            plan_split(shorter, data)
        return
    expected = plan_split(shorter, data)
    for side, others in ((split.train, expected.train), (split.validation, expected.validation)):
        assert side == tuple(Window(w.clip, w.start + firsts[w.clip]) for w in others)
    assert (split.mode, split.shape, split.unused) == (
        *(expected.mode, expected.shape),
        expected.unused,
    )


@pytest.mark.parametrize(
    ("frames", "frame_step", "mode", "horizon"),
    [
        ([288], 1, "time", 12),
        ([54], 1, "time", 12),
        ([53], 1, "time", 11),
        ([36], 1, "time", 6),
        ([20], 1, "time", 1),
        ([14], 1, "time", 1),
        ([13], 1, "time", 1),
        ([13, 30], 1, "time", 4),
        ([10, 54], 1, "time", 12),
        ([18, 54], 1, "time", 12),
        ([17, 52], 1, "time", 11),
        ([17, 51], 1, "time", 11),
        ([16, 48], 1, "time", 10),
        ([9, 9, 54], 1, "time", 3),  # a quarter of the frames is not left out
        ([*[30] * 200, 9, 8], 1, "clip", 12),
        ([28, 20, 64, 6], 1, "time", 12),
        ([100], 3, "time", 5),
        ([20, 40], 1, "clip", 12),
        ([16, 40], 1, "clip", 10),
        ([6, 16], 1, "clip", 10),
        ([16], 2, "clip", 2),
        ([6], 1, "clip", 1),
        ([], 1, "time", 1),
    ],
)
def test_auto_horizon(frames, frame_step, mode, horizon):
    assert auto_horizon([ClipLength(n) for n in frames], 6, frame_step, mode) == horizon


def test_auto_horizon_counts_frames_in_a_row():
    assert auto_horizon([ClipLength(100, (10, 18, 25))], 6, 1, "time") == 12
    assert auto_horizon([ClipLength(36, (9, 18, 27))], 6, 1, "time") == 3
    assert auto_horizon([ClipLength(36, (6, 12, 18, 24, 30))], 6, 1, "clip") == 1


def test_an_automatic_horizon_fits_into_what_a_cut_leaves_of_the_held_out_end():
    # The last quarter are the 10 frames after the cut; 13, for a horizon of 7, would be too many.
    clip = ClipLength(40, (30,))
    assert auto_horizon([clip], 6, 1, "time") == 7
    split = plan_split([clip], DataConfig())
    assert split.shape.horizon == 4
    assert [window.start for window in split.train] == list(range(21))
    assert [window.start for window in split.validation] == [30]
    with pytest.raises(SourceError, match="a window of context_length 6 and horizon 7 covers 13"):
        plan_split([clip], DataConfig(horizon=7))


@given(frames=st.integers(0, 200), context_length=SMALL, frame_step=SMALL)
def test_auto_horizon_gives_both_sides_a_window(frames, context_length, frame_step):
    clip = ClipLength(frames)
    horizon = auto_horizon([clip], context_length, frame_step, "time")
    assume(frames >= 2 * WindowShape(context_length, 1, frame_step).span)
    data = DataConfig(context_length=context_length, frame_step=frame_step)
    split = plan_split([clip], data)
    assert split.shape.horizon == horizon <= 12
    assert split.train
    assert split.validation


@given(clips=CLIPS, data=DATA, seed=st.integers(0, 9))
def test_no_frame_is_on_both_sides(clips, data, seed):
    try:
        split = plan_split(clips, data, seed=seed)
    except SourceError:
        assume(False)
    sides = [
        {frame for window in side for frame in frames_of(window, split, data)}
        for side in (split.train, split.validation)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert max(Counter((*split.train, *split.validation)).values()) == 1
    for index, frame in sides[0] | sides[1]:
        assert 0 <= frame < clips[index].frames
    for window in (*split.train, *split.validation):
        steps = [frame for _, frame in frames_of(window, split, data)]
        assert not any(steps[0] < b <= steps[-1] for b in clips[window.clip].breaks)
    clips_of = [{window.clip for window in side} for side in (split.train, split.validation)]
    assert set(split.unused) == set(range(len(clips))) - clips_of[0] - clips_of[1]
    if split.mode == "clip":
        assert not clips_of[0] & clips_of[1]


def test_one_clip_is_cut_in_time():
    split = plan_split([ClipLength(60)], DataConfig(context_length=3, horizon=4, stride=5))
    assert [w.start for w in split.train] == [0, 5, 10, 15, 20, 25, 30, 35]
    assert [w.start for w in split.validation] == [45, 50]
    assert (split.mode, split.shape.horizon, split.shape.span, split.unused) == ("time", 4, 7, ())


def test_five_usable_clips_are_split_by_clip():
    clips = [ClipLength(n) for n in (9, 30, 31, 3, 32, 33, 34)]
    split = plan_split(clips, DataConfig(context_length=6, horizon=5), seed=2)
    assert split.mode == "clip"
    assert split.unused == (0, 3)
    by_clip = Counter(w.clip for w in (*split.train, *split.validation))
    assert by_clip == {1: 20, 2: 21, 4: 22, 5: 23, 6: 24}
    assert len({w.clip for w in split.validation}) == 1


def test_few_clips_too_short_to_cut_are_split_by_clip():
    split = plan_split([ClipLength(10), ClipLength(11), ClipLength(12)], DataConfig())
    assert (split.mode, split.shape.horizon) == ("clip", 4)
    assert plan_split([ClipLength(80), ClipLength(20)], DataConfig()).mode == "time"
    assert plan_split([ClipLength(14), ClipLength(14)], DataConfig()).mode == "time"
    assert plan_split([ClipLength(13), ClipLength(13)], DataConfig()).mode == "clip"


def test_a_horizon_may_be_longer_than_the_longest_automatic_one():
    split = plan_split([ClipLength(60)], DataConfig(horizon=20))
    assert (split.shape.horizon, split.shape.span) == (20, 26)


@pytest.mark.parametrize(
    ("clips", "data", "says"),
    [
        (
            [ClipLength(9)],
            DataConfig(horizon=12),
            "too few frames: a window of context_length 6 and horizon 12 covers 18, so training "
            "and validation need a clip of 36, and the longest has 9; give more frames, or lower "
            "data.horizon or data.context_length",
        ),
        (
            [ClipLength(1)],
            DataConfig(),
            "too few frames: a window of context_length 6 and horizon 1 covers 7, so training "
            "and validation need a clip of 14, and the longest has 1; give more frames, or lower "
            "data.context_length",
        ),
        (
            [ClipLength(1)],
            DataConfig(context_length=1),
            "too few frames: a window of context_length 1 and horizon 1 covers 2, so training "
            "and validation need a clip of 4, and the longest has 1; give more frames",
        ),
        (
            [ClipLength(20), ClipLength(8)],
            DataConfig(context_length=2, horizon=5, frame_step=3),
            "too few frames: a window of context_length 2 and horizon 5 at frame_step 3 covers 19, "
            "so training and validation need a clip of 38, and the longest has 20; give more "
            "frames, or lower data.horizon or data.context_length or data.frame_step",
        ),
        (
            [ClipLength(40), ClipLength(8)],
            DataConfig(horizon=12, split="clip"),
            "a split by clip needs two clips with 18 frames in a row (a window of context_length 6 "
            "and horizon 12), found 1 among 2, the longest with 40; set data.split to time",
        ),
        (
            [ClipLength(40, (20, 30))],
            DataConfig(horizon=12),
            "too many gaps or cuts: a window of context_length 6 and horizon 12 covers 18 frames "
            "in a row, the longest run has 20, and training or validation is left without a "
            "window; give more frames, or lower data.horizon or data.context_length",
        ),
        (
            [ClipLength(36, (20,))],
            DataConfig(horizon=12),
            "too many gaps or cuts: a window of context_length 6 and horizon 12 covers 18 frames "
            "in a row, the longest run has 20, and training or validation is left without a "
            "window; give more frames, or lower data.horizon or data.context_length",
        ),
        (
            [],
            DataConfig(horizon=2, split="clip"),
            "a split by clip needs two clips with 8 frames in a row (a window of context_length 6 "
            "and horizon 2), found 0 among 0, the longest with 0; give more frames, or lower "
            "data.horizon or data.context_length",
        ),
        (
            [],
            DataConfig(horizon=2),
            "too few frames: a window of context_length 6 and horizon 2 covers 8, so training "
            "and validation need a clip of 16, and the longest has 0; give more frames, or lower "
            "data.horizon or data.context_length",
        ),
    ],
)
def test_too_short_says_what_is_needed(clips, data, says):
    with pytest.raises(SourceError) as caught:
        plan_split(clips, data)
    assert str(caught.value) == says
    assert caught.value.exit_code == 3
