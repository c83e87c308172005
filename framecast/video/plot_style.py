"""The style of matplotlib's drawings, apart from what the user has set for their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in matplotlib's default style, whatever the user's notebook or matplotlibrc has set.

    With `text.usetex`, for one, LaTeX would be asked for.
    """
    from matplotlib import style  # noqa: PLC0415  (slow to load, and only drawings need it)

    with style.context("default"):
        yield
