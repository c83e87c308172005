"""Matplotlib and the style of its drawings, apart from what the user has set for their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from framecast.errors import ResourceError, UsageError


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
    """Matplotlib itself.

    Raises UsageError where the user's settings of it let no program load it, ResourceError where
    neither its cache nor temporary files can be written.
    """
    try:
        with _silenced(logging.getLogger("matplotlib")):
            import matplotlib as mpl  # noqa: PLC0415  (slow to load, and only drawings need it)

            mpl.get_cachedir()
    except ValueError as error:
        raise UsageError(
            f"matplotlib cannot be loaded with its settings ({str(error).partition(';')[0]})",
            remedy="mend MPLBACKEND, or the file matplotlibrc",
        ) from error
    except OSError as error:
        raise ResourceError(
            f"matplotlib cannot be loaded ({str(error).partition(';')[0]})",
            remedy="set TMPDIR to a folder that can be written",
        ) from error
    return mpl


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """Let warnings pass unseen: where its cache cannot be written, as in containers, matplotlib
    warns in two long lines, and uses a temporary folder."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
