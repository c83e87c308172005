"""Signals that end a command, as a flag that is checked between two steps."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn


def ending_signals() -> list[signal.Signals]:
    """Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed, unless `nohup` has it ignored."""
    signals = [signal.SIGINT, signal.SIGTERM]
    # Windows has no SIGHUP.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


def end_command(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal as Python handles Ctrl-C."""
    _leave_terminal(number)
    raise KeyboardInterrupt


@contextmanager
def interrupts(once: bool = False, tell: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Collect such signals in a list instead of raising, so that a step is never half done.

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
            signal.signal(each, signal.SIG_IGN if once else end_command)
        _leave_terminal(number)
        tell()

    before = {each: signal.signal(each, remember) for each in ending_signals()}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _leave_terminal(number: int) -> None:
    """After SIGHUP print no more to the terminal, where every message would be an error."""
    if sys.platform == "win32" or number != signal.SIGHUP:
        return
    # The system and the shell send it both.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):  # no file or pipe
                os.dup2(nowhere, stream)
    os.close(nowhere)
