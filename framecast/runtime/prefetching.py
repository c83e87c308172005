"""Iterators that work in a thread of their own while what they gave is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """Yield the same items, none of them None, in the same order; each is made in a thread.

    At most `ahead` are made before they are asked for. Raises where an item is asked for what
    making it raised. To be closed, which waits for the item that is being made.
    """
    with ThreadPoolExecutor(1, "prefetching") as worker:
        waiting = deque(worker.submit(next, items, None) for _ in range(ahead))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(worker.submit(next, items, None))
                yield item
                del item  # an item may be large
        finally:
            for future in waiting:
                future.cancel()
