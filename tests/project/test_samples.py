"""The committed sample clips are what `framecast demo` writes; their motion can be predicted."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from framecast.errors import OutputError
from framecast.video import samples
from tests.support.media import read_with_pillow

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    samples.write_samples(folder)
    return folder


def read_folder(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def read_mp4(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_committed_rain_is_what_is_written(fresh):
    committed = read_folder(SAMPLES / "rain")
    assert committed.shape == (108, 96, 96)
    assert committed.dtype == np.uint8
    assert np.array_equal(committed, read_folder(fresh / "rain"))


def test_committed_pendulum_is_what_is_written(fresh):
    committed, delays = read_with_pillow(SAMPLES / "pendulum.gif")
    assert committed.shape == (60, 75, 101, 3)
    assert np.array_equal(committed, read_with_pillow(fresh / "pendulum.gif")[0])
    assert {*delays} == {50}


def test_committed_shapes_are_what_is_written(fresh):
    committed = read_mp4(SAMPLES / "shapes.mp4").astype(int)
    assert committed.shape == (90, 88, 120, 3)
    # Encoders of other versions may differ: half a level between two of them, 3 to the source.
    assert np.abs(committed - read_mp4(fresh / "shapes.mp4")).mean() < 0.5
    assert np.abs(committed - np.stack(list(samples.shapes_frames()))).mean() < 3
    with av.open(str(SAMPLES / "shapes.mp4")) as container:
        assert container.streams.video[0].average_rate == 15


def test_samples_are_small_and_nothing_else_lies_there():
    files = [p for p in SAMPLES.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in files) <= 1.5e6
    entries = {path.name for path in SAMPLES.iterdir()} - {"__pycache__"}
    assert entries == {"rain", "shapes.mp4", "pendulum.gif"}


def test_samples_are_not_overwritten(fresh):
    before = (fresh / "rain" / "frame_0000.png").stat().st_mtime_ns
    with pytest.raises(OutputError, match="rain exists already"):
        samples.write_samples(fresh)
    assert (fresh / "rain" / "frame_0000.png").stat().st_mtime_ns == before


def test_rain_moves_so_that_optical_flow_beats_persistence_and_still_leaves_something():
    rain = read_folder(SAMPLES / "rain")
    y, x = np.mgrid[:96, :96].astype(np.float32)
    lead = 3
    still, moved = [], []
    for t in range(20, 60, 5):
        flow = cv2.calcOpticalFlowFarneback(rain[t - 1], rain[t], None, 0.5, 3, 15, 3, 5, 1.2, 0)
        source = x - lead * flow[..., 0], y - lead * flow[..., 1]
        carried = cv2.remap(rain[t], *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        truth = rain[t + lead].astype(float) / 255
        still.append(np.square(rain[t] / 255 - truth).mean())
        moved.append(np.square(carried / 255 - truth).mean())
    assert np.mean(moved) < 0.3 * np.mean(still)
    assert np.mean(moved) > 0.02 * np.mean(still)


def test_shapes_touch_the_walls_and_hide_one_another():
    frames = np.stack(list(samples.shapes_frames()))
    red = (frames[..., 0].astype(int) - frames[..., 2] > 120) & (frames[..., 1] < 120)
    rows, columns = (red.any(axis=axis) for axis in (2, 1))
    assert rows[:, 1].any() or rows[:, -2].any() or columns[:, 1].any() or columns[:, -2].any()
    orange = (frames[..., 0] > 180) & (frames[..., 1] > 140) & (frames[..., 2] < 110)
    areas = orange.sum(axis=(1, 2))
    assert areas.min() < 0.7 * areas.max()


def test_pendulum_is_a_loop():
    frames = np.stack(list(samples.pendulum_frames(61))).astype(int)
    assert np.abs(frames[60] - frames[0]).max() <= 1
    # At half time the picture is the same and the motion is not.
    assert np.abs(frames[30] - frames[0]).max() <= 1
    assert np.abs(frames[31] - frames[1]).max() > 50
