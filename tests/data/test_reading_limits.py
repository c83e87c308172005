"""How much of many or long clips there is time for, by a clock that reading moves, and room for."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

from framecast.data import reading_limits
from framecast.data.reading_limits import limit_reading
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.open import open_source

SPAN = 5


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class SlowSource(FrameSource):
    """Frames that take their time, and a while until the first one is there."""

    def __init__(self, name, frames, size, clock, seconds, opening=0.0):
        super().__init__(Path(name), ReadOptions())
        self.clock, self.seconds, self.opening, self.decoded = clock, seconds, opening, []
        self._describe("video", frames, (*size, 1), np.uint8)

    def _decode(self, numbers):
        self.clock.now += self.opening
        for number in numbers:
            self.decoded.append(number)
            yield np.zeros((self.info.height, self.info.width, 1), np.uint8)
            self.clock.now += self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(reading_limits, "time", clock)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return clock


@pytest.fixture
def room(monkeypatch):
    """Sets the bytes that are free, of which half are for decoded frames."""
    monkeypatch.setattr(tempfile, "tempdir", "/scratch")
    return lambda free: monkeypatch.setattr(reading_limits, "free_bytes", lambda: free)


def firsts(*sources):
    return [source.info.first for source in sources]


def notes(*sources):
    return [note for source in sources for note in source.info.notes]


def test_a_long_clip_is_used_from_where_a_fifth_of_the_budget_reaches_its_end(clock):
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01, opening=0.5)
    # 60 s / 5, two passes of twice what reading takes: 12 / 4 = 0.5 + 250 * 0.01
    used, limit = limit_reading([source], 1.0, SPAN, 2)
    assert used == [source]
    assert limit == pytest.approx(250, abs=1)
    assert source.info.first == 4000 - limit
    # From where a few windows begin, and the first frame is not timed
    assert source.decoded == [*range(3960, 3960 + 33)]
    assert source.info.notes == (
        f"long.mp4: of its 4,000 frames only the newest {limit} are used, for which a budget of 1 "
        "minute has time",
    )


def test_what_there_is_time_for_is_used_whole(clock):
    for frames, passes, minutes in ((290, 2, 1.0), (590, 1, 1.0), (9000, 2, float("inf"))):
        source = SlowSource("clip.mp4", frames, (6, 8), clock, 0.01)
        assert limit_reading([source], minutes, SPAN, passes) == ([source], None)
        assert (source.info.first, source.info.notes) == (0, ())


def test_short_clips_are_used_whole_and_leave_the_rest_to_long_ones(clock):
    # By pixels a frame of the second takes twice as long: 100 + 2 n + n = 700
    sources = [
        SlowSource("short.mp4", 100, (6, 8), clock, 0.01),
        SlowSource("large.mp4", 3000, (12, 8), clock, 0.02),
        SlowSource("long.mp4", 5000, (6, 8), clock, 0.01),
    ]
    used, limit = limit_reading(sources, 700 * 0.01 * 4 / 12, SPAN, 2)
    assert used == sources
    assert limit == pytest.approx(200, abs=1)
    assert firsts(*sources) == pytest.approx([0, 2800, 4800], abs=1)
    assert notes(*sources) == [
        f"of 2 clips only the newest {limit} frames are used, for which a budget of "
        f"{700 * 0.01 * 4 / 12:g} minutes has time"
    ]


def test_a_few_windows_are_used_however_slow_reading_is(clock):
    source = SlowSource("slow.mp4", 60, (6, 8), clock, 7.0)
    assert limit_reading([source], 0.01, SPAN, 2) == ([source], 8 * SPAN)
    assert source.info.first == 20
    assert len(source.decoded) == 2  # after a second no further frame is timed
    short = [SlowSource("short.mp4", 40, (6, 8), clock, 7.0) for _ in range(5)]
    assert limit_reading(short, 0.01, SPAN, 2) == (short, None)
    assert not any(source.decoded for source in short)


def test_of_too_many_clips_some_are_used(clock):
    # Each takes 0.1 + 40 * 0.01, or 0.1 + 20 * 0.01, two in three the latter: 0.1 + 80/3 * 0.01
    sources = [
        SlowSource(f"{n}.mp4", 90 if n % 3 == 0 else 20, (6, 8), clock, 0.01, opening=0.1)
        for n in range(305)
    ]
    used, limit = limit_reading(sources, 22 * (0.1 + 0.8 / 3) * 4 / 12, SPAN, 2)
    assert len(used) == pytest.approx(22, abs=1)
    numbers = [sources.index(source) for source in used]
    assert (numbers[0], numbers[-1]) == (0, 304)
    assert set(np.diff(numbers)) == {15, 16}
    assert limit == 8 * SPAN
    assert {(s.info.frames, s.info.first) for s in used} == {(90, 50), (20, 0)}
    assert sum(bool(source.decoded) for source in sources) <= 8
    long = sum(source.info.frames == 90 for source in used)
    said = notes(*sources)
    assert said == list(used[0].info.notes)
    assert said[0].startswith(f"of 305 clips only {len(used)}, evenly spread, are used, for which")
    assert said[1].startswith(f"of {long} clips only the newest 40 frames are used, for which")


def test_of_too_many_clips_a_few_are_used_however_slow_opening_them_is(clock):
    sources = [SlowSource("short.mp4", 20, (6, 8), clock, 0.0, opening=3.0) for _ in range(9)]
    used, limit = limit_reading(sources, 0.01, SPAN, 1)
    assert [sources.index(source) for source in used] == [0, 2, 4, 6, 8]
    assert limit is None
    assert sum(bool(source.decoded) for source in sources) == 1
    assert limit_reading(sources, 3.0 * 9 * 2 / 12 * 1.01, SPAN, 1) == (sources, None)


def test_one_clip_that_takes_long_to_open_does_not_count_for_all(clock):
    sources = [SlowSource("clip.mp4", 20, (6, 8), clock, 0.001, opening=0.01) for _ in range(50)]
    sources[0].opening = 0.5
    assert limit_reading(sources, 50 * 0.03 * 2 / 12 * 1.1, SPAN, 1) == (sources, None)


def test_decoded_frames_take_half_of_the_free_room(clock, room):
    room(2 * 500 * 3 * 4)
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01)
    assert limit_reading([source], None, SPAN, 2, kept_at=[(3, 4)]) == ([source], 500)
    assert source.info.first == 3500
    assert not source.decoded
    assert notes(source) == [
        "long.mp4: of its 4,000 frames only the newest 500 are used, for which there is room in "
        "/scratch"
    ]
    whole = SlowSource("short.mp4", 500, (6, 8), clock, 0.01)
    assert limit_reading([whole], None, SPAN, 2, kept_at=[(3, 4)]) == ([whole], None)


@pytest.mark.parametrize(("frames", "limit", "why"), [(260, 250, "minute"), (240, 240, "scratch")])
def test_what_is_scarcer_of_time_and_room_decides(clock, room, frames, limit, why):
    room(2 * frames * 6 * 8)
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01, opening=0.5)
    _, found = limit_reading([source], 1.0, SPAN, 2, kept_at=[(6, 8)])
    assert found == pytest.approx(limit, abs=1)
    assert why in notes(source)[0]


def test_of_clips_that_there_is_no_room_for_some_are_used(clock, room):
    sources = [SlowSource(f"{n}.mp4", 20, (6, 8), clock, 0.0) for n in range(50)]
    room(2 * 17.5 * 20 * 12)
    used, limit = limit_reading(sources, math.inf, SPAN, 2, kept_at=[(3, 4)] * 50)
    assert (len(used), limit) == (17, None)
    assert notes(*sources) == [
        "of 50 clips only 17, evenly spread, are used, for which there is room in /scratch"
    ]
    room(0)
    assert len(limit_reading(sources, math.inf, SPAN, 2, kept_at=[(3, 4)] * 50)[0]) == 5


def test_processes_that_have_to_agree_use_all(clock, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01)
    assert limit_reading([source], 1.0, SPAN, 2) == ([source], None)
    assert not source.decoded


def test_arrays_are_fast(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    np.save(tmp_path / "clip.npy", np.zeros((300, 6, 8), np.uint8))
    sources = [open_source(tmp_path / "clip.npy")]
    assert limit_reading(sources, 1.0, SPAN, 2) == (sources, None)
