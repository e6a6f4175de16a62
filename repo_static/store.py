"""Publishes files into the public tree: each file is whole, durable and never replaced by an older one.

A reader sees the old content or the new, never a part: the content is written beside its place, forced to
the disk, renamed over the old one, and the directory is forced too.  One process writes (the app); any
number read.

Must never: leave a half-written file under a public name, follow a symbolic link, or write outside the tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from core.errors import CaError

Guard = Callable[[bytes | None], None]
"""Looks at the content published now (None: nothing) and raises `NotPublished` when it must stay."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# No leading dot: hidden names are for our own temporary files, which the server never shows.


class NotPublished(CaError):
    """The file was refused, and what was public before is still public."""


def is_public_name(name: str) -> bool:
    """Whether `name` ("crl/ec1-0.crl") can be a file of the tree: nothing hidden, no ".."."""
    return all(_SEGMENT.fullmatch(segment) for segment in name.split("/"))


class Store:
    """The public tree below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """The published content, or None."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes, guard: Guard = lambda published: None) -> bool:
        """Publish `content` as `name`; True when that changed anything.

        Raises: whatever `guard` raised, with nothing changed; `NotPublished` for an impossible name.
        """
        path = self._path(name)
        published = self.read(name)
        guard(published)
        if published == content:
            return False
        _make_directories(self.root, path.parent)
        _write_durably(path, content)
        return True

    def add(self, name: str, content: bytes) -> bool:
        """Publish what never changes again (a certificate, a version of a document); True when it is new.

        Raises: `NotPublished` when other content stands there: that needs a new name.
        """

        def unchanged(published: bytes | None) -> None:
            if published not in (None, content):
                raise NotPublished(
                    f"{name} is published with other content, and relying parties may hold it: give the "
                    "new content a new version, and so a new name"
                )

        return self.replace(name, content, unchanged)

    def names(self, directory: str) -> list[str]:
        """The public names directly below `directory`, sorted; empty when it is not there."""
        path = self._path(directory)
        if not path.is_dir():
            return []
        return sorted(f"{directory}/{entry.name}" for entry in path.iterdir() if is_public_name(entry.name))

    def _path(self, name: str) -> Path:
        if not is_public_name(name):
            raise NotPublished(f"{name!r} cannot be a public name: use letters, digits, '.', '_' and '-'")
        return self.root / name


def _make_directories(root: Path, directory: Path) -> None:
    """mkdir -p, each new entry durable in its parent."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)  # public whatever the umask says: nginx runs as another user
        _sync_directory(path.parent)


def _write_durably(path: Path, content: bytes) -> None:
    # The name is fixed, so that a crash leaves at most one orphan and the next writer overwrites it.
    temporary = path.parent / f".{path.name}.new"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o644)  # public, like its directory
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
