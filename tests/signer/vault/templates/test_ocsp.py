"""vault/templates/ocsp.py: it writes what `cryptography` writes, and refuses what BR 7.3 forbids."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from core import checks, der
from core.errors import Refused
from signer.api import OcspRequest
from signer.vault.templates import ca_certificates, ocsp
from signer.vault.templates.ca_certificates import PrivateKey, Subject
from signer.vault.tokens import algorithms
from tests.support.software_ca import DAY, NOW, SERIAL, SoftwareCa, private_key, sign, software_ca

REASONS = {
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}
NOT_AFTER = NOW + 30 * DAY - 1
REQUEST = OcspRequest("ec-p256", SERIAL, "sha1", NOW, NOW + 4 * DAY, None, None)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def responder(algorithm: str) -> tuple[PrivateKey, bytes]:
    ca, key = software_ca(algorithm), private_key(algorithm, 3)
    subject = Subject("JP", "Acme Trust", "Acme OCSP")
    return key, ca_certificates.ocsp_responder(ca.certificate, ca.key, key.public_key(), subject, SERIAL, NOW)


def key_hash(certificate: bytes) -> bytes:
    public_key = x509.load_der_x509_certificate(certificate).public_key()
    return x509.SubjectKeyIdentifier.from_public_key(public_key).digest  # type: ignore[arg-type]


def built_by_cryptography(ca: SoftwareCa, request: OcspRequest, algorithm: str) -> x509_ocsp.OCSPResponse:
    key, certificate = responder(algorithm)
    revoked = request.revoked_at is not None
    return (
        x509_ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            ca.issuer.name_hash(request.hash_name),
            ca.issuer.key_hash(request.hash_name),
            int.from_bytes(request.serial, "big"),
            hashes.SHA1() if request.hash_name == "sha1" else hashes.SHA256(),
            x509_ocsp.OCSPCertStatus.REVOKED if revoked else x509_ocsp.OCSPCertStatus.GOOD,
            at(request.this_update),
            at(request.next_update),
            at(request.revoked_at) if request.revoked_at is not None else None,
            REASONS[request.reason] if revoked and request.reason else None,
        )
        .responder_id(x509_ocsp.OCSPResponderEncoding.HASH, x509.load_der_x509_certificate(certificate))
        .certificates([x509.load_der_x509_certificate(certificate)])
        .sign(key, algorithms.for_key(key.public_key()).hash)
    )


@pytest.mark.must("rfc6960.4.2.1.basic")
@pytest.mark.must("rfc6960.4.2.1.der")
@pytest.mark.must("rfc6960.4.2.1.key-hash")
@pytest.mark.must("rfc9919.3.2.1.basic")
@pytest.mark.must("rfc9919.3.2.1.one")
@pytest.mark.must("rfc9919.3.2.1.no-extensions")
@pytest.mark.must("rfc9919.3.2.2.by-key")
@pytest.mark.must("rfc9919.3.2.4.next-update")
@pytest.mark.must("rfc9919.3.2.4.gmt")
@pytest.mark.must("rfc9919.3.2.4.fractions")
@pytest.mark.clause("RFC 6960 section 4.2.1")
@settings(deadline=None)
@given(
    algorithm=st.sampled_from(["rsa-2048", "ec-p256", "ec-p384"]),
    serial=st.integers(1, (1 << 159) - 1).map(der.integer_content),
    hash_name=st.sampled_from(["sha1", "sha256"]),
    validity=st.integers(1, 10 * DAY),
    revoked_at=st.one_of(st.none(), st.integers(NOW - 10**9, NOW)),
    reason=st.sampled_from([None, 0, *REASONS]),
)
def test_the_template_writes_what_the_builder_writes(
    algorithm: str, serial: bytes, hash_name: str, validity: int, revoked_at: int | None, reason: int | None
) -> None:
    ca, (key, certificate) = software_ca(algorithm), responder(algorithm)
    request = OcspRequest(algorithm, serial, hash_name, NOW, NOW + validity, revoked_at, reason)
    oracle = built_by_cryptography(ca, request, algorithm)
    produced_at = (
        int(oracle.produced_at_utc.timestamp())
        if hasattr(oracle, "produced_at_utc")
        else int(oracle.produced_at.replace(tzinfo=UTC).timestamp())
    )
    tbs = ocsp.build_tbs(ca.issuer, key_hash(certificate), NOT_AFTER, (request,), produced_at)
    assert tbs == oracle.tbs_response_bytes
    whole = ocsp.assemble(tbs, algorithms.for_key(key.public_key()).identifier, oracle.signature, certificate)
    assert whole == oracle.public_bytes(Encoding.DER)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_an_assembled_response_verifies_under_its_responder(algorithm: str) -> None:
    ca, (key, certificate) = software_ca(algorithm), responder(algorithm)
    request = replace(REQUEST, issuer_id=algorithm)
    tbs = ocsp.build_tbs(ca.issuer, key_hash(certificate), NOT_AFTER, (request,), NOW)
    own = algorithms.for_key(key.public_key())
    response = x509_ocsp.load_der_ocsp_response(
        ocsp.assemble(tbs, own.identifier, sign(key, tbs), certificate)
    )
    algorithms.verify(key.public_key(), response.signature, response.tbs_response_bytes)
    assert response.serial_number == int.from_bytes(SERIAL, "big")
    assert response.responder_key_hash == key_hash(certificate)
    assert ocsp.responder_key_hash(response.responder_key_hash or b"") != key_hash(certificate)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("ocsp.issuer", {"issuer_id": "another"}),
        ("ocsp.hash", {"hash_name": "md5"}),
        ("ocsp.validity", {"next_update": NOW + 10 * DAY + 1}),
        ("ocsp.validity", {"next_update": NOW}),
        ("ocsp.next-update", {"this_update": NOT_AFTER - DAY, "next_update": NOT_AFTER + 1}),
        ("ocsp.revoked-at", {"revoked_at": NOW + 1}),
        ("ocsp.reason", {"revoked_at": NOW, "reason": 6}),
        ("ocsp.reason", {"revoked_at": NOW, "reason": 2}),
    ],
)
def test_what_the_rules_forbid_is_refused(code: str, change: dict[str, int | str]) -> None:
    with pytest.raises(Refused) as refusal:
        ocsp.build_tbs(software_ca().issuer, bytes(20), NOT_AFTER, (replace(REQUEST, **change),), NOW)  # type: ignore[arg-type]
    assert refusal.value.code == code


@pytest.mark.clause("RFC 6960 section 4.2.1")
def test_of_several_statuses_each_is_written_as_if_it_were_alone() -> None:
    issuer, hash_ = software_ca().issuer, bytes(20)
    statuses = (
        REQUEST,
        replace(REQUEST, serial=b"\x05", hash_name="sha256", revoked_at=NOW - 5, reason=1),
        replace(REQUEST, serial=b"\x06", revoked_at=NOW - 6),
    )
    whole = ocsp.build_tbs(issuer, hash_, NOT_AFTER, statuses, NOW)
    alone = [ocsp.build_tbs(issuer, hash_, NOT_AFTER, (each,), NOW) for each in statuses]
    singles = [[*der.elements(der.only(each, der.SEQUENCE).content)][-1].content for each in alone]
    assert [*der.elements(der.only(whole, der.SEQUENCE).content)][-1].content == b"".join(singles)


def test_the_settings_may_ask_for_no_more_than_the_vault_signs() -> None:
    assert checks.MAX_ASKED == ocsp.MAX_STATUSES


@pytest.mark.parametrize("count", [0, ocsp.MAX_STATUSES + 1])
def test_none_or_too_many_statuses_are_refused(count: int) -> None:
    with pytest.raises(Refused, match=r"ocsp\.count"):
        ocsp.build_tbs(software_ca().issuer, bytes(20), NOT_AFTER, (REQUEST,) * count, NOW)


def test_one_forbidden_status_among_several_is_refused() -> None:
    bad = replace(REQUEST, revoked_at=NOW, reason=6)
    with pytest.raises(Refused, match=r"ocsp\.reason"):
        ocsp.build_tbs(software_ca().issuer, bytes(20), NOT_AFTER, (REQUEST, bad), NOW)
