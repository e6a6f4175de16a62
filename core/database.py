"""SQLite in WAL behind one writer thread that commits in groups.

A *unit* is a function of a `Transaction`.  Units that wait together share one COMMIT (and one fsync), each
inside its own savepoint: a unit that raises is rolled back alone.  `write` returns only after the COMMIT
is durable (synchronous=FULL).  Reads go to the caller's own read-only connection: in WAL a reader never
waits for the writer, and a point look-up costs less than a hop to another thread (docs/adr/0001).

Must never: be held open during network I/O.  A unit is plain Python on rows and cannot await.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from core.audit import AuditChain
from core.clock import Clock

T = TypeVar("T")
Row = sqlite3.Row


class Transaction:
    """What a unit works with: SQL, the one `now` of the unit, and the audit log."""

    def __init__(self, connection: sqlite3.Connection, chain: AuditChain, now: int) -> None:
        self._connection = connection
        self._chain = chain
        self.now = now

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, parameters)

    def audit(self, kind: str, subject: str, content: dict[str, Any]) -> None:
        """Append to the audit log, in this transaction (CPS 5.4.1: date, time, subject, content)."""
        self._chain.append(self._connection, self.now, kind, subject, content)


class Reader:
    """A read-only connection for one thread."""

    def __init__(self, path: Path, busy_timeout: int = 5) -> None:
        self._connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=busy_timeout
        )
        self._connection.row_factory = sqlite3.Row

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


Unit = Callable[[Transaction], T]


class Database:
    """The one writer, and a reader for the event loop's thread."""

    def __init__(self, path: Path, clock: Clock, *, group_commit: int = 256, busy_timeout: int = 5) -> None:
        self._path = path
        self._clock = clock
        self._group_commit = group_commit
        self._busy_timeout = busy_timeout
        self._queue: queue.SimpleQueue[tuple[Unit[Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reader: Reader

    async def open(self) -> None:
        """Open (made and migrated by `core.tables.migrate`), start the writer thread."""
        raise NotImplementedError

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in the writer thread; its result once it is durable.

        Raises what the unit raised (nothing of it is kept), or `HaltIssuance` when the commit failed.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Finish the queue and close."""
        raise NotImplementedError
