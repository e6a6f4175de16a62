"""core/compromise.py: what follows when a key is proven compromised, and that nothing follows from less."""

from __future__ import annotations

import pytest

from core import blocked_keys, certificates, compromise, revocations
from core.database import Database
from tests.core.test_certificates import DAY, issue, kinds, register, reserve
from tests.core.test_certificates import reservation as reservation
from tests.support.database import NOW

KEY = b"\x09" * 32
pytestmark = pytest.mark.clause("BR 6.1.1.3")

__all__ = ["register"]


async def prove(database: Database, cause: str = "shown") -> compromise.Consequences:
    return await database.write(lambda tx: compromise.prove(tx, KEY, cause, actor="operator a"))


def reason(database: Database, serial: bytes) -> int | None:
    found = revocations.of(database.reader, serial)
    return None if found is None else found.reason


@pytest.mark.clause("BR 4.9.1.1")
async def test_every_unexpired_certificate_with_the_key_is_revoked_whoever_has_it(register: Database) -> None:
    siblings = [
        await issue(register, number, spki_sha256=KEY, account_url=f"https://ca/{number}")
        for number in (1, 2, 3)
    ]
    other = await issue(register, 4)
    expired = await issue(register, 5, spki_sha256=KEY, not_before=NOW - DAY, not_after=NOW - 1)
    last = await issue(register, 6, spki_sha256=KEY, not_before=NOW - DAY, not_after=NOW)
    found = await prove(register)
    assert found == compromise.Consequences(True, (*siblings, last), ())
    assert [reason(register, serial) for serial in siblings] == [1, 1, 1]
    assert [reason(register, serial) for serial in (other, expired)] == [None, None]
    assert kinds(register)[-5:] == ["key-blocked", *["revocation"] * 4]


@pytest.mark.clause("BR 7.2.2")
async def test_an_entry_with_another_reason_gets_this_one_at_its_old_time(register: Database) -> None:
    serial = await issue(register, 1, spki_sha256=KEY)
    before = await register.write(lambda tx: revocations.revoke(tx, serial, 4, "asked"))
    found = await prove(register)
    assert found == compromise.Consequences(True, (), (serial,))
    after = revocations.of(register.reader, serial)
    assert after is not None
    assert (after.reason, after.revoked_at) == (1, before.revoked_at)
    assert after.version > before.version


async def test_proving_it_again_changes_nothing(register: Database) -> None:
    await issue(register, 1, spki_sha256=KEY)
    await prove(register)
    audited = kinds(register)
    jobs = len(register.reader.all("SELECT * FROM jobs"))
    found = await prove(register, "again")
    assert not found.any
    assert kinds(register) == audited
    assert len(register.reader.all("SELECT * FROM jobs")) == jobs
    assert [row[1] for row in blocked_keys.all_blocked(register.reader)] == ["shown"]


async def test_the_vault_is_told_by_a_job_of_the_same_transaction(register: Database) -> None:
    class Fault(Exception):
        pass

    def broken(tx: object) -> None:
        compromise.prove(tx, KEY, "shown")  # type: ignore[arg-type]
        raise Fault

    with pytest.raises(Fault):
        await register.write(broken)
    assert register.reader.all("SELECT * FROM jobs") == []
    assert not blocked_keys.is_blocked(register.reader, KEY)
    await prove(register)
    rows = register.reader.all("SELECT kind, subject FROM jobs")
    assert [(row["kind"], row["subject"]) for row in rows] == [("block-key", KEY.hex())]


async def test_a_certificate_that_is_signed_at_that_moment_is_revoked_when_it_is_stored(
    register: Database,
) -> None:
    await reserve(register, reservation(1, spki_sha256=KEY))
    assert (await prove(register)).revoked == ()
    await register.write(lambda tx: certificates.store(tx, "id1", b"der", NOW, b"\x01" * 32, []))
    assert reason(register, (1).to_bytes(16, "big")) == 1


async def test_a_key_of_no_certificate_can_be_blocked_before_anybody_asks_for_one(register: Database) -> None:
    assert await prove(register) == compromise.Consequences(True, (), ())
    assert blocked_keys.is_blocked(register.reader, KEY)


async def test_the_certificate_that_was_named_is_revoked_even_when_it_has_expired(register: Database) -> None:
    expired = await issue(register, 1, spki_sha256=KEY, not_before=NOW - DAY, not_after=NOW - 1)
    await register.write(lambda tx: compromise.prove_of_certificate(tx, expired, "shown"))
    assert reason(register, expired) == 1


@pytest.mark.clause("CPS 5.7.4")
async def test_of_a_certificate_whose_key_a_restore_lost_nothing_follows_for_others_without_one(
    register: Database,
) -> None:
    one, other = [await issue(register, number, spki_sha256=b"") for number in (1, 2)]
    for serial in (one, other):
        await register.write(lambda tx, serial=serial: revocations.revoke(tx, serial, 4, "a CRL"))
    await register.write(lambda tx: compromise.prove_of_certificate(tx, one, "an operator's finding"))
    assert (reason(register, one), reason(register, other)) == (1, 4)
    assert blocked_keys.all_blocked(register.reader) == []
    with pytest.raises(revocations.AlreadyRevoked):
        await register.write(lambda tx: compromise.prove_of_certificate(tx, one, "again"))
