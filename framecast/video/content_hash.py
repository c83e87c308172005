"""Which clip this is, told by its bytes and not by its name or place."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from framecast.video.readers.base import unreadable
from framecast.video.readers.folder_listing import list_folder

SETTLED_SECONDS = 2.0
"""File systems tell times in steps of up to this; a file changed later can change unseen."""


def content_digest(path: Path) -> str:
    """BLAKE2b of a clip's bytes, 32 hex digits: of its file, or of its images in their order.

    Reads everything once. Copies and renamed clips have the same one. Raises SourceError when a
    file cannot be read.
    """
    total = _digest()
    for file in _files(path):
        total.update(bytes.fromhex(file_digest(file)))
    return total.hexdigest()


def file_digest(file: Path) -> str:
    """BLAKE2b of one file's bytes, 32 hex digits; SourceError when it cannot be read."""
    digest = _digest()
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise unreadable(file, error) from error
    return digest.hexdigest()


def file_stamp(path: Path) -> str | None:
    """Digest of what the file system says of a clip's files: path, size and both change times.

    Reads nothing. As long as it stays the same, so does the content. None when a file changed so
    lately that its times cannot tell. Raises SourceError when a file is gone.
    """
    total, now = _digest(), time.time()
    for file in _files(path):
        try:
            stat = file.stat()
        except OSError as error:
            raise unreadable(file, error) from error
        if max(stat.st_mtime, stat.st_ctime) > now - SETTLED_SECONDS:
            return None
        row = (file.absolute(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        total.update(os.fsencode("\0".join(map(str, row)) + "\n"))
    return total.hexdigest()


def _files(path: Path) -> tuple[Path, ...]:
    return tuple(list_folder(path).images) if path.is_dir() else (path,)


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
