"""Clips are known again by their content: moved, renamed, copied in part, or grown."""

import shutil

import numpy as np
import pytest

from framecast.data.training_frames import TrainedClip, find_overlap, record_clips, untrained_parts
from framecast.data.windows import Window
from framecast.errors import SourceError
from framecast.prediction.checkpoint import load_checkpoint, save_checkpoint
from framecast.video.readers.open import open_source, open_sources
from tests.support.media import write_folder
from tests.support.tiny_runs import CONTEXT, FRAMES, HORIZON, TINY

SPAN = 7
WINDOWS = [Window(0, start) for start in (0, 1, 2, 9, 11)]
TRAINED = (range(9), range(9, 18))


@pytest.fixture(params=["grey.npy", "color.mp4", "grey"])
def clip(request, clips):
    return clips / request.param


def moved(clip, folder):
    """A copy under another name, and for folders with other names for the images."""
    if clip.is_file():
        return shutil.copy(clip, folder / f"other{clip.suffix}")
    (folder / "other").mkdir()
    for number in range(FRAMES):
        shutil.copy(clip / f"frame{number}.png", folder / f"other/image{number + 3}.png")
    return folder / "other"


def test_a_clip_is_known_wherever_it_is_and_whatever_it_is_called(clip, tmp_path):
    known = record_clips([open_source(clip)], WINDOWS, SPAN)
    assert [entry.name for entry in known] == [clip.name]
    assert known[0].frames == ((0, 18),)
    for path in (clip, moved(clip, tmp_path)):
        found = find_overlap(open_source(path), known)
        assert (found.known, found.trained) == (True, (range(18),))


def test_frames_between_the_windows_are_not_trained_on(clip):
    windows = [Window(0, 0), Window(0, 2), Window(0, 11)]
    found = find_overlap(open_source(clip), record_clips([open_source(clip)], windows, SPAN))
    assert found.trained == (range(9), range(11, 18))
    assert untrained_parts(FRAMES, found.trained) == (range(9, 11), range(18, FRAMES))


def test_a_clip_that_was_held_out_is_known_but_not_trained_on(clips):
    sources = [open_source(clips / "grey.npy"), open_source(clips / "grey")]
    known = record_clips(sources, [Window(1, 4)], SPAN)
    found = [find_overlap(source, known) for source in sources]
    assert [entry.known for entry in found] == [True, True]
    assert [entry.trained for entry in found] == [(), (range(4, 11),)]


def test_another_clip_is_not_known(clips, tmp_path):
    changed = np.load(clips / "grey.npy")
    changed[13, 4, 5] += 1
    np.save(tmp_path / "grey.npy", changed)
    known = record_clips([open_source(clips / "grey.npy")], WINDOWS, SPAN)
    assert not find_overlap(open_source(tmp_path / "grey.npy"), known).known


def test_a_folder_that_has_grown_or_lost_frames_is_known_frame_by_frame(clips, tmp_path):
    known = record_clips([open_source(clips / "grey")], [Window(0, 3)], SPAN)
    extra = np.random.default_rng(0).integers(0, 256, (4, 18, 26), dtype=np.uint8)
    grown = write_folder(tmp_path / "grown", extra)
    for number in range(2, FRAMES):
        shutil.copy(clips / f"grey/frame{number}.png", grown / f"frame{number + 2}.png")
    found = find_overlap(open_source(grown), known)
    assert (found.known, found.trained) == (True, (range(5, 12),))


def test_the_same_frames_in_two_clips_count_in_both(clips, tmp_path):
    copy = moved(clips / "grey.npy", tmp_path)
    sources = open_sources([clips / "grey.npy", copy])
    known = record_clips(sources, [Window(0, 0), Window(1, 10)], SPAN)
    assert find_overlap(sources[0], known).trained == (range(7), range(10, 17))


def test_a_trained_model_remembers_its_clips(grey_run, clips):
    for name in ("best.pt", "last.pt"):
        known = load_checkpoint(grey_run / name).trained_on
        trained = find_overlap(open_source(clips / "grey.npy"), known).trained
        assert trained == (range(FRAMES - CONTEXT - HORIZON),)


def test_a_resumed_model_remembers_them_too(run, clips, tmp_path):
    assert run("train", clips / "grey", "--runs", tmp_path, *TINY)[0] == 0
    before = load_checkpoint(tmp_path / "train-1/last.pt")
    save_checkpoint(
        tmp_path / "train-1/last.pt", type(before)(**{**vars(before), "trained_on": None})
    )
    assert run("train", "--resume", tmp_path / "train-1", "--epochs", 2)[0] == 0
    assert load_checkpoint(tmp_path / "train-1/last.pt").trained_on == before.trained_on
    assert len(before.trained_on[0].files) == FRAMES - CONTEXT - HORIZON


def test_a_file_that_has_gone_is_said(tmp_path, clips):
    source = open_source(shutil.copy(clips / "grey.npy", tmp_path))
    (tmp_path / "grey.npy").unlink()
    with pytest.raises(SourceError, match="no such file or folder; check the path"):
        find_overlap(source, (TrainedClip("a", "b", ()),))


@pytest.mark.parametrize(
    ("trained", "left"),
    [
        ((), (range(20),)),
        ((range(20),), ()),
        ((range(5), range(15, 20)), (range(5, 15),)),
        (TRAINED, (range(18, 20),)),
    ],
)
def test_what_is_left_lies_between_and_around(trained, left):
    assert untrained_parts(20, trained) == left
