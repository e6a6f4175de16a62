"""Every field of the hierarchy's certificates against a table: BR 7.1.2 column by column, octet by octet.

The table says what stands there and, by leaving out, what must not.  The certificates are taken apart by
core.der here, not by the library that built them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from core import der
from signer.vault.templates import ca_certificates, profiles
from signer.vault.templates.ca_certificates import PrivateKey, Subject, Urls
from signer.vault.tokens import algorithms
from tests.support.software_ca import BASE, DAY, NOW, SERIAL, private_key, spki

SUBJECT = Subject("JP", "Acme Trust", "Acme CA")
PARENT = Subject("JP", "Acme Trust", "Acme Root")
URLS = Urls(f"{BASE}/issuers/root.crt", f"{BASE}/crl/root-0.crl")
KEY_CERT_SIGN_CRL_SIGN, DIGITAL_SIGNATURE = "03020106", "03020780"
OIDS = {
    "basicConstraints": "2.5.29.19",
    "keyUsage": "2.5.29.15",
    "extKeyUsage": "2.5.29.37",
    "subjectKeyIdentifier": "2.5.29.14",
    "authorityKeyIdentifier": "2.5.29.35",
    "authorityInformationAccess": "1.3.6.1.5.5.7.1.1",
    "cRLDistributionPoints": "2.5.29.31",
    "certificatePolicies": "2.5.29.32",
    "ocsp-nocheck": "1.3.6.1.5.5.7.48.1.5",
}
ALGORITHMS = {
    # BR 7.1.3.2: exactly these octets.
    "rsa-4096": "300d06092a864886f70d01010b0500",
    "ec-p384": "300a06082a8648ce3d040303",
}
SPKI_ALGORITHMS = {
    # BR 7.1.3.1.
    "rsa-4096": "300d06092a864886f70d0101010500",
    "ec-p384": "301006072a8648ce3d020106052b81040022",
}


@dataclass(frozen=True)
class Row:
    """A profile of BR 7.1.2: criticality and value of each extension; None is checked by the test."""

    kind: str
    clause: str
    validity_days: int
    extensions: dict[str, tuple[bool, str | None]] = field(default_factory=dict)


def _url_seq(url: str) -> bytes:
    return der.implicit(6, url.encode())


AIA = der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.48.2"), _url_seq(URLS.ca_issuers))).hex()
CRLDP = der.sequence(der.sequence(der.explicit(0, der.explicit(0, _url_seq(URLS.crl))))).hex()
DV = der.sequence(der.sequence(der.oid(profiles.RESERVED_DV_POLICY))).hex()
SERVER_AUTH = der.sequence(der.oid("1.3.6.1.5.5.7.3.1")).hex()
OCSP_SIGNING = der.sequence(der.oid("1.3.6.1.5.5.7.3.9")).hex()

TABLE = [
    Row(
        "root",
        "BR 7.1.2.1",
        3650,
        {
            "basicConstraints": (True, "30030101ff"),  # no pathLenConstraint (NOT RECOMMENDED)
            "keyUsage": (True, KEY_CERT_SIGN_CRL_SIGN),
            "subjectKeyIdentifier": (False, None),
            "authorityKeyIdentifier": (False, None),
        },
    ),
    Row(
        "issuing",
        "BR 7.1.2.6",
        1095,
        {
            "basicConstraints": (True, "30060101ff020100"),
            "keyUsage": (True, KEY_CERT_SIGN_CRL_SIGN),
            "extKeyUsage": (False, SERVER_AUTH),
            "subjectKeyIdentifier": (False, None),
            "authorityKeyIdentifier": (False, None),
            "authorityInformationAccess": (False, AIA),
            "cRLDistributionPoints": (False, CRLDP),
            "certificatePolicies": (False, DV),
        },
    ),
    Row(
        "cross",
        "BR 7.1.2.2",
        1095,
        {
            "basicConstraints": (True, "30030101ff"),  # that of the root that is crossed
            "keyUsage": (True, KEY_CERT_SIGN_CRL_SIGN),
            "extKeyUsage": (False, SERVER_AUTH),
            "subjectKeyIdentifier": (False, None),
            "authorityKeyIdentifier": (False, None),
            "authorityInformationAccess": (False, AIA),
            "cRLDistributionPoints": (False, CRLDP),
            "certificatePolicies": (False, DV),
        },
    ),
    Row(
        "responder",
        "BR 7.1.2.8",
        14,
        {
            "keyUsage": (True, DIGITAL_SIGNATURE),
            "extKeyUsage": (False, OCSP_SIGNING),
            "ocsp-nocheck": (False, "0500"),
            "subjectKeyIdentifier": (False, None),
            "authorityKeyIdentifier": (False, None),
        },
    ),
]


def made(row: Row, algorithm: str) -> tuple[bytes, PrivateKey, PrivateKey]:
    """The certificate of the row, its own key and the key above it, which has `algorithm`."""
    above, own = private_key(algorithm, 1), private_key("ec-p256", 2)
    parent = ca_certificates.root(above, PARENT, SERIAL, NOW)
    if row.kind == "root":
        return ca_certificates.root(above, PARENT, SERIAL, NOW), above, above
    if row.kind == "issuing":
        policies = (profiles.RESERVED_DV_POLICY,)
        certificate = ca_certificates.issuing(
            parent, above, own.public_key(), SUBJECT, SERIAL, NOW, URLS, policies=policies
        )
    elif row.kind == "cross":
        other = ca_certificates.root(own, SUBJECT, SERIAL, NOW)
        policies = (profiles.RESERVED_DV_POLICY,)
        certificate = ca_certificates.cross(parent, above, other, SERIAL, NOW, URLS, policies=policies)
    else:
        certificate = ca_certificates.ocsp_responder(
            parent, above, own.public_key(), SUBJECT, SERIAL, NOW, lifetime=14 * DAY
        )
    return certificate, own, above


def fields(certificate: bytes) -> list[der.Element]:
    tbs = next(iter(der.elements(der.only(certificate, der.SEQUENCE).content)))
    return list(der.elements(tbs.content))


def extensions(certificate: bytes) -> list[tuple[str, bool, bytes]]:
    """(OID, critical, value) in order."""
    names = {der.oid(dotted): name for name, dotted in OIDS.items()}
    found = []
    for each in der.elements(der.only(fields(certificate)[7].content, der.SEQUENCE).content):
        parts = list(der.elements(each.content))
        found.append((names[parts[0].encoding], len(parts) == 3, parts[-1].content))
    return found


pytestmark = pytest.mark.parametrize("algorithm", ["rsa-4096", "ec-p384"])
"""The choices for a root key."""

rows = pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.clause(row.clause), id=row.kind) for row in TABLE]
)


@rows
def test_the_extensions_are_those_of_the_table_and_no_other(row: Row, algorithm: str) -> None:
    certificate, own, above = made(row, algorithm)
    found = extensions(certificate)
    assert {name: critical for name, critical, _ in found} == {
        name: critical for name, (critical, _) in row.extensions.items()
    }
    assert len(found) == len(row.extensions), "none twice"
    for name, _, value in found:
        wanted = row.extensions[name][1]
        if name == "subjectKeyIdentifier":
            wanted = der.octet_string(_key_id(own)).hex()
        elif name == "authorityKeyIdentifier":  # keyIdentifier alone (BR 7.1.2.11.1)
            wanted = der.sequence(der.implicit(0, _key_id(above))).hex()
        assert value.hex() == wanted, name


@rows
def test_the_basic_fields_are_those_of_the_table(row: Row, algorithm: str) -> None:
    certificate, own, above = made(row, algorithm)
    version, serial, signature, issuer, validity, subject, key, *rest = fields(certificate)
    assert version.encoding == bytes.fromhex("a003020102")
    assert serial.content == SERIAL
    assert signature.encoding.hex() == ALGORITHMS[algorithm]
    assert issuer.encoding == PARENT.name().public_bytes(), "byte-equal to the CA's subject (BR 7.1.4.1)"
    wanted = PARENT if row.kind == "root" else SUBJECT
    assert subject.encoding == wanted.name().public_bytes()
    assert validity.encoding == der.sequence(der.time(NOW), der.time(NOW + row.validity_days * DAY - 1))
    assert key.encoding == spki(own)
    assert len(rest) == 1, "no unique identifiers"
    outer = list(der.elements(der.only(certificate, der.SEQUENCE).content))
    assert outer[1].encoding == signature.encoding
    algorithms.verify(above.public_key(), outer[2].content[1:], outer[0].encoding)


@rows
def test_the_subject_has_country_organization_and_common_name_in_order(row: Row, algorithm: str) -> None:
    certificate, _, _ = made(row, algorithm)
    attributes = []
    for rdn in der.elements(fields(certificate)[5].content):
        (pair,) = der.elements(rdn.content)
        oid, value = der.elements(pair.content)
        attributes.append((oid.encoding, value.tag))
    printable, utf8 = 0x13, 0x0C
    assert attributes == [
        (der.oid("2.5.4.6"), printable),
        (der.oid("2.5.4.10"), utf8),
        (der.oid("2.5.4.3"), utf8),
    ]


@pytest.mark.clause("BR 7.1.3.1")
def test_a_public_key_is_encoded_as_the_rules_spell_it(algorithm: str) -> None:
    certificate, _, _ = made(TABLE[0], algorithm)
    (identifier, _) = der.elements(fields(certificate)[6].content)
    assert identifier.encoding.hex() == SPKI_ALGORITHMS[algorithm]
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey) == algorithm.startswith("rsa")


def _key_id(key: PrivateKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
