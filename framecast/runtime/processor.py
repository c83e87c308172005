"""How much of the processor there is for this process, and what PyTorch's libraries do with it."""

from __future__ import annotations

import math
import os
import re
from functools import lru_cache
from pathlib import Path

from framecast.runtime.control_groups import processor_limits

_ZEN_5 = 26
"""The CPU family of AMD's first processors that multiply 512 bits at once."""


@lru_cache
def halves_matrix_products(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether PyTorch multiplies matrices at half the width at which it convolves.

    On AMD, MKL's matrix products keep to the 256 bits of AVX2, while oneDNN's convolutions use
    AVX-512. False where the system doesn't say what the processor is (only Linux does).
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    family = re.search(r"^cpu family\s*:\s*(\d+)$", text, re.MULTILINE)
    is_amd = re.search(r"^vendor_id\s*:\s*AuthenticAMD$", text, re.MULTILINE)
    has_avx512 = re.search(r"^flags\s*:.*\bavx512f\b", text, re.MULTILINE)
    return bool(is_amd and has_avx512 and family and int(family[1]) >= _ZEN_5)


def limited_threads() -> int | None:
    """How many threads a container's limit lets run at once, such as 2 with `docker --cpus 1.5`.

    None where there is no limit, or processors are fewer: libraries count those on their own.
    """
    limit = min(processor_limits(), default=math.inf)
    if limit == math.inf or math.ceil(limit) >= len(os.sched_getaffinity(0)):
        return None
    return math.ceil(limit)
