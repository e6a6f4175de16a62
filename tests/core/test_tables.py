from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core import tables
from core.clock import FakeClock
from core.database import Database
from core.errors import ConfigurationError
from tests.support.database import NOW, opened


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ca.sqlite"
    tables.migrate(path, FakeClock(NOW))
    before = dump(path)
    tables.migrate(path, FakeClock(NOW + 60))
    assert dump(path) == before


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in tables.migrations()] == list(range(1, len(tables.migrations()) + 1))


def test_the_file_is_not_readable_by_strangers(tmp_path: Path) -> None:
    tables.migrate(tmp_path / "ca.sqlite", FakeClock(NOW))
    assert (tmp_path / "ca.sqlite").stat().st_mode & 0o007 == 0


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.sqlite"
    tables.migrate(path, FakeClock(NOW))
    before = dump(path)
    broken = [
        *tables.migrations(),
        (99, "CREATE TABLE t (a INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);"),
    ]
    monkeypatch.setattr(tables, "migrations", lambda: broken)
    with pytest.raises(sqlite3.OperationalError):
        tables.migrate(path, FakeClock(NOW))
    assert dump(path) == before


async def test_a_database_of_newer_software_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    path = tmp_path / "ca.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(ConfigurationError, match="backup"):
        tables.migrate(path, FakeClock(NOW))
    with pytest.raises(ConfigurationError, match="backup"):
        await Database(path, FakeClock(NOW)).open()


async def test_a_database_that_needs_a_migration_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "ca.sqlite"
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(ConfigurationError, match="migrate"):
        await Database(path, FakeClock(NOW)).open()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = [*connection.iterdump(), str(tables.schema_version(connection))]
    connection.close()
    return lines
