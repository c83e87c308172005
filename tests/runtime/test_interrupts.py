"""Ctrl-C and SIGTERM: collected once, raised the second time, and given back afterwards."""

import signal
import threading

import pytest

from framecast.runtime.interrupts import interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
