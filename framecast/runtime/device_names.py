"""How devices are named; without PyTorch, which `device` asks whether they are there."""

from __future__ import annotations

import re

from framecast.errors import UsageError


def check_device_name(name: str) -> None:
    """Raise UsageError for a name that no device has."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", name):
        raise UsageError(f"device {name}: unknown", remedy="use auto, cpu, cuda, cuda:N or mps")
