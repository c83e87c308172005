"""Decoded frames on disk: every clip decoded once, kept for later runs, mapped into memory.

A clip is one `.npy` file with a checksum behind its last frame, named by the clip's content and by
all that decides its pixels; what is known of a clip stands in small files beside it. Files are
written beside their place and renamed into it, so none is ever seen half written; a mapped file is
locked for as long as the map lives, and is never evicted.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock
from numpy.lib import format as npy_format

from framecast.config.fields import FOLDER_VARIABLE
from framecast.video.content_hash import content_digest, file_stamp

try:
    import fcntl
except ImportError:  # Windows, which refuses to delete a file that is mapped
    fcntl = None

FORMAT = 1
"""Raised when other pixels come out of the same clip and settings."""

CHECKSUM = struct.Struct("<4sI")
MAGIC = b"fcst"

NOTES = (".digest", ".cuts")
"""Endings of the small files beside the frames that hold what is known of a clip."""


class StoreError(Exception):
    """A folder that cannot take a clip; str() says why in a few words."""


@dataclass(frozen=True)
class Entry:
    """A decoded clip before it is there: its file's name, its shape (T, H, W, C) and its type."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def entry_for(digest: str, shape: tuple[int, int, int, int], dtype: str, read: str) -> Entry:
    """Name a clip's decoded frames by its content, their sizes, and how they were read.

    `digest` is `video.identity.content_digest`'s; `read` says whatever else decides the pixels.
    """
    text = repr((FORMAT, digest, shape, dtype, read))
    name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return Entry(f"{name}.npy", shape, np.dtype(dtype))


def cache_folder() -> Path:
    """Where decoded frames are kept: $FRAMECAST_CACHE, or the system's place for caches."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        place = "~/Library/Caches"
    else:
        place = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(place).expanduser() / "framecast"


@dataclass(frozen=True)
class Store:
    """Decoded clips in one folder that holds at most `limit` bytes; None: as many as fit."""

    folder: Path
    limit: int | None = None

    def find(self, entry: Entry) -> np.ndarray | None:
        """Map the clip (T, H, W, C), read-only, if it is here and whole; counts as a use."""
        path = self.folder / entry.name
        try:
            with path.open("rb") as file:
                _lock(file, shared=True)  # the map inherits it
                clip_THWC = _mapped(file, entry)
        except (OSError, ValueError, struct.error):  # not here, or not what its name says
            return None
        with suppress(OSError):  # a cache of somebody else's can be read, not marked
            os.utime(path)
        return clip_THWC

    def make(self, entry: Entry, frames: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
        """Write the clip's frames (H, W, C) and map them; a damaged file is replaced.

        Waits for another process that makes the same clip. Raises StoreError when the folder
        cannot take it, and what `frames` raises; either leaves nothing behind.
        """
        with self._locked(f"make-{entry.name[0]}"):
            if (found := self.find(entry)) is not None:
                return found
            draft = self.folder / f".{entry.name}.{secrets.token_hex(4)}.part"
            try:
                with self._reserved(draft, entry) as file:
                    _fill(file, entry, frames())
                with _explained():
                    draft.replace(self.folder / entry.name)
            finally:
                with suppress(OSError):
                    draft.unlink()
            made = self.find(entry)
        if made is None:
            raise StoreError("what was written there cannot be read back")
        return made

    def check_room(self, needed: int) -> None:
        """Raise StoreError when `needed` more bytes are beyond the limit or the disk's room."""
        if self.limit is not None and needed > self.limit:
            raise StoreError(
                f"{needed / 1e9:.1f} GB of frames are more than its limit, {self.limit / 1e9:g} GB"
            )
        with _explained():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        held = sum(size for _, size, _ in self._files()) if self.limit is not None else 0
        if needed > free + held:
            raise StoreError(f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with _explained():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{name}.lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _reserved(self, draft: Path, entry: Entry) -> Iterator[IO[bytes]]:
        """Open a locked draft that already counts with its full size; evicts for its room."""
        with self._locked("room"):
            self._evict_for(entry.nbytes)
            with _explained():
                file = draft.open("w+b")
                _lock(file, shared=False)
                file.truncate(entry.nbytes)
        with file:
            yield file

    def _evict_for(self, needed: int) -> None:
        """Remove what was not used for longest, but nothing in use, until `needed` bytes fit."""
        if self.limit is None:
            return
        files = self._files()
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            with _explained():
                free = shutil.disk_usage(self.folder).free
            if held + needed <= self.limit and needed <= free:
                return
            if _removed(path):
                held -= size
        if held + needed > self.limit:
            raise StoreError("clips that are in use fill it")

    def _files(self) -> list[tuple[float, int, Path]]:
        """Last use, bytes and path of all that counts towards the limit, oldest use first."""
        files = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                stat = path.stat()
                if path.suffix in (".npy", ".part", *NOTES):
                    files.append((stat.st_mtime, stat.st_size, path))
        return sorted(files)


def known_digest(folder: Path, clip: Path) -> str:
    """The clip's `content_digest`, remembered in `folder` for as long as its files look the same.

    Raises SourceError when a file of it cannot be read.
    """
    return remembered(folder, clip, "digest", "[0-9a-f]{32}", lambda: content_digest(clip))


def remembered(
    folder: Path, clip: Path, kind: str, pattern: str, work_out: Callable[[], str]
) -> str:
    """What `work_out` says of a clip, kept in `folder` for as long as its files look the same.

    `kind` tells it from other things known of the clip, by an ending of `NOTES`; what is kept
    counts only as a whole match of `pattern`. Raises what `work_out` raises, and SourceError when a
    file of the clip is gone.
    """
    stamp = file_stamp(clip)
    note = folder / f"{stamp}.{kind}"
    if stamp is not None:
        with suppress(OSError, ValueError):
            known = note.read_text(encoding="ascii")
            if re.fullmatch(pattern, known):
                os.utime(note)
                return known
    found = work_out()
    if stamp is not None and stamp == file_stamp(clip):
        draft = note.with_suffix(f".{secrets.token_hex(4)}.part")
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(found, encoding="ascii")
            draft.replace(note)
    return found


def _fill(file: IO[bytes], entry: Entry, frames: Iterator[np.ndarray]) -> None:
    """Write header, frames and checksum in place of what the file holds."""
    with _explained():
        npy_format.write_array_header_1_0(
            file,
            {"descr": entry.dtype.str, "fortran_order": False, "shape": entry.shape},
        )
    check = 0
    for frame_HWC in frames:
        pixels = np.ascontiguousarray(frame_HWC, entry.dtype)
        check = zlib.crc32(pixels, check)
        with _explained():
            file.write(pixels)
    with _explained():
        file.write(CHECKSUM.pack(MAGIC, check))
        file.flush()


def _mapped(file: IO[bytes], entry: Entry) -> np.ndarray | None:
    """The entry's pixels in an open file; None unless every one is as it was written."""
    if npy_format.read_magic(file) != (1, 0):
        return None
    shape, fortran, dtype = npy_format.read_array_header_1_0(file)
    start = file.tell()
    file.seek(start + entry.nbytes)
    if (shape, fortran, dtype) != (entry.shape, False, entry.dtype):
        return None
    magic, check = CHECKSUM.unpack(file.read())
    clip_THWC = np.memmap(file, dtype, "r", start, shape)
    return clip_THWC if (magic, zlib.crc32(clip_THWC)) == (MAGIC, check) else None


def _lock(file: IO[bytes], *, shared: bool) -> None:
    """Mark a file as in use until it and all maps of it are closed; where locks work."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _removed(path: Path) -> bool:
    """Delete a file unless somebody uses it; whether it is gone."""
    try:
        if fcntl is None:
            path.unlink()
            return True
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:
        return not path.exists()
    return True


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a folder without room, permission or locks raises into a StoreError."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        raise StoreError(getattr(error, "strerror", None) or str(error)) from error
