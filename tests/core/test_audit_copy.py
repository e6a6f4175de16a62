"""core/audit_copy.py: the audit log once more, outside of the database."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from core import audit_copy
from core.audit import GENESIS, Head, head
from core.audit_copy import AuditCopy, Diverged
from core.clock import FakeClock
from core.database import Database, Transaction
from core.reader import Reader
from tests.support.database import NOW, opened

pytestmark = pytest.mark.clause("CPS 5.4.4")


def noted(*kinds: str) -> Callable[[Transaction], None]:
    def unit(tx: Transaction) -> None:
        for kind in kinds:
            tx.audit(kind, "a test", {"kind": kind})

    return unit


def copied(directory: Path) -> list[str]:
    return [
        record.kind
        for path in sorted(directory.iterdir())
        for record in map(audit_copy._decoder.decode, path.read_bytes().splitlines())
    ]


def follow(copy: AuditCopy, reader: Reader) -> None:
    while copy.follow(reader):
        pass


async def backup(database: Database, path: Path) -> None:
    """As `sqlite3 .backup` makes it."""
    source = sqlite3.connect(database._path)
    target = sqlite3.connect(path)
    source.backup(target)
    target.close()
    source.close()


async def test_a_revocation_is_copied_before_anybody_hears_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.close()
    copy = AuditCopy(tmp_path / "audit")
    database = Database(tmp_path / "ca.sqlite", FakeClock(NOW), copy=copy)
    await database.open()
    await database.write(noted("account.created"))
    assert copy.head.sequence == 0
    await database.write(noted("revocation"))
    assert copied(tmp_path / "audit")[-2:] == ["account.created", "revocation"]
    await database.close()


async def test_the_copy_of_an_unbroken_log_has_lost_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        copy = AuditCopy(tmp_path / "audit")
        await database.write(noted("a", "b"))
        follow(copy, database.reader)
        await database.write(noted("c"))
        assert copy.lost(database.reader).records == ()
        again = AuditCopy(tmp_path / "audit")
        assert again.head == copy.head
        follow(again, database.reader)
        assert again.head == head(database.reader)


@pytest.mark.clause("CPS 5.7.2")
@pytest.mark.parametrize("octets", [audit_copy.FILE_OCTETS, 300])
async def test_a_restored_database_is_told_what_it_has_forgotten(
    tmp_path: Path, octets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_copy, "FILE_OCTETS", octets)
    copy = AuditCopy(tmp_path / "audit")
    async with opened(tmp_path) as database:
        for kind in ("a", "b"):
            await database.write(noted(kind))
            follow(copy, database.reader)
        common = head(database.reader)
        await backup(database, tmp_path / "backup")
        for kind in ("c", "d", "e"):
            await database.write(noted(kind))
            follow(copy, database.reader)
    shutil.move(tmp_path / "backup", tmp_path / "ca.sqlite")
    async with opened(tmp_path) as database:
        await database.write(noted("start"))  # another history of nearly the same length
        found = AuditCopy(tmp_path / "audit").lost(database.reader)
        assert found.common == common
        assert [record.kind for record in found.records] == ["c", "d", "e"]
        assert found.fault == ""
        with pytest.raises(Diverged):
            follow(copy, database.reader)
        copy.turn(found.common)
        follow(copy, database.reader)
        assert AuditCopy(tmp_path / "audit").lost(database.reader).records == ()
        assert copied(tmp_path / "audit")[-4:] == ["c", "d", "e", "start"]


async def test_after_two_restores_only_the_newest_history_counts(tmp_path: Path) -> None:
    copy = AuditCopy(tmp_path / "audit")
    async with opened(tmp_path) as database:
        await database.write(noted("a"))
        await backup(database, tmp_path / "backup")
        await database.write(noted("b", "b", "b", "b"))
        follow(copy, database.reader)
    for kind in ("c", "d"):
        shutil.copy(tmp_path / "backup", tmp_path / "ca.sqlite")
        async with opened(tmp_path) as database:
            found = copy.lost(database.reader)
            copy.turn(found.common)
            await database.write(noted(kind))
            follow(copy, database.reader)
    shutil.copy(tmp_path / "backup", tmp_path / "ca.sqlite")
    async with opened(tmp_path) as database:
        assert [record.kind for record in copy.lost(database.reader).records] == ["d"]


async def test_a_line_that_does_not_follow_by_the_chain_counts_for_nothing(tmp_path: Path) -> None:
    copy = AuditCopy(tmp_path / "audit")
    async with opened(tmp_path) as database:
        await backup(database, tmp_path / "backup")
        await database.write(noted("a", "b", "c"))
        follow(copy, database.reader)
    (file,) = (tmp_path / "audit").iterdir()
    file.write_bytes(file.read_bytes().replace(b'"kind":"b"', b'"kind":"x"'))
    shutil.move(tmp_path / "backup", tmp_path / "ca.sqlite")
    async with opened(tmp_path) as database:
        found = copy.lost(database.reader)
        assert [record.kind for record in found.records] == ["a"]
        assert "does not follow" in found.fault


async def test_half_a_line_that_a_crash_left_is_copied_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(noted("a", "b"))
        follow(AuditCopy(tmp_path / "audit"), database.reader)
        (file,) = (tmp_path / "audit").iterdir()
        whole = file.read_bytes()
        file.write_bytes(whole[:-9])
        copy = AuditCopy(tmp_path / "audit")
        follow(copy, database.reader)
        assert file.read_bytes() == whole


async def test_another_cas_log_has_nothing_in_common(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    copy = AuditCopy(tmp_path / "audit")
    async with opened(tmp_path / "one") as database:
        follow(copy, database.reader)
    async with opened(tmp_path / "two", FakeClock(NOW + 9)) as database:
        found = copy.lost(database.reader)
    assert found.common == Head(0, GENESIS)
    assert len(found.records) == copy.head.sequence
