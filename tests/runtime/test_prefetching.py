"""Items made in a thread while others are used."""

import threading

import pytest

from framecast.runtime.prefetching import prefetched


def test_no_more_is_made_ahead_than_said_and_its_thread_ends():
    made, threads = [], threading.active_count()

    def numbers():
        for number in range(100):
            made.append(number)
            yield number

    ahead = prefetched(numbers(), ahead=2)
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert len(made) <= 4
    assert threading.active_count() == threads
    assert list(prefetched(iter([3, 1, 2]), ahead=2)) == [3, 1, 2]


def test_what_goes_wrong_ahead_is_raised_where_it_is_used():
    def numbers():
        yield 1
        raise OSError("the disk is gone")

    ahead = prefetched(numbers(), ahead=1)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
