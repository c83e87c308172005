"""Clips as memory maps: the right pixels, no file left, and a full disk reported in time."""

import errno
import io
import os
import resource
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from framecast.data import decoding
from framecast.data.decoding import decode_clips, fitted_frames
from framecast.errors import CorruptSourceError, ResourceError
from framecast.video.readers.open import open_source
from tests.support.media import T, read_all, smooth_clip, write_folder, write_video

SIZE = (14, 22)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def test_decoded_clips_are_the_sources_frames_at_their_size_and_depth(tmp_path, scratch):
    clip_THWC = smooth_clip()
    deep_THW = (np.arange(T * 5 * 6).reshape(T, 5, 6) * 200).astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep_THW)
    folder = open_source(write_folder(tmp_path / "frames", clip_THWC))
    video = open_source(write_video(tmp_path / "clip.mp4", clip_THWC))
    deep = open_source(tmp_path / "deep.npy", color="rgb")
    sizes, seen = [(14, 22), (7, 11), (5, 6)], []
    clips = decode_clips([folder, video, deep], sizes, {0, 1, 2}, lambda: seen.append(1))
    assert len(seen) == 3 * T
    assert [clip.shape for clip in clips] == [(T, *size, 3) for size in sizes]
    assert [str(clip.dtype) for clip in clips] == ["uint8", "uint8", "uint16"]
    assert all(isinstance(clip, np.memmap) for clip in clips)
    assert not any(clip.flags.writeable for clip in clips)
    np.testing.assert_array_equal(clips[0], clip_THWC)
    # Half the size by area: the mean of 2x2 blocks.
    blocks = read_all(video).reshape(T, 7, 2, 11, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(clips[1], blocks, atol=0.5)
    np.testing.assert_array_equal(clips[2], np.repeat(deep_THW[..., None], 3, axis=3))
    # The maps live on without a name, so that even a killed process leaves nothing.
    assert not any(scratch.iterdir())


def test_more_clips_are_decoded_than_files_may_be_open(tmp_path, scratch):
    bytes_THWC = np.arange(7 * 3 * 5, dtype=np.uint8).reshape(7, 3, 5, 1)
    words_THWC = np.arange(7 * 4 * 3, dtype=np.uint16).reshape(7, 4, 3, 1) * 700
    np.save(tmp_path / "bytes.npy", bytes_THWC)
    np.save(tmp_path / "words.npy", words_THWC)
    sources = [open_source(tmp_path / f"{kind}.npy") for kind in ("bytes", "words")] * 50
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, before[1]))
    try:
        clips = decode_clips(sources, [(3, 5), (4, 3)] * 50, set(range(100)) - {2, 3})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [clip.shape for clip in clips[2:4]] == [(0, 3, 5, 1), (0, 4, 3, 1)]
    for clip in (clips[0], *clips[4::2]):
        np.testing.assert_array_equal(clip, bytes_THWC)
    for clip in (clips[1], *clips[5::2]):
        np.testing.assert_array_equal(clip, words_THWC)
    assert all(clip.flags.aligned for clip in clips)


def test_clips_that_are_not_used_are_not_decoded(tmp_path, scratch):
    one = open_source(write_folder(tmp_path / "one", smooth_clip()))
    broken = open_source(write_folder(tmp_path / "broken", smooth_clip()))
    (tmp_path / "broken/frame3.png").write_bytes(b"")
    clips = decode_clips([broken, one], [(6, 8), SIZE], {1})
    assert [clip.shape for clip in clips] == [(0, 6, 8, 3), (T, *SIZE, 3)]


def test_frames_before_the_first_used_one_are_not_read_and_take_no_room(
    tmp_path, scratch, monkeypatch
):
    clip_THWC = smooth_clip()
    source = open_source(write_folder(tmp_path / "frames", clip_THWC))
    source.use_newest(3)
    (tmp_path / "frames/frame2.png").write_bytes(b"")
    free = SimpleNamespace(free=3 * clip_THWC[0].nbytes)
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda path: free)
    seen = []
    (clip,) = decode_clips([source], [SIZE], {0}, lambda: seen.append(1))
    assert len(seen) == 3
    np.testing.assert_array_equal(clip[-3:], clip_THWC[-3:])
    assert clip.shape == clip_THWC.shape
    assert not clip[:-3].any()
    free.free -= 1
    with pytest.raises(ResourceError, match="are needed"):
        decode_clips([source], [SIZE], {0})


def test_decoding_to_grey_takes_the_luma(tmp_path):
    clip_THWC = smooth_clip(3)
    source = open_source(write_folder(tmp_path / "frames", clip_THWC), color="gray")
    (clip,) = decode_clips([source], [SIZE], {0})
    luma = clip_THWC @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(clip[..., 0], luma, atol=0.51)


def test_fitted_frames_are_the_numbered_ones(tmp_path):
    clip_THWC = smooth_clip()
    source = open_source(write_folder(tmp_path / "frames", clip_THWC))
    frames = list(fitted_frames(source, (14, 22), range(1, 8, 3)))
    np.testing.assert_array_equal(np.stack(frames), clip_THWC[[1, 4, 7]])


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, scratch, monkeypatch):
    colour = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    np.save(tmp_path / "deep.npy", np.zeros((T, 5, 6), np.uint16))
    deep = open_source(tmp_path / "deep.npy", color="rgb")
    sources, sizes = [colour, deep], [(14, 22), (5, 6)]
    needed = T * (14 * 22 + 2 * 5 * 6) * 3
    usage = SimpleNamespace(total=10**9, used=0, free=needed - 1)
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda path: usage)
    told = f"do not fit into {scratch}: {needed / 1000:.1f} kB are needed"
    with pytest.raises(ResourceError, match=told) as caught:
        decode_clips(sources, sizes, {0, 1})
    assert caught.value.exit_code == 9
    assert "smaller --resize" in str(caught.value)
    assert not list(scratch.iterdir())
    usage.free = needed
    assert len(decode_clips(sources, sizes, {0, 1})) == 2


def test_without_a_folder_for_temporary_files_nothing_is_decoded(tmp_path, monkeypatch):
    source = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    with monkeypatch.context() as patched:  # pytest asks for that folder, too
        patched.setattr(tempfile, "tempdir", None)
        patched.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null"])
        with pytest.raises(ResourceError) as caught:
            decode_clips([source], [SIZE], {0})
    said = "no folder for temporary files can be written; set TMPDIR to one that can"
    assert str(caught.value) == said


def test_a_clip_that_breaks_off_is_an_error_and_leaves_nothing(tmp_path, scratch):
    source = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    Image.fromarray(np.zeros((14, 22, 3), np.uint8)).save(tmp_path / "frames/frame5.png")
    data = (tmp_path / "frames/frame5.png").read_bytes()
    (tmp_path / "frames/frame5.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptSourceError, match=r"frame5\.png: frame 5 cannot be read"):
        decode_clips([source], [SIZE], {0})
    assert not any(scratch.iterdir())


def test_a_disk_that_fills_up_while_decoding_is_a_resource_error(tmp_path, scratch, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decoding.tempfile, "TemporaryFile", lambda **_: Full())
    source = open_source(write_folder(tmp_path / "frames", smooth_clip()))
    with pytest.raises(ResourceError, match="No space left on device; use a smaller --resize"):
        decode_clips([source], [SIZE], {0})
