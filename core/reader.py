"""Reading the database: a connection for one thread, and how connections are made.

Must never: change anything.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.clock import Clock
from core.errors import ConfigurationError, TransientError

T = TypeVar("T")

Row = sqlite3.Row

CACHED_STATEMENTS = 512
"""Prepared statements kept per connection: more than there are in the house, so none is parsed twice."""

LOOK_EVERY = 0.2
"""Seconds between two looks at which file has the database's name: an app that opens another takes longer."""

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NOT_NOW = {*BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_log = logging.getLogger(__name__)


class Rows(Protocol):
    """What a query needs: satisfied by a `Reader` and, inside a unit, by its `Transaction`."""

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows."""

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""


class Mark(Protocol):
    """A thing that a register holds for ever once it has come there (core.register_mark has it)."""

    def is_in(self, rows: Rows) -> bool:
        """Whether it does."""


class Reader:
    """A read-only connection for one thread.

    Raises, from any method: `TransientError` when the file cannot be read *now*: it is locked, or the app is
    down and this user may not make the -shm file that reading a WAL needs.
    """

    def __init__(
        self, path: Path, busy_timeout: int = 5, connection: sqlite3.Connection | None = None
    ) -> None:
        """`connection` is one to share, which may write itself: only a SELECT is run on it.

        Raises: `ConfigurationError` when there is no such database.
        """
        self._path = path
        self._connection = connection or connect(path, "ro", busy_timeout)
        self._shared = connection is not None

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        try:
            self._require_reading(sql)
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise self._judge(error) from error

    def plain(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows as tuples, which is faster where a million are read."""
        try:
            self._require_reading(sql)
            cursor = self._connection.cursor()
            cursor.row_factory = None
            return cursor.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise self._judge(error) from error

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        try:
            self._require_reading(sql)
            cursor = self._connection.execute(sql, parameters)
            row: Row | None = cursor.fetchone()
            cursor.close()  # a statement left half-read would hold its snapshot and stop every checkpoint
        except sqlite3.OperationalError as error:
            raise self._judge(error) from error
        return row

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _require_reading(self, sql: str) -> None:
        # On a connection of our own SQLite refuses by itself (mode=ro).
        if self._shared and not sql.startswith("SELECT"):
            raise sqlite3.OperationalError(f"attempt to write a readonly database: {sql[:40]}")

    def _judge(self, error: sqlite3.OperationalError) -> Exception:
        # The plain READONLY is an attempt to write, a fault of ours; its extensions tell of the WAL's files.
        if (
            result_code(error) not in _NOT_NOW
            or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY
        ):
            return error
        return TransientError(f"{self._path.name} cannot be read now ({error}); is the app process up?")


class PatientReader(Reader):
    """A `Reader` of a database that may be missing or broken: opened when asked, and anew after a fault.

    For a process that has something to give without it, and that may outlive the file.  One that was put in
    its place is read as soon as it has come as far as the `mark`, and a backup has not before the app has
    looked at it; until then the old file, which nobody writes any more, tells the truth.  Raises
    `TransientError` for all that goes wrong.
    """

    def __init__(
        self,
        path: Path,
        busy_timeout: int,
        clock: Clock,
        mark: Callable[[], Mark | None] = lambda: None,
    ) -> None:
        """`mark` reads what has to be in the register, if that is known (core/register_mark.py)."""
        self._path = path
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._mark = mark
        self._known: Mark | None = None
        """What was found in the file that is open, or was open last."""
        self._opened: Reader | None = None
        self._file: tuple[int, int] | None = None
        self._looked_at = 0.0
        self._older: tuple[int, int] | None = None
        """A file that was put in the place of ours and is older."""

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        return self._ask(lambda reader: reader.all(sql, parameters))

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        return self._ask(lambda reader: reader.one(sql, parameters))

    def close(self) -> None:
        """Close the connection, if there is one."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _ask(self, query: Callable[[Reader], T]) -> T:
        try:
            return query(self._current())
        except ConfigurationError as error:
            raise TransientError(str(error)) from error
        except sqlite3.Error as error:
            self.close()
            raise TransientError(f"{self._path} cannot be read: {error}; restore it from a backup") from error

    def _current(self) -> Reader:
        at = self._clock.monotonic()
        if self._opened is not None and at - self._looked_at >= LOOK_EVERY:
            if self._which() != self._file:
                self._change()
            else:
                if self._known is not None and not self._known.is_in(self._opened):
                    self._known = None
                    self._begun_anew()
                self._known = self._found_in(self._opened)
            self._looked_at = at
        if self._opened is None:
            self._open_anew(at)
        assert self._opened is not None
        return self._opened

    def _open_anew(self, at: float) -> None:
        """The file may be another one, though it has the number of the one that was removed."""
        file = self._which()
        opened = Reader(self._path, self._busy_timeout)
        try:
            found = self._found_in(opened)
            another = self._file not in (None, file) or not (self._known is None or self._known.is_in(opened))
        except BaseException:
            opened.close()
            raise
        self._opened, self._file, self._known, self._looked_at = opened, file, found, at
        if another:
            self._begun_anew()

    def _change(self) -> None:
        """Another file has the name, or none has."""
        file = self._which()
        if file is None:
            self.close()
            return
        other = Reader(self._path, self._busy_timeout)
        try:
            self._known = self._found_in(other)
        except (sqlite3.Error, TransientError) as error:  # or it is being copied
            other.close()
            if file != self._older:
                _log.critical("%s; meanwhile the old file is read", error)
            self._older = file
            return
        self.close()
        self._opened, self._file = other, file
        self._begun_anew()

    def _begun_anew(self) -> None:
        """What is read from now on is not what was read before."""

    def _found_in(self, reader: Reader) -> Mark | None:
        """The mark.  Raises `TransientError` when the register has not come there."""
        mark = self._mark()
        if mark is not None and not mark.is_in(reader):
            raise TransientError(
                f"{self._path} is older than the register that was here: a backup was put back, and is not "
                "believed before the app has looked at it (acme-server reconcile says what it lacks)"
            )
        return mark

    def _which(self) -> tuple[int, int] | None:
        """The file that has the name now."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class OtherRegister(ConfigurationError):
    """The database is another one than before: this process ends, and begins anew with it."""


class SteadyReader(PatientReader):
    """For a process that keeps its place in the register, which means nothing in another one.

    Raises `OtherRegister` when it is another one.
    """

    def _ask(self, query: Callable[[Reader], T]) -> T:
        try:
            return super()._ask(query)
        except TransientError as error:
            if isinstance(error.__cause__, OtherRegister):
                raise error.__cause__ from None
            raise

    def _begun_anew(self) -> None:
        raise OtherRegister(f"{self._path} was put back from a backup: this process begins anew with it")


def connect(path: Path, mode: str, busy_timeout: int) -> sqlite3.Connection:
    """A connection; `mode` is SQLite's "ro" or "rw", `busy_timeout` seconds.  Raises `ConfigurationError`."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=busy_timeout,
            # The writer's COMMIT runs in a thread while nobody else uses its connection.
            check_same_thread=mode == "ro",
            cached_statements=CACHED_STATEMENTS,
        )
    except sqlite3.OperationalError as error:
        raise ConfigurationError(f"cannot open {path}: {error}; was the data directory set up?") from error
    connection.row_factory = sqlite3.Row
    return connection


def result_code(error: sqlite3.Error) -> int:
    """The primary result code, without its extension; -1 when Python itself raised it."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF
