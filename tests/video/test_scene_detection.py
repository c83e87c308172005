"""Cuts found where scenes were joined, and nowhere else."""

import sys

import numpy as np
import pytest

from framecast.video.readers.open import open_source
from framecast.video.scene_detection import find_cuts, newest_scene, split_scenes
from tests.support.media import joined, scene

H, W = 40, 64


@pytest.mark.parametrize("lengths", [(9, 14, 4, 11), (2, 6, 2), (3, 3)])
def test_cuts_are_where_scenes_were_joined(lengths):
    clip_THWC = joined(*lengths)
    assert find_cuts(iter(clip_THWC)) == tuple(np.cumsum(lengths)[:-1])


def test_a_scene_of_one_frame_at_an_end_is_seen_where_little_moves_beside_it():
    slow_THWC = scene(8, 2, velocity=(0.4, 0.1))
    slow_THWC = np.concatenate([scene(1, 1), slow_THWC, scene(1, 3)])
    assert find_cuts(slow_THWC) == (1, 9)


def test_depth_colours_and_size_make_no_difference():
    clip_THWC = joined(7, 9)
    deep_THWC = clip_THWC.astype(np.uint16) * 257
    large_THWC = clip_THWC.repeat(10, axis=1).repeat(9, axis=2)
    for same in (deep_THWC, clip_THWC.repeat(3, axis=3), deep_THWC.repeat(3, axis=3), large_THWC):
        assert find_cuts(same) == (7,)


def test_motion_stillness_fades_and_starts_are_no_cuts():
    still_THWC = scene(1, 1).repeat(8, axis=0)
    share = np.linspace(0, 1, 12)[:, None, None, None]
    fading_THWC = ((1 - share) * scene(1, 1) + share * scene(1, 2)).astype(np.uint8)
    fast_THWC = scene(12, 3, velocity=(9, 4))
    starting_THWC = np.concatenate([still_THWC, scene(9, 1)[1:]])
    noise_THWC = np.random.default_rng(4).integers(0, 256, (9, H, W, 1), dtype=np.uint8)
    for clip_THWC in (still_THWC, fading_THWC, fast_THWC, starting_THWC, noise_THWC):
        for frames in (len(clip_THWC), 4, 3, 2):
            assert find_cuts(clip_THWC[-frames:]) == find_cuts(clip_THWC[:frames]) == ()


def test_a_clip_can_be_one_frame_of_one_pixel_or_none():
    assert find_cuts(iter(())) == find_cuts(scene(1, 1)) == ()
    assert find_cuts(np.zeros((3, 1, 1, 1), np.uint8)) == ()
    assert find_cuts(np.zeros((3, 2, 3000, 3), np.uint8)) == ()


def test_only_frames_that_are_used_are_looked_at(tmp_path):
    np.save(tmp_path / "clip.npy", joined(9, 14, 11))
    source = open_source(tmp_path / "clip.npy")
    source.use_newest(18)
    seen = []
    split_scenes([source], lambda work, total: seen.append((work, total)))
    assert source.info.breaks == (23,)
    assert source.info.notes[-1] == (
        "clip.npy cuts to another scene at frame 23; no window crosses a cut"
    )
    assert seen == [("looking for cuts in clip.npy", 18)] * 18


def test_frames_are_looked_at_one_after_another():
    taken = []

    def watched():
        for number, frame_HWC in enumerate(joined(5, 6)):
            taken.append(number)
            yield frame_HWC

    assert find_cuts(watched()) == (5,)
    assert taken == list(range(11))


def test_frames_that_change_little_are_one_scene_without_the_detector(monkeypatch):
    slow_THWC = scene(8, 2, velocity=(0.4, 0.1))
    monkeypatch.setitem(sys.modules, "scenedetect", None)  # it takes 0.2 s to load
    assert newest_scene(iter(slow_THWC), 2) == 2
    with pytest.raises(ImportError):
        newest_scene(joined(5, 6), 2)


def test_the_newest_scene_begins_at_the_last_cut_after_the_first_frame_that_counts():
    clip_THWC = joined(9, 14, 11)
    assert [newest_scene(iter(clip_THWC), first) for first in (2, 12, 23, 30)] == [23, 23, 23, 30]
