"""Ctrl-C and SIGTERM as a flag that is checked between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts(once: bool = False, tell: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of raising, so that a step is never half done.

    A second one raises KeyboardInterrupt, except with `once`: torchrun passes on a Ctrl-C that the
    terminal has sent already. `tell` is called at the first, and may raise to end a wait. Does
    nothing outside the main thread.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # The second one ends a step that hangs; torchrun's, milliseconds later, must not.
        for each in before:
            signal.signal(each, signal.SIG_IGN if once else signal.default_int_handler)
        tell()

    before = {each: signal.signal(each, remember) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
