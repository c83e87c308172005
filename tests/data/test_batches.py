"""Windows as batches: the right pixels, each window once a pass, the same for every resumed run."""

import itertools
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framecast.config.schema import DataConfig
from framecast.data.batches import (
    Batch,
    WindowShape,
    collate,
    frames_of,
    prefetched,
    training_batches,
    whole_batches,
)
from framecast.data.windows import Window

C = 3
SHAPE = WindowShape(context_length=2, horizon=3, frame_step=2)
SPAN = 9


def numbered_clip(clip, frames, height, width, dtype=np.uint16):
    """Pixels that tell clip, frame, row, column and channel: every value occurs once."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :C]
    return (((clip * 20 + t) * 13 + y) * 14 * C + x * C + c).astype(dtype)


CLIPS = [numbered_clip(0, 20, 11, 13), numbered_clip(1, 15, 9, 12), numbered_clip(2, 9, 13, 8)]
WINDOWS = [
    Window(clip, start)
    for clip, frames in enumerate(CLIPS)
    for start in range(len(frames) - SPAN + 1)
]
CROP = (7, 8)
ORDINARY = DataConfig(flip=True, turn=False, zoom=False, reverse=False)


def drawn_batches(count, clips=CLIPS, windows=WINDOWS, changes=ORDINARY, **others):
    kind = {"batch_size": 4, "crop": CROP, "seed": 5, "changes": changes} | others
    return list(itertools.islice(training_batches(clips, windows, SHAPE, **kind), count))


def placed(sample_TCHW):
    """Where a sample of the numbered clips was cut: clip, first frame, row, column, mirrored."""
    pixels_TCHW = np.rint(sample_TCHW.numpy().astype(float) * 65535).astype(int)
    mirrored = pixels_TCHW[0, 0, 0, 0] > pixels_TCHW[0, 0, 0, 1]
    number = pixels_TCHW[0, 0, 0, -1 if mirrored else 0] // C
    column = number % 14
    row = number // 14 % 13
    frame = number // (14 * 13)
    return frame // 20, frame % 20, row, column, bool(mirrored)


def cut_out(clip, start, row, column, mirrored):
    """The same sample cut by hand, scaled to [0, 1]."""
    frames = [start + 2 * k for k in range(5)]
    cut = CLIPS[clip][frames][:, row : row + CROP[0], column : column + CROP[1]]
    cut = cut[:, :, ::-1] if mirrored else cut
    return torch.from_numpy((cut / 65535).astype(np.float32)).permute(0, 3, 1, 2)


def whole_samples(batches):
    """Samples (Tc + Th, C, H, W) in the order they were drawn."""
    for batch in batches:
        yield from torch.cat([batch.context_BTCHW, batch.target_BTCHW], dim=1)


def same(one, other):
    return torch.equal(one.context_BTCHW, other.context_BTCHW) and torch.equal(
        one.target_BTCHW, other.target_BTCHW
    )


def test_a_sample_is_its_windows_frames_cut_and_mirrored_left_to_right_only():
    batches = drawn_batches(15)
    for batch in batches:
        assert batch.context_BTCHW.shape == (4, 2, C, *CROP)
        assert batch.target_BTCHW.shape == (4, 3, C, *CROP)
    for sample in whole_samples(batches):
        torch.testing.assert_close(sample, cut_out(*placed(sample)), rtol=1e-6, atol=0)


def test_every_window_comes_once_a_pass_in_another_order():
    assert len(WINDOWS) == 12 + 7 + 1
    samples = [placed(sample)[:2] for sample in whole_samples(drawn_batches(15))]
    passes = [samples[first : first + len(WINDOWS)] for first in (0, 20, 40)]
    for visited in passes:
        assert sorted(visited) == sorted((window.clip, window.start) for window in WINDOWS)
    assert len({tuple(visited) for visited in passes}) == 3
    assert passes[0] != sorted(passes[0])


def test_crops_reach_everywhere_and_mirrors_come_half_the_time():
    places = [placed(sample) for sample in whole_samples(drawn_batches(200))]
    of_first = [place for place in places if place[0] == 0]
    assert {row for _, _, row, _, _ in of_first} == set(range(11 - 7 + 1))
    assert {column for _, _, _, column, _ in of_first} == set(range(13 - 8 + 1))
    assert {column for clip, _, _, column, _ in places if clip == 2} == {0}
    assert 0.44 < np.mean([mirrored for *_, mirrored in places]) < 0.56
    corners = Counter((row, column) for _, _, row, column, _ in of_first)
    assert max(corners.values()) < 4 * min(corners.values())


def test_without_flip_nothing_is_mirrored():
    assert not any(
        placed(s)[4]
        for s in whole_samples(drawn_batches(10, changes=replace(ORDINARY, flip=False)))
    )


@pytest.mark.parametrize(("crop", "orientations"), [((7, 7), 8), ((7, 8), 4)])
def test_turned_windows_lie_in_every_way_that_keeps_the_crop(crop, orientations):
    rows_apart, columns_apart, seen = 14 * C, C, Counter()
    for sample_TCHW in whole_samples(
        drawn_batches(100, crop=crop, changes=replace(ORDINARY, turn=True))
    ):
        pixels_THW = np.rint(sample_TCHW[:, 0].numpy().astype(float) * 65535).astype(int)
        down, right = pixels_THW[0, 1, 0] - pixels_THW[0, 0, 0], pixels_THW[0, 0, 1]
        right -= pixels_THW[0, 0, 0]
        seen[down, right] += 1
        upright_THW = pixels_THW[:, :: np.sign(down), :: np.sign(right)]
        if abs(down) == columns_apart:
            upright_THW = upright_THW.swapaxes(1, 2)
        number = upright_THW[0, 0, 0] // C
        clip, start = number // (14 * 13 * 20), number // (14 * 13) % 20
        top, left = number // 14 % 13, number % 14
        cut = CLIPS[clip][start : start + SPAN : 2, top : top + crop[0], left : left + crop[1], 0]
        np.testing.assert_array_equal(upright_THW, cut)
    steps = {abs(step) for pair in seen for step in pair}
    assert (len(seen), steps) == (orientations, {rows_apart, columns_apart})
    assert max(seen.values()) < 2 * min(seen.values())


def sloping_clip(frames, height, width):
    """Levels that rise by 200 a row, 300 a column and 100 a frame."""
    t, y, x, _ = np.ogrid[:frames, :height, :width, :1]
    return (200 * y + 300 * x + 100 * t).astype(np.uint16)


def drawn_zooms(clip, crop, count=60):
    """How much of the clip a pixel of each sample covers, (samples, 2), from its inner slopes."""
    windows = [Window(0, start) for start in range(len(clip) - SPAN + 1)]
    found = []
    zoomed = replace(ORDINARY, flip=False, zoom=True)
    for batch in drawn_batches(count, [clip], windows, zoomed, crop=crop):
        for sample_TCHW in whole_samples([batch]):
            levels_THW = 65535 * sample_TCHW[:, 0].numpy().astype(float)
            inner_THW = levels_THW[:, 4:-4, 4:-4]  # borders bend where crops are enlarged
            np.testing.assert_allclose(np.diff(inner_THW, axis=0), 200, atol=2)
            down = np.diff(inner_THW, axis=1).mean() / 200
            right = np.diff(inner_THW, axis=2).mean() / 300
            found.append((down, right))
    return np.array(found)


def test_crops_are_enlarged_and_shrunk_by_a_third_at_most_and_keep_their_shape():
    zooms_N2 = drawn_zooms(sloping_clip(12, 70, 90), (30, 40))
    assert 0.74 < zooms_N2.min() < 0.8
    assert 1.25 < zooms_N2.max() < 1.36
    assert 0.4 < np.mean(zooms_N2 > 1) < 0.6
    np.testing.assert_allclose(zooms_N2[:, 0], zooms_N2[:, 1], rtol=0.05)


def test_no_more_than_a_clip_has_is_shrunk_into_a_crop():
    whole_N2 = drawn_zooms(sloping_clip(12, 36, 40), (36, 40))
    assert whole_N2.max() < 1.01
    assert whole_N2.min() < 0.8
    wide_N2 = drawn_zooms(sloping_clip(12, 33, 80), (30, 40))
    assert 1.08 < wide_N2.max() < 1.12
    np.testing.assert_allclose(wide_N2[:, 0], wide_N2[:, 1], rtol=0.05)


def test_windows_are_played_backwards_at_random():
    """Reversed again, every such sample is a window; a target then comes before its context."""
    batches = drawn_batches(100, changes=replace(ORDINARY, flip=False, reverse=True))
    reversals = 0
    for sample_TCHW in whole_samples(batches):
        backwards = bool(sample_TCHW[0, 0, 0, 0] > sample_TCHW[-1, 0, 0, 0])
        forwards_TCHW = sample_TCHW.flip(0) if backwards else sample_TCHW
        clip, start, top, left, _ = placed(forwards_TCHW)
        cut_THWC = CLIPS[clip][start : start + SPAN : 2, top : top + CROP[0], left : left + CROP[1]]
        levels_TCHW = 65535 * forwards_TCHW.numpy().astype(float)
        np.testing.assert_allclose(levels_TCHW.transpose(0, 2, 3, 1), cut_THWC, atol=0.01)
        reversals += backwards
    assert 160 < reversals < 240


@pytest.mark.parametrize("skipped", [1, 4, 5, 13])
def test_a_resumed_run_sees_what_it_would_have_seen(skipped):
    """20 windows in batches of 3: batches and passes do not end together."""
    changes = DataConfig(turn=True)
    assert changes.zoom and changes.reverse
    whole = drawn_batches(16, batch_size=3, changes=changes)
    rest = drawn_batches(16 - skipped, batch_size=3, changes=changes, first_step=skipped)
    assert all(same(one, other) for one, other in zip(whole[skipped:], rest, strict=True))


def test_another_seed_draws_other_orders_crops_and_mirrors():
    one, other = ([placed(s) for s in whole_samples(drawn_batches(5, seed=n))] for n in (5, 6))
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        assert [place[part] for place in one] != [place[part] for place in other]


def test_the_batch_size_does_not_change_the_samples():
    by_two, by_five = (list(whole_samples(drawn_batches(n, batch_size=10 // n))) for n in (2, 5))
    assert all(torch.equal(one, other) for one, other in zip(by_two, by_five, strict=True))


def test_the_parts_of_a_batch_are_its_samples():
    whole = list(whole_samples(drawn_batches(6)))
    parts = [drawn_batches(6, part=part) for part in (range(0, 1), range(1, 4))]
    shared = [sample for step in zip(*parts, strict=True) for sample in whole_samples(step)]
    assert all(torch.equal(one, other) for one, other in zip(whole, shared, strict=True))


def test_batches_made_ahead_are_the_same_in_the_same_order():
    kind = {"batch_size": 4, "crop": CROP, "seed": 5, "changes": ORDINARY}
    ahead = prefetched(training_batches(CLIPS, WINDOWS, SHAPE, **kind))
    taken = list(itertools.islice(ahead, 7))
    ahead.close()
    assert all(same(one, other) for one, other in zip(taken, drawn_batches(7), strict=True))


def test_no_more_is_made_ahead_than_said_and_its_thread_ends():
    made, threads = [], threading.active_count()

    def batches():
        for number in range(100):
            made.append(number)
            yield number

    ahead = prefetched(batches(), ahead=2)
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert len(made) <= 4
    assert threading.active_count() == threads
    assert list(prefetched(iter([3, 1, 2]))) == [3, 1, 2]


def test_what_goes_wrong_ahead_is_raised_where_it_is_used():
    def batches():
        yield 1
        raise OSError("the disk is gone")

    ahead = prefetched(batches())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


@given(height=st.integers(1, 9), width=st.integers(1, 9), data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_crops_of_any_size_stay_inside(height, width, data):
    crop = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    clip = np.random.default_rng(0).integers(1, 256, (SPAN, height, width, 1), dtype=np.uint8)
    (batch,) = drawn_batches(1, [clip], [Window(0, 0)], crop=crop)
    assert batch.context_BTCHW.shape[-2:] == crop
    # A slice that left the frame would come out smaller; none of the clip's pixels is 0.
    assert (batch.target_BTCHW > 0).all()


def test_frames_of_a_window_are_a_view_of_the_clip():
    frames = frames_of(CLIPS, Window(1, 4), SHAPE)
    np.testing.assert_array_equal(frames, CLIPS[1][[4, 6, 8, 10, 12]])
    assert np.shares_memory(frames, CLIPS[1])


def test_whole_batches_give_every_window_in_order_one_clip_at_a_time():
    areas = [clip.shape[1] * clip.shape[2] for clip in CLIPS]
    batches = list(whole_batches(CLIPS, WINDOWS, SHAPE, pixels=5 * areas[0] + areas[0] // 2))
    # 5.5 x 143 pixels hold 5 windows of the first clip and 7 of the second (108 each).
    assert [len(batch.context_BTCHW) for batch in batches] == [5, 5, 2, 7, 1]
    samples = [sample for batch in batches for sample in whole_samples([batch])]
    for window, sample in zip(WINDOWS, samples, strict=True):
        frames = CLIPS[window.clip][[window.start + 2 * k for k in range(5)]]
        expected = (frames / 65535).astype(np.float32).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(sample, expected, rtol=1e-6)


def test_whole_batches_hold_one_window_at_least():
    windows = [Window(0, 0), Window(2, 0), Window(0, 3)]
    batches = list(whole_batches(CLIPS, windows, SHAPE, pixels=1))
    assert [tuple(batch.target_BTCHW.shape) for batch in batches] == [
        (1, 3, C, 11, 13),
        (1, 3, C, 13, 8),
        (1, 3, C, 11, 13),
    ]
    assert list(whole_batches(CLIPS, [], SHAPE, pixels=1)) == []


def test_collate_scales_8_bits_and_cuts_the_context_off():
    windows = [np.full((5, 2, 4, 1), level, np.uint8) for level in (51, 255)]
    windows[1][2:] = 102
    batch = collate(windows, 2)
    assert batch.context_BTCHW.shape == (2, 2, 1, 2, 4)
    assert batch.context_BTCHW[:, 0, 0, 0, 0].tolist() == pytest.approx([0.2, 1.0])
    assert batch.target_BTCHW[:, 0, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 1, 4, 5, dtype=torch.float64)]
)
def test_a_batch_refuses_other_shapes_and_types(wrong):
    right = torch.zeros(2, 3, 1, 4, 5)
    with pytest.raises(ValueError, match=r"target_BTCHW must be float32 \(B, T, C, H, W\); rec"):
        Batch(right, wrong)
    assert repr(Batch(right, right[:, :2])) == (
        "Batch(context_BTCHW=(2, 3, 1, 4, 5), target_BTCHW=(2, 2, 1, 4, 5))"
    )


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_a_batch_may_be_cut_earlier(frames):
    window_BTCHW = torch.rand(2, 7, 1, 4, 5)
    batch = Batch(window_BTCHW[:, :5], window_BTCHW[:, 5:]).reaching_back(frames)
    assert torch.equal(batch.context_BTCHW, window_BTCHW[:, : 7 - frames])
    assert torch.equal(batch.target_BTCHW, window_BTCHW[:, 7 - frames :])


def test_a_batch_takes_over_anothers_frames_and_keeps_its_memory():
    own, other = (Batch(torch.rand(2, 3, 1, 4, 5), torch.rand(2, 6, 1, 4, 5)) for _ in range(2))
    before = [tensor.data_ptr() for tensor in vars(own).values()]
    own.copy_(other)
    assert [tensor.data_ptr() for tensor in vars(own).values()] == before
    for mine, theirs in zip(vars(own).values(), vars(other).values(), strict=True):
        assert torch.equal(mine, theirs)


def test_only_a_pinned_batch_is_moved_without_waiting(monkeypatch):
    moves = []

    def move(tensor, device, non_blocking):
        moves.append((device, non_blocking))
        return tensor

    batch = Batch(torch.rand(2, 3, 1, 4, 5), torch.rand(2, 6, 1, 4, 5))
    monkeypatch.setattr(torch.Tensor, "to", move)
    batch.to("cuda")
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: True)
    pinned = batch.pinned()
    assert torch.equal(pinned.target_BTCHW, batch.target_BTCHW)
    pinned.to("cuda")
    assert moves == [("cuda", False)] * 2 + [("cuda", True)] * 2
