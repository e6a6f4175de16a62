"""The CRL files as the public sees them now: read once for each time that one changes.

Must never: believe what a row says of a file.

RFC 5280 sections 5.2.3, 5.2.5.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from io import BufferedReader

from core.unreadable import UNREADABLE
from repo_static.store import Store
from status.crl.check import distribution_point, number_of
from status.crl.parts import of_file

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublicCrl:
    """`point` as `Scope.distribution_point` has it; `octets` is the length."""

    sha256: bytes
    octets: int
    number: int
    point: tuple[bool, bytes] | None


class PublicCrls:
    """Looks at the public tree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, tuple[tuple[int, int, int], PublicCrl | None]] = {}

    def look(self, name: str) -> PublicCrl | None:
        """What is public under this name, None for nothing, or for a file that is no CRL (any more)."""
        try:
            found = (self._store.root / name).stat()
        except FileNotFoundError:
            return None
        # The store renames a new file over the old one: another inode, and never a change within one.
        identity = found.st_ino, found.st_size, found.st_mtime_ns
        seen = self._seen.get(name)
        if seen is None or seen[0] != identity:
            with (self._store.root / name).open("rb") as file:
                seen = self._seen[name] = identity, _public(name, file)
        return seen[1]


def _public(name: str, file: BufferedReader) -> PublicCrl | None:
    try:
        parts = of_file(file)
        number, point = number_of(parts), distribution_point(parts)
    except UNREADABLE as error:
        _log.critical("the public file %s is no CRL: %s", name, error)
        return None
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()
    return PublicCrl(digest, file.tell(), number, point)
