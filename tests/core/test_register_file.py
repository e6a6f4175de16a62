"""core/register_file.py: what becomes of the WAL of a database that somebody else has replaced."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.database import Database, Reader, Transaction
from core.register_file import Replaced
from tests.support.database import opened

pytestmark = pytest.mark.clause("CPS 5.7.4")


def much(tx: Transaction) -> None:
    """Ten pages, at the end of the file."""
    tx.audit("much", "test", {"octets": "x" * 40_000})


async def replaced(database: Database, path: Path) -> Reader:
    """A backup is put in the place; all that came after it was in pages that are in part in the old file
    alone.  A reader of that."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(path.parent / "backup")) as target:
        source.backup(target)
    assert database._writer is not None
    for pages in (1, 1000):
        database._writer._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        for _ in range(3):
            await database.write(much)
    old = Reader(path)
    assert count(old) == 6
    (path.parent / "backup").replace(path)
    with pytest.raises(Replaced):
        await database.write(much)
    return old


def count(reader: Reader) -> int:
    return len(reader.all("SELECT 1 FROM audit WHERE kind = 'much'"))


async def test_the_wal_of_the_old_file_is_not_read_into_the_one_that_has_its_name_now(tmp_path: Path) -> None:
    path = tmp_path / "ca.sqlite"
    async with opened(tmp_path) as database:
        old = await replaced(database, path)
        with closing(sqlite3.connect(path)) as new:
            assert new.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert new.execute("SELECT COUNT(*) FROM audit WHERE kind = 'much'").fetchone() == (0,)
        assert count(old) == 6  # who has the old file open goes on
        old.close()
    assert (tmp_path / "ca.sqlite-wal.replaced").exists()


async def test_a_wal_that_was_put_there_with_its_file_stays(tmp_path: Path) -> None:
    wal = tmp_path / "ca.sqlite-wal"
    async with opened(tmp_path) as database:
        (tmp_path / "other-wal").write_bytes(b"of the backup")
        (tmp_path / "other").write_bytes(b"a backup")
        (tmp_path / "other-wal").replace(wal)
        (tmp_path / "other").replace(tmp_path / "ca.sqlite")
        with pytest.raises(Replaced):
            await database.write(much)
        assert wal.read_bytes() == b"of the backup"
