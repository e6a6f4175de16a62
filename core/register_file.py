"""Whether the file that the writer has open is still the database: a person may put a backup in its place.

Another file of that name, and everything that we write goes into one that has no name any more.  The same
file with other content (`cp backup ca.sqlite`), and our next checkpoint mixes the two.  So the writer looks
before each transaction and after each commit; it costs two stat(2) and a look-up.

SQLite finds a WAL by its name: ours would be read into the file that has the name now, and damage it.  So it
is put aside; who has the old file open goes on with both.

Must never: open the file itself, for closing it again would drop SQLite's locks on it (POSIX, fcntl(2)).

CPS 5.7.2, 5.7.4; SQLite, "How To Corrupt An SQLite Database File", sections 1.2, 2.2 and 4.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from core.audit import AuditChain, Head
from core.errors import HaltIssuance
from core.followed_file import seen

REMEDY = (
    "was a backup put back under a running CA? Stop the CA, remove ca.sqlite, ca.sqlite-wal and "
    "ca.sqlite-shm, put the backup there again, and start: acme-server reconcile says what it lacks"
)


class Replaced(HaltIssuance):
    """The database was changed by somebody else: nothing more is written, nor acknowledged."""


class RegisterFile:
    """The writer's view of its file.  Open no other connection between its own and this."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = seen(path)
        self._wal = path.with_name(f"{path.name}-wal")
        self._wal_seen = self._which(self._wal)

    def must_be_ours(self, connection: sqlite3.Connection, head: Head) -> None:
        """Inside of a transaction that has written nothing yet.  `head` is the last record that we wrote.

        Raises `Replaced`.
        """
        if self._now() != self._seen:
            raise Replaced(f"somebody else has written into {self._path}: {REMEDY}")
        found = AuditChain.resume(connection).head
        if found != head:
            raise Replaced(
                f"the audit log of {self._path} ends at record {found.sequence}, and not at {head.sequence} "
                f"as we wrote it: {REMEDY}"
            )

    def committed(self) -> None:
        """A commit of ours is done, and may have put pages back into the file.  Raises `Replaced`."""
        self._seen = self._now()

    def _now(self) -> tuple[int, ...]:
        try:
            now = seen(self._path)
        except OSError as error:
            self._put_aside()
            raise Replaced(f"{self._path} is gone ({error.strerror}): {REMEDY}") from error
        if now[:2] != self._seen[:2]:
            self._put_aside()
            raise Replaced(f"another file has the name {self._path}: {REMEDY}")
        return now

    def _put_aside(self) -> None:
        """The WAL, unless another one was put there together with its file; the index of it is worthless."""
        if self._wal_seen is not None and self._which(self._wal) == self._wal_seen:
            with contextlib.suppress(OSError):
                self._wal.replace(f"{self._wal}.replaced")
                self._path.with_name(f"{self._path.name}-shm").unlink()

    @staticmethod
    def _which(path: Path) -> tuple[int, ...] | None:
        try:
            return seen(path)[:2]
        except OSError:
            return None
