"""Clips as memory maps: the right pixels, from the cache where they are, without it where not."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from framecast.data import frame_cache
from framecast.data.decoding import decode_clips, fitted_frames
from framecast.data.frame_cache import Store
from framecast.errors import CorruptSourceError, ResourceError
from framecast.video.readers.open import open_source
from tests.support.media import T, read_all, smooth_clip, write_folder, write_video

SIZE = (14, 22)


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def kept(tmp_path):
    return Store(tmp_path / "kept", 10**6)


def frames_in(tmp_path, clip_THWC=None, **settings):
    clip_THWC = smooth_clip() if clip_THWC is None else clip_THWC
    return open_source(write_folder(tmp_path / "frames", clip_THWC), **settings)


def counted(decode, *arguments):
    """What decoding gives, and how many frames it decoded."""
    seen = []
    return decode(*arguments, lambda: seen.append(1)), len(seen)


def test_decoded_clips_are_the_sources_frames_at_their_size_and_depth(tmp_path, scratch):
    clip_THWC = smooth_clip()
    deep_THW = (np.arange(T * 5 * 6).reshape(T, 5, 6) * 200).astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep_THW)
    folder = open_source(write_folder(tmp_path / "frames", clip_THWC))
    video = open_source(write_video(tmp_path / "clip.mp4", clip_THWC))
    deep = open_source(tmp_path / "deep.npy")
    sizes = [(14, 22), (7, 11), (5, 6)]
    decoded, seen = counted(decode_clips, [folder, video, deep], sizes, 3, scratch, None)
    clips = decoded.clips
    assert (seen, decoded.found, decoded.note) == (3 * T, 0, "")
    assert [clip.shape for clip in clips] == [(T, *size, 3) for size in sizes]
    assert [str(clip.dtype) for clip in clips] == ["uint8", "uint8", "uint16"]
    assert all(isinstance(clip, np.memmap) for clip in clips)
    np.testing.assert_array_equal(clips[0], clip_THWC)
    # Half the size by area: the mean of 2x2 blocks.
    blocks = read_all(video).reshape(T, 7, 2, 11, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(clips[1], blocks, atol=0.5)
    np.testing.assert_array_equal(clips[2], np.repeat(deep_THW[..., None], 3, axis=3))


def test_decoding_to_grey_takes_the_luma(tmp_path):
    clip_THWC = smooth_clip(3)
    source = open_source(write_folder(tmp_path / "frames", clip_THWC))
    (clip,) = decode_clips([source], [SIZE], 1, tmp_path).clips
    luma = clip_THWC @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(clip[..., 0], luma, atol=0.51)


def test_fitted_frames_are_the_numbered_ones(tmp_path):
    clip_THWC = smooth_clip()
    source = open_source(write_folder(tmp_path / "frames", clip_THWC))
    frames = list(fitted_frames(source, (14, 22), 3, range(1, 8, 3)))
    np.testing.assert_array_equal(np.stack(frames), clip_THWC[[1, 4, 7]])


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, scratch, monkeypatch):
    colour = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    np.save(tmp_path / "deep.npy", np.zeros((T, 5, 6), np.uint16))
    sources, sizes = [colour, open_source(tmp_path / "deep.npy")], [(14, 22), (5, 6)]
    needed = T * (14 * 22 + 2 * 5 * 6) * 3
    usage = SimpleNamespace(total=10**9, used=0, free=needed - 1)
    monkeypatch.setattr(frame_cache.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        ResourceError, match=rf"do not fit into {scratch}: 0.0 GB are needed"
    ) as caught:
        decode_clips(sources, sizes, 3, scratch)
    assert caught.value.exit_code == 9
    assert "smaller --resize" in str(caught.value)
    assert not list(scratch.iterdir())
    usage.free = needed
    assert len(decode_clips(sources, sizes, 3, scratch).clips) == 2


def test_a_clip_that_breaks_off_is_an_error_and_leaves_nothing(tmp_path, scratch, kept):
    source = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    Image.fromarray(np.zeros((14, 22, 3), np.uint8)).save(tmp_path / "frames/frame5.png")
    data = (tmp_path / "frames/frame5.png").read_bytes()
    (tmp_path / "frames/frame5.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptSourceError, match=r"frame5\.png: frame 5 cannot be read"):
        decode_clips([source], [SIZE], 3, scratch, kept)
    assert {path.suffix for path in kept.folder.iterdir()} <= {".lock"}


def test_a_second_run_decodes_nothing_and_sees_the_same(tmp_path, scratch, kept):
    source = frames_in(tmp_path)
    first, decoded = counted(decode_clips, [source], [SIZE], 3, scratch, kept)
    again, decoded_again = counted(decode_clips, [source], [SIZE], 3, scratch, kept)
    assert (decoded, first.found) == (T, 0)
    assert (decoded_again, again.found) == (0, 1)
    np.testing.assert_array_equal(again.clips[0], smooth_clip())
    assert not any(scratch.iterdir())


def test_copies_share_frames_and_changed_content_or_settings_do_not(tmp_path, scratch, kept):
    clip_THWC = smooth_clip()
    source = frames_in(tmp_path)
    decode_clips([source], [SIZE], 3, scratch, kept)

    def found(source, size=SIZE, channels=3):
        return decode_clips([source], [size], channels, scratch, kept).found

    copy = open_source(write_folder(tmp_path / "copy", clip_THWC))
    assert found(copy) == 1
    assert found(copy, channels=1) == 0
    assert found(copy, size=(7, 11)) == 0
    assert found(open_source(tmp_path / "copy", color="gray"), channels=3) == 0
    changed_THWC = clip_THWC.copy()
    changed_THWC[3, 2, 1, 0] ^= 1
    assert found(open_source(write_folder(tmp_path / "changed", changed_THWC))) == 0
    assert found(open_source(write_folder(tmp_path / "turned", clip_THWC[::-1]))) == 0


def test_a_clip_changed_in_place_with_its_size_and_time_kept_is_decoded_again(
    tmp_path, scratch, kept
):
    clip_THWC = smooth_clip()
    np.save(tmp_path / "clip.npy", clip_THWC)
    source, stat = open_source(tmp_path / "clip.npy"), (tmp_path / "clip.npy").stat()
    decode_clips([source], [SIZE], 3, scratch, kept)
    np.save(tmp_path / "clip.npy", clip_THWC[::-1])
    os.utime(tmp_path / "clip.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (clip,) = decode_clips([open_source(tmp_path / "clip.npy")], [SIZE], 3, scratch, kept).clips
    np.testing.assert_array_equal(clip, clip_THWC[::-1])


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("a file", "File exists"),
        ("too small", "0.0 GB of frames are more than its limit, 1e-06 GB"),
        ("full", "No space left on device"),
    ],
)
def test_a_cache_that_cannot_be_used_is_said_and_done_without(
    tmp_path, scratch, monkeypatch, place, reason
):
    folder, fill = tmp_path / "kept", frame_cache._fill

    def fill_disk(file, entry, frames):
        if folder in Path(file.name).parents:
            next(frames)
            with frame_cache._explained():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fill(file, entry, frames)

    if place == "a file":
        folder.write_text("")
    if place == "full":
        monkeypatch.setattr(frame_cache, "_fill", fill_disk)
    store = Store(folder, 1000 if place == "too small" else 10**6)
    decoded = decode_clips([frames_in(tmp_path)], [SIZE], 3, scratch, store)
    assert decoded.note == f"{folder}: {reason}; frames are decoded for this run alone"
    np.testing.assert_array_equal(decoded.clips[0], smooth_clip())
    assert not [*folder.glob("*.npy"), *folder.glob("*.part")]


def test_a_disk_that_fills_up_while_decoding_is_a_resource_error(tmp_path, scratch, monkeypatch):
    def refuse(file, entry, frames):
        with frame_cache._explained():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frame_cache, "_fill", refuse)
    with pytest.raises(ResourceError, match="No space left on device; use a smaller --resize"):
        decode_clips([frames_in(tmp_path)], [SIZE], 3, scratch)
    assert not list(scratch.glob(".*"))
