"""operations/report_erasure.py: what reporters wrote goes, what is evidence stays."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core import key_proofs, report_rows
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.key_proofs import beginning
from core.problem_reports import Channel, Filed, Kind
from operations.report_erasure import AT_ONCE, Erasure
from tests.support.acme_client import ec_key
from tests.support.database import NOW, opened

KEEP = 90 * 86400
NUMBER = "PR-20261123-0123456789"
CONTACT = "someone.private@x.example"
WORDS = "My neighbour Hanako told me. " * 300


@dataclass
class App:
    data: DataDirectory
    clock: FakeClock
    database: Database

    async def look(self) -> int:
        return await Erasure(self.database, KEEP).look()

    def row(self, number: str = NUMBER) -> report_rows.Report:
        found = report_rows.by_number(self.database.reader, number)
        assert found is not None
        return found

    async def closed(self, number: str = NUMBER) -> None:
        await self.filed(number)
        await self.database.write(lambda tx: report_rows.close(tx, number))

    async def filed(self, number: str = NUMBER) -> None:
        proof = key_proofs.of_private_key(ec_key(), beginning("http://ca.test") + "x")
        named = (("0a0b",), ("ab" * 32,), ("www.ca.example",))
        filed = Filed(number, NOW, Channel.PAGE, Kind.MISUSE, "ja", *named, WORDS, CONTACT, proof)
        await self.database.write(lambda tx: report_rows.insert(tx, filed, actor="a test"))
        await self.database.write(
            lambda tx: report_rows.add_event(tx, number, "operator", "answered", f"mail to {CONTACT}, 14:02")
        )
        await self.database.write(lambda tx: report_rows.answer(tx, number, f"We wrote to {CONTACT}."))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        yield App(DataDirectory(tmp_path), clock, database)


@pytest.mark.clause("CPS 5.5.2")
@pytest.mark.clause("CPS 9.4")
async def test_contact_and_words_go_in_time_and_the_evidence_stays(app: App) -> None:
    await app.closed()
    before = app.row()
    app.clock.at = NOW + KEEP
    assert await app.look() == 0
    assert app.row() == before
    app.clock.at += 1
    assert await app.look() == 1
    after = app.row()
    assert (after.filed.contact, after.filed.description, after.erased_at) == ("", "", app.clock.at)
    assert after.answer == "We wrote to (erased)."
    notes = [each.note for each in report_rows.events(app.database.reader, NUMBER)]
    assert notes == ["page", "mail to (erased), 14:02", ""]
    for kept in ("proof", "serials", "keys", "names", "kind", "received_at"):
        assert getattr(after.filed, kept) == getattr(before.filed, kept)
    assert await app.look() == 0


async def test_nothing_of_it_is_left_in_the_file_or_in_the_audit_log(app: App) -> None:
    await app.closed()
    app.clock.at = NOW + KEEP + 1
    await app.look()
    with sqlite3.connect(app.data.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    octets = app.data.database.read_bytes()
    for private in (CONTACT, "Hanako"):
        assert private.encode() not in octets
    told = app.database.reader.all("SELECT content FROM audit WHERE kind = 'problem-report-erased'")
    assert [NUMBER in row["content"] for row in told] == [True]


@pytest.mark.clause("BR 4.9.5")
async def test_an_open_report_keeps_its_contact_however_old_it_is(app: App) -> None:
    await app.filed()
    app.clock.at = NOW + 10 * KEEP
    assert await app.look() == 0
    assert app.row().filed.contact == CONTACT


async def test_a_flood_is_erased_in_pages(app: App) -> None:
    count = AT_ONCE + 1
    for at in range(count):
        await app.closed(f"PR-20261123-{at:010}")
    app.clock.at = NOW + KEEP + 1
    assert await app.look() == count


async def test_a_short_contact_is_not_taken_out_of_the_middle_of_notes(app: App) -> None:
    filed = Filed(NUMBER, NOW, Channel.MAIL, Kind.OTHER, "en", (), (), (), "x", "me")
    await app.database.write(lambda tx: report_rows.insert(tx, filed, actor="a test"))
    await app.database.write(lambda tx: report_rows.answer(tx, NUMBER, "Some time later."))
    await app.database.write(lambda tx: report_rows.close(tx, NUMBER))
    app.clock.at = NOW + KEEP + 1
    await app.look()
    assert app.row().answer == "Some time later."
