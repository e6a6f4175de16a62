"""vault/templates/leaf.py: the template writes what `cryptography`'s builder writes, octet for octet."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings import Rules
from signer.api import LeafRequest
from signer.vault.templates import leaf, profiles
from signer.vault.tokens import algorithms
from tests.support.software_ca import (
    NOW,
    SoftwareCa,
    leaf_request,
    private_key,
    profile,
    sign,
    software_ca,
    spki,
)

ISSUERS = ("rsa-2048", "ec-p256", "ec-p384")
SUBJECTS = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521")
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.builds(
    lambda star, labels: star + ".".join(labels) + ".com",
    st.sampled_from(["", "*."]),
    st.lists(LABEL, min_size=1, max_size=4),
)
END_OF_2049 = 2524607999


def built_by_cryptography(
    ca: SoftwareCa, profile: profiles.LeafProfile, request: LeafRequest
) -> x509.Certificate:
    """The oracle.  The order of the extensions is a choice, so it is the same here."""
    rsa = hasattr(load_der_public_key(request.public_key), "encrypt")
    issuer = x509.load_der_x509_certificate(ca.certificate)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    uses += [ExtendedKeyUsageOID.CLIENT_AUTH] if profile.client_auth else []
    builder = (
        x509.CertificateBuilder()
        .serial_number(int.from_bytes(request.serial, "big"))
        .issuer_name(issuer.subject)
        .not_valid_before(datetime.fromtimestamp(request.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(request.not_after, UTC))
        .subject_name(x509.Name([]))
        .public_key(load_der_public_key(request.public_key))  # type: ignore[arg-type]
        .add_extension(
            x509.KeyUsage(
                True, False, rsa and profile.key_encipherment, False, False, False, False, False, False
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
        )
    )
    uri = x509.UniformResourceIdentifier
    access = [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, uri(ca.issuer.ocsp_url))]
    access = access if profile.ocsp else []
    access.append(
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, uri(ca.issuer.ca_issuers_url))
    )
    builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    if profile.crl:
        point = x509.DistributionPoint([uri(ca.issuer.crl_url(request.crl_shard))], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if profile.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in profile.policies]
        builder = builder.add_extension(x509.CertificatePolicies(policies), critical=False)
    names = [x509.DNSName(name) for name in request.names]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=True).sign(
        ca.key, algorithms.for_key(ca.key.public_key()).hash
    )


@pytest.mark.clause("BR 7.1.2.7")
@pytest.mark.must("rfc8555.7.4.contents")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_template_writes_what_the_builder_writes(data: st.DataObject) -> None:
    ca = software_ca(data.draw(st.sampled_from(ISSUERS)))
    rules = data.draw(st.sampled_from(list(Rules)))
    kind = profile(
        rules,
        key_encipherment=data.draw(st.booleans()),
        ocsp=data.draw(st.booleans()),
        crl=data.draw(st.booleans()),
        client_auth=data.draw(st.booleans()),
    )
    serial = data.draw(st.integers(1, (1 << 159) - 1))
    not_before = data.draw(
        st.one_of(st.integers(NOW, NOW + 10**9), st.integers(END_OF_2049 - 2, END_OF_2049 + 2))
    )
    request = leaf_request(
        serial=serial.to_bytes(serial.bit_length() // 8 + 1, "big"),
        issuer_id=ca.issuer.id,
        names=tuple(data.draw(st.lists(NAME, min_size=1, max_size=100, unique=True))),
        public_key=spki(private_key(data.draw(st.sampled_from(SUBJECTS)))),
        not_before=not_before,
        not_after=not_before + data.draw(st.one_of(st.integers(1, 200 * 86400), st.integers(0, 4))),
        crl_shard=data.draw(st.integers(0, 1000)),
    )
    tbs = leaf.build_tbs(ca.issuer, kind, request)
    assert tbs == built_by_cryptography(ca, kind, request).tbs_certificate_bytes


@pytest.mark.parametrize("algorithm", ISSUERS)
def test_an_assembled_certificate_verifies_under_its_issuer(algorithm: str) -> None:
    ca = software_ca(algorithm)
    tbs = leaf.build_tbs(ca.issuer, profile(), leaf_request(issuer_id=algorithm))
    der = leaf.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs))
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(ca.certificate))
    assert certificate.public_bytes(Encoding.DER) == der
    algorithms.verify(ca.issuer.public_key, certificate.signature, certificate.tbs_certificate_bytes)


@pytest.mark.parametrize("algorithm", ISSUERS)
def test_a_dummy_signed_certificate_can_be_parsed_but_does_not_verify(algorithm: str) -> None:
    ca = software_ca(algorithm)
    tbs = leaf.build_tbs(ca.issuer, profile(), leaf_request(issuer_id=algorithm))
    certificate = x509.load_der_x509_certificate(leaf.dummy_signed(tbs, ca.issuer))
    assert certificate.tbs_certificate_bytes == tbs
    with pytest.raises(ValueError, match="does not verify"):
        algorithms.verify(ca.issuer.public_key, certificate.signature, tbs)


def test_the_local_service_profile_writes_addresses_as_addresses() -> None:
    ca = software_ca()
    request = leaf_request(profile="local-service", names=("localhost", "127.0.0.1", "::1", "1a2b.com"))
    tbs = leaf.build_tbs(ca.issuer, profile(name="local-service"), request)
    certificate = x509.load_der_x509_certificate(leaf.dummy_signed(tbs, ca.issuer))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.DNSName("1a2b.com"),
    ]


def test_an_issuer_is_not_read_from_a_leaf() -> None:
    ca = software_ca()
    der = leaf.dummy_signed(leaf.build_tbs(ca.issuer, profile(), leaf_request()), ca.issuer)
    with pytest.raises(ValueError, match="not a CA"):
        leaf.Issuer.from_certificate("x", der, ocsp_url="", ca_issuers_url="", crl_url_template="")


@pytest.mark.clause("RFC 6960 section 4.1.1")
@pytest.mark.parametrize("algorithm", ISSUERS)
def test_the_certid_hashes_are_those_of_the_builder(algorithm: str) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509 import ocsp

    ca = software_ca(algorithm)
    issuer = x509.load_der_x509_certificate(ca.certificate)
    tbs = leaf.build_tbs(ca.issuer, profile(), leaf_request())
    certificate = x509.load_der_x509_certificate(leaf.dummy_signed(tbs, ca.issuer))
    for name, hash_algorithm in (("sha1", hashes.SHA1()), ("sha256", hashes.SHA256())):
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hash_algorithm).build()
        assert request.issuer_name_hash == ca.issuer.name_hash(name)
        assert request.issuer_key_hash == ca.issuer.key_hash(name)
