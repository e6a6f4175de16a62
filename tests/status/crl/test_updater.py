"""status/crl/updater.py"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from cryptography import x509

from core import revocations
from core.errors import Refused, TransientError
from core.settings import Status
from repo_static.store import NotPublished, Store
from signer.api import CrlRequest, SignedCrl
from tests.support.software_vault import DAY

ALL = ["crl/ec1-0.crl", "crl/local1-0.crl", "crl/rsa1-0.crl"]


def crl(house: Any, name: str = "crl/ec1-0.crl") -> x509.CertificateRevocationList:
    content = Store(house.data.repository).read(name)
    assert content is not None
    return x509.load_der_x509_crl(content)


def number(house: Any, name: str = "crl/ec1-0.crl") -> int:
    return crl(house, name).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(house: Any, name: str = "crl/ec1-0.crl") -> set[bytes]:
    return {each.serial_number.to_bytes(16, "big") for each in crl(house, name)}


@pytest.mark.clause("BR 4.9.7")
async def test_every_issuer_has_a_crl_after_the_first_update(house: Any) -> None:
    assert sorted(await house.updater().update()) == ALL
    assert number(house) == 1
    assert crl(house).next_update_utc.timestamp() == house.clock.now() + house.settings.status.crl_validity


async def test_nothing_is_issued_before_it_is_due(house: Any) -> None:
    updater = house.updater()
    await updater.update()
    house.clock.at += house.settings.status.crl_refresh - 1
    assert await updater.update() == []
    house.clock.at += 1
    assert sorted(await updater.update()) == ALL


async def test_a_revocation_makes_its_own_crl_due_and_no_other(house: Any) -> None:
    updater = house.updater()
    serial, _ = await house.issue("ec1"), await house.issue("rsa1")
    await updater.update()
    await house.revoke(serial, 1)
    assert await updater.update() == ["crl/ec1-0.crl"]
    (entry,) = crl(house)
    assert entry.serial_number.to_bytes(16, "big") == serial
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "keyCompromise"
    assert await updater.update() == []


async def test_a_changed_reason_makes_the_crl_due(house: Any) -> None:
    updater = house.updater()
    serial = await house.issue()
    await house.revoke(serial, 0)
    await updater.update()
    await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    assert await updater.update() == ["crl/ec1-0.crl"]


@pytest.mark.clause("BR 4.9.5")
async def test_the_time_of_publication_is_recorded(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial)
    house.clock.at += 7
    await house.updater().update()
    revocation = revocations.status_of(house.reader, serial).revocation
    assert revocation.published_at == house.clock.now()


async def test_each_crl_is_recorded_with_its_digest_and_audited(house: Any) -> None:
    await house.updater().update()
    content = Store(house.data.repository).read("crl/ec1-0.crl")
    digest = hashlib.sha256(content).digest()
    row = house.reader.one("SELECT * FROM crls WHERE issuer_id = 'ec1'")
    assert (row["number"], row["sha256"], row["this_update"]) == (1, digest, house.clock.now())
    records = house.reader.all("SELECT content FROM audit WHERE kind = 'crl'")
    assert sum(digest.hex() in each["content"] for each in records) == 1


@pytest.mark.clause("RFC 5280 section 5.2.3")
async def test_numbers_rise_also_when_an_attempt_failed(house: Any) -> None:
    updater = house.updater()
    await updater.update()
    house.vault.away = True
    with pytest.raises(TransientError):
        await updater.update(force=True)
    house.vault.away = False
    await updater.update(force=True)
    assert number(house) == 3
    asked = [each.number for each in house.vault.crl_requests if each.issuer_id == "ec1"]
    assert asked == sorted(set(asked))


async def test_a_locked_vault_costs_no_number(house: Any) -> None:
    updater = house.updater()
    await updater.update()
    house.vault.locked = True
    for _ in range(3):
        with pytest.raises(TransientError, match=r"2 of 3 people must run `acme-server activate`"):
            await updater.update(force=True)
    assert house.reader.one("SELECT COUNT(*) AS n FROM crls")["n"] == len(ALL)
    house.vault.locked = False
    await updater.update(force=True)
    assert number(house) == 2


@pytest.mark.clause("BR 7.2: CRLNumber rises across restores")
async def test_numbers_rise_past_the_public_file_after_an_old_backup(house: Any) -> None:
    for _ in range(3):
        await house.updater().update(force=True)
    await house.database.write(lambda tx: tx.execute("DELETE FROM crls").rowcount)
    await house.updater().update()
    assert number(house) == 4


async def test_a_crash_before_publication_is_repaired_at_the_next_start(house: Any) -> None:
    await house.updater().update()
    path = house.data.repository / "crl/ec1-0.crl"
    path.unlink()
    assert await house.updater().update() == ["crl/ec1-0.crl"]
    assert number(house) == 2


async def test_a_crash_between_publication_and_record_is_repaired(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial)
    await house.updater().update()
    await house.database.write(
        lambda tx: (
            tx.execute(
                "UPDATE crls SET sha256 = x'', this_update = 0, next_update = 0, revocation_version = 0"
            ).rowcount,
            tx.execute("UPDATE revocations SET published_at = NULL").rowcount,
        )
    )
    assert sorted(await house.updater().update()) == ALL
    assert number(house) == 2
    assert revocations.status_of(house.reader, serial).revocation.published_at is not None


@pytest.mark.clause("BR 4.10.1")
async def test_an_entry_stays_until_once_on_a_crl_after_expiry(house: Any) -> None:
    updater = house.updater()
    serial = await house.issue(days=1)
    await house.revoke(serial)
    await updater.update()
    house.clock.at += DAY + 1
    await updater.update()
    assert serials(house) == {serial}
    house.clock.at += DAY
    await updater.update()
    assert serials(house) == set()


async def test_a_certificate_revoked_and_expired_between_two_crls_is_on_one(house: Any) -> None:
    updater = house.updater()
    serial = await house.issue(days=1)
    await updater.update()
    house.clock.at += DAY - 10
    await house.revoke(serial)
    house.clock.at += DAY
    house.vault.away = True
    with pytest.raises(TransientError):
        await updater.update()
    house.vault.away = False
    house.clock.at += DAY
    await updater.update()
    assert serials(house) == {serial}


class TestWithShards:
    @pytest.fixture
    def status_settings(self) -> Status:
        return Status(crl_shards=3)

    @pytest.mark.clause("BR 7.2.2.1")
    async def test_the_shards_are_disjoint_and_together_hold_everything(self, house: Any) -> None:
        house.vault.shard_base = house.settings.repository.base_url
        revoked = [await house.issue(shard=n % 3) for n in range(7)]
        for serial in revoked:
            await house.revoke(serial)
        await house.updater().update()
        shards = [serials(house, f"crl/ec1-{n}.crl") for n in range(3)]
        assert sum(map(len, shards)) == len(revoked)
        assert set().union(*shards) == set(revoked)

    @pytest.mark.clause("RFC 5280 section 5.2.5")
    @pytest.mark.clause("BR 7.2.2.1")
    async def test_a_full_crl_becomes_the_first_shard_at_once_when_others_are_added(self, house: Any) -> None:
        house.vault.shard_base = None
        await house.database.write(lambda tx: tx.execute("UPDATE issuers SET crl_shards = 1").rowcount)
        old = await house.issue()
        await house.revoke(old)
        updater = house.updater()
        await updater.update()
        assert Store(house.data.repository).names("crl") == ALL
        # A CRL without an IDP speaks for all certificates of its issuer: it may not outlive that by a minute.
        house.vault.shard_base = house.settings.repository.base_url
        await house.database.write(lambda tx: tx.execute("UPDATE issuers SET crl_shards = 3").rowcount)
        assert len(await updater.update()) == 9
        assert serials(house) == {old}  # its CRLDP names the URL of the first shard, as it always did
        point = crl(house).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert point.critical
        assert [each.value for each in point.value.full_name] == [
            f"{house.settings.repository.base_url}/crl/ec1-0.crl"
        ]
        assert number(house) == 2

    @pytest.mark.clause("BR 7.2.2.1")
    @pytest.mark.parametrize("base", [None, "http://elsewhere.example"])
    async def test_a_shard_that_does_not_name_its_own_url_is_not_published(
        self, house: Any, base: Any
    ) -> None:
        house.vault.shard_base = base
        with pytest.raises(Refused, match="scope"):
            await house.updater().update()
        assert Store(house.data.repository).names("crl") == []


@pytest.mark.clause("BR 7.2.2.1")
async def test_a_full_crl_that_names_a_distribution_point_is_not_published(house: Any) -> None:
    house.vault.shard_base = house.settings.repository.base_url
    with pytest.raises(Refused, match="scope"):
        await house.updater().update()
    assert Store(house.data.repository).names("crl") == []


async def test_a_crl_of_an_older_revocation_version_never_replaces_a_newer_one(house: Any) -> None:
    """Two updaters, one of them paused in the vault with the older entries."""
    serial = await house.issue()
    house.vault.gate = asyncio.Event()
    slow = asyncio.create_task(house.updater().update())
    await house.vault.waiting.wait()
    await house.revoke(serial)
    gate, house.vault.gate = house.vault.gate, None
    await house.updater().update()
    assert serials(house) == {serial}
    gate.set()
    with pytest.raises(NotPublished):
        await slow
    assert serials(house) == {serial}


class TestRun:
    @pytest.fixture
    def status_settings(self) -> Status:
        return Status(crl_delay=0)

    async def test_a_wake_up_brings_the_revocation_to_the_public(self, house: Any) -> None:
        updater = house.updater()
        running = asyncio.create_task(updater.run())
        serial = await house.issue()
        await house.revoke(serial)
        updater.wake()
        async with asyncio.timeout(10):
            while house.reader.one("SELECT 1 FROM revocations WHERE published_at IS NULL") is not None:
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert serials(house) == {serial}


async def test_the_index_page_tells_the_new_crl(house: Any) -> None:
    await house.updater().update()
    page = (house.data.repository / "index.html").read_text()
    assert "crl/ec1-0.crl" in page


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.parametrize("code", ["issuer.ended", "issuer.destroyed"])
async def test_the_crls_of_an_issuer_that_ended_are_issued_no_more_and_hinder_no_other(
    house: Any, code: str
) -> None:
    sign = house.vault.sign_crl

    async def refuse_ec1(request: CrlRequest) -> SignedCrl:
        if request.issuer_id == "ec1":
            raise Refused(code, "no more")
        return await sign(request)  # type: ignore[no-any-return]

    updater = house.updater()
    await updater.update()
    before = Store(house.data.repository).read("crl/ec1-0.crl")
    house.vault.sign_crl = refuse_ec1
    others = [name for name in ALL if name != "crl/ec1-0.crl"]
    for _ in range(2):
        house.clock.at += house.settings.status.crl_refresh
        assert sorted(await updater.update()) == others
    # The last one stays, and only one number was lost to learning of the end.
    assert Store(house.data.repository).read("crl/ec1-0.crl") == before
    rows = house.database.reader.all("SELECT number FROM crls WHERE issuer_id = 'ec1'")
    assert len(rows) == 2
