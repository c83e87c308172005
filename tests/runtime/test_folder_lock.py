"""Locks of folders: one process at a time, told by name, and nothing stays open."""

import errno
import os
import subprocess
import sys

import pytest

from framecast.runtime.folder_lock import lock_folder, lock_holder, unlock_folder

HOLD = """
import sys
from pathlib import Path
from framecast.runtime.folder_lock import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def next_descriptor():
    """The lowest number that is free: it rises when something is left open."""
    number = os.dup(0)
    os.close(number)
    return number


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / name for name in "abc"]
    for folder in found:
        folder.mkdir()
    return found


def test_a_folder_is_locked_once_and_refusals_leave_nothing_open(folders):
    free = next_descriptor()
    lock = lock_folder(folders[0])
    after_it = next_descriptor()
    with pytest.raises(BlockingIOError):
        lock_folder(folders[0])
    assert next_descriptor() == after_it
    unlock_folder(lock)
    unlock_folder(lock_folder(folders[0]))
    unlock_folder(None)
    assert next_descriptor() == free
    with pytest.raises(FileNotFoundError):
        lock_folder(folders[0] / "gone")


def test_where_folders_cannot_be_locked_nothing_stays_open(folders, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    free = next_descriptor()
    monkeypatch.setattr("framecast.runtime.folder_lock.fcntl.flock", refuse)
    assert lock_folder(folders[0]) is None
    assert next_descriptor() == free


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_of_several_locks_the_process_of_each_folder_is_told(folders):
    theirs, ours, free = folders
    command = [sys.executable, "-c", HOLD, str(theirs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        lock = lock_folder(ours)
        holders = [lock_holder(folder) for folder in (theirs, ours, free, free / "gone")]
        unlock_folder(lock)
        assert holders == [other.pid, os.getpid(), None, None]
        other.kill()
