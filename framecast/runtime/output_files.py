"""Whether a result can be written where it is wanted, and why a disk refused it."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from framecast.errors import FramecastError, OutputError, ResourceError


def check_target(path: Path, kind: str, overwrite: bool) -> None:
    """Raise OutputError unless a file (a `kind` of them) can be made here and loses nothing."""
    if path.is_dir():
        problem = f"{path} is a folder, a {kind} is one file"
        raise OutputError(problem, remedy="choose another name")
    if path.exists() and not overwrite:
        raise exists_already(path)
    check_parent(path)


def check_parent(path: Path) -> None:
    """Raise OutputError unless the folder that `path` lies in is there and can be written."""
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}", remedy="create it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot write in {folder} ({error.strerror})") from error


def write_whole(path: Path, content: bytes, kind: str, overwrite: bool) -> None:
    """Write a file (a `kind` of them) so that it is there as a whole or not at all.

    Raises OutputError when that cannot be or the target has appeared meanwhile, ResourceError when
    the disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        check_target(path, kind, overwrite)
        draft.replace(path)
    except OSError as error:
        raise write_error(path, kind, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def exists_already(path: Path) -> OutputError:
    """Return the error for a target that would be overwritten unasked."""
    return OutputError(f"{path} exists already", remedy="choose another name or pass --overwrite")


def write_error(path: Path, kind: str, error: Exception) -> FramecastError:
    """Return the error for a `kind` of file that the system failed to write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        problem = f"{path}: the disk is full"
        return ResourceError(problem, remedy="free some space or write elsewhere")
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{path}: cannot write the {kind} ({reason})")
