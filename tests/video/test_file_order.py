"""The order of frames by their names, and gaps in their numbers and times."""

import pytest

from framecast.video.readers.file_order import order_names
from framecast.video.readers.frame_names import natural_key


def test_natural_order():
    names = ["frame10.png", "Frame2.png", "frame1.png", "a1b12.png", "a1b2.png", "frame01.png"]
    assert sorted(names, key=natural_key) == [
        "a1b2.png", "a1b12.png", "frame01.png", "frame1.png", "Frame2.png", "frame10.png"
    ]  # fmt: skip


def gaps(*names):
    order = order_names(names)
    assert order.names == names
    return [(gap.index, gap.sentence) for gap in order.gaps]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            [f"f{n:03}.png" for n in (0, 1, 2, 5, 6, 8)],
            [
                (3, "2 frames are missing by number between f002.png and f005.png"),
                (5, "1 frame is missing by number between f006.png and f008.png"),
            ],
        ),
        (  # no time has 99 hours
            [f"2020{n:08}.png" for n in (0, 1, 2, 4)],
            [(3, "1 frame is missing by number between 202000000002.png and 202000000004.png")],
        ),
        (  # nor February 31 days
            [f"{20240228 + k}.png" for k in (0, 1, 3)],
            [(2, "1 frame is missing by number between 20240229.png and 20240231.png")],
        ),
        (
            [f"shot{s}_{n:02}.png" for s in (1, 2) for n in range(4)],
            [(4, "a new series starts at shot2_00.png, after shot1_03.png")],
        ),
    ],
)
def test_missing_numbers_and_new_series_are_gaps(names, expected):
    assert gaps(*names) == expected


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


def breaks(names):
    """Indices of breaks and the names in order, whatever order they are given in."""
    order = order_names(sorted(names))
    return [gap.index for gap in order.gaps], list(order.names)


@pytest.mark.parametrize(
    "names",
    [
        [f"{1305031102.175304 + k / 30:.6f}.png" for k in range(60)],  # TUM RGB-D
        [f"t_{0.05 * k:.4g}.png" for k in range(1, 61)],  # decimals without padding
        [f"{k / 20:.2f}.png" for k in range(60)],
        [f"v1.{k}.png" for k in range(1, 31)],  # a counter after a dot
        [f"{1403715273262142976 + 50000000 * k}.png" for k in range(60)],  # EuRoC, nanoseconds
        [f"shot_{k:03}_1080p.png" for k in range(30)],
        [f"IMG_20210804_1553{20 + k // 30:02}{k % 30 * 33:03}.jpg" for k in range(90)],
        [f"20210804_1553{20 + k // 25:02}_{k % 25 * 40:03}.jpg" for k in range(90)],
        [f"AZC16272{h:02}{m:02}F_0.gif" for h in (22, 23) for m in range(0, 60, 5)],
        [f"{h:02}{m:02}.png" for h in range(3, 6) for m in range(0, 60, 5)],
        [f"f{k:04}_20210804_1553{k:02}.png" for k in range(60)],  # a counter and a time together
    ],
)
def test_regular_names_have_no_gap_and_keep_their_order(names):
    assert breaks(names) == ([], names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"VID_20210804_155321_{k + 100 * (k > 29):04}.png" for k in range(60)], [30]),
        ([f"VID_20210804_{t}_{k:04}.png" for t in (155321, 160500) for k in range(30)], [30]),
        ([f"{s}_{k:04}.png" for s in ("left", "right") for k in range(30)], [30]),
        ([f"frame_{k:04}{m}.png" for m in ("", "_mask") for k in range(30)], [30]),
        ([f"f_{k:02}.{s}" for s, r in (("jpg", (0, 9)), ("png", (9, 20))) for k in range(*r)], [9]),
        ([f"{k:03}_cam{c}.png" for c in (1, 2) for k in range(9)], [9]),
        # Hashes behind a counter
        ([f"f{k + (k > 9):04}_{40503 * k % 65521:04x}.png" for k in range(20)], [10]),
        ([f"{h:02}{m:02}.png" for h, m in ((3, 50), (3, 55), (4, 0), (4, 5), (4, 20))], [4]),
        ([f"{100 + k / 30 + (k > 20) / 10:.6f}.png" for k in range(60)], [21]),
        ([f"f{k:04}_20210804_1553{k + 5 * (k > 40):02}.png" for k in range(54)], [41]),
    ],
)
def test_breaks_are_where_a_series_or_time_jumps(names, expected):
    assert breaks(names) == (expected, names)


def test_times_that_jitter_have_no_gaps_but_long_ones():
    ticks = [0]
    for k in range(80):
        ticks.append(ticks[-1] + (17, 50, 33, 21, 64, 38)[k % 6])
    names = [f"{tick + 900 * (k > 40):05}.png" for k, tick in enumerate(ticks)]
    assert breaks(names) == ([41], names)


def test_an_order_that_is_a_guess_is_told():
    order = order_names(["x.png", "b.png", "m.png"])
    assert order.note == "frames are taken in the order b.png, m.png, ..., x.png"
    assert order_names([f"{k:03}.png" for k in range(5)]).note == ""


@pytest.mark.parametrize(
    "names",
    [
        [f"z{k:+d}.png" for k in range(-5, 6)],
        ["t-3.png", "t-2.png", "t-1.png", "t0.png", "t1.png", "t2.png"],
        [f"{k / 2 - 3:.1f}.png" for k in range(12)],
        ["2345.png", "2350.png", "2355.png", "0000.png", "0005.png", "0010.png"],
        ["radar.png", *(f"radar ({k}).png" for k in range(1, 12))],
        ["frame.png", "frame2.png", "frame3.png"],
    ],
)
def test_an_order_that_names_do_not_show_at_once_is_taken_and_said(names):
    order = order_names(sorted(names))
    assert (list(order.names), order.gaps) == (names, ())
    assert order.note == (f"frames are taken in the order {names[0]}, {names[1]}, ..., {names[-1]}")


@pytest.mark.parametrize(
    "names",
    [
        [*(f"2023-12-31T23:{k}:00Z.png" for k in (58, 59)), "2024-01-01T00:00:00Z.png"],
        [f"hima8{stamp}fd.png" for stamp in (202208012340, 202208012350, 202208020000)],
        [f"frame{k:04d}_{k * 0.04:.2f}s.png" for k in range(20)],
        [f"20240506_101205_{k * 40:03d}.png" for k in range(20)],
        [f"{1403636579763555584 + k * 50_000_000}.png" for k in range(20)],
        [f"frame_{k + 1}_of_20.png" for k in range(20)],
        [f"Screenshot 2024-05-06 at 10.{k:02d}.00.png" for k in range(55, 60)],
        ["sim_v1.png", *(f"sim_v1.{k}.png" for k in range(1, 13))],
        [f"202402{day}.png" for day in (27, 28, 29)] + ["20240301.png"],
        [f"{20240228 + k}.png" for k in range(4)],  # numbers: February had 29 days
        [f"{n}.png" for n in (0, 33, 67, 100, 133, 167)],  # within half a step
        ["a.png", "b.png", "c.png"],  # without a common numbering, as are those below
        ["a1.png", "b7.png", "c9.png"],
        ["3_x91.png", "4_x17.png", "9_x55.png"],
        ["1.png"],
        ["1.png", "9.png"],
        [],
        ["1.jpg", "1.png", "2.png"],
    ],
)
def test_names_without_gaps(names):
    assert gaps(*names) == []


def test_a_hyphen_before_a_number_is_no_sign():
    names = [f"img{k:03}.png" for k in range(4)] + [f"img-{k:03}.png" for k in range(4)]
    assert [index for index, _ in gaps(*names)] == [4]
