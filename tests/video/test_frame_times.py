"""Lead times and time stamps: told from file names, in labels, in names that sort by time."""

from datetime import datetime

import numpy as np
import pytest

from framecast.errors import OutputError
from framecast.video.frame_times import lead_label, lead_names, moment_names
from framecast.video.readers.file_order import order_names
from framecast.video.readers.frame_names import frame_times
from framecast.video.readers.open import open_source
from framecast.video.writers.open import open_writer, write_frames

SEEN = datetime(2026, 9, 28, 23, 50)


@pytest.mark.parametrize(
    ("lead", "minutes", "fps", "text"),
    [
        (3, None, None, "+3"),
        (0, None, None, "0"),
        (-2, 5, None, "-10 min"),
        (3, 7.5, 25, "+22.5 min"),
        (3, None, 25, "+0.12 s"),
        (3, 1 / 6, None, "+30 s"),
        (0, 1 / 6, None, "0 s"),
    ],
)
def test_lead_times_in_words(lead, minutes, fps, text):
    assert lead_label(lead, minutes, fps) == text


@pytest.mark.parametrize(
    ("minutes", "seen", "names"),
    [
        (None, None, ["input_0001", "input_0002", "lead_0001", "lead_0002"]),
        (5, None, ["input_0001", "input_0002", "lead_0005min", "lead_0010min"]),
        (2.5, None, ["input_0001", "input_0002", "lead_0002.50min", "lead_0005.00min"]),
        (1 / 6, None, ["input_0001", "input_0002", "lead_0010s", "lead_0020s"]),
        (5, SEEN, [f"frame_{t}" for t in ("20260928_2345", "20260928_2350", "20260928_2355")]),
        (0.5, SEEN, ["frame_20260928_234930", "frame_20260928_235000", "frame_20260928_235030"]),
        (1e-4, None, ["input_0001", "input_0002", "lead_0000.006s", "lead_0000.012s"]),
        (1e12, SEEN, ["input_0001", "input_0002", "lead_1000000000000min"]),  # after 9999
        (None, SEEN, ["input_0001", "input_0002", "lead_0001"]),
    ],
)
def test_names_tell_the_time_and_sort_by_it(minutes, seen, names):
    found = lead_names([-1, 0, 1, 2], minutes, seen)
    assert found[: len(names)] == names
    assert sorted(found) == found
    # Read as a clip, the frames are in this order, too.
    assert list(order_names([f"{name}.png" for name in found]).names) == [
        f"{name}.png" for name in found
    ]


def test_frames_of_one_second_are_numbered():
    assert moment_names([SEEN.replace(microsecond=part) for part in (0, 40_000)]) == [
        *("frame_0000", "frame_0001"),
    ]


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["r_20260928_2345.png", "r_20260928_2350.png"], ["2026-09-28 23:45", "2026-09-28 23:50"]),
        (
            ["a2026-09-28T23-59-30Z.tif", "a2026-09-29T00-00-00Z.tif"],
            ["2026-09-28 23:59:30", "2026-09-29"],
        ),
        (["20260928.png", "20260929.png"], ["2026-09-28", "2026-09-29"]),
        (["frame_0001.png", "frame_0002.png"], []),
        (["20260928_2345.png", "still.png"], []),
        (["20260928_2345.png", "20260928_2345_b.png"], []),
        # The seconds of a phone's photographs say nothing of a steady time step.
        ([f"20260928_23{time}.png" for time in ("4501", "4502", "4530", "4659", "5900")], []),
    ],
)
def test_times_are_told_from_names_where_all_have_one_at_an_even_pace(names, times):
    assert list(frame_times(names)) == [datetime.fromisoformat(time) for time in times]


def test_a_folder_with_times_knows_its_step_and_keeps_them(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (3, 9, 11, 1), dtype=np.uint8)
    names = moment_names([SEEN.replace(minute=minute) for minute in (40, 45, 50)])
    with open_writer(tmp_path / "radar", fps=10, names=names) as writer:
        for frame_HWC in frames:
            writer.write(frame_HWC)
    info = open_source(tmp_path / "radar").info
    assert (info.step_minutes, info.moments[-1]) == (5, SEEN)
    # They are frames of framecast, so that they may be replaced; other pictures are not.
    with open_writer(tmp_path / "radar", fps=10, overwrite=True, names=["lead_0005min"]) as writer:
        writer.write(frames[0])
    assert [path.name for path in (tmp_path / "radar").iterdir()] == ["lead_0005min.png"]
    (tmp_path / "radar/radar_20260928_2345.png").touch()
    with pytest.raises(OutputError, match=r"holds radar_20260928_2345\.png, which is no"):
        write_frames(tmp_path / "radar", frames, fps=10, overwrite=True)
