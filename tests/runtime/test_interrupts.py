"""What ends a command: collected once, raised the second time, and given back afterwards."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from framecast.runtime.interrupts import ending_signals, interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def heard():
    """SIGHUP has its default handler, also where the tests run after `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_is_noted_and_the_second_interrupts(first, second):
    before = handlers()
    with interrupts() as received:
        assert received == []
        signal.raise_signal(first)
        assert received == [first]
        # The system and the shell both send the one of a closed terminal.
        if first == second == signal.SIGHUP:
            signal.raise_signal(second)
        else:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(second)
    assert handlers() == before


def test_only_one_counts_where_two_are_sent_for_one():
    before = handlers()
    with interrupts(once=True) as received:
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
    assert received == [signal.SIGINT]
    assert handlers() == before


def test_a_wait_can_be_ended_by_the_first():
    def end():
        raise TimeoutError

    before = handlers()
    with pytest.raises(TimeoutError), interrupts(tell=end) as received:
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert handlers() == before


def test_nothing_is_collected_outside_the_main_thread():
    found = []

    def work():
        with interrupts() as received:
            found.append((received, handlers()))

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], before)]


def test_what_nohup_has_ignored_stays_ignored():
    assert signal.SIGHUP in ending_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts() as received:
        signal.raise_signal(signal.SIGHUP)
    assert received == []
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_after_its_terminal_is_closed_a_command_prints_to_files_only(tmp_path):
    code = """
import os, signal
from framecast.runtime.interrupts import interrupts
with interrupts() as received:
    os.write(1, b"ready")
    while not received:
        signal.pause()
    os.write(1, b"to the terminal")
    os.write(2, b"to the file")
    open("done", "w").close()
"""
    master, terminal = os.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=terminal,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        )
    os.close(terminal)
    assert os.read(master, 5) == b"ready"
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()
    assert (tmp_path / "log").read_bytes() == b"to the file"
