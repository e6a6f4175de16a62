from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core import certificates
from core.certificates import Reservation, UnknownCertificate
from core.clock import FakeClock
from core.database import Database, Transaction
from core.issuers import Issuer, put_issuer
from core.mass_revocation import Page, revoke_page
from tests.support.database import NOW, opened

DAY = 86400


def put(
    tx: Transaction, id: str, number: int, issuer: str = "ec-1", days: int = 90, store: bool = True
) -> None:
    serial = number.to_bytes(8)
    tx_reservation = Reservation(
        id=id,
        serial=serial,
        issuer_id=issuer,
        crl_shard=0,
        request_id=None,
        account_url=None,
        profile="tlsserver",
        names=("localhost",),
        spki_sha256=b"k" * 32,
        not_before=NOW,
        not_after=NOW + days * DAY,
        versions={},
    )
    certificates.reserve(tx, tx_reservation)
    if store:
        certificates.store(tx, id, b"certificate", NOW, b"t" * 32, [])


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path, FakeClock(NOW)) as database:

        def fill(tx: Transaction) -> None:
            for id in ("ec-1", "ec-2"):
                put_issuer(tx, Issuer(id, "issuing", "ec-p256", b"certificate", b"chain", 1))
            for number in range(1, 6):
                put(tx, f"leaf-{number}", number)
            put(tx, "another-issuers", 11, issuer="ec-2")
            put(tx, "ocsp-responder:ec-1:0c", 12)
            put(tx, "reserved", 13, store=False)
            put(tx, "lost", 14, store=False)
            certificates.mark_lost(tx, "lost")

        await database.write(fill)
        yield database


def revoked(database: Database) -> list[str]:
    rows = database.reader.all(
        "SELECT c.id FROM certificates c JOIN revocations r ON r.serial = c.serial"
        " WHERE r.cause = 'drill' ORDER BY c.id"
    )
    return [row["id"] for row in rows]


async def page(database: Database, after: int = 0, limit: int = 3, reason: int = 4) -> Page:
    return await database.write(
        lambda tx: revoke_page(tx, "ec-1", after, reason, "drill", actor="operator", limit=limit)
    )


@pytest.mark.clause("BR 5.7.1.2")
async def test_all_of_one_issuer_and_nothing_else_is_revoked_in_pages(database: Database) -> None:
    first = await page(database)
    assert (first.revoked, first.done) == (3, False)
    second = await page(database, first.after)
    assert (second.revoked, second.done) == (2, True)
    assert revoked(database) == [f"leaf-{number}" for number in range(1, 6)]


async def test_repeating_changes_nothing(database: Database) -> None:
    await page(database, limit=10)
    version = certificates.revocation_version(database.reader)
    assert (await page(database, limit=10)).revoked == 0
    assert certificates.revocation_version(database.reader) == version


async def test_what_has_expired_needs_no_revocation(database: Database) -> None:
    def expired(tx: Transaction) -> None:
        put(tx, "expired", 20, days=-1)

    await database.write(expired)
    await page(database, limit=10)
    assert "expired" not in revoked(database)


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize("reason", [1, 2, 6])
async def test_a_reason_that_would_be_untrue_or_is_forbidden_changes_nothing(
    database: Database, reason: int
) -> None:
    with pytest.raises(ValueError):
        await page(database, reason=reason)
    assert revoked(database) == []


async def test_an_issuer_that_is_none_of_ours_is_refused(database: Database) -> None:
    with pytest.raises(UnknownCertificate, match="ec-9"):
        await database.write(lambda tx: revoke_page(tx, "ec-9", 0, 4, "drill", actor="operator"))


async def test_every_page_is_in_the_audit_log(database: Database) -> None:
    await page(database)
    row = database.reader.one("SELECT subject, content FROM audit WHERE kind = 'mass-revocation'")
    assert row is not None
    assert row["subject"] == "operator"
    assert '"revoked":3' in row["content"]
