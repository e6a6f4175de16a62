"""Brings a database to the schema of this version of the software.

The schema is the numbered files in core/migrations; `PRAGMA user_version` tells the last one applied.  Each
file and the audit record of it are one transaction: a crash leaves the old schema or the new one.

Must never: change a file that was released; a change of the schema is a new file.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from importlib import resources
from pathlib import Path

from core.audit import AuditChain
from core.clock import Clock
from core.errors import ConfigurationError

FILE_MODE = 0o640
"""The status process reads as another user of the same group; SQLite gives -wal and -shm the same mode."""


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every migration, in order."""
    files = [file for file in resources.files("core.migrations").iterdir() if file.name.endswith(".sql")]
    return sorted((int(file.name.split("_")[0]), file.read_text(encoding="utf-8")) for file in files)


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of the last migration applied; 0 for a new database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(path: Path, clock: Clock) -> None:
    """Make the database if it is missing, and bring it up to date.  Run before any process opens it.

    Raises: `ConfigurationError` when the database was made by newer software.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        have, known = schema_version(connection), migrations()
        require_known(have, known[-1][0], path)
        if have:
            latest = connection.execute("SELECT MAX(at) FROM audit").fetchone()[0]
            clock.observe(latest or 0)
        for number, sql in known:
            if number > have:
                _apply(connection, number, sql, clock)
    finally:
        connection.close()


def require_known(have: int, latest: int, path: Path) -> None:
    """Refuse a database that newer software made: this version would not know what its rows mean."""
    if have > latest:
        raise ConfigurationError(
            f"{path} has schema {have}, this software knows up to {latest}: run the newer software again, "
            "or restore the backup taken before the upgrade"
        )


def _apply(connection: sqlite3.Connection, number: int, sql: str, clock: Clock) -> None:
    try:
        connection.executescript("BEGIN IMMEDIATE;\n" + sql)
        AuditChain.resume(connection).append(
            connection,
            clock.latest(),  # a clock that stepped back is no reason to serve nothing (BR 4.9.3)
            "schema",
            "system",
            {"version": number, "sha256": hashlib.sha256(sql.encode()).hexdigest()},
        )
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
