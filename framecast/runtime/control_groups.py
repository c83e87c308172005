"""What a container may use: the limits of the control groups that this process is in (Linux).

A limit of any parent counts, too. Inside a container the reported path may be the host's; then the
part that the container sees begins at the mount. Without control groups there are no limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def memory_limits(root: Path = Path("/")) -> tuple[int, ...]:
    """All limits in bytes. Read once: before every picture that is opened they took longer than
    its header."""
    limits = []
    for group, version in _groups(root, "memory"):
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        with suppress(OSError, ValueError):  # no such group here, or "max": no limit
            limits.append(int((group / name).read_text(encoding="ascii")))
    return tuple(limits)


def processor_limits(root: Path = Path("/")) -> tuple[float, ...]:
    """All limits in processors: 1.5 is 150 ms of processor time in 100 ms."""
    limits = []
    for group, version in _groups(root, "cpu"):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        with suppress(OSError, ValueError):  # as above
            text = " ".join((group / name).read_text(encoding="ascii") for name in names)
            quota, period = (int(microseconds) for microseconds in text.split())
            # Version 1 has -1 for no limit.
            limits += [quota / period] if quota > 0 < period else []
    return tuple(limits)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of a controller's group and its parents, and which version they are."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        # "0::/path" in version 2, "4:memory:/path" in version 1.
        _, controllers, place = line.split(":", 2)
        if not controllers:
            mount, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        group = mount / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder == mount.parent:
                break
            yield folder, version
