"""signer/vault/judgement/blocked.py: keys that the vault refuses whatever anybody's database says."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.blocklist import Blocklist
from core.clock import FakeClock
from core.database import Database
from core.errors import Refused, TransientError
from core.public_keys import number
from core.settings import Ca, Rules, Settings
from signer import api
from signer.api import BlockKeyRequest, IssueRequest
from signer.blocking import BlockKeyJob
from signer.vault.judgement.blocked import RefusedKeys
from signer.vault.record.journal import Journal
from tests.signer.vault.test_service import World, _world, request
from tests.support.software_ca import NOW, private_key, spki

KEY = spki(private_key("ec-p256"))
DIGEST = hashlib.sha256(KEY).digest()
pytestmark = pytest.mark.clause("BR 6.1.1.3")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, Settings(ca=Ca(rules=Rules.PUBLIC)))
    yield made
    made.journal.close()


async def block(world: World, digest: bytes = DIGEST) -> None:
    await world.service.block_key(BlockKeyRequest(digest))


async def test_a_blocked_key_is_certified_no_more(world: World) -> None:
    await world.service.prepare(request())
    await block(world)
    with pytest.raises(Refused, match=r"key\.blocked: .*make a new one"):
        await world.service.prepare(request())
    (entry,) = (await world.service.journal(api.JournalRequest(0))).entries
    assert (entry.kind, entry.tbs, entry.issuance_id) == (
        "blocked-key",
        DIGEST,
        f"blocked-key:{DIGEST.hex()}",
    )


async def test_what_was_prepared_before_its_key_was_blocked_is_not_signed(world: World) -> None:
    prepared = await world.service.prepare(request())
    await block(world)
    with pytest.raises(Refused, match=r"key\.blocked"):
        await world.service.issue(IssueRequest(prepared.token))
    assert world.journal.sequence == 1


async def test_what_was_prepared_before_its_key_was_listed_is_not_signed(tmp_path: Path) -> None:
    path = tmp_path / "list.dat"
    path.write_bytes(b"another key    \x07")
    made = _world(tmp_path, Settings(ca=Ca(rules=Rules.PUBLIC)))
    listed = Blocklist(str(path))
    made.service._refused_keys = RefusedKeys(frozenset(), made.journal, listed)
    try:
        prepared = await made.service.prepare(request())
        path.write_bytes(hashlib.sha256(number(KEY)).digest()[:15] + b"\x07")
        assert await listed.reload()
        with pytest.raises(Refused, match=r"key\.listed"):
            await made.service.issue(IssueRequest(prepared.token))
        assert made.journal.sequence == 0
    finally:
        made.journal.close()
        listed.close()


async def test_other_keys_go_on(world: World) -> None:
    await block(world, hashlib.sha256(b"another").digest())
    prepared = await world.service.prepare(request())
    await world.service.issue(IssueRequest(prepared.token))


async def test_a_restarted_vault_remembers_without_being_told(world: World, tmp_path: Path) -> None:
    await block(world)
    again = Journal(tmp_path / "journal", FakeClock(NOW))
    try:
        refused = RefusedKeys(frozenset(), again, Blocklist())
        with pytest.raises(Refused, match=r"key\.blocked"):
            refused.must_not_be(KEY)
    finally:
        again.close()


async def test_blocking_twice_is_one_entry_and_a_wrong_hash_none(world: World) -> None:
    await block(world)
    await block(world)
    with pytest.raises(Refused, match=r"key\.hash"):
        await block(world, b"short")
    assert world.journal.sequence == 1


@pytest.mark.clause("RFC 8555 section 11.1")
async def test_a_key_of_the_ca_itself_is_refused(world: World) -> None:
    refused = RefusedKeys(frozenset({KEY}), world.journal, Blocklist())
    with pytest.raises(Refused, match=r"key\.own"):
        refused.must_not_be(KEY)


async def test_a_key_on_the_operators_list_is_refused(world: World, tmp_path: Path) -> None:
    path = tmp_path / "list.dat"
    path.write_bytes(hashlib.sha256(number(KEY)).digest()[:15] + b"\x07")
    listed = Blocklist(str(path))
    try:
        with pytest.raises(Refused, match=r"key\.listed"):
            RefusedKeys(frozenset(), world.journal, listed).must_not_be(KEY)
    finally:
        listed.close()


class Away:
    """A vault that does not answer at first."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.away = True

    async def block_key(self, spki_sha256: bytes) -> None:
        if self.away:
            raise TransientError("away")
        self.told.append(spki_sha256)


async def test_the_job_stays_until_the_vault_has_the_key(database: Database) -> None:
    from core import blocked_keys

    vault = Away()
    job = BlockKeyJob(database, vault)  # type: ignore[arg-type]
    await database.write(lambda tx: blocked_keys.block(tx, DIGEST, "shown"))
    with pytest.raises(TransientError):
        await job(DIGEST.hex())
    assert len(database.reader.all("SELECT * FROM jobs")) == 1
    vault.away = False
    await job(DIGEST.hex())
    assert vault.told == [DIGEST]
    assert database.reader.all("SELECT * FROM jobs") == []
