"""status/crl/issue.py: one CRL, from the register to the public file, and what is refused on the way."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from core import metrics, revocations
from core.errors import Refused
from core.settings import Status
from repo_static.store import Store
from signer.api import CrlBlocks, CrlRequest, SignedCrl
from status.crl import issue
from status.crl.entries import encoded
from tests.status.crl.test_updater import crl, number, serials
from tests.support.software_vault import DAY


class Forger:
    """A vault that signs something else than it was asked for."""

    def __init__(self, honest: Any, forge: Any) -> None:
        self.honest = honest
        self.forge = forge

    async def activation(self) -> Any:
        return await self.honest.activation()

    async def describe(self) -> Any:
        return self.honest.description()

    async def hold_crl_blocks(self, request: CrlBlocks) -> None:
        await self.honest.hold_crl_blocks(request)

    async def sign_crl(self, request: CrlRequest) -> SignedCrl:
        return self.honest.parted(self.forge(self.honest, request), request)  # type: ignore[no-any-return]


def _broken_signature(vault: Any, request: CrlRequest) -> bytes:
    der = bytearray(vault.crl(request))
    der[-1] ^= 1
    return bytes(der)


def _one_entry_more(vault: Any, request: CrlRequest) -> bytes:
    more = encoded([(b"\x01" * 17, request.this_update, 0)])
    digest = hashlib.sha256(more).digest()
    vault.held[digest] = more
    return vault.crl(replace(request, blocks=(digest, *request.blocks)))  # type: ignore[no-any-return]


FORGERIES = {
    "one entry more": _one_entry_more,
    "another issuer": lambda vault, request: vault.crl(request, "rsa1"),
    "a broken signature": _broken_signature,
    "a lower number": lambda vault, request: vault.crl(replace(request, number=request.number - 1)),
    "a missing entry": lambda vault, request: vault.crl(replace(request, blocks=())),
    "an earlier thisUpdate": lambda vault, request: vault.crl(
        replace(request, this_update=request.this_update - 1)
    ),
    "a later nextUpdate": lambda vault, request: vault.crl(
        replace(request, next_update=request.next_update + 1)
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_crl_that_was_not_asked_for_is_not_published(house: Any, forgery: str) -> None:
    await house.updater().update()
    before = Store(house.data.repository).read("crl/ec1-0.crl")
    serial = await house.issue()
    await house.revoke(serial)
    with pytest.raises(Refused, match="crl-mismatch"):
        await house.updater(Forger(house.vault, FORGERIES[forgery])).update()
    assert Store(house.data.repository).read("crl/ec1-0.crl") == before
    assert revocations.status_of(house.reader, serial).revocation.published_at is None
    assert house.reader.one("SELECT count(*) FROM crls WHERE issuer_id = 'ec1' AND sha256 != x''")[0] == 1


async def test_a_vault_that_was_started_anew_is_sent_all_entries_again(house: Any) -> None:
    updater = house.updater()
    serial = await house.issue()
    await house.revoke(serial)
    await updater.update()
    house.vault.held.clear()
    await updater.update(force=True)
    assert serials(house) == {serial}
    # The same number, as nothing was signed under it.
    assert [each.number for each in house.vault.crl_requests if each.issuer_id == "ec1"] == [1, 2, 2]


async def test_what_the_vault_holds_is_not_sent_again(house: Any) -> None:
    updater = house.updater()
    await house.revoke(await house.issue())
    await updater.update()
    sent: list[CrlBlocks] = []
    hold = house.vault.hold_crl_blocks

    async def counted(request: CrlBlocks) -> None:
        sent.append(request)
        await hold(request)

    house.vault.hold_crl_blocks = counted
    await updater.update(force=True)
    house.clock.at += house.settings.status.crl_refresh
    await updater.update()
    assert sent == []


@pytest.mark.clause("RFC 5280 section 5.2.3")
@pytest.mark.clause("requirements 2.62")
async def test_a_number_that_only_the_vaults_journal_remembers_is_passed_in_a_few_tries(house: Any) -> None:
    """Register and public tree were both restored from before 5,000 CRLs."""
    sign, updater, tries = house.vault.sign_crl, house.updater(), 0

    async def sign_above(request: CrlRequest) -> SignedCrl:
        if request.number <= 5000:
            raise Refused("crl.number", "it follows 5000")
        return await sign(request)  # type: ignore[no-any-return]

    house.vault.sign_crl = sign_above
    while Store(house.data.repository).names("crl") == []:
        tries += 1
        assert tries < 15  # at five seconds each
        with contextlib.suppress(Refused):
            await updater.update()
    assert 5000 < number(house) < 20000
    await updater.update(force=True)
    assert number(house) < 20001


@pytest.mark.clause("requirements 2.59")
@pytest.mark.clause("BR 7.2.2")
async def test_an_entry_gets_the_reason_key_compromise_and_keeps_its_time(house: Any) -> None:
    updater = house.updater()
    serial = await house.issue()
    await house.revoke(serial, 4)
    revoked_at = house.clock.now()
    await updater.update()
    house.clock.at += DAY // 2
    await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "the key was shown to us"))
    await updater.update()
    (entry,) = crl(house)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "keyCompromise"
    assert entry.revocation_date_utc.timestamp() == revoked_at


@pytest.mark.clause("requirements 2.64")
async def test_a_precertificate_without_its_certificate_is_on_the_crl(house: Any) -> None:
    serial = await house.precertify()
    await house.revoke(serial)
    await house.updater().update()
    assert serials(house) == {serial}


class TestSize:
    @pytest.fixture
    def status_settings(self) -> Status:
        return Status(crl_size=1000)

    @pytest.mark.clause("requirements 2.63")
    async def test_a_crl_that_grows_too_large_is_an_alarm_with_its_remedy_and_is_published(
        self, house: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        await house.updater().update()
        assert "raise the number of the issuer's CRL shards" not in caplog.text
        revoked = {await house.issue() for _ in range(20)}
        for serial in revoked:
            await house.revoke(serial)
        await house.updater().update()
        assert "raise the number of the issuer's CRL shards" in caplog.text
        # That a revocation is not told would harm more than a CRL that is too large for some.
        assert serials(house) == revoked


@pytest.mark.clause("BR 4.9.5")
async def test_the_time_until_publication_is_measured_for_each_crl(house: Any) -> None:
    def observed() -> tuple[float, float]:
        found = {each.name: each.value for metric in metrics.CRL_WAIT.collect() for each in metric.samples}
        return found["acme_crl_wait_seconds_count"], found["acme_crl_wait_seconds_sum"]

    updater, before = house.updater(), observed()
    await house.revoke(await house.issue())
    house.clock.at += 7
    await updater.update()
    assert observed() == (before[0] + 1, before[1] + 7)


async def test_a_million_revocations_are_marked_page_by_page(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue, "MARKED_AT_ONCE", 2)
    for _ in range(5):
        await house.revoke(await house.issue())
    await house.updater().update()
    assert house.reader.all("SELECT 1 FROM revocations WHERE published_at IS NULL") == []


async def test_one_issuer_that_fails_does_not_stop_the_others(house: Any) -> None:
    def forge(vault: Any, request: CrlRequest) -> bytes:
        return vault.crl(request, "rsa1" if request.issuer_id == "ec1" else None)

    with pytest.raises(Refused):
        await house.updater(Forger(house.vault, forge)).update()
    names = Store(house.data.repository).names("crl")
    assert names == ["crl/local1-0.crl", "crl/rsa1-0.crl"]
