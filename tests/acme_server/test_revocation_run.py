"""Revocation in bulk: registration/revocation_run.py, store/selection.py, store/revocation_runs.py."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.registration import revocation_run
from acme_server.registration.revocation_run import RevocationRun
from acme_server.store import revocation_runs, selection
from acme_server.store.revocation_runs import Phase, Run
from acme_server.store.selection import Selection
from core import audit, certificates, jobs, revocations
from core.causes import RULES, Cause
from core.certificates import Reservation
from core.clock import FakeClock
from core.database import Database, Transaction
from core.errors import Refused, TransientError
from core.issuers import Issuer, put_issuer
from tests.support.database import NOW, opened

DAY = 86400
ACCOUNT = "https://ca.test/acme/account/"
RUN = Run(
    id="0a0b0c0d",
    cause=Cause.UNRELIABLE_VALIDATION,
    reason=RULES[Cause.UNRELIABLE_VALIDATION].reason,
    note="report 17",
    selection=Selection(account_url=f"{ACCOUNT}one"),
    learned_at=NOW - 3600,
    began_at=NOW,
    began_by="root",
    phase=Phase.GATHERING,
    cursor=0,
    until=0,
)


def serial_of(number: int) -> bytes:
    return (0x1000 + number).to_bytes(2)


def put_accounts(tx: Transaction) -> None:
    """The accounts "one" and "two"."""
    for id in ("one", "two"):
        tx.execute(
            "INSERT INTO accounts (id, url, status, contact, created_at) VALUES (?, ?, 'valid', '[]', 0)",
            (id, f"{ACCOUNT}{id}"),
        )


def put(tx: Transaction, number: int, **changes: Any) -> bytes:
    """A certificate in the register; its serial number."""
    reservation = Reservation(
        id=f"certificate-{number}",
        serial=serial_of(number),
        issuer_id="ec-1",
        crl_shard=0,
        request_id=None,
        account_url=f"{ACCOUNT}one",
        profile="tlsserver",
        names=("localhost",),
        spki_sha256=number.to_bytes(32),
        not_before=NOW,
        not_after=NOW + 90 * DAY,
        versions={},
    )
    reservation = replace(reservation, **changes)
    certificates.reserve(tx, reservation)
    certificates.store(tx, reservation.id, b"certificate", tx.now, b"t" * 32, [])
    return reservation.serial


def validated(tx: Transaction, order: str, method: str, at: int) -> None:
    """The account "one" with an order whose one authorization was made valid so."""
    tx.execute(
        "INSERT OR IGNORE INTO accounts (id, url, status, contact, created_at)"
        " VALUES ('one', ?, 'valid', '[]', 0)",
        (f"{ACCOUNT}one",),
    )
    tx.execute(
        "INSERT INTO orders (id, account_id, status, identifiers, profile, expires, created_at)"
        " VALUES (?, 'one', 'valid', '[]', 'tlsserver', 0, 0)",
        (order,),
    )
    tx.execute(
        "INSERT INTO authorizations (id, account_id, status, type, value, wildcard, expires, created_at,"
        " method, oldest_datum) VALUES (?, 'one', 'valid', 'dns', 'localhost', 0, 0, 0, ?, ?)",
        (order, method, at),
    )
    tx.execute("INSERT INTO order_authorizations VALUES (?, 0, ?)", (order, order))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path, FakeClock(NOW)) as database:

        def issuers(tx: Transaction) -> None:
            for id in ("ec-1", "ec-2"):
                put_issuer(tx, Issuer(id, "issuing", "ec-p256", b"certificate", b"chain", 1))
            put_accounts(tx)

        await database.write(issuers)
        yield database


def chosen(database: Database, wanted: Selection, now: int = NOW) -> set[bytes]:
    """What a selection holds, page by page."""
    reader = database.reader
    until, after, found = selection.newest(reader), 0, set[bytes]()
    while after < until:
        page = selection.page(reader, wanted, after, until, now)
        assert after < page.after
        after = page.after
        found |= set(page.serials)
    return found


def revoked(database: Database) -> dict[bytes, int]:
    return {row["serial"]: row["reason"] for row in database.reader.all("SELECT * FROM revocations")}


async def test_a_selection_is_all_that_meets_every_condition(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "SCAN", 3)

    def fill(tx: Transaction) -> None:
        validated(tx, "early", "http-01", NOW - 100)
        validated(tx, "late", "http-01", NOW + 100)
        validated(tx, "dns", "dns-01", NOW + 100)
        put(tx, 1, request_id="early")
        put(tx, 2, request_id="late")
        put(tx, 3, request_id="dns", profile="shortlived")
        put(tx, 4, account_url=f"{ACCOUNT}two", names=("www.shop.example", "shop.example.net"))
        put(tx, 5, issuer_id="ec-2", account_url=f"{ACCOUNT}two", spki_sha256=(4).to_bytes(32))
        put(tx, 6, id="ocsp-responder:ec-1:0c", account_url=None)
        url = f"{ACCOUNT}one"
        reserved = Reservation("r", b"\x09", "ec-1", 0, None, url, "tlsserver", (), b"", NOW, NOW + DAY, {})
        certificates.reserve(tx, reserved)

    await database.write(fill)

    def numbers(**conditions: Any) -> set[int]:
        return {int.from_bytes(each) - 0x1000 for each in chosen(database, Selection(**conditions))}

    assert numbers() == {1, 2, 3, 4, 5}
    assert numbers(account_url=f"{ACCOUNT}one") == {1, 2, 3}
    assert numbers(issuer_id="ec-2") == {5}
    assert numbers(spki_sha256=(4).to_bytes(32).hex()) == {4, 5}
    assert numbers(name="shop.example") == numbers(name="www.shop.example") == {4}
    assert numbers(name="op.example") == numbers(name="shop") == set()
    assert numbers(profile="shortlived") == {3}
    assert numbers(method="http-01") == {1, 2}
    assert numbers(validated_from=NOW + 100) == {2, 3}
    assert numbers(method="http-01", validated_until=NOW + 100) == {1}
    assert numbers(issued_from=NOW + 1) == set()
    assert numbers(issued_from=NOW, issued_until=NOW + 1, account_url=f"{ACCOUNT}two") == {4, 5}


async def test_what_is_revoked_or_expired_is_counted_apart(database: Database) -> None:
    def fill(tx: Transaction) -> None:
        put(tx, 1)
        put(tx, 2, not_after=NOW - 1)
        revocations.revoke(tx, put(tx, 3), 0, "before")

    await database.write(fill)
    page = selection.page(database.reader, Selection(issuer_id="ec-1"), 0, 10, NOW)
    assert page.serials == (serial_of(1),)
    assert page.expired == (serial_of(2),)
    assert page.revoked == (serial_of(3),)


@pytest.mark.clause("BR 4.9.1.1")
async def test_a_run_revokes_all_of_its_selection_page_by_page_and_nothing_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation_run, "PAGE", 4)
    monkeypatch.setattr(selection, "SCAN", 3)

    def fill(tx: Transaction) -> None:
        for number in range(10):
            put(tx, number)
        put(tx, 10, account_url=f"{ACCOUNT}two")

    await database.write(fill)
    begun = await database.write(lambda tx: revocation_run.begin(tx, RUN))
    await database.write(lambda tx: put(tx, 11))  # issued since: not chosen
    pages: list[int] = []
    await RevocationRun(database, lambda: pages.append(len(revoked(database))))(begun.id)
    assert revoked(database) == {serial_of(number): 4 for number in range(10)}
    assert pages == [0, 0, 0, 0, 4, 8, 10]
    counts = revocation_runs.counts(database.reader, begun.id)
    assert (counts.total, counts.revoked, counts.left) == (10, 10, 0)
    assert jobs.waiting(database.reader, revocation_run.KIND, 9) == 0
    cause = database.reader.all("SELECT DISTINCT cause FROM revocations")
    assert [row["cause"] for row in cause] == [
        "unreliable-validation, BR 4.9.1.1 (5); run 0a0b0c0d by root: report 17"
    ]


@pytest.mark.clause("BR 4.9.5")
async def test_the_audit_log_has_what_was_decided_when_it_is_due_and_how_it_ended(database: Database) -> None:
    await database.write(lambda tx: put(tx, 1))
    await database.write(lambda tx: revocation_run.begin(tx, RUN))
    await RevocationRun(database, lambda: None)(RUN.id)
    kinds = "'revocation-run', 'revocation-run-ended'"
    began, ended = database.reader.all(f"SELECT content FROM audit WHERE kind IN ({kinds}) ORDER BY sequence")
    assert f'"revoke_by":{NOW - 3600 + DAY}' in began["content"]
    assert '"clause":"BR 4.9.1.1 (5)"' in began["content"]
    assert '"revoked":1' in ended["content"]
    assert audit.verify(database.reader) == []


async def test_named_serial_numbers_are_revoked_only_once_all_are_named(database: Database) -> None:
    await database.write(lambda tx: [put(tx, number) for number in range(3)])
    named = replace(RUN, selection=None)
    await database.write(lambda tx: revocation_run.begin(tx, named))
    unknown = await database.write(
        lambda tx: revocation_run.name(tx, RUN.id, [serial_of(0), serial_of(1), b"\x99", serial_of(0)])
    )
    assert unknown == (b"\x99",)
    assert jobs.waiting(database.reader, revocation_run.KIND, 9) == 0
    await database.write(lambda tx: revocation_run.start(tx, RUN.id))
    assert jobs.waiting(database.reader, revocation_run.KIND, 9) == 1
    await RevocationRun(database, lambda: None)(RUN.id)
    assert set(revoked(database)) == {serial_of(0), serial_of(1)}
    with pytest.raises(Refused, match="begin a new one"):
        await database.write(lambda tx: revocation_run.name(tx, RUN.id, [serial_of(2)]))


@pytest.mark.clause("BR 7.2.2")
async def test_what_was_revoked_or_expired_meanwhile_is_left_as_it_is(database: Database) -> None:
    await database.write(lambda tx: [put(tx, number, not_after=NOW + DAY + number) for number in range(3)])
    await database.write(lambda tx: revocation_run.begin(tx, replace(RUN, selection=None)))
    await database.write(
        lambda tx: revocation_run.name(tx, RUN.id, [serial_of(number) for number in range(3)])
    )
    await database.write(lambda tx: revocation_run.start(tx, RUN.id))
    await database.write(lambda tx: revocations.revoke(tx, serial_of(2), 5, "by its subscriber"))
    database._clock.at = NOW + DAY + 1  # type: ignore[attr-defined]
    await RevocationRun(database, lambda: None)(RUN.id)
    counts = revocation_runs.counts(database.reader, RUN.id)
    assert (counts.revoked, counts.expired, counts.already) == (1, 1, 1)
    assert revoked(database) == {serial_of(1): 4, serial_of(2): 5}


@pytest.mark.clause("BR 6.1.1.3")
@pytest.mark.parametrize("cause", [Cause.KEY_COMPROMISE, Cause.SUBSCRIBER_REQUEST])
async def test_a_finding_about_a_key_blocks_it_and_upgrades_and_a_subscribers_word_does_not(
    database: Database, cause: Cause
) -> None:
    key = b"k" * 32

    def fill(tx: Transaction) -> None:
        put(tx, 1, spki_sha256=key)
        revocations.revoke(tx, put(tx, 2, spki_sha256=key), 4, "before")
        put(tx, 3)

    await database.write(fill)
    run = replace(RUN, cause=cause, reason=1, selection=Selection(spki_sha256=key.hex()))
    await database.write(lambda tx: revocation_run.begin(tx, run))
    await RevocationRun(database, lambda: None)(RUN.id)
    proven = cause is Cause.KEY_COMPROMISE
    assert revoked(database) == {serial_of(1): 1, serial_of(2): 1 if proven else 4}
    blocked = database.reader.all("SELECT spki_sha256 FROM blocked_keys")
    assert [row["spki_sha256"] for row in blocked] == ([key] if proven else [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"selection": Selection()}, "nothing is chosen"),
        ({"note": "asked\x1b[2J"}, "who asked and why"),
        ({"note": "x" * 1001, "selection": None}, "1000 characters"),
        ({"cause": Cause.KEY_COMPROMISE, "reason": 1}, "name the key"),
        ({"cause": Cause.EXPOSED_KEY, "reason": 1, "selection": Selection(issuer_id="ec-1")}, "cps-requires"),
    ],
)
async def test_an_unreasonable_decision_is_refused_and_nothing_changes(
    database: Database, changes: dict[str, Any], why: str
) -> None:
    await database.write(lambda tx: put(tx, 1))
    before = database.reader.all("SELECT COUNT(*) FROM audit")[0][0]
    with pytest.raises(Refused, match=why):
        await database.write(lambda tx: revocation_run.begin(tx, replace(RUN, **changes)))
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None
    assert database.reader.all("SELECT COUNT(*) FROM audit")[0][0] == before


_CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from acme_server.registration import revocation_run
from acme_server.store import selection
from core.clock import FakeClock
from tests.support.database import NOW, opened

async def main() -> None:
    pages = int(sys.argv[2])
    revocation_run.PAGE, selection.SCAN = 7, 11
    def page() -> None:
        global pages_left
        pages_left -= 1
        if pages_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    global pages_left
    pages_left = pages
    async with opened(Path(sys.argv[1]), FakeClock(NOW)) as database:
        await revocation_run.RevocationRun(database, page)("0a0b0c0d")

asyncio.run(main())
"""


@pytest.mark.clause("house: the crash rule")
async def test_a_run_that_is_killed_at_any_page_goes_on_and_revokes_each_certificate_once(
    tmp_path: Path,
) -> None:
    count = 60
    async with opened(tmp_path, FakeClock(NOW)) as database:

        def fill(tx: Transaction) -> None:
            put_issuer(tx, Issuer("ec-1", "issuing", "ec-p256", b"certificate", b"chain", 1))
            put_accounts(tx)
            for number in range(count):
                put(tx, number)
            revocation_run.begin(tx, RUN)

        await database.write(fill)
    draw = random.Random(5)
    killed = 0
    for _ in range(20):
        words = [sys.executable, "-c", _CRASHING, str(tmp_path), str(draw.randint(1, 4))]
        ended = await asyncio.to_thread(subprocess.run, words, capture_output=True, timeout=60, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        killed += 1
    else:
        raise AssertionError("it never came to an end")
    assert killed >= 4
    async with opened(tmp_path, FakeClock(NOW)) as database:
        assert set(revoked(database)) == {serial_of(number) for number in range(count)}
        once = database.reader.all("SELECT COUNT(*) FROM audit WHERE kind = 'revocation' GROUP BY content")
        assert [row[0] for row in once] == [1] * count
        assert revocation_runs.counts(database.reader, RUN.id).revoked == count
        assert audit.verify(database.reader) == []


async def test_a_page_of_a_register_of_many_looks_at_a_bounded_number_of_rows(database: Database) -> None:
    plan = database.reader.all(
        "EXPLAIN QUERY PLAN SELECT c.serial FROM certificates c WHERE c.rowid > 5 AND c.rowid <= 10"
        " AND c.state NOT IN ('reserved', 'abandoned') ORDER BY c.rowid"
    )
    assert "rowid>? AND rowid<?" in plan[0]["detail"]


def being_signed(number: int) -> Reservation:
    """What the register has of a certificate before the vault is asked."""
    url = f"{ACCOUNT}one"
    serial = serial_of(number)
    return Reservation(
        f"certificate-{number}", serial, "ec-1", 0, None, url, "tlsserver", (), b"", NOW, NOW + DAY, {}
    )


@pytest.mark.clause("BR 4.9.1.1")
async def test_what_was_being_signed_when_a_run_looked_at_it_does_not_escape(database: Database) -> None:
    def fill(tx: Transaction) -> None:
        put(tx, 1)
        for number in (2, 3):
            certificates.reserve(tx, being_signed(number))
        revocation_run.begin(tx, RUN)

    await database.write(fill)
    run = RevocationRun(database, lambda: None)
    with pytest.raises(TransientError, match="2 certificates are being signed"):
        await run(RUN.id)
    assert set(revoked(database)) == {serial_of(1)}
    assert jobs.waiting(database.reader, revocation_run.KIND, 9) == 1

    def settle(tx: Transaction) -> None:
        certificates.store(tx, "certificate-2", b"certificate", tx.now, b"t" * 32, [])
        certificates.abandon(tx, "certificate-3")

    await database.write(settle)
    await run(RUN.id)
    assert set(revoked(database)) == {serial_of(1), serial_of(2)}
    counts = revocation_runs.counts(database.reader, RUN.id)
    assert (counts.total, counts.revoked, counts.left) == (2, 2, 0)
    assert jobs.waiting(database.reader, revocation_run.KIND, 9) == 0


def statuses(database: Database, table: str) -> dict[str, str]:
    return {row["id"]: row["status"] for row in database.reader.all(f"SELECT id, status FROM {table}")}


async def validations(database: Database) -> None:
    """By http-01 and dns-01, used for certificates 1 and 2; by http-01 for an order that is ready."""

    def fill(tx: Transaction) -> None:
        for order, method in (("flawed", "http-01"), ("sound", "dns-01"), ("unused", "http-01")):
            validated(tx, order, method, NOW - 100)
        tx.execute("UPDATE authorizations SET expires = ?", (NOW + DAY,))
        tx.execute("UPDATE orders SET status = 'ready' WHERE id = 'unused'")
        put(tx, 1, request_id="flawed")
        put(tx, 2, request_id="sound")

    await database.write(fill)


@pytest.mark.clause("BR 4.2.1")
@pytest.mark.clause("BR 4.9.1.1")
async def test_no_order_is_built_on_a_validation_for_which_certificates_were_revoked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "SCAN", 2)
    monkeypatch.setattr(selection, "AT_ONCE", 1)
    await validations(database)
    flawed = replace(RUN, selection=Selection(method="http-01", validated_until=NOW))
    await database.write(lambda tx: revocation_run.begin(tx, flawed))
    await RevocationRun(database, lambda: None)(RUN.id)
    assert set(revoked(database)) == {serial_of(1)}
    assert statuses(database, "authorizations") == {
        "flawed": "revoked",
        "unused": "revoked",
        "sound": "valid",
    }
    assert statuses(database, "orders") == {"flawed": "valid", "unused": "invalid", "sound": "valid"}
    kinds = database.reader.all("SELECT subject FROM audit WHERE kind = 'authorization.revoked'")
    assert [row["subject"] for row in kinds] == ["operator root"] * 2


@pytest.mark.clause("BR 4.2.1")
async def test_of_named_certificates_the_validations_end_with_them_for_that_cause_alone(
    database: Database,
) -> None:
    await validations(database)

    async def run(run: Run, serial: bytes) -> None:
        await database.write(lambda tx: revocation_run.begin(tx, replace(run, selection=None)))
        await database.write(lambda tx: revocation_run.name(tx, run.id, [serial]))
        await database.write(lambda tx: revocation_run.start(tx, run.id))
        await RevocationRun(database, lambda: None)(run.id)

    await run(replace(RUN, id="superseded", cause=Cause.SUBSCRIBER_REQUEST), serial_of(2))
    assert set(statuses(database, "authorizations").values()) == {"valid"}
    await run(RUN, serial_of(1))
    assert statuses(database, "authorizations") == {"flawed": "revoked", "unused": "valid", "sound": "valid"}
