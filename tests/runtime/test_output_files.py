"""The one atomic write: whole or not at all, whatever stands at the target or fails on the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from framecast.errors import OutputError, ResourceError
from framecast.export.request import KINDS
from framecast.runtime import output_files
from framecast.runtime.output_files import (
    atomic_write,
    check_inputs,
    check_target,
    workplace,
    write_whole,
)
from framecast.video.writers.open import WRITERS


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a.csv", "größer\n", "CSV file")
    assert (tmp_path / "a.csv").read_bytes() == b"gr\xc3\xb6\xc3\x9fer\n"
    assert entries(tmp_path) == ["a.csv"]


def test_nothing_stays_open(tmp_path):
    free = os.dup(0)
    os.close(free)
    write_whole(tmp_path / "a.csv", "text", "CSV file")
    again = os.dup(0)
    os.close(again)
    assert again == free


def test_a_workplace_that_somebody_else_removes_is_no_error(tmp_path):
    with workplace(tmp_path) as place:
        place.rmdir()
    assert entries(tmp_path) == []


def test_the_longest_name_that_the_system_takes_can_be_written(tmp_path):
    name = "n" * 255
    write_whole(tmp_path / name, b"x", "file")
    assert entries(tmp_path) == [name]


def test_an_earlier_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "before"
        raise KeyboardInterrupt
    assert target.read_text() == "before"
    assert entries(tmp_path) == ["a.csv"]


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


def test_a_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target, replace = tmp_path / "frames", Path.replace
    target.mkdir()
    (target / "old.png").touch()

    def refuse(self, place):
        if self.parent.name == output_files.NEW:
            raise OSError(5, "Input/output error")
        return replace(self, place)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output error"), atomic_write(target) as temporary:
        temporary.mkdir()
    assert entries(target) == ["old.png"]
    assert entries(tmp_path) == ["frames"]


def test_a_target_that_appears_while_writing_is_kept(tmp_path):
    target = tmp_path / "a.csv"

    def check():
        target.write_text("of someone else")
        check_target(target, "file", overwrite=False)

    with pytest.raises(OutputError, match="exists already"), atomic_write(target, check) as path:
        path.write_text("ours")
    assert target.read_text() == "of someone else"
    assert entries(tmp_path) == ["a.csv"]


def test_a_full_disk_is_a_resource_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full; free some space"):
        write_whole(tmp_path / "a.csv", "text", "file")
    assert entries(tmp_path) == []


def test_devices_and_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OutputError, match="is a device or a pipe"):
            write_whole(tmp_path / path, "text", "file")


WORK = """
import sys
from pathlib import Path
from framecast.runtime.output_files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writing(tmp_path):
    """Another process in the middle of writing `a.csv`."""
    command = [sys.executable, "-c", WORK, str(tmp_path / "a.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"writing\n"
        yield other
        other.kill()


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path, writing):
    write_whole(tmp_path / "a.csv", "second", "file")
    assert len(entries(tmp_path)) == 2  # its process lives
    writing.kill()
    writing.wait()
    write_whole(tmp_path / "b.csv", "third", "file")
    assert entries(tmp_path) == ["a.csv", "b.csv"]
    assert (tmp_path / "a.csv").read_text() == "second"


def test_a_folder_that_was_moved_away_by_a_killed_process_comes_back(tmp_path):
    left = tmp_path / ".framecast-0123456789ab.part"
    (left / "new" / "frames").mkdir(parents=True)
    (left / "old").mkdir()
    (left / "old" / "precious.png").write_text("of the user")
    write_whole(tmp_path / "a.csv", "text", "file")
    assert entries(tmp_path) == ["a.csv", "frames"]
    assert (tmp_path / "frames" / "precious.png").read_text() == "of the user"


def test_what_was_replaced_before_the_kill_does_not_come_back(tmp_path):
    left = tmp_path / ".framecast-0123456789ab.part"
    (left / "new").mkdir(parents=True)
    (left / "old").mkdir()
    (tmp_path / "frames").mkdir()
    write_whole(tmp_path / "a.csv", "text", "file")
    assert entries(tmp_path) == ["a.csv", "frames"]


def test_a_workplace_that_is_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    lock_folder, places = output_files.lock_folder, []

    def removed_by_another(place):
        places.append(place)
        if len(places) == 1:
            place.rmdir()
        lock = lock_folder(place)
        if len(places) == 2:
            place.rmdir()
        return lock

    monkeypatch.setattr(output_files, "lock_folder", removed_by_another)
    with workplace(tmp_path) as place:
        assert len(places) == 3 and place == places[-1]
        assert entries(tmp_path) == [place.name]
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", ["old", "new", ".framecast"])
def test_names_of_the_workplace_are_free_for_outputs(tmp_path, name):
    target = tmp_path / name
    for content in ("1.png", "2.png"):
        with atomic_write(target) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert entries(target) == ["2.png"]
    assert entries(tmp_path) == [name]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "big.bin").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "far" / "big.bin")
    write_whole(tmp_path / "link.csv", "after", "CSV file")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "far" / "big.bin").read_text() == "after"
    assert entries(tmp_path) == ["far", "link.csv"]
    assert entries(tmp_path / "far") == ["big.bin"]


def test_names_that_are_no_text_are_escaped_in_text(tmp_path):
    write_whole(tmp_path / "a.csv", "\u00e4\udcff.npy\n", "CSV file")
    assert (tmp_path / "a.csv").read_bytes() == b"\xc3\xa4\\udcff.npy\n"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_to_nothing_is_kept(tmp_path, overwrite):
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is a link to nothing; choose another name"):
        check_target(tmp_path / "link.csv", "CSV file", overwrite)
    with pytest.raises(OutputError, match="is a link to nothing; choose another name"):
        write_whole(tmp_path / "link.csv", "text", "CSV file", overwrite)
    assert entries(tmp_path) == ["link.csv"]


def test_only_kinds_that_framecast_writes_are_replaced(tmp_path):
    for name in ("thesis.docx", "Makefile", "a.csv", "A.GIF"):
        (tmp_path / name).write_text("precious")
    for name in ("thesis.docx", "Makefile"):
        with pytest.raises(OutputError, match="is not of a kind that framecast writes"):
            check_target(tmp_path / name, "CSV file", True)
    for name in ("a.csv", "A.GIF"):
        check_target(tmp_path / name, "CSV file", True)
        with pytest.raises(OutputError, match="exists already"):
            check_target(tmp_path / name, "CSV file", False)


def test_every_kind_that_framecast_writes_is_replaced(tmp_path):
    for suffix in {*KINDS, *WRITERS, ".csv", ".html", ".json", ".yaml", ".svg"} - {""}:
        (tmp_path / f"a{suffix}").write_text("earlier")
        check_target(tmp_path / f"a{suffix}", "file", True)


def test_a_target_in_no_folder_is_refused(tmp_path):
    for folder in ("gone", "a.csv"):
        with pytest.raises(OutputError, match=f"there is no folder .*{folder}; create it first"):
            check_target(tmp_path / folder / "b.csv", "CSV file", True)
        (tmp_path / "a.csv").write_text("")


@pytest.mark.parametrize(
    ("target", "inputs", "says"),
    [
        ("frames", ["model.pt", "frames"], "is an input"),
        ("frames", ["frames/one.gif"], "holds an input"),
        ("link", ["frames"], "is an input"),
        ("clip.gif", ["frames/../clip.gif"], "is an input"),
        ("clip.gif", ["frames"], ""),
        ("frames/one.gif", ["frames"], ""),
        ("new.gif", ["new.gif", "missing"], ""),
        ("dangling", ["frames", "dangling"], ""),
    ],
)
def test_an_input_is_no_output(tmp_path, target, inputs, says):
    (tmp_path / "frames").mkdir()
    for name in ("frames/one.gif", "clip.gif", "model.pt"):
        (tmp_path / name).write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "frames")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    arguments = (tmp_path / target, [tmp_path / name for name in inputs])
    if says:
        with pytest.raises(OutputError, match=f"{says} of this command; choose another name"):
            check_inputs(*arguments)
    else:
        check_inputs(*arguments)
