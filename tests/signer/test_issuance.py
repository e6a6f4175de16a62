"""The issuance cycle against a vault of memory: what the register holds, however the cycle ends."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from core import blocked_keys, certificates, revocations
from core.database import Database, Transaction
from core.errors import HaltIssuance, Refused, TransientError
from core.settings import Status as StatusSettings
from signer.issuance import Issuance
from tests.support.database import NOW
from tests.support.memory_vault import (
    ACTIVE,
    APPROVED,
    SETTINGS,
    Finished,
    MemoryVault,
    issuance_with,
    states,
)
from tests.support.software_ca import private_key, spki


async def test_an_approved_request_ends_in_the_register_and_is_finished_in_the_same_transaction(
    issuance: Issuance, database: Database
) -> None:
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert finished.ids == [id]
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert row.certificate is not None
    assert row.versions == {
        "terms": "1",
        "cps": "1.0",
        "profile": "tlsserver",
        "linter": "lint 1",
        "software": row.versions["software"],
    }


@pytest.mark.clause("BR 6.3.2")
async def test_the_validity_is_the_profiles_counted_with_both_ends(
    issuance: Issuance, database: Database
) -> None:
    row = certificates.by_id(database.reader, await issuance.issue(APPROVED, Finished()))
    assert row is not None
    assert row.not_before == NOW - 60
    assert row.not_after - row.not_before + 1 == SETTINGS.profiles["tlsserver"].validity


@pytest.mark.parametrize(("algorithm", "issuer_id"), [("rsa-2048", "rsa-1"), ("ec-p384", "ec-1")])
async def test_the_issuer_is_of_the_family_of_the_subscribers_key(
    issuance: Issuance, database: Database, algorithm: str, issuer_id: str
) -> None:
    approved = replace(APPROVED, public_key=spki(private_key(algorithm)))
    row = certificates.by_id(database.reader, await issuance.issue(approved, Finished()))
    assert row is not None
    assert row.issuer_id == issuer_id


@pytest.mark.clause("BR 7.1.2.7")
async def test_serial_numbers_are_positive_and_hold_128_random_bits(
    issuance: Issuance, database: Database
) -> None:
    for number in range(20):
        await issuance.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
    serials = [row["serial"] for row in database.reader.all("SELECT serial FROM certificates")]
    assert {len(serial) for serial in serials} == {17}
    assert all(0 < serial[0] < 0x80 for serial in serials)
    assert len({serial[1:5] for serial in serials}) == 20


async def test_crl_shards_are_all_used(vault: MemoryVault, database: Database) -> None:
    sharded = issuance_with(vault, database, replace(SETTINGS, status=StatusSettings(crl_shards=2)))
    await sharded.reconcile()
    for number in range(16):
        await sharded.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
    shards = {row[0] for row in database.reader.all("SELECT crl_shard FROM certificates")}
    assert shards == {0, 1}


async def test_a_repeated_call_gives_the_same_certificate(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    id = await issuance.issue(APPROVED, Finished())
    signatures = len(vault.entries)
    assert await issuance.issue(APPROVED, Finished()) == id
    assert len(vault.entries) == signatures
    assert states(database) == ["issued"]


async def test_a_refusal_leaves_an_abandoned_serial_and_is_passed_on(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare", Refused("evidence.missing", "none"))
    finished = Finished()
    with pytest.raises(Refused, match=r"evidence\.missing"):
        await issuance.issue(APPROVED, finished)
    assert states(database) == ["abandoned"]
    assert finished.ids == []
    assert vault.entries == []


async def test_an_unknown_profile_is_refused_before_a_serial_is_drawn(
    issuance: Issuance, database: Database
) -> None:
    with pytest.raises(Refused, match=r"profile\.unknown"):
        await issuance.issue(replace(APPROVED, profile="none"), Finished())
    assert states(database) == []


async def test_a_vault_that_is_away_leaves_the_request_to_be_repeated(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare", TransientError("away"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == ["reserved"]
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned", "issued"]


@pytest.mark.clause("house: the crash rule")
async def test_no_intent_means_a_new_serial_and_the_old_one_unused(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("issue", TransientError("killed before the intent"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["abandoned", "issued"]
    abandoned = certificates.by_request(database.reader, "order-1")[0]
    assert revocations.status_of(database.reader, abandoned.serial) is None
    assert finished.ids == [id]


@pytest.mark.clause("house: the crash rule")
async def test_an_intent_without_result_counts_as_issued_and_is_revoked(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("intent", TransientError("killed while it signed"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["lost", "issued"]
    lost, issued = certificates.by_request(database.reader, "order-1")
    status = revocations.status_of(database.reader, lost.serial)
    assert status is not None
    assert status.revocation is not None
    assert finished.ids == [id] == [issued.id]
    assert lost.serial != issued.serial


@pytest.mark.clause("house: the crash rule")
async def test_a_result_that_never_arrived_is_fetched_and_delivered(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("result", TransientError("killed before it answered"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["issued"]
    assert finished.ids == [id]
    assert len(vault.entries) == 2
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert row.lint == {"linters": ["lint 1"], "findings": ["warning odd"], "lint_set": "public leaf"}


async def test_a_finish_that_fails_stores_nothing_and_the_next_call_delivers(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    def failing(tx: Transaction, id: str) -> None:
        raise TransientError("the order's table is away")

    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, failing)
    assert states(database) == ["reserved"]
    finished = Finished()
    await issuance.issue(APPROVED, finished)
    assert states(database) == ["issued"]
    assert len(finished.ids) == 1
    assert len(vault.entries) == 2


async def test_a_vault_that_forgot_what_it_prepared_is_asked_again(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("issue", Refused("token.unknown", "restarted"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned", "issued"]


@pytest.mark.parametrize("where", ["prepare", "issue", "intent", "result"])
@pytest.mark.parametrize("again", ["prepare", "issue", "intent", "result", "recall", ""])
@pytest.mark.clause("house: the crash rule")
async def test_after_any_two_crashes_one_certificate_is_delivered_and_every_used_serial_is_known(
    vault: MemoryVault, database: Database, where: str, again: str
) -> None:
    finished = Finished()
    vault.fault(where, TransientError("killed"))
    if again:
        vault.fault(again, TransientError("killed again"))
    for _ in range(5):
        issuance = issuance_with(vault, database)
        try:
            await issuance.reconcile()
            id = await issuance.issue(APPROVED, finished)
            break
        except TransientError:
            continue
    assert set(finished.ids) == {id}
    assert states(database).count("issued") == 1
    assert "reserved" not in states(database)
    for entry in vault.entries:
        status = revocations.status_of(database.reader, entry.serial)
        assert status is not None
        row = certificates.by_serial(database.reader, entry.serial)
        assert row is not None
        assert (row.id == id) is (status.revocation is None)


async def test_requests_at_once_get_a_certificate_each(issuance: Issuance, database: Database) -> None:
    finished = Finished()
    ids = await asyncio.gather(
        *(issuance.issue(replace(APPROVED, request_id=f"order-{number}"), finished) for number in range(20))
    )
    assert len(set(ids)) == 20
    assert sorted(ids) == sorted(finished.ids)


@pytest.mark.clause("house: the crash rule")
async def test_what_an_ended_request_left_behind_is_settled_and_revoked(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("result", TransientError("killed before it answered"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    vault.fault("recall", TransientError("still away"))
    ended: list[Transaction] = []
    with pytest.raises(TransientError):
        await issuance.withdraw("order-1", None, ended.append)
    assert (states(database), ended) == (["reserved"], [])
    for _ in range(2):
        await issuance.withdraw("order-1", None, ended.append)
    assert (states(database), len(ended)) == (["issued"], 2)
    status = revocations.status_of(database.reader, vault.entries[0].serial)
    assert status is not None
    assert status.revocation is not None
    assert "delivered to nobody" in status.revocation.cause


async def test_withdrawing_leaves_the_delivered_certificate_alone(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    id = await issuance.issue(APPROVED, Finished())
    await issuance.withdraw("order-1", id, lambda tx: None)
    status = revocations.status_of(database.reader, vault.entries[0].serial)
    assert status is not None
    assert status.revocation is None


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_was_blocked_after_the_approval_is_not_certified(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    digest = hashlib.sha256(APPROVED.public_key).digest()
    await database.write(lambda tx: blocked_keys.block(tx, digest, "found on the net"))
    with pytest.raises(Refused, match=r"key\.blocked"):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == []
    assert vault.entries == []


async def test_an_issuer_that_was_retired_meanwhile_costs_a_try_and_not_the_order(
    vault: MemoryVault, issuance: Issuance, database: Database
) -> None:
    vault.fault("prepare", Refused("issuer.state", "issuing CA ec-1 is retired"))
    with pytest.raises(TransientError, match="once more"):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned"]
    asked = vault.asked.count("describe")
    await issuance.issue(APPROVED, Finished())
    assert vault.asked.count("describe") == asked + 1, "it asks which issuing CA signs now"
    assert states(database) == ["abandoned", "issued"]


async def test_while_the_vault_is_locked_or_halted_no_row_is_reserved_however_often_it_is_tried(
    issuance: Issuance, database: Database, vault: MemoryVault
) -> None:
    for state, error in (
        (replace(ACTIVE, locked=True), TransientError),
        (replace(ACTIVE, halted="root: drill"), HaltIssuance),
    ):
        vault.state = state
        for _ in range(3):
            with pytest.raises(error):
                await issuance.issue(APPROVED, Finished())
        assert states(database) == []
    vault.state = ACTIVE
    await issuance.issue(APPROVED, Finished())


async def test_a_vault_that_was_locked_meanwhile_costs_one_abandoned_row_and_no_more(
    issuance: Issuance, database: Database, vault: MemoryVault
) -> None:
    await issuance.issue(replace(APPROVED, request_id="before"), Finished())
    vault.state = replace(ACTIVE, locked=True)
    vault.fault("prepare", TransientError("the vault is locked"))
    for _ in range(3):
        with pytest.raises(TransientError):
            await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned"]
    vault.state = ACTIVE
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned", "issued"]
