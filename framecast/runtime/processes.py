"""Which of the processes this is that torchrun started, known before PyTorch is loaded."""

import os


def is_alone() -> bool:
    """Whether no other process does the same work."""
    return os.environ.get("WORLD_SIZE", "1") == "1"


def is_main_process() -> bool:
    """Whether this process prints and writes: alone, or the first that torchrun started."""
    return is_alone() or os.environ.get("RANK", "0") == "0"
