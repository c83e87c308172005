"""Memory within reach: the smallest limit of a process's control groups, else the machine's."""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from framecast.runtime import memory


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "700\n"}, [700]),
        ("0::/a/b\n", {"a/b/memory.max": "500", "a/memory.max": "700"}, [500, 700]),
        ("0::/host/path\n", {"memory.max": "900\n"}, [900]),
        ("0::/\n", {"memory.max": "300\n"}, [300]),
        (
            "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
            {"memory/x/memory.limit_in_bytes": "600", "memory/memory.limit_in_bytes": "9223372036"},
            [600, 9223372036],
        ),
        ("4:hugetlb,memory:/docker/1\n", {"memory/memory.limit_in_bytes": "800"}, [800]),
        ("0::/a:b\n", {"a:b/memory.max": "400"}, [400]),
        ("0::/\n", {}, []),
    ],
)
def test_every_limit_on_the_way_counts(tmp_path, groups, files, limits):
    write(tmp_path, {"proc/self/cgroup": groups})
    write(tmp_path / "sys/fs/cgroup", files)
    assert list(memory._group_limits(tmp_path)) == limits


def test_limits_are_read_once(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    write(tmp_path / "sys/fs/cgroup", {"memory.max": "300"})
    assert memory._group_limits(tmp_path) == (300,)
    (tmp_path / "proc/self/cgroup").unlink()
    assert memory._group_limits(tmp_path) == (300,)


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert list(memory._group_limits(tmp_path)) == []


def test_the_smallest_of_limits_and_machine_counts(monkeypatch):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(memory, "_group_limits", lambda root: iter([2**60]))
    assert memory.machine_memory() == physical
    monkeypatch.setattr(memory, "_group_limits", lambda root: iter([2**60, 12345]))
    assert memory.machine_memory() == 12345


def test_a_system_that_tells_nothing_gives_none(monkeypatch):
    monkeypatch.setattr(memory, "_group_limits", lambda root: iter(()))
    monkeypatch.delattr(os, "sysconf")
    assert memory.machine_memory() is None


@pytest.mark.parametrize(
    ("reason", "expected"), [("", True), (": Operation not permitted", False)], ids=str
)
def test_a_library_that_finds_no_room_lacks_memory(reason, expected):
    error = ImportError(f"libtorch_cpu.so: failed to map segment from shared object{reason}")
    assert memory.lacks_memory(error) == expected


def test_what_glibc_keeps_of_freed_memory_is_given_back():
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")

    def resident():
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    # Too small for blocks of their own, and the last one holds the heap's end in place
    blocks = [np.ones(100_000, np.uint8) for _ in range(500)]
    held = blocks[-1]
    del blocks
    before = resident()
    memory.return_freed_memory()
    assert resident() < before - 30e6
    assert held.all()
