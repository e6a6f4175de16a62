"""Register and vault journal brought together, against a vault of memory."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from core import blocked_keys, certificates, issuers, revocations
from core.certificates import State
from core.database import Database
from core.errors import ConfigurationError, HaltIssuance, TransientError
from core.settings import Status as StatusSettings
from signer import api
from signer.issuance import Issuance
from tests.support.database import opened
from tests.support.memory_vault import APPROVED, LINT, SETTINGS, Finished, MemoryVault, issuance_with, states

_SHARDS = "SELECT crl_shard FROM certificates ORDER BY rowid"


async def test_reconciling_enters_the_issuers_with_their_chain_but_not_the_root(
    issuance: Issuance, database: Database
) -> None:
    known = issuers.issuers(database.reader)
    assert {issuer.id for issuer in known} == {"rsa-1", "ec-1"}
    assert all(issuer.chain.count(b"BEGIN CERTIFICATE") == 1 for issuer in known)


async def test_reconciling_leaves_what_is_under_way_alone(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    held = asyncio.Event()
    released = asyncio.Event()
    prepare = vault.prepare

    async def slow(request: api.LeafRequest) -> api.Prepared:
        held.set()
        await released.wait()
        return await prepare(request)

    vault.prepare = slow  # type: ignore[method-assign]
    task = asyncio.create_task(issuance.issue(APPROVED, Finished()))
    await held.wait()
    await issuance.reconcile()
    assert states(database) == ["reserved"]
    released.set()
    await task
    assert states(database) == ["issued"]


@pytest.mark.clause("BR 4.9.9")
async def test_a_serial_that_only_the_journal_knows_is_entered(vault: MemoryVault, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with opened(tmp_path / "first") as first:
        sharded = replace(SETTINGS, status=StatusSettings(crl_shards=3))
        issuance = issuance_with(vault, first, sharded)
        await issuance.reconcile()
        for number in range(4):
            await issuance.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
        vault.fault("intent", TransientError("killed"))
        with pytest.raises(TransientError):
            await issuance.issue(replace(APPROVED, request_id="order-9"), Finished())
        shards = [each["crl_shard"] for each in first.reader.all(_SHARDS)]
    # The database is lost with all rows, and an empty one takes its place.
    async with opened(tmp_path / "second") as second:
        await issuance_with(vault, second, sharded).reconcile()
        rows = second.reader.all("SELECT id, state FROM certificates ORDER BY rowid")
        assert [row["state"] for row in rows] == ["issued"] * 4 + ["lost"]
        await issuance_with(vault, second, sharded).reconcile()
        assert len(second.reader.all("SELECT id FROM certificates")) == 5
        row = certificates.by_id(second.reader, rows[0]["id"])
        assert row is not None
        assert row.names == APPROVED.names
        assert [each["crl_shard"] for each in second.reader.all(_SHARDS)] == shards
        assert row.spki_sha256 == hashlib.sha256(APPROVED.public_key).digest()


async def test_crl_shards_of_an_issuer_that_is_none_are_refused(
    vault: MemoryVault, database: Database
) -> None:
    wrong = replace(SETTINGS, status=StatusSettings(issuer_crl_shards={"ec-9": 4}))
    with pytest.raises(ConfigurationError, match=r"status\.issuer_crl_shards\.ec-9.*there are "):
        await issuance_with(vault, database, wrong).reconcile()


@pytest.mark.clause("BR 4.9.9")
async def test_the_vaults_own_certificates_are_in_the_register_too(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.responder()
    await issuance.reconcile()
    await issuance.local_service(b"\x42" * 16, APPROVED.public_key)
    rows = database.reader.all("SELECT profile, names, state FROM certificates ORDER BY rowid")
    assert [tuple(row) for row in rows] == [
        ("ocsp-responder", "[]", "issued"),
        ("local-service", '["localhost","::1"]', "issued"),
    ]


@pytest.mark.clause("house: the crash rule")
async def test_a_responder_that_is_being_signed_is_not_taken_for_lost(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.responder()
    result = vault.entries.pop()
    recalled: list[str] = []

    async def recall(issuance_id: str) -> api.Recalled:
        recalled.append(issuance_id)
        return api.Recalled(True, result.certificate, LINT)

    vault.recall = recall  # type: ignore[method-assign]
    await issuance.reconcile()
    row = certificates.by_serial(database.reader, result.serial)
    assert row is not None
    assert row.state is State.ISSUED
    assert recalled == [row.id]


@pytest.mark.clause("house: the crash rule")
async def test_a_journal_that_was_cut_settles_nothing(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    await issuance.issue(replace(APPROVED, request_id="order-0"), Finished())
    await issuance.reconcile()
    vault.fault("intent", TransientError("killed while it signed"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    # Such a journal would say "no intent" of the serial number that was used.
    vault.entries.clear()
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.reconcile()
    assert states(database) == ["reserved"]


@pytest.mark.clause("BR 5.4.1")
async def test_a_journal_that_was_cut_behind_its_anchor_stops_issuance(
    issuance: Issuance, vault: MemoryVault
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    cut = vault.entries.pop()
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.reconcile()
    signed = len(vault.entries)
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.issue(replace(APPROVED, request_id="order-2"), Finished())
    assert len(vault.entries) == signed
    vault.entries.append(cut)
    await issuance.reconcile()
    await issuance.issue(replace(APPROVED, request_id="order-2"), Finished())


async def test_a_journal_that_was_rewritten_before_its_anchor_stops_issuance(
    issuance: Issuance, vault: MemoryVault
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    vault.entries[-1] = replace(vault.entries[-1], hash=b"another")
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.reconcile()


async def test_the_anchor_is_written_only_when_the_journal_grew(
    issuance: Issuance, database: Database
) -> None:
    def anchors() -> int:
        return len(database.reader.all("SELECT 1 FROM audit WHERE kind = 'vault-journal'"))

    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    assert anchors() == 1
    await issuance.reconcile()
    assert anchors() == 1


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_only_the_journal_knows_as_blocked_is_blocked_again(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    key = hashlib.sha256(APPROVED.public_key).digest()
    id = await issuance.issue(APPROVED, Finished())
    entry = replace(vault.entries[-1], sequence=len(vault.entries) + 1, kind="blocked-key", tbs=key)
    vault.entries.append(entry)
    await issuance.reconcile()
    assert blocked_keys.is_blocked(database.reader, key)
    row = certificates.by_id(database.reader, id)
    assert row is not None
    revocation = revocations.of(database.reader, row.serial)
    assert revocation is not None
    assert revocation.reason == revocations.KEY_COMPROMISE
    audited = len(database.reader.all("SELECT * FROM audit WHERE kind = 'key-blocked'"))
    await issuance.reconcile()
    assert len(database.reader.all("SELECT * FROM audit WHERE kind = 'key-blocked'")) == audited == 1
