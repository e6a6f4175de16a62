"""What the front hands to the vault is what the subscriber signed: the vault's own judgement accepts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import Refused
from core.settings import Settings
from signer.api import LeafRequest
from signer.issuance import Approved
from signer.vault.judgement.applicant import thumbprints
from tests.support.acme_client import AcmeClient, b64, csr, ec_key, thumbprint
from tests.support.acme_front import Front, running

NAME = "www.example.com"


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_the_vault_accepts_the_finalize_request_as_the_front_kept_it(
    front: Front, subscriber: AcmeClient
) -> None:
    await front.issued(subscriber, NAME, "*.example.com")
    assert thumbprints(_request(front.issuance.approved[-1])) == {thumbprint(subscriber.key)}


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_an_order_that_was_validated_with_older_keys_is_still_the_accounts(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    keys = [subscriber.key, ec_key(ec.SECP384R1()), ec_key()]
    for key in keys[1:]:
        assert (await subscriber.change_key(key)).status == 200
        subscriber.key = key
    await _finish(front, subscriber, order.body["finalize"])
    approved = front.issuance.approved[-1]
    assert thumbprints(_request(approved)) == {thumbprint(key) for key in keys}


async def test_a_change_of_key_long_before_the_validation_is_not_sent_along(
    front: Front, subscriber: AcmeClient
) -> None:
    new = ec_key()
    assert (await subscriber.change_key(new)).status == 200
    subscriber.key = new
    front.clock.at += 3600
    await front.issued(subscriber, NAME)
    applicant = front.issuance.approved[-1].applicant
    assert applicant is not None
    assert applicant.key_changes == ()


async def test_a_key_changed_after_finalize_does_not_disturb_the_order(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    old = thumbprint(subscriber.key)
    await subscriber.post(order.body["finalize"], {"csr": _csr()})
    await subscriber.change_key(ec_key())
    await front.run_jobs()
    assert thumbprints(_request(front.issuance.approved[-1])) == {old}


def _csr() -> str:
    return b64(csr(ec_key(), (NAME,)))


async def _finish(front: Front, subscriber: AcmeClient, url: str) -> None:
    accepted = await subscriber.post(url, {"csr": _csr()})
    assert accepted.status == 200, accepted.body
    await front.run_jobs()


def _request(approved: Approved) -> LeafRequest:
    return LeafRequest(
        issuance_id="1",
        serial=b"\x01" * 16,
        issuer_id="ec-1",
        profile=approved.profile,
        names=approved.names,
        account_url=approved.account_url,
        public_key=approved.public_key,
        not_before=0,
        not_after=0,
        crl_shard=0,
        evidence=approved.evidence,
        applicant=approved.applicant,
    )


@pytest.mark.parametrize(
    ("code", "believed"), [("evidence.account-key", False), ("quorum.not-met", False), ("lint.error", True)]
)
async def test_validations_that_the_vault_does_not_believe_are_not_reused(
    tmp_path: Path, code: str, believed: bool
) -> None:
    def reusing(settings: Settings) -> Settings:
        return replace(settings, acme=replace(settings.acme, authorization_reuse=86400))

    async with running(tmp_path, reusing) as front:
        subscriber = await front.subscriber()
        order = await front.authorized(subscriber, NAME)
        front.issuance.fault = Refused(code, "no")
        await _finish(front, subscriber, order.body["finalize"])
        again = await subscriber.order(NAME)
        assert again.body["status"] == ("ready" if believed else "pending")
