"""The vault's process: OCSP answers and CRLs, each judged for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from core.clock import SystemClock
from core.errors import Refused
from core.randomness import SystemRandomness
from signer import api, serials
from signer.client import Vault
from tests.signer.vault.server.requests import DAY, sequence


@pytest.mark.clause("BR 4.9.10")
async def test_of_many_statuses_in_one_call_each_is_judged_for_itself(vault: Vault) -> None:
    now = SystemClock().now()
    revoked = [
        api.OcspRequest(issuer, serials.draw(SystemRandomness()), hash_name, now, now + DAY, now, 1)
        for issuer in ("ec-1", "rsa-1")
        for hash_name in ("sha1", "sha256")
        for _ in range(10)
    ]
    unassigned = replace(revoked[0], revoked_at=None, reason=None)
    late = replace(revoked[1], this_update=now + 60, next_update=now + DAY)
    asked = [revoked[0], unassigned, *revoked[1:30], late, *revoked[30:]]
    outcomes = await vault.sign_ocsp_batch(asked)
    assert "ocsp.unassigned" in outcomes[1].refused
    assert "status.this-update" in outcomes[31].refused
    for wanted, outcome in zip(asked, outcomes, strict=True):
        if outcome.refused:
            assert not outcome.der
            continue
        answer = ocsp.load_der_ocsp_response(outcome.der)
        assert answer.serial_number == int.from_bytes(wanted.serial)
        assert answer.hash_algorithm.name == wanted.hash_name
        public_key = answer.certificates[0].public_key()
        public_key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))  # type: ignore[arg-type, union-attr]
    assert sum(not outcome.refused for outcome in outcomes) == len(revoked)


async def test_more_statuses_than_a_batch_holds_are_refused(vault: Vault) -> None:
    now = SystemClock().now()
    one = api.OcspRequest("ec-1", b"\x01" * 17, "sha1", now, now + DAY, now, 1)
    with pytest.raises(Refused, match=r"ocsp\.batch"):
        await vault.sign_ocsp_batch([one] * 1001)


async def test_a_status_from_the_future_is_refused(vault: Vault) -> None:
    now = SystemClock().now() + 60
    with pytest.raises(Refused, match=r"status\.this-update"):
        await vault.sign_ocsp(api.OcspRequest("ec-1", b"\x01" * 17, "sha1", now, now + DAY, None, None))


@pytest.mark.clause("RFC 5280 section 5.2.3")
async def test_the_number_of_a_crl_rises_within_its_scope(vault: Vault) -> None:
    now = SystemClock().now()

    async def sign(number: int) -> x509.CertificateRevocationList:
        wanted = api.CrlRequest("rsa-1", 0, number, now, now + DAY, ())
        return x509.load_der_x509_crl((await vault.sign_crl(wanted)).whole())

    found = await sign(7)
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    before = await sequence(vault)
    for number in (7, 6, 0):
        with pytest.raises(Refused, match=r"crl\.number"):
            await sign(number)
    assert await sequence(vault) == before
    await sign(8)


async def test_an_unknown_shard_is_refused(vault: Vault) -> None:
    now = SystemClock().now()
    with pytest.raises(Refused, match=r"crl\.shard"):
        await vault.sign_crl(api.CrlRequest("ec-1", 1, 1, now, now + DAY, ()))
