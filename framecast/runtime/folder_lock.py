"""Folders that one process at a time works in; the system unlocks them when it ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where folders cannot be locked
    fcntl = None


def lock_folder(folder: Path) -> int | None:
    """Lock a folder against other processes until the returned descriptor is closed.

    None where folders cannot be locked: on Windows and some network file systems. Raises
    BlockingIOError when another process has it, and OSError when there is no such folder.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def lock_holder(folder: Path) -> int | None:
    """The process that has locked a folder; None if unknown (all but Linux)."""
    with suppress(OSError, ValueError, IndexError):
        # Paths are not listed there, only device and inode of what is locked.
        inode = str(folder.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 4: FLOCK  ADVISORY  WRITE 10203 fe:00:5480486 0 EOF
            _, kind, _, _, process, place, *_ = line.split()
            if kind == "FLOCK" and place.rpartition(":")[2] == inode:
                return int(process)
    return None


def unlock_folder(lock: int | None) -> None:
    """Release a lock that `lock_folder` returned."""
    if lock is not None:
        os.close(lock)
