"""A clip's identity: its bytes in their order, not its name, place or time."""

import hashlib
import os
import shutil

import pytest

from framecast.errors import SourceError
from framecast.video import content_hash
from framecast.video.content_hash import content_digest, file_stamp
from tests.support.media import smooth_clip, write_folder


def test_a_file_is_the_digest_of_its_digest(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"some frames" * 300_000)
    inner = hashlib.blake2b(b"some frames" * 300_000, digest_size=16).digest()
    expected = hashlib.blake2b(inner, digest_size=16).hexdigest()
    assert content_digest(tmp_path / "clip.mp4") == expected


def test_copies_are_the_same_and_another_order_or_a_changed_byte_is_not(tmp_path):
    clip_THWC = smooth_clip(3)
    folder = write_folder(tmp_path / "a", clip_THWC)
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b/notes.txt").write_text("no frame")
    one = content_digest(folder)
    assert content_digest(tmp_path / "b") == one
    assert content_digest(write_folder(tmp_path / "c", clip_THWC[::-1])) != one
    assert content_digest(write_folder(tmp_path / "d", clip_THWC[:2])) != one
    file = tmp_path / "b/frame1.png"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert content_digest(tmp_path / "b") != one


def test_a_stamp_changes_with_place_size_and_time_and_waits_until_they_settle(
    tmp_path, monkeypatch
):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"frames")
    assert file_stamp(clip) is None
    monkeypatch.setattr(content_hash, "SETTLED_SECONDS", -1e9)
    stamps = [file_stamp(clip)]
    assert file_stamp(clip) == stamps[0]
    os.utime(clip, (1000, 1000))
    stamps.append(file_stamp(clip))
    clip.write_bytes(b"frames, more")
    stamps.append(file_stamp(clip))
    clip.rename(tmp_path / "renamed.mp4")
    stamps.append(file_stamp(tmp_path / "renamed.mp4"))
    assert len(set(stamps)) == 4


def test_a_file_that_is_gone_is_a_source_error(tmp_path):
    for read in (content_digest, file_stamp):
        with pytest.raises(SourceError, match="no such file"):
            read(tmp_path / "gone.mp4")
