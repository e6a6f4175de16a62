from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from core import audit, blocked_keys, certificates, compromise, revocations
from core.certificates import IllegalMove, Reservation, State
from core.clock import FakeClock
from core.database import Database, Transaction
from core.issuers import Issuer, put_issuer
from core.revocations import AlreadyRevoked, UnknownCertificate
from tests.support.database import NOW

ISSUER = Issuer("r1", "issuing", "rsa-2048", b"der", b"pem", 1)
DAY = 86400


def reservation(number: int, **changes: Any) -> Reservation:
    values: dict[str, Any] = {
        "id": f"id{number}",
        "serial": number.to_bytes(16, "big"),
        "issuer_id": "r1",
        "crl_shard": 0,
        "request_id": "order1",
        "account_url": "https://ca.example/acme/account/1",
        "profile": "tlsserver",
        "names": ("a.example", "*.a.example"),
        "spki_sha256": bytes([number]) * 32,
        "not_before": NOW,
        "not_after": NOW + 90 * DAY - 1,
        "versions": {"cps": "1.0", "terms": "1"},
        "evidence": b"evidence",
    }
    return Reservation(**(values | changes))


@pytest.fixture
async def register(database: Database) -> Database:
    await database.write(lambda tx: put_issuer(tx, ISSUER))
    return database


async def reserve(database: Database, *reservations: Reservation) -> None:
    def unit(tx: Transaction) -> None:
        for each in reservations:
            certificates.reserve(tx, each)

    await database.write(unit)


async def issue(database: Database, number: int, **changes: Any) -> bytes:
    each = reservation(number, **changes)
    await reserve(database, each)
    await database.write(
        lambda tx: certificates.store(tx, each.id, b"certificate", NOW, b"t" * 32, {"findings": []})
    )
    return each.serial


def state(database: Database, number: int) -> State:
    found = certificates.by_id(database.reader, f"id{number}")
    assert found is not None
    return found.state


def kinds(database: Database) -> list[str]:
    return [row["kind"] for row in database.reader.all("SELECT kind FROM audit ORDER BY sequence")]


async def unchanged(
    database: Database, unit: Callable[[Transaction], object], error: type[Exception]
) -> None:
    """The unit is refused, and nothing in any table changed."""

    def tables() -> list[list[tuple[Any, ...]]]:
        names = database.reader.all(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        return [
            [tuple(row) for row in database.reader.all(f"SELECT * FROM {name['name']}")] for name in names
        ]

    before = tables()
    with pytest.raises(error):
        await database.write(unit)
    assert tables() == before
    assert audit.verify(database.reader) == []


async def test_a_stored_certificate_comes_back_whole(register: Database) -> None:
    serial = await issue(register, 1)
    found = certificates.by_serial(register.reader, serial)
    assert found is not None
    assert found == certificates.by_id(register.reader, "id1")
    assert certificates.by_request(register.reader, "order1") == [found]
    assert found.state is State.ISSUED
    assert found.names == ("a.example", "*.a.example")
    assert found.certificate == b"certificate"
    assert found.versions == {"cps": "1.0", "terms": "1"}
    assert found.lint == {"findings": []}
    assert kinds(register)[-1] == "issuance"


@pytest.mark.clause("BR 7.1.2.7")
async def test_a_serial_is_never_given_twice(register: Database) -> None:
    await reserve(register, reservation(1))
    await unchanged(
        register, lambda tx: certificates.reserve(tx, reservation(1, id="other")), sqlite3.IntegrityError
    )


async def test_a_certificate_of_an_unknown_issuer_is_refused(register: Database) -> None:
    await unchanged(
        register, lambda tx: certificates.reserve(tx, reservation(1, issuer_id="x")), sqlite3.IntegrityError
    )


@pytest.mark.clause("RFC 6960 section 2.2")
async def test_a_serial_is_good_only_after_its_signature_is_recorded(register: Database) -> None:
    await reserve(register, reservation(1))
    assert revocations.status_of(register.reader, reservation(1).serial) is None
    await register.write(lambda tx: certificates.store(tx, "id1", b"c", NOW, b"", None))
    found = revocations.status_of(register.reader, reservation(1).serial)
    assert found is not None
    assert found.revocation is None


async def test_what_a_crash_left_open_is_found(register: Database) -> None:
    await reserve(register, reservation(1), reservation(2), reservation(3))
    await register.write(lambda tx: certificates.abandon(tx, "id2"))
    query = "SELECT id FROM certificates WHERE state = 'reserved'"
    assert {row["id"] for row in register.reader.all(query)} == {"id1", "id3"}
    plan = register.reader.all(f"EXPLAIN QUERY PLAN {query}")
    assert "certificates_open" in plan[0]["detail"]


async def test_storing_the_same_bytes_again_changes_nothing(register: Database) -> None:
    await issue(register, 1)
    before = audit.head(register.reader)
    await register.write(lambda tx: certificates.store(tx, "id1", b"certificate", NOW + 5, b"", None))
    assert audit.head(register.reader) == before
    found = certificates.by_id(register.reader, "id1")
    assert found is not None
    assert found.signed_at == NOW


async def test_storing_other_bytes_under_the_same_id_is_refused(register: Database) -> None:
    await issue(register, 1)
    await unchanged(register, lambda tx: certificates.store(tx, "id1", b"other", NOW, b"", None), IllegalMove)


async def test_every_move_that_the_table_does_not_have_is_refused(register: Database) -> None:
    moves: dict[State, Callable[[Transaction, str], None]] = {
        State.ISSUED: lambda tx, id: certificates.store(tx, id, b"bytes", NOW, b"", None),
        State.LOST: certificates.mark_lost,
        State.ABANDONED: certificates.abandon,
    }
    number = 0
    for start, move in moves.items():
        for end in moves:
            if start is end:
                continue
            number += 1
            await reserve(register, reservation(number))
            await register.write(lambda tx, m=move, n=number: m(tx, f"id{n}"))
            await unchanged(register, lambda tx, m=moves[end], n=number: m(tx, f"id{n}"), IllegalMove)
            assert state(register, number) is start


async def test_what_was_never_reserved_cannot_be_stored(register: Database) -> None:
    await unchanged(
        register, lambda tx: certificates.store(tx, "none", b"", NOW, b"", None), UnknownCertificate
    )


async def test_a_lost_serial_counts_as_issued_and_is_revoked(register: Database) -> None:
    await reserve(register, reservation(1))
    await register.write(lambda tx: certificates.mark_lost(tx, "id1"))
    found = revocations.status_of(register.reader, reservation(1).serial)
    assert found is not None
    assert found.revocation is not None
    assert found.revocation.reason == revocations.UNSPECIFIED
    assert kinds(register)[-2:] == ["issuance-lost", "revocation"]
    before = audit.head(register.reader)
    await register.write(lambda tx: certificates.mark_lost(tx, "id1"))
    assert audit.head(register.reader) == before


async def test_an_abandoned_serial_is_unknown_to_relying_parties(register: Database) -> None:
    await reserve(register, reservation(1))
    await register.write(lambda tx: certificates.abandon(tx, "id1"))
    assert revocations.status_of(register.reader, reservation(1).serial) is None
    await unchanged(
        register, lambda tx: revocations.revoke(tx, reservation(1).serial, 0, "x"), UnknownCertificate
    )


async def test_a_revocation_is_one_row_with_the_next_version_and_a_record(
    register: Database, clock: FakeClock
) -> None:
    one, two = await issue(register, 1), await issue(register, 2)
    clock.at += 10
    first = await register.write(lambda tx: revocations.revoke(tx, one, 4, "asked", actor="account:1"))
    second = await register.write(lambda tx: revocations.revoke(tx, two, 0, "asked"))
    assert (first.version, second.version) == (1, 2)
    assert first.revoked_at == NOW + 10
    assert revocations.version(register.reader) == 2
    assert revocations.in_scope(register.reader, "r1", 0, 0) == [first, second]
    status = revocations.status_of(register.reader, one)
    assert status is not None
    assert status.revocation == first
    assert kinds(register)[-2:] == ["revocation", "revocation"]


@pytest.mark.clause("RFC 8555 section 7.6")
async def test_a_second_revocation_is_refused_and_tells_of_the_first(register: Database) -> None:
    serial = await issue(register, 1)
    first = await register.write(lambda tx: revocations.revoke(tx, serial, 4, "asked"))
    with pytest.raises(AlreadyRevoked) as raised:
        await register.write(lambda tx: revocations.revoke(tx, serial, 1, "asked again"))
    assert raised.value.revocation == first
    await unchanged(register, lambda tx: revocations.revoke(tx, serial, 1, "again"), AlreadyRevoked)


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, 11, -1])
async def test_a_reason_that_subscribers_may_not_have_is_refused(register: Database, reason: int) -> None:
    serial = await issue(register, 1)
    await unchanged(register, lambda tx: revocations.revoke(tx, serial, reason, "x"), ValueError)


async def test_a_reserved_or_unknown_serial_cannot_be_revoked(register: Database) -> None:
    await reserve(register, reservation(1))
    for serial in (reservation(1).serial, b"unknown"):
        await unchanged(register, lambda tx, s=serial: revocations.revoke(tx, s, 0, "x"), UnknownCertificate)


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_is_proven_compromised_is_blocked_for_ever(register: Database) -> None:
    serial = await issue(register, 1)
    await register.write(lambda tx: compromise.prove_of_certificate(tx, serial, "proof"))
    assert blocked_keys.is_blocked(register.reader, bytes([1]) * 32)
    assert kinds(register)[-2:] == ["revocation", "key-blocked"]
    again = partial(compromise.prove_of_certificate, serial=serial, cause="again")
    await unchanged(register, again, AlreadyRevoked)


@pytest.mark.clause("BR 6.1.1.3")
@pytest.mark.parametrize("said", [1, 4])
async def test_a_key_that_is_only_said_to_be_compromised_is_blocked_when_the_proof_comes(
    register: Database, said: int
) -> None:
    serial = await issue(register, 1)
    await register.write(lambda tx: revocations.revoke(tx, serial, said, "said"))
    assert not blocked_keys.is_blocked(register.reader, bytes([1]) * 32)
    proven = await register.write(lambda tx: compromise.prove_of_certificate(tx, serial, "proof"))
    assert proven.reason == revocations.KEY_COMPROMISE
    assert blocked_keys.is_blocked(register.reader, bytes([1]) * 32)


@pytest.mark.clause("BR 7.2.2")
async def test_only_key_compromise_may_replace_a_reason(register: Database, clock: FakeClock) -> None:
    serial = await issue(register, 1)
    await unchanged(register, lambda tx: revocations.upgrade_reason(tx, serial, "proof"), UnknownCertificate)
    first = await register.write(lambda tx: revocations.revoke(tx, serial, 4, "asked"))
    clock.at += 100
    upgraded = await register.write(lambda tx: revocations.upgrade_reason(tx, serial, "proof"))
    assert (upgraded.reason, upgraded.version, upgraded.revoked_at) == (1, 2, first.revoked_at)
    await unchanged(register, lambda tx: revocations.upgrade_reason(tx, serial, "again"), AlreadyRevoked)


@pytest.mark.clause("RFC 5280 section 3.3")
async def test_an_entry_stays_until_it_expired_before_the_given_time(register: Database) -> None:
    serial = await issue(register, 1, not_after=NOW + 100)
    await register.write(lambda tx: revocations.revoke(tx, serial, 0, "x"))
    assert len(revocations.in_scope(register.reader, "r1", 0, NOW + 100)) == 1
    assert revocations.in_scope(register.reader, "r1", 0, NOW + 101) == []
    assert revocations.in_scope(register.reader, "r1", 1, 0) == []
