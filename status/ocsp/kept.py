"""Signed OCSP answers that outlast a restart: while the vault is locked, what was published stays served.

A file beside the memory's cache, written behind by a thread of its own.  It is worth as much as the cache:
the responder compares every answer with the revocation row before it is sent, and a damaged file is thrown
away.

Must never: hold back an answer until the disk is done; let an older answer replace a newer one.

BR 4.9.10; RFC 6960 section 2.5 (answers may be produced before they are asked for).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

GATHER = 0.5
"""Seconds in which answers are gathered for one commit; a kill loses at most those."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    issuer_id TEXT, serial BLOB, hash_name TEXT, version INTEGER, this_update INTEGER, next_update INTEGER,
    der BLOB, etag TEXT, PRIMARY KEY (issuer_id, serial, hash_name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (next_update);
"""
_PUT = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET version = excluded.version, this_update = excluded.this_update,
    next_update = excluded.next_update, der = excluded.der, etag = excluded.etag
WHERE (excluded.version, excluded.this_update) >= (version, this_update)
"""
_GET = (
    "SELECT version, this_update, next_update, der, etag FROM answers"
    " WHERE issuer_id = ? AND serial = ? AND hash_name = ?"
)
_log = logging.getLogger(__name__)

Key = tuple[str, bytes, str]
"""Issuer id, serial, the CertID's hash."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A signed answer, made from the revocation row of this version; times in POSIX seconds."""

    version: int
    this_update: int
    next_update: int
    der: bytes
    etag: str


class KeptAnswers:
    """The file at `path`; answers that are over at `now` are thrown away when it is opened."""

    def __init__(self, path: Path, now: int) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[Key, Kept] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        try:
            self._reader = self._open(now)
        except sqlite3.DatabaseError as error:
            _log.error("%s is damaged (%s): the answers in it are signed anew when asked for", path, error)
            for part in path.parent.glob(path.name + "*"):
                part.unlink()
            self._reader = self._open(now)
        self._thread = threading.Thread(target=self._write, name="kept-answers", daemon=True)
        self._thread.start()

    def get(self, key: Key) -> Kept | None:
        """The answer kept for `key`, over or not; None when there is none or the file fails."""
        try:
            row = self._reader.execute(_GET, key).fetchone()
        except sqlite3.Error as error:
            _log.warning("%s: %s", self._path, error)
            return None
        return None if row is None else Kept(*row)

    def put(self, key: Key, made: Kept) -> None:
        """Keep it soon."""
        self._queue.put((key, made))

    def close(self) -> None:
        """Write what waits and close the file."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    def _open(self, now: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute("DELETE FROM answers WHERE next_update <= ?", (now,))
        except BaseException:
            connection.close()
            raise
        return connection

    def _write(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            ended = False
            while not ended:
                batch = [self._queue.get()]
                self._stopping.wait(GATHER)
                with contextlib.suppress(queue.Empty):
                    while True:
                        batch.append(self._queue.get_nowait())
                rows = [(*item[0], *_columns(item[1])) for item in batch if item is not None]
                ended = None in batch
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(_PUT, rows)
                    connection.execute("COMMIT")
                except sqlite3.Error as error:
                    _log.warning("%s: %d answers are not kept: %s", self._path, len(rows), error)
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")


def _columns(made: Kept) -> tuple[int, int, int, bytes, str]:
    return made.version, made.this_update, made.next_update, made.der, made.etag
