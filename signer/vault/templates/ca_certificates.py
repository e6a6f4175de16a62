"""The certificates of the hierarchy: root, issuing CAs, local-service issuer, OCSP responders.

Rare, so built by `cryptography` over an adapter key (adapter.py).  A caller first makes each with
`adapter.unsigned(public key)`, lints it (lint.py), and only then with the token's key.

Every function returns DER.  `serial` are the content octets of the INTEGER, `not_before` POSIX seconds, a
lifetime seconds counted inclusive of both ends (BR 6.3.2).

BR 7.1.2.1 (root), 7.1.2.6 (TLS subordinate CA), 7.1.2.5 (technically constrained), 7.1.2.8 (OCSP responder);
RFC 5280 section 4.2; RFC 6960 section 4.2.2.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from signer.vault.tokens import algorithms

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

ROOT_LIFETIME = 3650 * 86400
"""Seconds: 10 years; BR 7.1.2.1.1 allows 2922 to 9132 days, Microsoft at most 10 years for new roots."""

ISSUING_LIFETIME = 1095 * 86400
"""Seconds: 3 years, as Chrome's policy 1.8 recommends for subordinate CAs."""

MAX_RESPONDER_LIFETIME = 30 * 86400
"""Seconds: id-pkix-ocsp-nocheck makes a responder irrevocable, so it lives 30 days at most."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A CA's name: the three attributes that BR 7.1.2.10.2 demands; no OU, no other."""

    country: str
    organization: str
    common_name: str

    def name(self) -> x509.Name:
        """In the order and with the string types of BR 7.1.4.2: C PrintableString, the others UTF8String."""
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, self.country),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organization),
                x509.NameAttribute(NameOID.COMMON_NAME, self.common_name),
            ]
        )


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the signer of a certificate publishes its own certificate (DER) and its CRL."""

    ca_issuers: str
    crl: str


def root(
    key: PrivateKey, subject: Subject, serial: bytes, not_before: int, *, lifetime: int = ROOT_LIFETIME
) -> bytes:
    """The self-signed trust anchor."""
    public_key = key.public_key()
    name = subject.name()
    builder = _builder(name, name, public_key, serial, not_before, lifetime)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        # RFC 5280 section 4.2.1.1 lets a self-signed certificate do without; BR 7.1.2.1.3 recommends it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
    )
    return _sign(builder, key)


def issuing(
    parent: bytes,
    parent_key: PrivateKey,
    public_key: algorithms.PublicKey,
    subject: Subject,
    serial: bytes,
    not_before: int,
    urls: Urls,
    *,
    policies: Sequence[str],
    client_auth: bool = False,
    lifetime: int = ISSUING_LIFETIME,
) -> bytes:
    """A subordinate CA for subscriber certificates, pathLenConstraint 0.

    `urls` are the parent's.  `policies` as in the leaf profile; empty leaves the extension out, and
    `client_auth` adds clientAuth to serverAuth: both only the private rules allow.
    """
    builder = _subordinate(
        parent, public_key, subject, serial, not_before, lifetime, urls, client_auth=client_auth
    )
    return _sign(_with_policies(builder, policies), parent_key)


def cross(
    parent: bytes,
    parent_key: PrivateKey,
    of: bytes,
    serial: bytes,
    not_before: int,
    urls: Urls,
    *,
    policies: Sequence[str],
    client_auth: bool = False,
    lifetime: int = ISSUING_LIFETIME,
) -> bytes:
    """A cross-certificate: `parent` certifies the CA of the certificate `of`, by its subject and key.

    basicConstraints and subjectKeyIdentifier are those of `of`, so that every chain through either fits;
    `client_auth` as in `issuing`.
    Raises ValueError when `of` is not a CA's.
    """
    other, above = x509.load_der_x509_certificate(of), x509.load_der_x509_certificate(parent)
    public_key = other.public_key()
    algorithms.for_key(public_key)
    constraints = other.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca:
        raise ValueError("the certificate to be crossed is not a CA's")
    builder = _builder(above.subject, other.subject, public_key, serial, not_before, lifetime)  # type: ignore[arg-type]
    identifier = other.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        builder.add_extension(x509.BasicConstraints(True, constraints.path_length), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(_uses(client_auth=client_auth), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(identifier.digest), critical=False)
        .add_extension(_authority_key_identifier(above), critical=False)
    )
    builder = _published(builder, urls)
    return _sign(_with_policies(builder, policies), parent_key)


def local_service_issuer(
    parent: bytes,
    parent_key: PrivateKey,
    public_key: algorithms.PublicKey,
    subject: Subject,
    serial: bytes,
    not_before: int,
    urls: Urls,
    *,
    names: Sequence[str],
    lifetime: int = ISSUING_LIFETIME,
) -> bytes:
    """The subordinate CA of our own servers, name-constrained to `names` (host names and IP addresses).

    The constraint is critical, so a relying party that knows no name constraints refuses the chain; and a
    form that `names` does not use (host names, IPv4, IPv6) is excluded, because silence would permit it.
    """
    builder = _subordinate(parent, public_key, subject, serial, not_before, lifetime, urls)
    permitted, excluded = _constraints(names)
    builder = builder.add_extension(x509.NameConstraints(permitted, excluded or None), critical=True)
    return _sign(builder, parent_key)


def ocsp_responder(
    issuer: bytes,
    issuer_key: PrivateKey,
    public_key: algorithms.PublicKey,
    subject: Subject,
    serial: bytes,
    not_before: int,
    *,
    lifetime: int = MAX_RESPONDER_LIFETIME,
) -> bytes:
    """A delegated OCSP responder of `issuer`: OCSPSigning only, with id-pkix-ocsp-nocheck."""
    if not 0 < lifetime <= MAX_RESPONDER_LIFETIME:
        raise ValueError("a responder lives at most 30 days: lower vault.responder_lifetime")
    certificate = x509.load_der_x509_certificate(issuer)
    builder = _builder(certificate.subject, subject.name(), public_key, serial, not_before, lifetime)
    builder = (
        builder.add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key_identifier(certificate), critical=False)
    )
    return _sign(builder, issuer_key)


def _subordinate(
    parent: bytes,
    public_key: algorithms.PublicKey,
    subject: Subject,
    serial: bytes,
    not_before: int,
    lifetime: int,
    urls: Urls,
    *,
    client_auth: bool = False,
) -> x509.CertificateBuilder:
    certificate = x509.load_der_x509_certificate(parent)
    builder = _builder(certificate.subject, subject.name(), public_key, serial, not_before, lifetime)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(_uses(client_auth=client_auth), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key_identifier(certificate), critical=False)
    )
    return _published(builder, urls)


def _uses(*, client_auth: bool) -> x509.ExtendedKeyUsage:
    """Relying parties take it for a limit of everything below."""
    also = [ExtendedKeyUsageOID.CLIENT_AUTH] if client_auth else []
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, *also])


def _with_policies(builder: x509.CertificateBuilder, policies: Sequence[str]) -> x509.CertificateBuilder:
    if not policies:
        return builder
    information = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policies]
    return builder.add_extension(x509.CertificatePolicies(information), critical=False)


def _published(builder: x509.CertificateBuilder, urls: Urls) -> x509.CertificateBuilder:
    """Where the issuer's certificate and CRL are."""
    crl_url = x509.UniformResourceIdentifier(urls.crl)
    access = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(urls.ca_issuers)
    )
    return builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False).add_extension(
        x509.CRLDistributionPoints([x509.DistributionPoint([crl_url], None, None, None)]), critical=False
    )


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    public_key: algorithms.PublicKey,
    serial: bytes,
    not_before: int,
    lifetime: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(int.from_bytes(serial, "big"))
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_before + lifetime - 1, UTC))
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> bytes:
    return builder.sign(key, algorithms.for_key(key.public_key()).hash).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The keyIdentifier alone (BR 7.1.2.11.1), taken from the issuer's certificate (RFC 5280 4.2.1.1)."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier(identifier.digest, None, None)


def _constraints(names: Sequence[str]) -> tuple[list[x509.GeneralName], list[x509.GeneralName]]:
    permitted: list[x509.GeneralName] = []
    excluded: list[x509.GeneralName] = []
    for name in names:
        try:
            permitted.append(x509.IPAddress(ipaddress.ip_network(name)))
        except ValueError:
            permitted.append(x509.DNSName(name))
    if not any(isinstance(name, x509.DNSName) for name in permitted):
        excluded.append(x509.DNSName(""))
    versions = {name.value.version for name in permitted if isinstance(name, x509.IPAddress)}
    for every in (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")):
        if every.version not in versions:
            excluded.append(x509.IPAddress(every))
    return permitted, excluded


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_CA_KEY_USAGE = _key_usage(key_cert_sign=True, crl_sign=True)
