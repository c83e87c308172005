"""Plans from headers alone: what every "auto" becomes, and what is held out."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from framecast.config.loading import load_config
from framecast.data.plan import common_channels, make_plan, resolve_batch, training_crop
from framecast.data.windows import Window, spread
from framecast.errors import SourceError
from framecast.video.readers.base import SourceInfo
from framecast.video.value_range import ValueRange, full_range


def info(frames=60, height=90, width=160, channels=3, name="clip", breaks=()):
    return SourceInfo(
        path=Path(name),
        kind="array",
        frames=frames,
        height=height,
        width=width,
        channels=channels,
        breaks=breaks,
    )


def plan(*infos, **settings):
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    return make_plan(infos, load_config(None, overrides, {}))


def test_every_auto_of_a_run_is_filled_in():
    made = plan(info())
    assert made.config.data.horizon == 12
    assert made.config.data.split == "time"
    assert made.config.train.batch_size == made.batch_size == 3
    assert made.config.train.steps_per_epoch == made.steps_per_epoch == 50
    assert made.crop == (90, 160)
    assert made.sizes == ((90, 160),)
    assert made.channels == 3


def test_what_is_set_stays():
    made = plan(
        info(),
        data__horizon=5,
        data__split="time",
        data__crop=32,
        data__resize="45x80",
        data__color="gray",
        train__batch_size=7,
        train__steps_per_epoch=3,
    )
    assert (made.config.data.horizon, made.split.shape.horizon, made.split.shape.span) == (5, 5, 11)
    assert (made.batch_size, made.steps_per_epoch) == (7, 3)
    assert (made.crop, made.sizes, made.channels) == ((32, 32), ((45, 80),), 1)


def test_no_frame_of_a_training_window_is_in_a_validation_window():
    made = plan(info(60), info(47), data__horizon=4)
    sides = [
        {(w.clip, w.start + k) for w in windows for k in range(made.split.shape.span)}
        for windows in (made.split.train, made.split.validation)
    ]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert set(made.validation) <= set(made.split.validation)


def test_five_clips_are_held_out_whole_by_the_seed():
    clips = [info(20, name=f"clip{i}") for i in range(6)]
    made = plan(*clips, data__horizon=2)
    assert made.config.data.split == made.split.mode == "clip"
    held_out = {window.clip for window in made.split.validation}
    assert not held_out & {window.clip for window in made.split.train}
    others = [plan(*clips, data__horizon=2, train__seed=seed).split for seed in range(8)]
    drawn = {frozenset(window.clip for window in split.validation) for split in others}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("sizes", "side", "crop"),
    [
        ([(90, 160)], 128, (90, 128)),
        ([(90, 160), (200, 40)], 128, (90, 40)),
        ([(90, 160)], 0, (90, 160)),
        ([(90, 160), (200, 40)], 0, (90, 40)),
        ([(300, 400)], 128, (128, 128)),
        ([(1, 1)], 128, (1, 1)),
    ],
)
def test_crops_are_squares_that_fit_every_clip(sizes, side, crop):
    assert training_crop(sizes, side) == crop


@pytest.mark.parametrize(
    ("crop", "batch"),
    [((224, 224), 2), ((999, 999), 2), ((128, 128), 3), ((90, 128), 4), ((48, 48), 16)],
)
def test_automatic_batches_show_about_as_many_pixels(crop, batch):
    assert resolve_batch("auto", crop) == batch
    assert resolve_batch(3, crop) == 3


@pytest.mark.parametrize(
    ("frames", "height", "width", "steps"),
    [
        (60, 90, 160, 50),  # 28 windows of one crop: at least 50 steps
        (1000, 128, 128, 245),  # 733 windows of one crop, 3 a step
        (1000, 224, 225, 300),  # two crops a window: at most 300 steps
    ],
)
def test_an_automatic_epoch_shows_the_training_frames_once(frames, height, width, steps):
    made = plan(info(frames, height, width))
    assert made.steps_per_epoch == steps


def test_more_windows_are_validated_on_small_frames():
    counts = [len(plan(info(400, side, side)).validation) for side in (64, 128, 512, 400)]
    # 12 batches of 3 x 224 x 224 pixels, between 4 and 16 windows
    assert counts == [16, 16, 6, 11]
    assert len(plan(info(400, 1000, 1000), data__resize="none").validation) == 4
    assert len(plan(info(400, 512, 512), info(400, 64, 64)).validation) == 6


def test_large_frames_are_shrunk():
    assert plan(info(60, 1080, 1920)).sizes == ((432, 768),)


@pytest.mark.parametrize(
    ("minutes", "size"),
    [("none", (432, 768)), (5, (432, 768)), (1, (192, 342)), (0.2, (86, 154)), (0.01, (54, 96))],
)
def test_a_small_budget_works_at_a_smaller_size_and_says_so(minutes, size):
    made = plan(info(60, 1080, 1920), train__minutes=minutes)
    assert made.sizes == (size,)
    assert bool(made.notes) == (size[1] < 768)
    assert make_plan(made.infos, made.config).sizes == made.sizes
    explicit = plan(info(60, 1080, 1920), train__minutes=minutes, data__resize="none")
    assert (explicit.sizes, explicit.notes) == (((1080, 1920),), ())
    small = plan(info(60, 64, 96), train__minutes=minutes)
    assert (small.config.data.resize, small.notes) == ("auto", ())


def test_the_note_about_a_small_budget():
    (note,) = plan(info(60, 1080, 1920), train__minutes=1).notes
    assert note == (
        "frames are shrunk to 343 pixels at most for training in 1 minute; forecasts have the "
        "clip's own size"
    )


def test_gray_and_colour_together_need_a_choice():
    mixed = [info(channels=1, name="grey.npy"), info(channels=3, name="film.mp4")]
    with pytest.raises(
        SourceError, match=r"grey\.npy is grey and film\.mp4 is in colour"
    ) as caught:
        plan(*mixed)
    assert "--color gray or --color rgb" in str(caught.value)
    assert plan(*mixed, data__color="gray").channels == 1
    assert plan(*mixed, data__color="rgb").channels == 3
    assert common_channels(mixed[:1], "auto") == 1
    assert common_channels(mixed[1:], "auto") == 3


def test_a_network_tied_to_its_size_takes_clips_of_one_size_in_whole_frames():
    tied = {"model__name": "cnn-lstm", "data__resize": "none", "data__crop": 16}
    made = plan(info(60, 34, 44), info(50, 34, 44), **tied).config.data
    assert (made.resize, made.crop) == ("34x44", 0)
    with pytest.raises(
        SourceError, match=r"a\.mp4 has 34x44 and b\.mp4 has 36x44; .*--resize 34x44"
    ):
        plan(info(60, 34, 44, name="a.mp4"), info(50, 36, 44, name="b.mp4"), **tied)


def test_too_few_frames_are_an_error_that_counts():
    with pytest.raises(SourceError, match=r"too few frames.* clip of 14, and the longest has 13"):
        plan(info(13))
    assert plan(info(14)).config.data.horizon == 1


def test_no_window_crosses_a_break():
    made = plan(info(60, breaks=(20, 30)), data__horizon=3)
    spans = [range(w.start + 1, w.start + made.split.shape.span) for w in made.split.train]
    assert spans
    assert not any(20 in span or 30 in span for span in spans)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 30, 31, 32, 33, 47, 48, 49, 1000])
def test_spread_takes_distinct_windows_from_first_to_last(count):
    windows = [Window(0, start) for start in range(count)]
    chosen = spread(windows, 16)
    assert len(set(chosen)) == len(chosen) == min(count, 16)
    assert (chosen[0], chosen[-1]) == (windows[0], windows[-1])
    gaps = [b.start - a.start for a, b in pairwise(chosen)]
    assert list(chosen) == sorted(chosen)
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_first_window_stands_for_all():
    assert spread([Window(0, start) for start in range(9)], 1) == (Window(0, 0),)


def test_a_range_of_values_that_all_clips_share_is_kept_with_the_model():
    twelve_bits, whole = ValueRange("uint16", 0, 4095), full_range("uint16")
    deep = [replace(info(), values=values) for values in (twelve_bits, whole)]
    assert plan(deep[0], deep[0]).config.data.range == "0..4095"
    assert plan(deep[1]).config.data.range == "auto"  # 16 bits need no range
    assert plan(*deep).config.data.range == "auto"  # clips that differ have each its own
    assert plan(info()).config.data.range == "auto"
