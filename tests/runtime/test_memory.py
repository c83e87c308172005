"""Memory within reach: the smallest limit of a process's control groups, else the machine's."""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from framecast.runtime import memory


def test_the_smallest_of_limits_and_machine_counts(monkeypatch):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(memory, "memory_limits", lambda: (2**60,))
    assert memory.machine_memory() == physical
    monkeypatch.setattr(memory, "memory_limits", lambda: (2**60, 12345))
    assert memory.machine_memory() == 12345


def test_a_system_that_tells_nothing_gives_none(monkeypatch):
    monkeypatch.setattr(memory, "memory_limits", lambda: ())
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
