"""signer/vault/templates/ca_certificates.py: the hierarchy's certificates, field by field."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from signer.vault.templates import ca_certificates, leaf
from signer.vault.templates.ca_certificates import Subject
from signer.vault.tokens import adapter
from tests.support.software_ca import (
    DAY,
    NOW,
    SERIAL,
    URLS,
    leaf_request,
    private_key,
    profile,
    sign,
    software_ca,
)

SUBJECT = Subject("JP", "Acme Trust", "Acme OCSP")


def extension(certificate: bytes, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(kind)


def responder(algorithm: str = "ec-p256", lifetime: int = 30 * DAY) -> bytes:
    ca = software_ca(algorithm)
    key = private_key("ec-p256", 3).public_key()
    return ca_certificates.ocsp_responder(
        ca.certificate, ca.key, key, SUBJECT, SERIAL, NOW, lifetime=lifetime
    )


def local_service(names: tuple[str, ...]) -> bytes:
    ca = software_ca()
    return ca_certificates.local_service_issuer(
        ca.root,
        ca.root_key,
        private_key("ec-p256", 4).public_key(),
        Subject("JP", "Acme Trust", "Acme Local Service"),
        SERIAL,
        NOW,
        URLS,
        names=names,
    )


@pytest.mark.clause("BR 7.1.2.1")
def test_the_root_is_self_signed_for_ten_years_and_says_nothing_more_than_it_must() -> None:
    root = x509.load_der_x509_certificate(software_ca().root)
    root.verify_directly_issued_by(root)
    assert (root.not_valid_after_utc - root.not_valid_before_utc).total_seconds() == 3650 * DAY - 1
    assert [(e.oid._name, e.critical) for e in root.extensions] == [
        ("basicConstraints", True),
        ("keyUsage", True),
        ("subjectKeyIdentifier", False),
        ("authorityKeyIdentifier", False),
    ]


@pytest.mark.clause("BR 7.1.2.6")
def test_an_issuing_ca_may_sign_only_tls_server_certificates_and_no_further_ca() -> None:
    ca = software_ca("rsa-2048")
    x509.load_der_x509_certificate(ca.certificate).verify_directly_issued_by(
        x509.load_der_x509_certificate(ca.root)
    )
    assert extension(ca.certificate, x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert list(extension(ca.certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]  # type: ignore[call-overload]
    usage = extension(ca.certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.public_bytes().hex() == "03020106"  # keyCertSign, cRLSign


@pytest.mark.clause("BR 7.1.2.8")
@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_a_responder_signs_ocsp_only_and_is_not_checked(algorithm: str) -> None:
    certificate = responder(algorithm)
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.OCSP_SIGNING]  # type: ignore[call-overload]
    assert extension(certificate, x509.OCSPNoCheck).value.public_bytes() == b"\x05\x00"
    assert extension(certificate, x509.KeyUsage).value.public_bytes().hex() == "03020780"
    x509.load_der_x509_certificate(certificate).verify_directly_issued_by(
        x509.load_der_x509_certificate(software_ca(algorithm).certificate)
    )


@pytest.mark.parametrize("lifetime", [0, 30 * DAY + 1])
def test_a_responder_never_lives_longer_than_thirty_days(lifetime: int) -> None:
    with pytest.raises(ValueError, match="30 days"):
        responder(lifetime=lifetime)


@pytest.mark.clause("RFC 5280 section 4.2.1.10")
def test_the_local_service_issuer_is_constrained_to_its_names_and_excludes_what_it_does_not_use() -> None:
    constraints = extension(local_service(("localhost", "127.0.0.1")), x509.NameConstraints)
    assert constraints.critical
    assert constraints.value == x509.NameConstraints(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_network("127.0.0.1/32"))],
        [x509.IPAddress(ipaddress.ip_network("::/0"))],
    )


def test_a_local_service_issuer_of_addresses_excludes_all_host_names() -> None:
    constraints = extension(local_service(("127.0.0.1", "::1")), x509.NameConstraints).value
    assert isinstance(constraints, x509.NameConstraints)
    assert constraints.excluded_subtrees == [x509.DNSName("")]


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (("localhost", "127.0.0.1", "::1"), True),
        (("www.acme-shop.com",), False),
        (("10.0.0.1",), False),
        (("localhost", "www.acme-shop.com"), False),
    ],
)
def test_openssl_accepts_a_local_service_leaf_only_for_the_constrained_names(
    tmp_path: Path, names: tuple[str, ...], accepted: bool
) -> None:
    certificate, key = local_service(("localhost", "127.0.0.1", "::1")), private_key("ec-p256", 4)
    issuer = leaf.Issuer.from_certificate(
        "local", certificate, ocsp_url="", ca_issuers_url="http://localhost/x.crt", crl_url_template=""
    )
    request = leaf_request(profile="local-service", issuer_id="local", names=names)
    tbs = leaf.build_tbs(issuer, profile(name="local-service"), request)
    signed = leaf.assemble(tbs, issuer.algorithm.identifier, sign(key, tbs))
    for name, der in (("root", software_ca().root), ("ca", certificate), ("leaf", signed)):
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    result = subprocess.run(
        f"openssl verify -attime {NOW + DAY} -purpose sslserver -x509_strict"
        " -CAfile root.pem -untrusted ca.pem leaf.pem".split(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode == 0) is accepted, result.stderr
    assert accepted or "permitted subtree violation" in result.stderr


def test_a_certificate_made_with_an_unsigned_key_has_the_octets_that_will_be_signed() -> None:
    ca = software_ca("rsa-2048")
    subject = Subject("JP", "Acme Trust", "Acme Root")
    for key in (ca.root_key, ca.key):
        draft = ca_certificates.root(adapter.unsigned(key.public_key()), subject, SERIAL, NOW)
        final = ca_certificates.root(
            adapter.private_key(key.public_key(), lambda octets, key=key: sign(key, octets)),  # type: ignore[misc]
            subject,
            SERIAL,
            NOW,
        )
        assert (
            x509.load_der_x509_certificate(draft).tbs_certificate_bytes
            == x509.load_der_x509_certificate(final).tbs_certificate_bytes
        )
        x509.load_der_x509_certificate(final).verify_directly_issued_by(x509.load_der_x509_certificate(final))


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_an_adapter_key_signs_with_its_one_algorithm_and_does_nothing_else(algorithm: str) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    key = private_key(algorithm)
    calls: list[bytes] = []
    adapted = adapter.private_key(key.public_key(), lambda octets: calls.append(octets) or b"")  # type: ignore[func-returns-value]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    with pytest.raises(ValueError, match="sha256"):
        builder.sign(adapted, hashes.SHA512())
    with pytest.raises(NotImplementedError, match="stays in the token"):
        adapted.private_numbers()
    with pytest.raises(NotImplementedError, match="stays in the token"):
        adapted.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if isinstance(adapted, ec.EllipticCurvePrivateKey):
        with pytest.raises(NotImplementedError):
            adapted.exchange(ec.ECDH(), key.public_key())  # type: ignore[arg-type]
    assert calls == []
