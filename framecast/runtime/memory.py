"""How much memory this process may use: the machine's, or less where a container limits it."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from contextlib import suppress

from framecast.runtime.control_groups import memory_limits

_REFUSED = re.compile(
    "can't allocate memory|not enough memory|out of memory|could not create a (primitive|memory)$"
    "|Insufficient memory|failed to map segment from shared object$"
)
"""How PyTorch says it on Unix, on Windows, on MPS and CUDA, and from oneDNN; OpenCV; and what
loads libraries on Linux."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy, PyTorch or OpenCV says that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or _REFUSED.search(str(error)) is not None


def machine_memory() -> int | None:
    """Bytes of memory within reach; None if the system does not report it.

    The smallest of the machine's memory, the limits of the control groups this process is in, and
    the limit that a shell set (`ulimit -v`).
    """
    limits = [*memory_limits()]
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource  # noqa: PLC0415

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def return_freed_memory() -> None:
    """Have glibc give what is freed but kept for later back to the system (malloc_trim(3)).

    It keeps blocks of up to 32 MiB: after reading a context of 1080p, 20 MB more than needed. Other
    systems: no change.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
