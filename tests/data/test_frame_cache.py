"""Decoded frames on disk: whole or not there, shared by processes, bounded, never pulled away."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from framecast.data.frame_cache import (
    Store,
    StoreError,
    cache_folder,
    entry_for,
    known_digest,
    remembered,
)
from framecast.video import content_hash

SHAPE = (6, 7, 8, 3)
NBYTES = 6 * 7 * 8 * 3


def entry(number, dtype="uint8"):
    return entry_for(f"content {number}", SHAPE, dtype, "as it is")


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)


def made(store, number):
    return store.make(entry(number), lambda: iter(pixels(number)))


def never():
    raise AssertionError("decoded again")
    yield


def path_of(store, number):
    return store.folder / entry(number).name


def used_at(store, number, seconds):
    os.utime(path_of(store, number), (seconds, seconds))


def held(store):
    """Numbers of the entries that are there."""
    return {number for number in range(9) if path_of(store, number).exists()}


def test_what_is_made_is_found_as_a_read_only_map(tmp_path):
    store = Store(tmp_path / "deep/kept")
    assert store.find(entry(1)) is None
    first = made(store, 1)
    np.testing.assert_array_equal(first, pixels(1))
    again = Store(tmp_path / "deep/kept").find(entry(1))
    np.testing.assert_array_equal(again, pixels(1))
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    np.testing.assert_array_equal(np.load(path_of(store, 1)), pixels(1))
    np.testing.assert_array_equal(store.make(entry(1), never), pixels(1))


def test_every_part_of_what_decides_pixels_is_in_the_name():
    names = {
        entry_for("a", SHAPE, "uint8", "folder").name,
        entry_for("b", SHAPE, "uint8", "folder").name,
        entry_for("a", (6, 8, 7, 3), "uint8", "folder").name,
        entry_for("a", SHAPE, "uint16", "folder").name,
        entry_for("a", SHAPE, "uint8", "video").name,
    }
    assert len(names) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:40],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b"|u1", b"|i1"),
        lambda data: b"not an array" * 100,
    ],
    ids=["short", "header", "empty", "long", "a bit", "checksum", "type", "other"],
)
def test_a_damaged_file_is_noticed_and_made_again(tmp_path, damage):
    store = Store(tmp_path)
    made(store, 1)
    path = path_of(store, 1)
    path.write_bytes(damage(path.read_bytes()))
    assert store.find(entry(1)) is None
    np.testing.assert_array_equal(made(store, 1), pixels(1))
    np.testing.assert_array_equal(store.find(entry(1)), pixels(1))


def test_what_was_used_last_stays_when_room_is_needed(tmp_path):
    size = path_size(tmp_path / "probe")
    store = Store(tmp_path / "kept", 3 * size)
    for number in (1, 2, 3):
        made(store, number)
        used_at(store, number, 1000 + number)
    store.find(entry(1))
    made(store, 4)
    assert held(store) == {1, 3, 4}
    assert sum(path.stat().st_size for path in store.folder.glob("*.npy")) <= store.limit


def path_size(folder):
    store = Store(folder)
    made(store, 1)
    return path_of(store, 1).stat().st_size


def test_nothing_in_use_is_evicted_by_this_process_or_another(tmp_path):
    size = path_size(tmp_path / "probe")
    store = Store(tmp_path / "kept", 2 * size)
    mine = made(store, 1)
    view = mine[2:4, 1:]
    del mine
    used_at(store, 1, 1000)
    script = (
        "import sys; from pathlib import Path\n"
        "from framecast.data.frame_cache import Store, entry_for\n"
        f"store = Store(Path(sys.argv[1])); clip = store.find(entry_for('content 2', {SHAPE}, "
        "'uint8', 'as it is')); assert clip is not None\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    made(store, 2)
    other = subprocess.Popen(
        [sys.executable, "-c", script, store.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "open\n"
    with pytest.raises(StoreError, match="clips that are in use fill it"):
        made(store, 3)
    assert held(store) == {1, 2}
    np.testing.assert_array_equal(view, pixels(1)[2:4, 1:])
    other.communicate("")
    made(store, 3)
    assert held(store) == {1, 3}
    del view
    made(store, 4)
    assert held(store) == {3, 4}


def test_two_at_once_decode_once_and_both_see_all_of_it(tmp_path):
    store, decoded = Store(tmp_path, 10**6), []

    def slowly():
        decoded.append(1)
        for frame in pixels(1):
            time.sleep(0.02)
            yield frame

    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(lambda _: store.make(entry(1), slowly), range(4)))
    assert len(decoded) == 1
    for clip in clips:
        np.testing.assert_array_equal(clip, pixels(1))


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path):
    store, seen = Store(tmp_path, 10**6), []

    def frames():
        for frame in pixels(1):
            seen.append(store.find(entry(1)))
            yield frame

    store.make(entry(1), frames)
    assert seen == [None] * len(pixels(1))


def test_failing_to_decode_leaves_nothing_and_drafts_of_the_dead_are_cleared(tmp_path):
    store = Store(tmp_path, 7 * NBYTES // 2)

    def broken():
        yield pixels(1)[0]
        raise ValueError("the clip ends here")

    with pytest.raises(ValueError, match="the clip ends here"):
        store.make(entry(1), broken)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}
    (tmp_path / ".killed.npy.1234.part").write_bytes(bytes(3 * NBYTES))
    made(store, 2)
    assert not list(tmp_path.glob(".killed*"))


def test_more_than_the_limit_or_the_disk_is_refused(tmp_path):
    store = Store(tmp_path, 3000)
    store.check_room(3000)
    with pytest.raises(StoreError, match=r"0\.0 GB of frames are more than its limit"):
        store.check_room(3001)
    with pytest.raises(StoreError, match="GB are needed and"):
        Store(tmp_path).check_room(10**18)


def test_the_folder_is_the_systems_unless_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FRAMECAST_CACHE", "~/here")
    assert cache_folder() == Path("~/here").expanduser()
    monkeypatch.delenv("FRAMECAST_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "framecast"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/framecast").expanduser()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path("~/Library/Caches/framecast").expanduser()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local/framecast"


def test_a_digest_is_remembered_until_the_file_looks_different(tmp_path, monkeypatch):
    clip, folder = tmp_path / "clip.mp4", tmp_path / "kept"
    clip.write_bytes(b"one")
    monkeypatch.setattr(content_hash, "SETTLED_SECONDS", -1e9)
    one = known_digest(folder, clip)
    assert one == content_hash.content_digest(clip)
    with monkeypatch.context() as without_reading:
        without_reading.setattr("framecast.data.frame_cache.content_digest", lambda path: "read")
        assert known_digest(folder, clip) == one
        for note in folder.glob("*.digest"):
            note.write_text("no digest")
        assert known_digest(folder, clip) == "read"
    clip.write_bytes(b"two!")
    assert known_digest(folder, clip) == content_hash.content_digest(clip) != one


def test_what_is_known_of_clips_leaves_with_what_was_unused_for_longest(tmp_path, monkeypatch):
    monkeypatch.setattr(content_hash, "SETTLED_SECONDS", -1e9)
    clip, store = tmp_path / "clip.mp4", Store(tmp_path / "kept", 2 * NBYTES + 1000)
    clip.write_bytes(b"one")
    for kind in ("digest", "7x3.cuts"):
        assert remembered(store.folder, clip, kind, r"\w+", lambda kind=kind: kind[:2]) == kind[:2]
        assert remembered(store.folder, clip, kind, r"\w+", lambda: "forgotten") == kind[:2]
    for note in store.folder.iterdir():
        os.utime(note, (1, 1))
    for number in range(3):
        made(store, number)
    assert not [*store.folder.glob("*.digest"), *store.folder.glob("*.cuts")]


def test_a_digest_of_a_file_that_just_changed_is_not_remembered(tmp_path):
    clip, folder = tmp_path / "clip.mp4", tmp_path / "kept"
    clip.write_bytes(b"one")
    known_digest(folder, clip)
    assert not list(folder.glob("*.digest"))
