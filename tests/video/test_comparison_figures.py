"""Figures: sizes, places and colours of what is drawn, checked pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from framecast.video.comparison_figures import (
    EMPTY,
    Panel,
    comparison_frame,
    comparison_video,
    contact_strip,
    error_frame,
)
from framecast.video.frame_style import INK, PAPER
from framecast.video.frame_times import lead_label


def flat(value: int | tuple[int, ...], height: int = 30, width: int = 44) -> np.ndarray:
    return np.tile(np.atleast_1d(np.uint8(value)), (height, width, 1))


def area(picture: np.ndarray, colour: int | tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Bounding box (top, left, height, width) of the pixels of exactly one colour."""
    rows, columns = np.nonzero((picture == np.broadcast_to(np.uint8(colour), 3)).all(axis=2))
    if len(rows) == 0:
        return None
    top, left = rows.min(), columns.min()
    return int(top), int(left), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_error_colours_match_opencv_at_known_errors():
    truth = np.zeros((1, 4, 1), np.uint8)
    prediction = np.uint8([0, 51, 128, 255]).reshape(1, 4, 1)
    levels = np.uint8([[0, 102, 255, 255]])  # of 255 at a scale of 0.5
    expected = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    assert np.array_equal(error_frame(prediction, truth), expected)
    assert np.array_equal(error_frame(truth, prediction), expected)


def test_error_is_a_share_of_the_range_averaged_over_channels():
    truth = np.zeros((2, 3, 3), np.uint8)
    prediction = truth.copy()
    prediction[1, 2] = (30, 0, 60)  # mean 30
    grey = np.zeros((2, 3, 1), np.uint8)
    grey[1, 2] = 30
    assert np.array_equal(error_frame(prediction, truth), error_frame(grey, grey * 0))
    deep = grey.astype(np.uint16) * 257
    assert np.array_equal(error_frame(deep, deep * 0), error_frame(grey, grey * 0))


def test_error_refuses_frames_that_do_not_agree():
    with pytest.raises(ValueError, match=r"\(7, 8, 3\) uint8 and truth \(7, 8, 1\) uint8"):
        error_frame(np.zeros((7, 8, 3), np.uint8), np.zeros((7, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="uint16"):
        error_frame(np.zeros((7, 8, 3), np.uint8), np.zeros((7, 8, 3), np.uint16))


def test_small_panels_are_enlarged_by_a_whole_number_and_stay_in_order():
    colours = [(200, 10, 20), (30, 210, 40), (50, 60, 220)]
    picture = comparison_frame([("a", flat(c)) for c in colours])
    boxes = [area(picture, c) for c in colours]
    assert all(box[2:] == (30 * 4, 44 * 4) for box in boxes)  # 4 x 44 is the first width >= 160
    assert len({box[0] for box in boxes}) == 1
    assert boxes[0][1] < boxes[1][1] - 176
    assert boxes[1][1] < boxes[2][1] - 176
    assert tuple(picture[0, 0]) == PAPER
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0


def test_enlarged_pixels_stay_squares():
    frame = np.random.default_rng(5).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    frame[0, 0] = (1, 2, 3)
    frame[-1, -1] = (1, 2, 3)
    picture = comparison_frame([("a", frame)])
    top, left, height, width = area(picture, (1, 2, 3))
    inside = picture[top : top + height, left : left + width]
    assert np.array_equal(inside, frame.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((64, 64), (192, 192)),
        ((376, 344), (376, 344)),
        ((432, 768), (270, 480)),
        ((768, 432), (480, 270)),
        ((300, 20), (300, 20)),  # eight times as large would be 2400 high
        ((1, 1), (160, 160)),
    ],
)
def test_panel_size_suits_small_and_large_frames(size, drawn):
    picture = comparison_frame([("a", flat((250, 1, 2), *size)), ("b", None)])
    assert area(picture, (250, 1, 2))[2:] == drawn
    assert area(picture, EMPTY)[2:] == drawn


def test_grey_sixteen_bit_and_colour_panels_share_a_figure():
    deep = np.full((30, 44, 1), 100 * 257, np.uint16)
    picture = comparison_frame([("deep", deep), ("grey", flat(77)), ("colour", flat((1, 2, 250)))])
    assert [area(picture, c)[2:] for c in (100, 77, (1, 2, 250))] == [(120, 176)] * 3


def test_titles_are_drawn_above_the_frame_and_cut_to_their_column():
    plain = comparison_frame([("", flat(9)), ("", flat(9))])
    short = comparison_frame([("truth", flat(9)), ("", flat(9))])
    top, left = area(plain, 9)[:2]
    changed = np.argwhere((plain != short).any(axis=2))
    assert len(changed) > 50
    assert changed[:, 0].max() < top
    assert left - 1 <= changed[:, 1].min() < left + 6
    assert area(short, INK) is not None
    long = comparison_frame(
        [("a very long title that has no room here at all", flat(9)), ("", flat(9))]
    )
    assert long.shape == plain.shape
    assert np.argwhere((plain != long).any(axis=2))[:, 1].max() < left + 176


def test_detail_and_legend_stand_at_the_right_end_of_the_title():
    plain = comparison_frame([Panel("", flat(9))])
    for panel in (Panel("", flat(9), detail="+12"), Panel("", flat(9), legend=True)):
        columns = np.argwhere((plain != comparison_frame([panel])).any(axis=2))[:, 1]
        assert columns.min() > plain.shape[1] // 2
        assert columns.max() < area(plain, 9)[1] + 176


def test_figures_refuse_frames_of_two_sizes_or_none():
    with pytest.raises(ValueError, match="got 30 x 44, 31 x 44"):
        comparison_frame([("a", flat(1)), ("b", flat(1, 31))])
    with pytest.raises(ValueError, match="got none"):
        comparison_frame([("a", None)])


def levels(start: int, count: int) -> np.ndarray:
    """Flat grey frames (T, H, W, 1) of the levels start, start + 1, ..."""
    return np.stack([flat(start + i) for i in range(count)])


def test_comparison_video_plays_the_context_then_the_future():
    pictures = list(comparison_video(levels(60, 5), levels(100, 3), levels(200, 3)))
    assert len(pictures) == 5 + 3
    assert len({p.shape for p in pictures}) == 1
    for i, picture in enumerate(pictures[:5]):
        # Input, prediction and truth all show what is seen, three panels side by side.
        height, width = area(picture, 60 + i)[2:]
        assert (height, width) == (30 * 4, 2 * (44 * 4 + 13) + 44 * 4)
        assert area(picture, EMPTY) is None
    for i, picture in enumerate(pictures[5:]):
        places = [area(picture, level)[1] for level in (64, 100 + i, 200 + i)]
        assert places == sorted(places)
        error = error_frame(flat(100 + i), flat(200 + i))[0, 0]
        assert area(picture, tuple(error))[1] > places[-1]
        assert area(picture, EMPTY) is None


def test_comparison_video_titles_name_the_lead_time():
    pictures = list(comparison_video(levels(60, 2), np.stack([flat(100)] * 2)))
    a, b = pictures[2:]
    changed = np.argwhere((a != b).any(axis=2))
    top, left = area(a, 100)[:2]
    assert len(changed) > 0
    assert changed[:, 0].max() < top
    assert changed[:, 1].min() > left


def test_comparison_video_shows_the_best_baseline_between_prediction_and_truth():
    baseline = ("optical flow", levels(150, 2))
    *_, last = comparison_video(levels(60, 2), levels(100, 2), levels(200, 2), baseline)
    places = [area(last, level)[1] for level in (61, 101, 151, 201)]
    assert places == sorted(places)
    assert area(last, EMPTY) is None


def test_comparison_video_writes_lead_times_as_asked():
    frames = levels(60, 2), levels(100, 2)
    plain, minutes = (
        list(comparison_video(*frames, label=label))
        for label in (lead_label, lambda lead: lead_label(lead, 5))
    )
    changed = np.argwhere((plain[-1] != minutes[-1]).any(axis=2))
    assert len(changed) > 0
    assert changed[:, 0].max() < area(plain[-1], 101)[0]


def test_comparison_video_takes_frames_one_by_one():
    taken = []

    def predictions():
        for i in range(3):
            taken.append(i)
            yield flat(100 + i)

    video = comparison_video(levels(60, 5), predictions(), iter(levels(200, 1)))
    pictures = [next(video) for _ in range(6)]
    assert taken == [0]
    pictures += video
    assert area(pictures[5], 200) is not None
    assert area(pictures[6], EMPTY) is not None  # the truth has ended, the prediction goes on
    assert len(pictures) == 8
    assert len({p.shape for p in pictures}) == 1


def test_comparison_video_without_truth_has_two_panels():
    *_, last = comparison_video(levels(60, 2), levels(100, 3))
    with_truth = list(comparison_video(levels(60, 2), levels(100, 3), levels(200, 3)))[-1]
    assert last.shape[1] < with_truth.shape[1] * 0.55
    assert area(last, 61)[1] < area(last, 102)[1]


def test_contact_strip_shows_the_first_and_the_last_lead_time():
    strip = contact_strip(levels(60, 5), levels(100, 12), levels(200, 12), columns=4)
    shown = [lead for lead in range(1, 13) if area(strip, 99 + lead) is not None]
    assert shown == [1, 5, 8, 12]
    assert [lead for lead in range(1, 13) if area(strip, 199 + lead) is not None] == shown
    context, first_truth, first = area(strip, 64), area(strip, 200), area(strip, 100)
    assert context[0] == first_truth[0] < first[0]
    assert context[1] < first_truth[1] == first[1]
    error = tuple(error_frame(flat(111), flat(211))[0, 0])
    assert area(strip, error)[0] > first[0]
    assert area(strip, error)[1] + area(strip, error)[3] == sum(area(strip, 111)[1::2])


@pytest.mark.parametrize("height", [3, 12, 25])
def test_the_legend_of_a_strip_of_wide_frames_is_not_cut(height):
    frames = np.full((4, height, 200, 1), 90, np.uint8)
    strip = contact_strip(frames, frames, frames, columns=2)
    labels = strip[:, :80]
    # Nothing is written on the last rows, and the bar ends in the palest of its colours.
    assert (labels[-8:] == PAPER).all()
    assert area(labels, cv2.applyColorMap(np.uint8([[255]]), cv2.COLORMAP_INFERNO)[0, 0, ::-1])


def test_contact_strip_without_truth_and_with_one_frame():
    strip = contact_strip(levels(60, 5), levels(100, 1))
    assert area(strip, 64)[:1] == area(strip, 100)[:1]
    assert strip.shape[0] < area(strip, 100)[2] * 2
    with pytest.raises(ValueError, match="at least one predicted frame"):
        contact_strip(levels(60, 5), levels(100, 1)[:0])
