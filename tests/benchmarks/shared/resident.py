"""What one training step of a layer takes of this process's memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from .layers import Shape, build, forward, frames

PROC = Path("/proc/self")


def resident(peak: bool) -> int:
    """Bytes of this process in memory: now, or at most since `forget_peak`."""
    if not (PROC / "clear_refs").exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    field = "VmHWM:" if peak else "VmRSS:"
    lines = (PROC / "status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Let the peak count from now on, where that can be done."""
    if (PROC / "clear_refs").exists():
        (PROC / "clear_refs").write_text("5", encoding="ascii")


def peak_memory(name: str, shape: Shape, checkout: Path | None, threads: int) -> float:
    """Peak MB of a layer's training step in this process, above what was there before it.

    A step on few pixels comes first, since libraries allocate what they keep on their first use.
    """
    torch.set_num_threads(threads)
    small = (*shape[:3], 2 * shape[2], 2, 2)
    forward(build(name, small, checkout), frames(small).requires_grad_()).sum().backward()
    module, x_BTCHW = build(name, shape, checkout), frames(shape).requires_grad_()
    forget_peak()
    before = resident(peak=False)
    forward(module, x_BTCHW).sum().backward()
    return (resident(peak=True) - before) / 1e6
