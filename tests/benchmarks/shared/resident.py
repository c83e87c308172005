"""What one training step of a layer takes of this process's memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from .layers import Shape, build, forward, frames

PROC = Path("/proc/self")
METHOD = "VmHWM - VmRSS" if (PROC / "clear_refs").exists() else "growth of ru_maxrss"


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


def measure(name: str, shape: Shape, checkout: Path | None, threads: int) -> dict[str, float]:
    """MB, in this process, of what the forward pass leaves behind and of the whole step's peak."""
    torch.set_num_threads(threads)
    small = (*shape[:3], 2 * shape[2], 2, 2)
    forward(build(name, small, checkout), frames(small).requires_grad_()).sum().backward()
    module, x_BTCHW = build(name, shape, checkout), frames(shape).requires_grad_()
    forget_peak()
    before = resident(peak=False)
    output = forward(module, x_BTCHW)
    kept = resident(peak=False) - before
    output.sum().backward()
    return {"after_forward": kept / 1e6, "peak": (resident(peak=True) - before) / 1e6}
