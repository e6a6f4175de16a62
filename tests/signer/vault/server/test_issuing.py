"""The vault's process: which certificates it lets in, and which it refuses."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from core.clock import SystemClock
from core.errors import Refused
from core.randomness import SystemRandomness
from signer import api, serials
from signer.client import Vault
from tests.signer.vault.server.requests import ACCOUNT, DAY, KEY, NAME, issued, request, sequence, spki
from tests.support.hierarchy import LOCAL_KEY, evidence


@pytest.mark.parametrize("issuer_id", ["ec-1", "rsa-1"])
async def test_what_was_prepared_is_signed_by_the_issuer_that_was_asked_for(
    vault: Vault, issuer_id: str
) -> None:
    wanted = request(issuer_id=issuer_id)
    certificate = await issued(vault, wanted)
    description = await vault.describe()
    issuer = next(info for info in description.issuers if info.id == issuer_id)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
    assert certificate.serial_number == int.from_bytes(wanted.serial)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.clause("BR 5.4.1")
async def test_the_journal_holds_the_linted_octets_before_and_the_certificate_after(vault: Vault) -> None:
    before = await sequence(vault)
    wanted = request()
    certificate = await issued(vault, wanted)
    intent, result = (await vault.journal(before)).entries
    assert intent.lint is not None
    assert intent.lint.linters[0].startswith("pkilint ")
    assert result.lint == intent.lint
    assert (intent.kind, intent.serial, intent.tbs) == (
        "intent",
        wanted.serial,
        certificate.tbs_certificate_bytes,
    )
    assert (result.kind, result.issuance_id, result.certificate) == (
        "result",
        wanted.issuance_id,
        certificate.public_bytes(Encoding.DER),
    )


async def test_preparing_alone_leaves_no_trace(vault: Vault) -> None:
    before = await sequence(vault)
    wanted = request()
    await vault.prepare(wanted)
    assert await sequence(vault) == before
    assert await vault.recall(wanted.issuance_id) == api.Recalled(False, None)


def _old_evidence() -> tuple[object, ...]:
    return evidence((NAME,), ACCOUNT, SystemClock().now() - 300 * DAY)


REFUSALS = {
    "an unknown issuer": (lambda: request(issuer_id="none"), "issuer.unknown"),
    "the root as issuer": (lambda: request(issuer_id="root"), "issuer.unknown"),
    "the issuer of our own servers": (lambda: request(issuer_id="local-1"), "issuer.unknown"),
    "an unknown profile": (lambda: request(profile="none"), "profile.unknown"),
    "the profile of our own servers": (lambda: request(profile="local-service"), "profile.unknown"),
    "a validity beyond the profile": (
        lambda: request(not_after=SystemClock().now() + 91 * DAY),
        "profile.validity",
    ),
    "a certificate of last week": (
        lambda: request(not_before=SystemClock().now() - 7 * DAY),
        "profile.",
    ),
    "a serial number of zero": (lambda: request(serial=bytes(17)), "profile.serial"),
    "a negative serial number": (lambda: request(serial=b"\xff" * 16), "profile.serial"),
    "a serial number that is too short": (lambda: request(serial=b"\x01\x02"), "profile.serial"),
    "no name": (lambda: request(names=()), ""),
    "a name that was not validated": (lambda: request(names=(NAME, "x.localhost")), "evidence.missing"),
    "a wildcard on http-01 evidence": (lambda: request(names=(f"*.{NAME}",)), "evidence."),
    "no evidence": (lambda: request(evidence=()), "evidence.missing"),
    "the evidence of another account": (lambda: request(account_url=ACCOUNT + "0"), "evidence.account"),
    "old evidence": (lambda: request(evidence=_old_evidence()), "evidence."),
    "a weak key": (lambda: request(public_key=spki(rsa.generate_private_key(65537, 1024))), ""),
    "a perspective's key": (lambda: request(public_key=spki(LOCAL_KEY)), "key.own"),
    "an issuance id of the vault's own": (lambda: request(issuance_id="crl:ec-1:0:1"), "issuance.name"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_the_vault_refuses_and_its_journal_stays_as_it_is(vault: Vault, case: str) -> None:
    make, code = REFUSALS[case]
    wanted = make()
    before = await sequence(vault)
    with pytest.raises(Refused) as refused:
        await vault.prepare(wanted)
    assert refused.value.code.startswith(code)
    assert await sequence(vault) == before
    assert not (await vault.recall(wanted.issuance_id)).intent


@pytest.mark.clause("BR 6.1.1.3")
async def test_no_key_of_the_ca_itself_is_certified(vault: Vault) -> None:
    description = await vault.describe()
    ders = [description.root, *(info.certificate for info in description.issuers)]
    ders += [responder.certificate for responder in description.responders]
    for der in ders:
        key = x509.load_der_x509_certificate(der).public_key()
        own = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(Refused, match=r"key\.own"):
            await vault.prepare(request(public_key=own))


@pytest.mark.clause("BR 7.1.2.7")
async def test_a_serial_number_is_used_once_whoever_asks_and_whichever_issuer(vault: Vault) -> None:
    first = request()
    await issued(vault, first)
    with pytest.raises(Refused, match=r"serial\.used"):
        await vault.prepare(request(serial=first.serial, issuer_id="rsa-1"))


async def test_of_two_that_were_prepared_with_one_serial_number_one_is_signed(vault: Vault) -> None:
    first = request()
    second = request(serial=first.serial)
    tokens = [(await vault.prepare(each)).token for each in (first, second)]
    before = await sequence(vault)
    outcomes = await asyncio.gather(*(vault.issue(each) for each in tokens), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Issued", "Refused"]
    assert await sequence(vault) == before + 2


async def test_a_token_works_once(vault: Vault) -> None:
    prepared = await vault.prepare(request())
    await vault.issue(prepared.token)
    before = await sequence(vault)
    with pytest.raises(Refused, match=r"token\.unknown"):
        await vault.issue(prepared.token)
    assert await sequence(vault) == before


async def test_an_issuance_is_signed_once(vault: Vault) -> None:
    first = request()
    await issued(vault, first)
    with pytest.raises(Refused, match=r"issuance\.used"):
        await vault.prepare(request(issuance_id=first.issuance_id))


async def test_a_recall_gives_the_certificate_again(vault: Vault) -> None:
    wanted = request()
    prepared = await vault.prepare(wanted)
    issued = await vault.issue(prepared.token)
    assert await vault.recall(wanted.issuance_id) == api.Recalled(True, issued.certificate, prepared.lint)


@pytest.mark.clause("house: the crash rule")
async def test_after_no_intent_was_told_a_late_request_to_issue_is_refused(vault: Vault) -> None:
    wanted = request()
    prepared = await vault.prepare(wanted)
    assert not (await vault.recall(wanted.issuance_id)).intent
    with pytest.raises(Refused, match=r"token\.unknown"):
        await vault.issue(prepared.token)
    assert not (await vault.recall(wanted.issuance_id)).intent


@pytest.mark.must("rfc6960.2.2.signed")
@pytest.mark.must("rfc6960.4.2.1.signature")
@pytest.mark.must("rfc6960.4.2.2.2.designated")
@pytest.mark.must("rfc6960.4.2.2.2.eku")
@pytest.mark.must("rfc6960.4.2.2.2.1.nocheck")
@pytest.mark.must("rfc9919.3.2.2.certs")
@pytest.mark.must("rfc9919.3.2.2.nocheck")
@pytest.mark.clause("RFC 6960 section 4.2.2.2")
@pytest.mark.parametrize("issuer_id", ["ec-1", "rsa-1"])
async def test_a_status_is_signed_by_the_issuers_delegated_responder(vault: Vault, issuer_id: str) -> None:
    now = SystemClock().now()
    wanted = api.OcspRequest(issuer_id, serials.draw(SystemRandomness()), "sha256", now, now + DAY, now, 1)
    answer = ocsp.load_der_ocsp_response((await vault.sign_ocsp(wanted)).der)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.serial_number == int.from_bytes(wanted.serial)
    responder = answer.certificates[0]
    description = await vault.describe()
    issuer = next(info for info in description.issuers if info.id == issuer_id)
    responder.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
    public_key = responder.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(responder.signature_hash_algorithm)
    )  # type: ignore[arg-type]
    assert not responder.extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [*usage] == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    lifetime = responder.not_valid_after_utc - responder.not_valid_before_utc
    assert lifetime < timedelta(days=30)


async def test_a_local_service_certificate_has_the_vaults_own_names_and_issuer(vault: Vault) -> None:
    serial = serials.draw(SystemRandomness())
    der = (await vault.local_service(serial, KEY)).certificate
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    local = (await vault.describe()).issuers[2]
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(local.certificate))
