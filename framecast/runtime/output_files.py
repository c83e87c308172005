"""The one atomic write: a file or folder is there as a whole or not at all, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from framecast.errors import OutputError, ResourceError, UsageError
from framecast.runtime.folder_lock import lock_folder, unlock_folder
from framecast.runtime.text import encodable

NEW, OLD = "new", "old"
"""Names in a workplace: the folder of what is being made, and what it is about to replace."""

WRITTEN = {
    *(".gif", ".mp4", ".webm", ".webp", ".apng", ".png", ".npy", ".tif", ".tiff", ".nc", ".npz"),
    *(".onnx", ".pt2", ".torchscript", ".safetensors", ".pt"),
    *(".csv", ".html", ".json", ".yaml"),
    *(".svg", ".pdf"),
}
"""Suffixes of the files that framecast writes, and so may replace."""


_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


def full_disk(error: BaseException) -> str | None:
    """What the system says is full; None for all other errors."""
    return _FULL.get(getattr(error, "errno", None))


@contextmanager
def atomic_write(path: Path, check: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a temporary path; what is made there takes the place of `path` when the block ends.

    The temporary path has the name of `path` and lies in a new hidden folder next to it, so that
    every format finds its suffix and the longest name that the system allows still fits. Of a link
    the file it points to is replaced. `check` is called before the exchange and may raise. Nothing
    temporary stays. Raises OSError.
    """
    real = Path(os.path.realpath(path))
    with workplace(real.parent) as place:
        temporary = place / NEW / path.name
        temporary.parent.mkdir()
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # else a crash after the rename can leave an empty file
        check()
        _exchange(temporary, real, place / OLD)


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder inside `folder` that is removed when the block ends.

    Things made there can be renamed to their places, since a rename is atomic within one file
    system. Workplaces that killed processes have left in `folder` are removed first. Raises
    OSError.
    """
    remove_leftovers(folder)
    place, lock = _locked_place(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        unlock_folder(lock)


def _locked_place(folder: Path) -> tuple[Path, int | None]:
    """A new hidden folder and its lock; another one where it was removed before it was locked."""
    while True:
        place = Path(tempfile.mkdtemp(dir=folder, prefix=".framecast-", suffix=".part"))
        # Until it is locked, other processes take it for a leftover.
        with suppress(BlockingIOError, FileNotFoundError):
            lock = lock_folder(place)
            if place.exists():
                return place, lock
            unlock_folder(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove the workplaces that no living process has locked."""
    for left in folder.glob(".framecast-*.part"):
        with suppress(OSError):  # still locked, removed by another process, or another user's
            lock = lock_folder(left)
            if lock is None:  # without locks, running and dead processes cannot be told apart
                continue
            try:
                for unfinished in (left / NEW).glob("*"):
                    target = folder / unfinished.name
                    if (left / OLD).exists() and not os.path.lexists(target):
                        (left / OLD).replace(target)  # it was killed between the two renames
                shutil.rmtree(left)
            finally:
                unlock_folder(lock)


def _exchange(temporary: Path, path: Path, earlier: Path) -> None:
    """Move a file or folder to `path`; a folder there moves to `earlier`, back if that fails."""
    if not path.is_dir():
        temporary.replace(path)
        return
    path.replace(earlier)  # no system replaces a folder that is not empty
    try:
        temporary.replace(path)
    except BaseException:
        earlier.replace(path)
        raise


@contextmanager
def explained_write(path: Path, kind: str, *others: type[Exception]) -> Iterator[None]:
    """Raise what the system says while a `kind` of file is written as one error of framecast.

    ResourceError when the disk or a quota is full, else OutputError; `others` are exceptions to
    treat like OSError.
    """
    try:
        yield
    except (OSError, *others) as error:
        # PyTorch turns a full disk into a RuntimeError, raised while the OSError is handled.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        if full := full_disk(cause):
            remedy = "free some space or write elsewhere"
            raise ResourceError(f"{path}: {full}", remedy=remedy) from cause
        reason = getattr(cause, "strerror", None) or error
        raise OutputError(f"{path}: cannot write the {kind} ({reason})") from error


def write_whole(path: Path, content: bytes | str, kind: str, overwrite: bool = True) -> None:
    """Write a file (a `kind` of them) atomically; text is UTF-8, names that are none escaped.

    Raises OutputError when that cannot be or the target has appeared meanwhile, ResourceError when
    the disk is full.
    """
    data = encodable(content).encode() if isinstance(content, str) else content

    def check() -> None:
        check_target(path, kind, overwrite)

    with explained_write(path, kind), atomic_write(path, check) as temporary:
        temporary.write_bytes(data)


def check_target(path: Path, kind: str, overwrite: bool) -> None:
    """Raise OutputError unless a file (a `kind` of them) can be made here and loses nothing."""
    with explained_write(path, kind):  # a name may be too long, a folder above closed to us
        present, problem = path.exists(), ""
        if str(path) == "-":  # standard output elsewhere, and a nuisance to remove
            problem = f"is no name of a {kind}"
        elif path.is_dir():
            problem = f"is a folder, a {kind} is one file"
        elif present and not path.is_file():
            # A rename would put a file in the place of /dev/null or of a named pipe.
            problem = "is a device or a pipe"
        elif path.is_symlink() and not present:
            problem = "is a link to nothing"
        if problem:
            raise OutputError(f"{path} {problem}", remedy="choose another name")
        if present and not overwrite:
            raise exists_already(path)
        if present and path.suffix.lower() not in WRITTEN:
            raise OutputError(
                f"{path} exists and is not of a kind that framecast writes",
                remedy="choose another name; --overwrite does not replace it",
            )
        check_parent(path)


def check_inputs(target: Path, inputs: Iterable[Path]) -> None:
    """Raise OutputError where writing `target` would replace one of a command's inputs.

    It must not be an input, nor a folder that holds one.
    """
    if not os.path.lexists(target):
        return
    real = Path(os.path.realpath(target))
    for path in inputs:
        source = Path(os.path.realpath(path))
        # One file can have two spellings, where upper case counts as lower.
        same = source.exists() and real.exists() and source.samefile(real)
        if same or real in source.parents:
            problem = f"{target} {'is' if same else 'holds'} an input of this command"
            raise OutputError(problem, remedy="choose another name")


def check_outside(target: Path, clips: Iterable[Path]) -> None:
    """Raise OutputError for a file in a folder that is a clip, of which it would become a part."""
    folder = os.path.realpath(target.parent)
    for clip in clips:
        if target.suffix and os.path.realpath(clip) == folder:
            problem = f"{target} would lie among the frames of {clip} and count as one of them"
            raise OutputError(problem, remedy="choose another folder with -o")


def scratch_folder() -> str:
    """The folder for temporary files; ResourceError where there is none that can be written."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ResourceError(
            "no folder for temporary files can be written", remedy="set TMPDIR to one that can"
        ) from error


def check_distinct(targets: Iterable[str | Path]) -> None:
    """Raise UsageError where two targets are one file, also in another spelling or by a link."""
    real = [os.path.realpath(target) for target in targets]
    if len({*real}) < len(real):
        raise UsageError("an output is named twice", remedy="name each output once")


def check_parent(path: Path) -> None:
    """Raise OutputError unless the folder of `path` exists and can be written."""
    folder = path.parent
    try:
        if not folder.is_dir():
            raise OutputError(f"{path}: there is no folder {folder}", remedy="create it first")
        # Permissions alone do not tell: file systems can be read-only, and root passes them all.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot write in {folder} ({error.strerror})") from error


def exists_already(path: Path) -> OutputError:
    """Return the error for a target that would be overwritten unasked."""
    return OutputError(f"{path} exists already", remedy="choose another name or pass --overwrite")
