"""Standard input, output and error as a shell may leave them: closed, full, or with no reader."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from framecast.errors import FramecastError, ResourceError, UsageError
from framecast.runtime.memory import lacks_memory
from framecast.runtime.output_files import full_disk


def prepare_streams() -> None:
    """Open what the shell closed, and let every name be printed, whatever the encoding lacks."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            # A free number would be given to the next file, and what is printed would go there.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
                setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("COLUMNS", "").strip("0") == "":
        os.environ.pop("COLUMNS", None)  # Rich prints nothing where it is 0


def check_working_folder() -> None:
    """Raise UsageError if the working folder is gone, which ends MKL, and so PyTorch."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "the working folder is gone", remedy="change to a folder that exists"
        ) from error


def discard_output() -> None:
    """Print nothing more, not even what is pending when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_NO_LIBRARY = re.compile(r"([^:]+): cannot open shared object file")
"""How Linux says that a library of the system, which a package needs, is not there."""


def explained(error: Exception) -> FramecastError | None:
    """A framecast error, or the system's refusal as one; None for any other exception.

    Code that knows which option a path came from says so itself; this is for the rest.
    """
    if isinstance(error, FramecastError):
        if not (error.__cause__ and lacks_memory(error.__cause__)):
            return error
        # A file is not damaged only because there was too little memory to read it.
        error = error.__cause__
    if lacks_memory(error):
        remedy = "use smaller frames, or a machine with more memory"
        return ResourceError("out of memory", remedy=remedy)
    if isinstance(error, ImportError | OSError) and (found := _NO_LIBRARY.match(str(error))):
        return _without_library(found[1], getattr(error, "name", None))
    if not isinstance(error, OSError):
        return None
    place = "standard output" if error.filename is None else os.fsdecode(error.filename)
    if full := full_disk(error):
        return ResourceError(f"{place}: {full}", remedy="free some space")
    return FramecastError(f"{place}: {error.strerror or error}", remedy="check the path")


def _without_library(library: str, module: str | None) -> FramecastError:
    # Servers and containers have no graphics, which OpenCV's usual package needs.
    headless = "run pip install --force-reinstall --no-deps opencv-python-headless"
    install = "install it with the system's package manager"
    return FramecastError(
        f"{library}, which {module or 'a package'} needs, is not on this machine",
        remedy=headless if module == "cv2" else install,
    )
