"""The one atomic write: whole or not at all, whatever stands at the target or fails on the way."""

import os

import pytest

from framecast.errors import OutputError, ResourceError
from framecast.runtime.output_files import atomic_write, check_target, write_whole


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a.csv", "größer\n", "CSV file")
    assert (tmp_path / "a.csv").read_bytes() == b"gr\xc3\xb6\xc3\x9fer\n"
    assert entries(tmp_path) == ["a.csv"]


def test_the_longest_name_that_the_system_takes_can_be_written(tmp_path):
    name = "n" * 255
    write_whole(tmp_path / name, b"x", "file")
    assert entries(tmp_path) == [name]


def test_an_earlier_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "before"
        raise KeyboardInterrupt
    assert target.read_text() == "before"
    assert entries(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    target = tmp_path / "frames"
    target.mkdir()
    (target / "old.png").touch()
    with atomic_write(target) as temporary:
        temporary.mkdir()
        (temporary / "new.png").touch()
        assert entries(target) == ["old.png"]
    assert entries(target) == ["new.png"]
    assert entries(tmp_path) == ["frames"]


def test_a_target_that_appears_while_writing_is_kept(tmp_path):
    target = tmp_path / "a.txt"

    def check():
        target.write_text("of someone else")
        check_target(target, "file", overwrite=False)

    with pytest.raises(OutputError, match="exists already"), atomic_write(target, check) as path:
        path.write_text("ours")
    assert target.read_text() == "of someone else"
    assert entries(tmp_path) == ["a.txt"]


def test_a_full_disk_is_a_resource_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full; free some space"):
        write_whole(tmp_path / "a.txt", "text", "file")
    assert entries(tmp_path) == []


def test_devices_and_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OutputError, match="is a device or a pipe"):
            write_whole(tmp_path / path, "text", "file")
