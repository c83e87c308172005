"""Natural order, and gaps in numbers and timestamps."""

import pytest

from framecast.errors import SourceError
from framecast.video.readers.folder_listing import find_gaps, list_folder, natural_key


def test_natural_order():
    names = ["frame10.png", "Frame2.png", "frame1.png", "a1b12.png", "a1b2.png", "frame01.png"]
    assert sorted(names, key=natural_key) == [
        "a1b2.png", "a1b12.png", "frame01.png", "frame1.png", "Frame2.png", "frame10.png"
    ]  # fmt: skip


def gaps(*names):
    return [(gap.index, gap.sentence) for gap in find_gaps(names)]


def test_missing_numbers_are_a_gap():
    names = [f"f{n:03}.png" for n in (0, 1, 2, 5, 6, 8)]
    assert gaps(*names) == [
        (3, "2 frames are missing by number between f002.png and f005.png"),
        (5, "1 frame is missing by number between f006.png and f008.png"),
    ]


def test_the_most_common_step_is_the_normal_one():
    assert gaps(*(f"{n}.png" for n in (0, 5, 10, 15, 20))) == []
    assert [index for index, _ in gaps(*(f"{n}.png" for n in (0, 5, 10, 25, 30)))] == [3]


def test_a_prefix_or_suffix_with_digits_is_no_numbering():
    assert gaps("cam2_f1_v3.png", "cam2_f2_v3.png", "cam2_f3_v3.png") == []
    assert [i for i, _ in gaps("cam2_f1_v3.png", "cam2_f2_v3.png", "cam2_f9_v3.png")] == [2]


@pytest.mark.parametrize(
    "pattern", ["{0}{1}.png", "radar_{0}_{1}.png", "{0}{1}00.png", "{0}-{1}-00_v2.png"]
)
def test_timestamps_are_compared_in_time(pattern):
    moments = [("20201231", "2350"), ("20201231", "2355"), ("20210101", "0000")]
    names = [pattern.format(*m) for m in [*moments, ("20210101", "0005"), ("20210101", "0020")]]
    expected = f"2 frames are missing by time between {names[3]} and {names[4]}"
    assert gaps(*names) == [(4, expected)]


def test_dates_go_over_the_end_of_a_month():
    assert gaps("20240227.png", "20240228.png", "20240229.png", "20240301.png") == []


def test_numbers_that_only_look_like_timestamps_are_numbers():
    names = [f"2020{n:08}.png" for n in (0, 1, 2, 4)]
    assert gaps(*names) == [
        (3, f"1 frame is missing by number between {names[2]} and {names[3]}"),
    ]


def test_two_series_in_one_folder_are_a_break():
    names = [f"shot{s}_{n:02}.png" for s in (1, 2) for n in range(4)]
    assert gaps(*names) == [(4, "a new numbering starts after shot1_03.png, at shot2_00.png")]


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "b.png", "c.png"),
        ("a1.png", "b7.png", "c9.png"),
        ("3_x91.png", "4_x17.png", "9_x55.png"),
        ("1.png",),
        ("1.png", "9.png"),
        (),
        ("1.jpg", "1.png", "2.png"),
    ],
)
def test_names_without_a_common_numbering_have_no_gaps(names):
    assert gaps(*names) == []


def test_irregular_steps_within_half_a_step_are_no_gap():
    assert gaps(*(f"{n}.png" for n in (0, 33, 67, 100, 133, 167))) == []


def test_what_a_folder_holds(tmp_path):
    for name in ("b.PNG", "a.jpeg", "Thumbs.db", ".DS_Store", "._a.jpeg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    listing = list_folder(tmp_path)
    assert [p.name for p in listing.images] == ["a.jpeg", "b.PNG"]
    assert [p.name for p in listing.others] == ["notes.txt"]
    assert [p.name for p in listing.folders] == ["inner"]
    assert listing.clips == ()


@pytest.mark.parametrize("clip", ["movie.mp4", "loop.gif", "data.npy"])
def test_images_beside_clips_are_unclear(tmp_path, clip):
    (tmp_path / "a.png").touch()
    (tmp_path / clip).touch()
    with pytest.raises(
        SourceError, match=rf"holds images \(a.png\) beside clips \({clip}\).*; put"
    ):
        list_folder(tmp_path)
