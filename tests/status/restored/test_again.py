"""status/restored: crashes in the middle, a restore on top of a restore, a person who answers too early."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import blocked_keys, gaps, register_mark, revocations
from core.database import Database
from core.errors import HaltIssuance
from core.reader import Reader
from repo_static.store import Store
from status.restored.register import RestoredRegister
from tests.status.restored.test_register import NAME, Place, listed, revoked
from tests.support.database import NOW
from tests.support.restores import Alive, back_up, restore

pytestmark = pytest.mark.clause("CPS 5.7.4")


class Crash(BaseException):
    """The process is killed here."""


@pytest.fixture
def place(house_class: Any, tmp_path: Path) -> Place:
    return Place(house_class, tmp_path)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
@pytest.mark.parametrize("parts", [("database",), ("database", "audit")], ids=" and ".join)
async def test_a_crash_at_any_write_while_it_looks_loses_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...], after: bool
) -> None:
    serials, public = await place.lived()
    restore(place.backup, place.directory, *parts)
    restored = place.backup.parent / "restored"
    shutil.copytree(place.directory, restored)
    for number in range(100):
        shutil.rmtree(place.directory)
        shutil.copytree(restored, place.directory)
        with monkeypatch.context() as patched:
            crashing(patched, number, after)
            try:
                async with place.start():
                    break
            except Crash:
                pass
        async with place.start() as ca:
            assert ca.missing == ([] if parts == ("database",) else ["revocations"])
            assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
            assert blocked_keys.is_blocked(ca.database.reader, b"k" * 32) or "audit" in parts
            await ca.register.accept("a test", "operator ann")
            await ca.house.updater().update()
            after_all = Store(ca.house.data.repository).read(NAME)
            assert listed(after_all).keys() == listed(public).keys()
    assert number > 2


def crashing(patched: pytest.MonkeyPatch, number: int, after: bool) -> None:
    """From the moment on in which the register is looked at, the process dies at this write."""
    write, look = Database.write, RestoredRegister.look
    left = [10**9]

    async def dying(self: Database, unit: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and not after:
            raise Crash
        result = await write(self, unit, **options)
        if left[0] < 0:
            raise Crash
        return result

    async def looking(self: RestoredRegister) -> Any:
        left[0] = number
        found = await look(self)
        left[0] = 10**9
        return found

    patched.setattr(Database, "write", dying)
    patched.setattr(RestoredRegister, "look", looking)


async def test_an_older_backup_does_not_close_what_the_restore_before_it_left_open(place: Place) -> None:
    serials, _ = await place.lived()
    async with place.start() as ca:
        await ca.house.revoke(serials[1], 5)  # it stands in no CRL, and in no copy that is kept
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        assert ca.missing == ["revocations"]
    # The copy goes on from there, and tells of all that came after the first restore: not of what that lost.
    restore(place.backup, place.directory, "database")
    for _ in range(2):
        async with place.start() as ca:
            assert ca.missing == ["revocations"]
            assert revoked(ca, serials)[0] == (4, NOW + 3600)


async def test_what_a_person_has_answered_for_stays_answered_after_another_restore(place: Place) -> None:
    await place.lived()
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        await ca.register.accept("the mirrors have nothing newer", "operator ann")
    place.clock.at += 60
    restore(place.backup, place.directory, "database")
    async with place.start() as ca:
        assert ca.missing == []


async def test_the_same_backup_twice_in_a_row_loses_nothing(place: Place) -> None:
    serials, _ = await place.lived()
    for _ in range(2):
        restore(place.backup, place.directory, "database")
        async with place.start() as ca:
            assert ca.missing == []
            assert revoked(ca, serials[:4]) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
            late = await ca.house.issue()
            await ca.house.revoke(late, 3)
        serials.append(late)
    restore(place.backup, place.directory, "database")
    async with place.start() as ca:
        assert revoked(ca, serials)[4:] == [(3, place.clock.at)] * 2


async def test_a_weaker_proof_does_not_lower_what_has_to_be_found(place: Place) -> None:
    async with place.start() as ca:
        await ca.database.write(lambda tx: gaps.revocations_unknown(tx, NOW + 500, "the vault's journal"))
        await ca.database.write(lambda tx: gaps.revocations_unknown(tx, 0, "the index of OCSP answers"))
        [gap] = gaps.are_open(ca.database.reader)
        assert gap.detail == {"at": NOW + 500, "by": "the vault's journal"}
        await ca.database.write(lambda tx: gaps.revocations_unknown(tx, NOW + 900, "a CRL"))
        [gap] = gaps.are_open(ca.database.reader)
        assert gap.detail["at"] == NOW + 900


async def test_a_person_answers_for_what_was_missing_when_he_was_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.start() as ca:
        await ca.database.write(lambda tx: gaps.crl_unknown(tx, "ec1", 0, 7, "aa"))
        await ca.database.write(lambda tx: gaps.revocations_unknown(tx, NOW, "a test"))
        before_the_next_write(ca, monkeypatch, lambda tx: gaps.crl_unknown(tx, "ec1", 0, 8, "bb"))
        subjects, _ = await ca.register.accept("CRL 7 is nowhere to be had", "operator ann")
        assert subjects == ["revocations"]
        assert ca.missing == ["crl ec1-0"]


def before_the_next_write(ca: Alive, monkeypatch: pytest.MonkeyPatch, unit: Callable[[Any], object]) -> None:
    write = ca.database.write

    async def first_the_other(wanted: Any, **options: Any) -> Any:
        monkeypatch.undo()
        await write(unit)
        return await write(wanted, **options)

    monkeypatch.setattr(ca.database, "write", first_the_other)


async def test_a_revocation_that_arrives_while_the_same_is_put_back_is_entered_once(place: Place) -> None:
    serials, public = await place.lived()
    restore(place.backup, place.directory, "database", "audit", "repository", "run")
    async with place.start() as ca:
        await ca.register.begin("a test", NOW)
        ordered = (
            ca.house.revoke(serials[1], 5),
            ca.register.brought.crl(public),
            ca.house.revoke(serials[2], 4),
        )
        await asyncio.gather(*ordered)
        assert revoked(ca, serials) == [
            (4, NOW + 3600),
            (5, place.clock.at),
            (4, place.clock.at),
            (1, NOW + 3660),
        ]


@pytest.mark.clause("BR 4.9.3")
async def test_all_of_it_goes_on_while_the_clock_stands_back(place: Place) -> None:
    serials, _ = await place.lived()
    restore(place.backup, place.directory, "database")
    latest = place.clock.at
    place.clock.observe(latest)
    place.clock.at -= 7200
    async with place.start() as ca:
        assert ca.missing == []
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
        assert revocations.version(ca.database.reader) > 0


@pytest.mark.clause("BR 4.9.10")
async def test_other_processes_believe_a_register_only_after_it_was_looked_at(place: Place) -> None:
    await place.lived()
    path = place.directory / "run" / "register.json"
    newer = register_mark.read(path)
    assert newer is not None
    restore(place.backup, place.directory, "database")
    assert not in_the_database(place, newer)
    async with place.start():
        mark = register_mark.read(path)
        assert mark is not None
        assert mark != newer
    assert in_the_database(place, mark)


async def test_a_register_that_is_replaced_under_a_running_ca_is_not_noted(place: Place) -> None:
    await place.lived()
    path = place.directory / "run" / "register.json"
    async with place.start() as ca:
        before = register_mark.read(path)
        assert before is not None
        await ca.register.follow_to_the_end()
        newest = register_mark.read(path)
        os.replace(shutil.copy(place.backup / "ca.sqlite", place.directory / "other"), ca.house.data.database)
        with pytest.raises(HaltIssuance, match="another file has the name"):
            await ca.house.issue()
        await ca.register.follow_to_the_end()
        assert register_mark.read(path) == newest


async def test_nothing_is_noted_of_what_was_put_into_the_file_of_a_running_ca(place: Place) -> None:
    await place.lived()
    path = place.directory / "run" / "register.json"
    async with place.start() as ca:
        await ca.register.follow_to_the_end()
        newest = register_mark.read(path)
        with (
            closing(sqlite3.connect(place.backup / "ca.sqlite")) as source,
            closing(sqlite3.connect(ca.house.data.database)) as target,
        ):
            source.backup(target)
        await ca.register.follow_to_the_end()
        assert register_mark.read(path) == newest


async def test_nothing_is_noted_of_a_register_before_it_was_looked_at(place: Place) -> None:
    """As when a start fails before: on its way out the app copies the audit log once more."""
    await place.lived()
    path = place.directory / "run" / "register.json"
    path.unlink()
    async with place.start() as ca:
        path.unlink()
        ca.register._looked = False
        await ca.house.issue()
        await ca.register.follow_to_the_end()
        assert not path.exists()


def in_the_database(place: Place, mark: register_mark.Mark) -> bool:
    reader = Reader(place.directory / "ca.sqlite")
    try:
        return mark.is_in(reader)
    finally:
        reader.close()


async def test_a_backup_of_before_the_mark_is_seen_though_everything_else_agrees(place: Place) -> None:
    async with place.start() as ca:
        await ca.house.issue()
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        await ca.house.revoke(await ca.house.issue())
    restore(place.backup, place.directory, "database", "audit", "repository")
    shutil.rmtree(place.directory / "status", ignore_errors=True)
    async with place.start() as ca:
        assert ca.missing == ["revocations"]
