"""How many frames of long clips a budget has time for, by a clock that reading moves."""

from pathlib import Path

import numpy as np
import pytest

from framecast.data import reading_time
from framecast.data.reading_time import limit_frames
from framecast.video.readers.base import FrameSource, ReadOptions
from framecast.video.readers.open import open_source

SPAN = 5


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class SlowSource(FrameSource):
    """Frames that take their time, the first one of a reading a hundred times as long."""

    def __init__(self, name, frames, size, clock, seconds):
        super().__init__(Path(name), ReadOptions())
        self.clock, self.seconds, self.decoded = clock, seconds, []
        self._describe("video", frames, (*size, 1), np.uint8)

    def _decode(self, numbers):
        for number in numbers:
            self.clock.now += self.seconds * (1 if self.decoded else 100)
            self.decoded.append(number)
            yield np.zeros((self.info.height, self.info.width, 1), np.uint8)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(reading_time, "time", clock)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return clock


def firsts(*sources):
    return [source.info.first for source in sources]


def test_a_long_clip_is_used_from_where_a_fifth_of_the_budget_reaches_its_end(clock):
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01)
    # 60 s / 5, two passes of twice what reading takes: 12 / 0.04
    limit = limit_frames([source], 1.0, SPAN, 2)
    assert limit == pytest.approx(300, abs=1)
    assert source.info.first == 4000 - limit
    assert source.decoded == [*range(4000 - 33, 4000)]
    assert source.info.notes == (
        f"long.mp4: of its 4,000 frames only the newest {limit} are used, for which a budget of 1 "
        "minute has time",
    )


def test_what_there_is_time_for_is_used_whole(clock):
    source = SlowSource("clip.mp4", 290, (6, 8), clock, 0.01)
    twice = SlowSource("clip.mp4", 590, (6, 8), clock, 0.01)
    assert limit_frames([twice], 1.0, SPAN, 1) is None
    assert limit_frames([source], 1.0, SPAN, 2) is None
    assert (source.info.first, source.info.notes) == (0, ())
    assert limit_frames([source], float("inf"), SPAN, 2) is None


def test_short_clips_are_used_whole_and_leave_the_rest_to_long_ones(clock):
    # By pixels a frame of the second takes twice as long: 100 + 2 n + n = 700
    sources = [
        SlowSource("short.mp4", 100, (6, 8), clock, 9.0),
        SlowSource("large.mp4", 3000, (12, 8), clock, 0.02),
        SlowSource("long.mp4", 5000, (6, 8), clock, 9.0),
    ]
    minutes = 700 * 0.01 * 4 / 12
    assert limit_frames(sources, minutes, SPAN, 2) == pytest.approx(200, abs=1)
    assert firsts(*sources) == pytest.approx([0, 2800, 4800], abs=1)
    assert [bool(source.decoded) for source in sources] == [False, True, False]


def test_a_few_windows_are_used_however_slow_reading_is(clock):
    source = SlowSource("slow.mp4", 60, (6, 8), clock, 7.0)
    assert limit_frames([source], 0.01, SPAN, 2) == 8 * SPAN
    assert source.info.first == 20
    assert len(source.decoded) == 2  # after a second no further frame is timed
    short = SlowSource("short.mp4", 40, (6, 8), clock, 7.0)
    assert limit_frames([short], 0.01, SPAN, 2) is None
    assert not short.decoded


def test_processes_that_have_to_agree_use_all(clock, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    source = SlowSource("long.mp4", 4000, (6, 8), clock, 0.01)
    assert limit_frames([source], 1.0, SPAN, 2) is None
    assert not source.decoded


def test_arrays_are_fast(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    np.save(tmp_path / "clip.npy", np.zeros((300, 6, 8), np.uint8))
    assert limit_frames([open_source(tmp_path / "clip.npy")], 1.0, SPAN, 2) is None
