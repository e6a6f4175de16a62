"""status/crl/entries.py: what is kept in memory is what the register says, whatever happened in between."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

import pytest

from core import certificates, revocations
from core.database import Transaction
from core.reader import Reader
from status.crl import entries as module
from status.crl import parts
from status.crl.entries import Block, Entries
from status.crl.scopes import Published, Scope
from tests.support.software_vault import DAY

SCOPE = Scope("ec1", 0, 1, b"")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)


async def renew(
    house: Any, entries: Entries, last: Published | None = None, *, whole: bool = False
) -> list[Block]:
    renewed = entries.renewed(house.reader, SCOPE, last, house.clock.now(), whole=whole)
    return [block async for block in renewed]


def said(entries: Entries) -> list[parts.Entry]:
    return [entry for block in entries.blocks for entry in parts.said(block.octets)]


def in_the_register(house: Any, valid_at: int = 0) -> list[parts.Entry]:
    found = revocations.in_scope(house.reader, "ec1", 0, valid_at)
    return [(each.serial, each.revoked_at, each.reason) for each in found]


async def add(house: Any, count: int, chance: random.Random, days: int = 90) -> None:
    """Certificates with random serial numbers, revoked."""

    def unit(tx: Transaction) -> None:
        for _ in range(count):
            serial = b"\x01" + chance.randbytes(16)
            tx.execute(
                "INSERT INTO certificates (id, serial, issuer_id, crl_shard, state, profile, names,"
                " spki_sha256, not_before, not_after, versions, created_at)"
                " VALUES (?, ?, 'ec1', 0, 'issued', 'p', '[]', x'', 0, ?, '{}', 0)",
                (serial.hex(), serial, tx.now + days * DAY),
            )
            revocations.revoke(tx, serial, chance.choice([0, 1, 3, 4, 5, 9]), "a test")

    await house.database.write(unit)


def publish(tx: Transaction, version: int) -> None:
    tx.execute("UPDATE revocations SET published_at = ? WHERE version <= ?", (tx.now, version))


async def test_blocks_follow_the_register_through_any_history(house: Any) -> None:
    chance, entries = random.Random(5), Entries()
    for number in range(60):
        await add(house, chance.randrange(12), chance)
        house.clock.at += 1
        if number % 7 == 3:
            serial = chance.choice(in_the_register(house) or [(b"", 0, 1)])[0]
            revocation = revocations.of(house.reader, serial)
            if revocation is not None and revocation.reason != 1:
                await house.database.write(
                    lambda tx, serial=serial: revocations.upgrade_reason(tx, serial, "found")
                )
        await renew(house, entries, whole=number % 20 == 19)
        if number % 3:  # a CRL with them became public; now and then that failed
            await house.database.write(lambda tx: publish(tx, entries.version))
        assert said(entries) == in_the_register(house)
        assert entries.version == revocations.version(house.reader)
        assert all(0 < block.count < 2 * module.BLOCK for block in entries.blocks)
        assert len(entries.blocks) <= 1 + entries.count  # no empty ones
    assert len(entries.blocks) > 20


async def test_a_revocation_has_one_block_read_and_no_other(house: Any) -> None:
    chance, entries = random.Random(6), Entries()
    await add(house, 100, chance)
    await renew(house, entries)
    before = {block.sha256 for block in entries.blocks}
    await add(house, 1, chance)
    read = await renew(house, entries)
    assert 1 <= len(read) <= 2
    assert len({block.sha256 for block in entries.blocks} - before) == len(read)


async def test_what_is_read_is_found_in_one_index_and_what_changed_without_looking_at_the_rest(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[str] = []
    original = Reader.plain

    def explained(self: Reader, sql: str, parameters: Any = ()) -> Any:
        found = house.reader.all(f"EXPLAIN QUERY PLAN {sql}", parameters)
        plans.append(" ".join(row["detail"] for row in found))
        return original(self, sql, parameters)

    monkeypatch.setattr(Reader, "plain", explained)
    entries = Entries()
    await add(house, 1, random.Random(10))
    await renew(house, entries)
    await add(house, 1, random.Random(11))
    await renew(house, entries)
    whole, changed = plans[0], plans[1]
    assert "USING COVERING INDEX revocations_by_shard" in whole
    assert "serial>? AND serial<?" in whole
    assert "USING INDEX revocations_unpublished (issuer_id=? AND crl_shard=?)" in changed


async def test_a_change_that_the_next_crl_would_not_find_is_refused(house: Any) -> None:
    await add(house, 1, random.Random(12))
    await house.database.write(lambda tx: publish(tx, 1))
    for column in ("reason = 1", "published_at = 5"):
        with pytest.raises(sqlite3.IntegrityError, match="not published any more"):
            await house.database.write(
                lambda tx, column=column: tx.execute(f"UPDATE revocations SET version = 2, {column}").rowcount
            )
    assert house.reader.one("SELECT version FROM revocations")[0] == 1
    await house.database.write(
        lambda tx: tx.execute("UPDATE revocations SET version = 2, published_at = NULL").rowcount
    )


async def test_a_change_without_a_new_highest_version_is_refused(house: Any) -> None:
    """Whoever answers sees by the newest version alone that anything changed."""
    await add(house, 2, random.Random(13))
    for change in (
        "UPDATE revocations SET reason = 1, published_at = NULL",
        "UPDATE revocations SET reason = 1, version = 2 WHERE version = 1",
        "UPDATE revocations SET revoked_at = 1 WHERE version = 2",
        "INSERT INTO revocations SELECT x'07', issuer_id, crl_shard, not_after, revoked_at, reason, cause, 2,"
        " NULL, changed_at FROM revocations WHERE version = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="a new highest version"):
            await house.database.write(lambda tx, change=change: tx.execute(change).rowcount)
    assert [row[0] for row in house.reader.all("SELECT version FROM revocations ORDER BY 1")] == [1, 2]


async def test_nothing_is_read_when_nothing_changed(house: Any) -> None:
    entries = Entries()
    await add(house, 20, random.Random(7))
    await renew(house, entries)
    assert await renew(house, entries) == []
    read = await renew(house, entries, whole=True)
    assert read == entries.blocks


async def test_a_revocation_in_another_scope_changes_nothing(house: Any) -> None:
    entries = Entries()
    await add(house, 20, random.Random(8))
    await renew(house, entries)
    await house.revoke(await house.issue("rsa1"))
    assert await renew(house, entries) == []


@pytest.mark.clause("BR 4.10.1")
@pytest.mark.clause("requirements 2.64")
@pytest.mark.parametrize(("expired_for", "stands"), [(-1, True), (0, True), (1, False)])
async def test_an_entry_leaves_when_a_crl_after_its_expiry_had_it_to_the_second(
    house: Any, expired_for: int, stands: bool
) -> None:
    serial = await house.issue(days=1)
    not_after = certificates.by_serial(house.reader, serial).not_after
    await house.revoke(serial)
    version = revocations.version(house.reader)
    # The last CRL's thisUpdate: a second before the end, at it, and after it; the last second is still valid.
    last = Published(1, not_after + expired_for, 0, version, b"")
    entries = Entries()
    await renew(house, entries, last)
    assert (entries.count == 1) is stands


@pytest.mark.clause("BR 4.10.1")
async def test_what_was_revoked_after_it_had_expired_is_on_one_crl(house: Any) -> None:
    serial = await house.issue(days=1)
    house.clock.at += 3 * DAY
    last = Published(1, house.clock.now(), 0, revocations.version(house.reader), b"")
    await house.revoke(serial)
    entries = Entries()
    await renew(house, entries, last)
    assert entries.count == 1
    last = Published(2, house.clock.now(), 0, revocations.version(house.reader), b"")
    await renew(house, entries, last, whole=True)
    assert entries.count == 0


async def test_an_encoder_that_errs_is_found_before_anything_is_signed(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = module.encoded
    monkeypatch.setattr(module, "encoded", lambda rows: encode([(s, at + 1, why) for s, at, why in rows]))
    await add(house, 3, random.Random(9))
    with pytest.raises(Exception, match="do not say what the register says"):
        await renew(house, Entries())
