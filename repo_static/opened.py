"""Opens a file of the public tree, and knows it by its content.

Must never: follow a symbolic link, leave the tree, or show a hidden file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from repo_static.store import is_public_name

_CHUNK = 1 << 20

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Not waiting: what is put in the place of a file may be a pipe."""


class NotPublic(Exception):
    """There is no such file, or nobody may see it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open regular file; whoever has it closes it.  `mark` changes when the file does."""

    descriptor: int
    size: int
    modified: int
    mark: tuple[int, int, int, int]

    def read(self, start: int, end: int) -> bytes:
        """The octets from `start` to `end`, or as far as they go."""
        return os.pread(self.descriptor, end - start, start)

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def open_file(root: Path, name: str) -> Opened:
    """The file `name` below `root`, each part of the way opened for itself.

    Raises `NotPublic`, IsADirectoryError for a directory.
    """
    if not is_public_name(name):
        raise NotPublic(name)
    *directories, last = name.split("/")
    try:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for directory in directories:
                before, at = at, os.open(directory, _DIRECTORY, dir_fd=at)
                os.close(before)
            descriptor = os.open(last, _FILE, dir_fd=at)
        finally:
            os.close(at)
    except OSError as error:
        raise NotPublic(name) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(name)
        raise NotPublic(name)
    mark = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    return Opened(descriptor, found.st_size, int(found.st_mtime), mark)


class Tags:
    """Entity tags by content: the same file has the same one at every mirror.  Hashed once for each file."""

    MOST = 4096
    """Tags that are remembered: a tree of a thousand shards has fewer files."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], str] = {}

    def known(self, opened: Opened) -> str | None:
        """The tag if the file was hashed before."""
        return self._known.get(opened.mark)

    def of(self, opened: Opened) -> str:
        """The tag, without quotes.  Reads the whole file: 45 MB take 30 ms, to be spent in a thread."""
        digest, at = hashlib.sha256(), 0
        while chunk := opened.read(at, min(opened.size, at + _CHUNK)):
            digest.update(chunk)
            at += len(chunk)
        tag = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[opened.mark] = tag
        return tag
