"""Matplotlib and the style of its drawings, apart from what the user has set for their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from framecast.errors import UsageError


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in matplotlib's default style, whatever the user's notebook or matplotlibrc has set.

    With `text.usetex`, for one, LaTeX would be asked for. Raises what `imported_matplotlib` does.
    """
    imported_matplotlib()
    from matplotlib import style  # noqa: PLC0415  (slow to load, and only drawings need it)

    with style.context("default"):
        yield


def imported_matplotlib() -> ModuleType:
    """Matplotlib itself; UsageError where the user's settings of it let no program load it."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  (slow to load, and only drawings need it)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"matplotlib cannot be loaded with its settings ({str(error).partition(';')[0]})",
            remedy="mend MPLBACKEND, or the file matplotlibrc",
        ) from error
    return mpl
