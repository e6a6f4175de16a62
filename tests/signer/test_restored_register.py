"""signer/reconciliation.py: what the vault's journal knows of a register that was restored from a backup."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from core import blocked_keys, certificates, gaps, jobs, remembered, revocations
from core.certificates import Reservation, State
from core.database import Database
from core.errors import HaltIssuance, TransientError
from signer import api
from signer.issuance import Issuance
from tests.support.database import NOW, opened
from tests.support.memory_vault import APPROVED, Finished, MemoryVault, issuance_with, states

pytestmark = pytest.mark.clause("CPS 5.7.4")


def missing(database: Database) -> list[str]:
    return [gap.subject for gap in gaps.are_open(database.reader)]


def crl(vault: MemoryVault, kind: str, number: int, digest: bytes = b"") -> None:
    sequence = len(vault.entries) + 1
    vault.entries.append(
        api.JournalEntry(
            sequence,
            NOW,
            kind,
            f"crl:ec-1:0:{number}",
            "ec-1",
            b"",
            b"",
            digest,
            None,
            hashlib.sha256(b"%d" % sequence).digest(),
        )
    )


async def test_a_subscribers_certificate_that_only_the_journal_knows_closes_the_ca(
    vault: MemoryVault, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with opened(tmp_path / "first") as first:
        await issuance_with(vault, first).issue(APPROVED, Finished())
        vault.fault("intent", TransientError("killed"))
        with pytest.raises(TransientError):
            await issuance_with(vault, first).issue(replace(APPROVED, request_id="order-2"), Finished())
    async with opened(tmp_path / "second") as second:
        issuance = issuance_with(vault, second)
        await issuance.reconcile()
        assert missing(second) == ["certificates", "revocations"]
        signed = len(vault.entries)
        with pytest.raises(gaps.RegisterBehind, match="acme-server reconcile"):
            await issuance.issue(replace(APPROVED, request_id="order-3"), Finished())
        assert len(vault.entries) == signed
        assert states(second, "order-3") == []
        assert "closed" in issuance.halted


async def test_the_vaults_own_certificates_close_nothing(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.responder()
    await issuance.reconcile()
    await issuance.local_service(b"\x42" * 16, APPROVED.public_key)
    assert missing(database) == []


@pytest.mark.clause("BR 7.2")
async def test_a_crl_number_of_which_no_row_knows_is_used_and_its_crl_is_asked_for(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    await issuance.reconcile()
    for number in (6, 7):
        crl(vault, "crl-intent", number)
        crl(vault, "crl", number, bytes([number]) * 32)
    crl(vault, "crl-intent", 8)
    await issuance.reconcile()
    (row,) = database.reader.all("SELECT MAX(number) AS n FROM crls WHERE issuer_id = 'ec-1' AND shard = 0")
    assert row["n"] == 8
    assert missing(database) == ["crl ec-1-0", "revocations"]
    gap = gaps.are_open(database.reader)[0]
    assert gap.detail["number"] == 7
    assert gap.detail["sha256"] == "07" * 32
    assert "--crl" in gap.remedy


async def test_a_crl_whose_number_was_reserved_here_closes_nothing(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    await issuance.reconcile()
    await database.write(lambda tx: gaps.count_crl(tx, "ec-1", 0, 6))
    crl(vault, "crl-intent", 6)
    crl(vault, "crl", 6, b"6" * 32)
    await issuance.reconcile()
    assert missing(database) == []


async def test_a_journal_that_is_back_opens_the_ca_again(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    cut = vault.entries.pop()
    with pytest.raises(HaltIssuance):
        await issuance.reconcile()
    assert missing(database) == ["journal"]
    vault.entries.append(cut)
    await issuance.reconcile()
    assert missing(database) == []


@pytest.mark.clause("BR 6.1.1.3")
async def test_where_the_journal_is_gone_for_ever_what_it_cannot_tell_counts_as_used(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    vault.fault("intent", TransientError("killed while it signed"))
    with pytest.raises(TransientError):
        await issuance.issue(replace(APPROVED, request_id="order-2"), Finished())
    await database.write(lambda tx: blocked_keys.block(tx, b"k" * 32, "a test"))
    await database.write(lambda tx: jobs.done(tx, blocked_keys.KIND, (b"k" * 32).hex()))
    vault.entries.clear()
    with pytest.raises(HaltIssuance):
        await issuance.reconcile()
    await database.write(
        lambda tx: gaps.close(tx, gaps.JOURNAL, "accepted: the disk burnt", actor="operator ann")
    )
    await issuance.reconcile()
    assert states(database, "order-2") == [State.LOST]
    (row,) = certificates.by_request(database.reader, "order-2")
    assert revocations.of(database.reader, row.serial) is not None
    # The vault of the older journal may have forgotten which keys it refuses.
    assert database.reader.one("SELECT 1 FROM jobs WHERE kind = ?", (blocked_keys.KIND,)) is not None
    await issuance.issue(replace(APPROVED, request_id="order-3"), Finished())
    await issuance.reconcile()
    assert missing(database) == []


@pytest.mark.clause("BR 4.9.10")
async def test_the_journal_completes_what_a_crl_alone_had_told_of(vault: MemoryVault, tmp_path: Path) -> None:
    """As when a person brings a CRL while the vault is away, or before its journal is put back."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with opened(tmp_path / "first") as first:
        id = await issuance_with(vault, first).issue(APPROVED, Finished())
        row = certificates.by_id(first.reader, id)
        assert row is not None
    async with opened(tmp_path / "second") as second:
        issuance = issuance_with(vault, second)
        await issuance.refresh()
        known = Reservation(
            remembered.id_of(row.serial), row.serial, row.issuer_id, 0, None, None, "", (), b"", NOW, NOW, {}
        )
        await second.write(lambda tx: remembered.enter(tx, known))
        await second.write(lambda tx: revocations.revoke(tx, row.serial, 5, "it stands in a CRL"))
        await issuance.reconcile()
        await issuance.reconcile()
        found = certificates.by_id(second.reader, id)
        assert found is not None
        assert (found.state, found.names) == (State.LOST, row.names)
        assert (found.spki_sha256, found.not_after) == (row.spki_sha256, row.not_after)
        revoked = revocations.of(second.reader, row.serial)
        assert revoked is not None
        assert (revoked.reason, revoked.not_after) == (5, row.not_after)
        assert missing(second) == ["revocations"]
        assert issuance.halted  # until a person has looked, and for no fault of the journal
