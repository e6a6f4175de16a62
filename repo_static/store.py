"""Publishes files into the public tree: each file is whole, durable and never replaced by an older one.

A reader sees the old content or the new, never a part: the content is written beside its place, forced to
the disk, renamed over the old one, and the directory is forced too.  One process writes (the app); any
number read.

What compresses well has a packed variant beside it (`NAME.gz`), for servers to send instead.  It is taken
away before the file changes and made anew afterwards, so it is never that of other content.

Must never: leave a half-written file under a public name, follow a symbolic link, or write outside the tree.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.durable import sync_directory
from core.errors import CaError

Guard = Callable[[bytes | None], None]
"""Looks at the content published now (None: nothing) and raises `NotPublished` when it must stay."""

FileGuard = Callable[[BinaryIO | None], None]
"""The same, for a file of which it need not read all."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# No leading dot: hidden names are for our own temporary files, which the server never shows.

COMPRESSED = frozenset({".html", ".css", ".js", ".md", ".txt", ".json", ".svg", ".jws"})
"""Suffixes of files that have a packed variant.  Not CRLs: docs/adr/0037 has what it would cost at each
re-issue, and that many who fetch them do not ask for it."""

VARIANT = ".gz"

PACKED = COMPRESSED | {".jsonl"}
"""And those that grow (`grow`), whose packed variants grow beside them."""

LEVEL = 6
"""Of gzip: a third of the time of the highest, for octets that are as few."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """The first `size` octets of a file, and their SHA-256 in hex."""

    size: int
    sha256: str


EMPTY = Extent(0, hashlib.sha256().hexdigest())


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
        if published != content:
            variant = path.parent / f"{path.name}{VARIANT}"
            if variant.exists():
                variant.unlink()
                sync_directory(path.parent)
            _make_directories(self.root, path.parent)
            with _written_durably(path) as file:
                file.write(content)
        self._pack(path, content)
        return published != content

    def put(self, name: str, pieces: Iterable[bytes], guard: FileGuard) -> None:
        """Publish these octets as `name`, whatever stood there; they are not put together in memory.

        For what is large, differs each time, and has no packed variant: CRLs.  Raises as `replace`.
        """
        path = self._path(name)
        try:
            with path.open("rb") as published:
                guard(published)
        except FileNotFoundError:
            guard(None)
        _make_directories(self.root, path.parent)
        with _written_durably(path) as file:
            file.writelines(pieces)

    def grow(self, name: str, keep: Extent, more: bytes) -> Extent:
        """Publish the octets `keep` of `name` with `more` behind them, and nothing of what else was there.

        Costs a copy of the file.  Raises: `NotPublished` when those octets are not public.
        """
        path = self._path(name)
        _make_directories(self.root, path.parent)
        digest = hashlib.sha256()
        with _written_durably(path) as file:
            left = keep.size
            if left and path.exists():
                with path.open("rb") as published:
                    while left and (chunk := published.read(min(left, _CHUNK))):
                        left -= len(chunk)
                        digest.update(chunk)
                        file.write(chunk)
            if left or digest.hexdigest() != keep.sha256:
                raise NotPublished(
                    f"the first {keep.size} octets of {name} are not those that were published: find out who "
                    "changed the file; without it and the manifest all lists are written anew"
                )
            digest.update(more)
            file.write(more)
        return Extent(keep.size + len(more), digest.hexdigest())

    def size(self, name: str) -> int:
        """In octets; -1 where nothing is published."""
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            return -1

    def mark(self, name: str) -> object:
        """Changes when the file does; None where nothing is published."""
        try:
            found = self._path(name).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

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
        """The public names directly below `directory`, without variants, sorted; [] when it is not there."""
        path = self._path(directory)
        if not path.is_dir():
            return []
        return sorted(
            f"{directory}/{entry.name}"
            for entry in path.iterdir()
            if is_public_name(entry.name) and entry.suffix != VARIANT
        )

    def _pack(self, path: Path, content: bytes) -> None:
        variant = path.parent / f"{path.name}{VARIANT}"
        if path.suffix not in COMPRESSED or variant.exists():
            return
        packed = gzip.compress(content, LEVEL, mtime=0)
        if len(packed) < len(content):
            with _written_durably(variant) as file:
                file.write(packed)

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
        sync_directory(path.parent)


@contextmanager
def _written_durably(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `path` at the end; not when the block raises."""
    # The name is fixed, so that a crash leaves at most one orphan and the next writer overwrites it.
    temporary = path.parent / f".{path.name}.new"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fchmod(file.fileno(), 0o644)  # public, like its directory
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)
