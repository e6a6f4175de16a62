"""operations/alarms/deadlines.py: the clock ends with the published revocation, and alarms come before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acme_server.registration import revocation_run
from acme_server.store.revocation_runs import Phase, Run
from core import revocations
from core.causes import DAY, RULES, Cause
from core.clock import FakeClock
from core.database import Database
from operations.alarms import deadlines
from operations.alarms.deadlines import DeadlineWatch, found
from operations.alarms.urgency import Urgency
from status.pages.published import Published
from tests.support.database import NOW, opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def database(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Database]:
    async with opened(tmp_path, clock) as opening:
        await opening.write(
            lambda tx: (
                tx.execute(
                    "INSERT INTO issuers (id, use, algorithm, certificate, chain, crl_shards, added_at)"
                    " VALUES ('ec1', 'issuing', 'ec-p256', x'', x'', 1, 0)"
                ).rowcount
            )
        )
        yield opening


async def issued(database: Database, number: int) -> bytes:
    serial = bytes([number]) * 17
    await database.write(
        lambda tx: (
            tx.execute(
                "INSERT INTO certificates (id, serial, issuer_id, crl_shard, state, profile, names,"
                " spki_sha256, not_before, not_after, versions, created_at)"
                " VALUES (?, ?, 'ec1', 0, 'issued', 'p', '[]', ?, 0, ?, '{}', 0)",
                (serial.hex(), serial, serial, NOW + 90 * DAY),
            ).rowcount
        )
    )
    return serial


async def publish(database: Database) -> None:
    await database.write(lambda tx: tx.execute("UPDATE revocations SET published_at = ?", (tx.now,)).rowcount)


def run_of(cause: Cause) -> Run:
    return Run("r1", cause, RULES[cause].reason, "", None, NOW, NOW, "alice", Phase.GATHERING, 0, 0)


async def begun(database: Database, cause: Cause, serial: bytes) -> None:
    def unit(tx: object) -> None:
        revocation_run.begin(tx, run_of(cause))  # type: ignore[arg-type]
        revocation_run.name(tx, "r1", [serial])  # type: ignore[arg-type]
        revocation_run.start(tx, "r1")  # type: ignore[arg-type]

    await database.write(unit)


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.clause("requirements 2.55")
@pytest.mark.parametrize(
    ("after", "urgency"),
    [
        (0, Urgency.CALM),
        (DAY // 2 - 1, Urgency.CALM),
        (DAY // 2, Urgency.HALF),
        (DAY * 4 // 5 - 1, Urgency.HALF),
        (DAY * 4 // 5, Urgency.MOST),
        (DAY, Urgency.MOST),
        (DAY + 1, Urgency.OVER),
    ],
)
async def test_what_is_revoked_and_not_published_grows_urgent_to_the_second(
    database: Database, clock: FakeClock, after: int, urgency: Urgency
) -> None:
    serial = await issued(database, 1)
    await database.write(lambda tx: revocations.revoke(tx, serial, 1, "a test"))
    clock.at += after
    (due,) = found(database.reader, clock.now())
    assert due.urgency(clock.now()) is urgency
    await publish(database)
    assert found(database.reader, clock.now()) == []


@pytest.mark.clause("BR 4.9.1.1")
@pytest.mark.clause("requirements 2.55")
@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.RIGHT_ENDED])
async def test_a_run_is_over_when_all_of_it_is_published_and_not_before(
    database: Database, clock: FakeClock, cause: Cause
) -> None:
    serial = await issued(database, 1)
    await begun(database, cause, serial)

    def runs() -> list[deadlines.Due]:
        return [each for each in found(database.reader, clock.now()) if each.what.startswith("run")]

    (due,) = runs()
    assert (due.since, due.by, due.certificates) == (NOW, NOW + RULES[cause].within, 1)
    work = revocation_run.RevocationRun(database, lambda: None)
    await work("r1")
    (due,) = runs()  # revoked, and the clock still runs
    clock.at = due.by + 1
    assert runs()[0].urgency(clock.now()) is Urgency.OVER
    await publish(database)
    assert runs() == []


async def test_alarms_say_what_to_do_and_are_repeated_only_now_and_then(
    database: Database, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch, serial = DeadlineWatch(database, Published(tmp_path), clock), await issued(database, 1)
    await database.write(lambda tx: revocations.revoke(tx, serial, 1, "a test"))
    await watch.look()
    assert caplog.records == []
    for after, alarms in ((DAY // 2, 1), (DAY // 2 + 60, 1), (DAY * 4 // 5, 2), (DAY + 1, 3), (DAY + 302, 4)):
        clock.at = NOW + after
        await watch.look()
        assert len(caplog.records) == alarms
    assert "OVERDUE" in caplog.records[-1].message
    assert "look at the vault and the CRL alarms" in caplog.records[-1].message
    await publish(database)
    assert await watch.look() == []
    assert deadlines.URGENCY._value.get() == Urgency.CALM


async def test_a_run_that_gathers_serial_numbers_is_nobodys_deadline_yet(database: Database) -> None:
    await database.write(lambda tx: revocation_run.begin(tx, run_of(Cause.MISUSE)))
    assert found(database.reader, NOW + 9 * DAY) == []
