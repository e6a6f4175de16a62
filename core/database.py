"""SQLite in WAL behind one writer that commits in groups.

A *unit* is a function of a `Transaction`.  Units that wait together share one COMMIT (and one fsync), each
inside its own savepoint when it is not alone: a unit that raises is rolled back alone.  `write` returns only
after the COMMIT is durable (synchronous=FULL).  A read goes at once to the writer's connection while that is
idle, else to a read-only one: in WAL a reader never waits for the writer, and a point look-up costs less than
a hop to another thread (docs/adr/0001, 0013).

Must never: be held open during network I/O.  A unit is plain Python on rows and cannot await.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from core import metrics, tables
from core.audit import AuditChain
from core.audit_copy import AT_ONCE, AuditCopy
from core.clock import Clock, ClockSteppedBack
from core.commit_thread import CommitThread
from core.errors import CaError, ConfigurationError, HaltIssuance, TransientError
from core.reader import BUSY, Reader, Row, Rows, connect, result_code
from core.register_file import RegisterFile, Replaced

__all__ = ["Database", "Reader", "Row", "Rows", "Transaction", "Unit"]

T = TypeVar("T")

CACHE_KIBIBYTES = 65536
"""The writer's page cache: holds the upper levels of every index of some ten million rows."""

CHECKPOINT_PAGES = 4096
"""Pages in the WAL before they go back into the file (16 MiB): the same few pages are written by every
transaction, so a longer WAL copies each of them less often."""

BUSY_PAUSE = 0.02
"""Seconds between two tries to begin while another process (a backup, a person's shell) holds the lock."""

_BROKEN = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
}
"""Result codes that say something of the disk or the file, not of the unit that happened to meet them."""

_DONE = metrics.COMMITS.labels("done")
_log = logging.getLogger(__name__)


class Transaction:
    """What a unit works with: SQL, the one `now` of the unit, and the audit log."""

    def __init__(
        self, connection: sqlite3.Connection, chain: AuditChain, now: int, *, clock_stands: bool = False
    ) -> None:
        self._connection = connection
        self._chain = chain
        self._clock_stands = clock_stands
        self.now = now

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, parameters)

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows, with this transaction's own changes."""
        return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None, with this transaction's own changes."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def audit(self, kind: str, subject: str, content: dict[str, Any]) -> None:
        """Append to the audit log, in this transaction (CPS 5.4.1: date, time, subject, content)."""
        if self._clock_stands:
            content = {**content, "clock": "stepped back: this is the latest time that was seen before"}
        self._chain.at_once = self._chain.at_once or kind in AT_ONCE
        self._chain.append(self._connection, self.now, kind, subject, content)


Unit = Callable[[Transaction], T]
_Waiting = tuple[Unit[Any], "asyncio.Future[Any]", bool]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Database:
    """The one writer, and a reader for the event loop's thread."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        group_commit: int = 256,
        busy_timeout: int = 5,
        copy: AuditCopy | None = None,
    ) -> None:
        """`copy` gets what a restore must not lose before anybody hears of its commit."""
        self._path = path
        self._copy = copy
        self._clock = clock
        self._group_commit = group_commit
        self._busy_timeout = busy_timeout
        self._waiting: deque[_Waiting] = deque()
        self._writer: _Writer | None = None
        self._groups: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self.reader: Reader
        self._own: Reader
        """On the writer's connection: after a commit it need not read every page anew, as any other must."""

    async def open(self) -> None:
        """Open (made and migrated by `core.tables.migrate`).

        The newest audit record's time is shown to the clock, so that a clock which stepped back while we
        were down halts issuance.  Raises: `ConfigurationError` when the schema is not this software's.
        """
        connection = _connect_writer(self._path)
        file = RegisterFile(self._path)
        latest = connection.execute("SELECT MAX(at) FROM audit").fetchone()[0]
        if latest is not None:
            self._clock.observe(latest)
        self.reader = Reader(self._path, self._busy_timeout)
        self._own = Reader(self._path, connection=connection)
        self._writer = _Writer(connection, self._clock, self._busy_timeout, self._copy, file)

    async def write(self, unit: Unit[T], *, at_any_time: bool = False) -> T:
        """Run `unit` in the next group; its result once it is durable.

        With `at_any_time` it is run though the clock stepped back, at the latest time seen, and its audit
        records say so: for revocations, which must be possible at any hour (BR 4.9.3).

        A caller that is cancelled meanwhile does not know whether its unit was done, as in a crash.

        Raises what the unit raised (nothing of it is kept), `ClockSteppedBack`, `TransientError` when
        another process holds the database, or `HaltIssuance` when the commit failed.
        """
        if self._writer is None:
            raise TransientError("the database is closed: this process is starting or stopping")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((unit, future, at_any_time))
        if self._groups is None:
            self._groups = loop.create_task(self._commit_groups(self._writer))
        return await future

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Run `query` at once, on what is committed; async so that another database can come."""
        idle = self._writer is not None and self._writer.idle
        return query(self._own if idle else self.reader)

    async def look(self) -> None:
        """See whether the file is still the database, though nothing is to be written."""
        with contextlib.suppress(TransientError, HaltIssuance):  # `broken` tells
            await self.write(lambda tx: None, at_any_time=True)

    async def broken(self) -> None:
        """Returns when a commit has failed: nothing is written any more until the process starts again."""
        await self._broken.wait()

    @property
    def replaced(self) -> str:
        """How somebody put another database in the place of this one; "" while nobody has."""
        return "" if self._writer is None else self._writer.replaced

    async def close(self) -> None:
        """Finish what waits and close."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        if self._groups is not None:
            await self._groups
        # First: whoever writes and closes last puts the WAL into the file, and none is left to be mistaken
        # for that of a file restored in its place.
        self.reader.close()
        await writer.close()

    async def _commit_groups(self, writer: _Writer) -> None:
        while self._waiting:
            size = min(len(self._waiting), self._group_commit)
            group = [self._waiting.popleft() for _ in range(size)]
            _settle(await writer.commit(group))
            if writer.broken:
                self._broken.set()
        # No await since the look at `_waiting`: whoever comes next starts a new task.
        self._groups = None


class _Writer:
    """The only connection that writes: its units run on the event loop, its COMMIT in a thread.

    Python's lock would hand over between the loop and a thread at every statement of a unit, and a busy loop
    gives it back only after milliseconds; so only what waits for the disk leaves the loop (docs/adr/0001).
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        busy_timeout: int,
        copy: AuditCopy | None,
        file: RegisterFile,
    ) -> None:
        self._connection = connection
        self._file = file
        self._copy = copy
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._thread = CommitThread()
        self._chain = AuditChain.resume(connection)
        self.idle = True
        """No transaction is open: what the connection sees now is committed, and nobody else uses it."""
        self.broken = ""
        """Why nothing is written any more."""
        self.replaced = ""

    async def commit(self, group: list[_Waiting]) -> list[_Outcome]:
        """Run and commit the group.  All of its units get an outcome, and only after the COMMIT."""
        if self.broken:
            return _fail(group, HaltIssuance(self.broken))
        self.idle = False
        head = self._chain.head
        self._chain.at_once = False
        try:
            await self._begin()
            self._file.must_be_ours(self._connection, head)
            together = len(group) > 1
            outcomes = [self._run(*waiting, together) for waiting in group if not waiting[1].cancelled()]
            if self._connection.in_transaction:  # else the one unit was rolled back, and nothing remains
                await self._thread.run(self._commit)
                self._file.committed()
        except Exception as error:
            self._chain.head = head
            metrics.COMMITS.labels("failed").inc()
            rolled_back = self._roll_back()
            failure = self._judge(error, rolled_back)
            self.idle = not self.broken
            return _fail(group, failure)
        _DONE.inc()
        metrics.UNITS.inc(len(outcomes))
        self.idle = True
        return outcomes

    async def close(self) -> None:
        """Close the connection; nothing is under way."""
        self._thread.close()
        self._connection.close()

    def _commit(self) -> None:
        self._connection.execute("COMMIT")
        if self._copy is not None and self._chain.at_once:
            try:
                while self._copy.follow(Reader(Path(), connection=self._connection)):
                    pass
            except (CaError, OSError) as error:  # it is durable here; the copy is made again and again
                _log.critical("a revocation stands in the database only: %s", error)

    def _roll_back(self) -> bool:
        """Give up the transaction; False when even that fails, as on a disk that is gone."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            _log.critical("a transaction could not be rolled back: %s", error)
            return False
        return True

    async def _begin(self) -> None:
        """BEGIN, waiting for another process's transaction without holding up the loop."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._busy_timeout
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if result_code(error) not in BUSY or loop.time() > until:
                    raise
            await asyncio.sleep(BUSY_PAUSE)

    def _run(
        self, unit: Unit[Any], future: asyncio.Future[Any], at_any_time: bool, together: bool
    ) -> _Outcome:
        """Run one unit, in a savepoint when it is not alone.

        Raises sqlite3.Error when the whole group must be given up.
        """
        head = self._chain.head
        if together:
            self._connection.execute("SAVEPOINT unit")
        try:
            result = unit(self._transaction(at_any_time))
            if not self._connection.in_transaction:
                raise sqlite3.OperationalError("a unit ended the transaction of its group")
        except BaseException as error:  # whatever it is: a dead writer would leave all others waiting
            # Some errors make SQLite roll back the whole transaction; then no unit before this one stands.
            if not self._connection.in_transaction or (
                isinstance(error, sqlite3.Error) and result_code(error) in _BROKEN
            ):
                raise _as_sqlite(error) from error
            if together:
                self._connection.execute("ROLLBACK TO unit")
                self._connection.execute("RELEASE unit")
            else:
                self._connection.execute("ROLLBACK")
            self._chain.head = head
            # A future refuses to carry StopIteration, which `next` in a unit raises.
            return future, None, RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        if together:
            self._connection.execute("RELEASE unit")
        return future, result, None

    def _transaction(self, at_any_time: bool) -> Transaction:
        try:
            return Transaction(self._connection, self._chain, self._clock.now())
        except ClockSteppedBack:
            if not at_any_time:
                raise
            return Transaction(self._connection, self._chain, self._clock.latest(), clock_stands=True)

    def _judge(self, error: Exception, rolled_back: bool) -> Exception:
        if rolled_back and isinstance(error, sqlite3.Error) and result_code(error) in BUSY:
            return TransientError(f"another process holds the database: {error}")
        if isinstance(error, Replaced):
            self.broken = self.replaced = str(error)
            _log.critical("%s", error)
            return error
        # After a failed fsync the kernel may have dropped the pages and call the next one a success, so
        # nothing that this process believes of the file can be trusted: only opening it again tells.
        self.broken = (
            f"the database could not commit ({error}): see to the disk and its free space; "
            "a restart opens it anew"
        )
        _log.critical("%s", self.broken)
        return HaltIssuance(self.broken)


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = connect(path, "rw", 0)
    have, known = tables.schema_version(connection), tables.migrations()[-1][0]
    if have != known:
        connection.close()
        tables.require_known(have, known, path)
        raise ConfigurationError(f"{path} has schema {have} and needs {known}: `acme-server run` migrates it")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # the caller was cancelled
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _fail(group: list[_Waiting], error: Exception) -> list[_Outcome]:
    """The same failure for all, each its own object: tracebacks would grow in a shared one."""
    return [(future, None, type(error)(*error.args)) for _, future, _ in group]


def _as_sqlite(error: BaseException) -> sqlite3.Error:
    if isinstance(error, sqlite3.Error):
        return error
    return sqlite3.OperationalError(f"a unit ended the transaction of its group: {error!r}")
