"""vault/templates/crl.py: it writes what `cryptography`'s builder writes, and refuses what BR 7.2 forbids."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from core.errors import Refused
from signer.api import CrlEntry
from signer.vault.templates import crl
from signer.vault.tokens import algorithms
from tests.support.software_ca import DAY, NOW, SoftwareCa, sign, software_ca

URL = "http://pki.acme-ca.com/crl/ec-p256-7.crl"
REASONS = {
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def built_by_cryptography(
    ca: SoftwareCa, number: int, this: int, next_: int, entries: list[CrlEntry], url: str | None
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_der_x509_certificate(ca.certificate).subject)
        .last_update(at(this))
        .next_update(at(next_))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), False)
        .add_extension(x509.CRLNumber(number), False)
    )
    if url is not None:
        name = x509.UniformResourceIdentifier(url)
        point = x509.IssuingDistributionPoint([name], None, False, False, None, False, False)
        builder = builder.add_extension(point, True)
    for entry in entries:
        revoked = (
            x509.RevokedCertificateBuilder()
            .serial_number(int.from_bytes(entry.serial, "big"))
            .revocation_date(at(entry.revoked_at))
        )
        if entry.reason:
            revoked = revoked.add_extension(x509.CRLReason(REASONS[entry.reason]), False)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(ca.key, algorithms.for_key(ca.key.public_key()).hash)


ENTRIES = st.lists(
    st.builds(
        CrlEntry,
        serial=st.integers(1, (1 << 159) - 1).map(der.integer_content),
        revoked_at=st.integers(NOW - 10**9, NOW),
        reason=st.sampled_from([None, 0, *REASONS]),
    ),
    max_size=20,
    unique_by=lambda entry: entry.serial,
)


@pytest.mark.clause("RFC 5280 section 5.1")
@pytest.mark.must("rfc8555.7.6.no-reason")
@settings(deadline=None)
@given(
    algorithm=st.sampled_from(["rsa-2048", "ec-p256", "ec-p384"]),
    number=st.integers(1, (1 << 159) - 1),
    this=st.sampled_from([NOW, 2524607999, 2524608000]),
    validity=st.integers(1, 10 * DAY),
    entries=ENTRIES,
    url=st.sampled_from([None, URL]),
)
def test_the_template_writes_what_the_builder_writes(
    algorithm: str, number: int, this: int, validity: int, entries: list[CrlEntry], url: str | None
) -> None:
    ca = software_ca(algorithm)
    tbs = crl.build_tbs(ca.issuer, number, this, this + validity, entries, url)
    built = built_by_cryptography(ca, number, this, this + validity, entries, url)
    assert tbs == built.tbs_certlist_bytes


def test_an_assembled_crl_verifies_under_its_issuer() -> None:
    ca = software_ca()
    tbs = crl.build_tbs(ca.issuer, 1, NOW, NOW + DAY, [CrlEntry(b"\x01", NOW, 4)], None)
    found = x509.load_der_x509_crl(crl.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs)))
    assert found.is_signature_valid(ca.key.public_key())


@pytest.mark.clause("RFC 5280 section 5.1.2.6")
def test_a_crl_without_revocations_has_no_empty_list() -> None:
    ca = software_ca()
    fields = list(
        der.elements(der.only(crl.build_tbs(ca.issuer, 1, NOW, NOW + DAY, [], None), der.SEQUENCE).content)
    )
    assert [field.tag for field in fields] == [0x02, 0x30, 0x30, 0x17, 0x17, 0xA0]


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, 11])
def test_a_reason_that_subscribers_certificates_cannot_have_is_refused(reason: int) -> None:
    with pytest.raises(Refused, match=r"crl\.reason"):
        crl.build_tbs(software_ca().issuer, 1, NOW, NOW + DAY, [CrlEntry(b"\x01", NOW, reason)], None)


def test_a_root_may_say_that_a_ca_was_compromised() -> None:
    entries = [CrlEntry(b"\x01", NOW, 2)]
    crl.build_tbs(software_ca().issuer, 1, NOW, NOW + 365 * DAY, entries, None, of_cas=True)


@pytest.mark.parametrize(
    ("code", "number", "validity", "entries"),
    [
        ("crl.number", 1 << 159, DAY, []),
        ("crl.number", -1, DAY, []),
        ("crl.validity", 1, 10 * DAY + 1, []),
        ("crl.validity", 1, 0, []),
        ("crl.revoked-at", 1, DAY, [CrlEntry(b"\x01", NOW + 1, None)]),
        ("crl.serial", 1, DAY, [CrlEntry(b"\x01", NOW, None), CrlEntry(b"\x01", NOW, 1)]),
    ],
)
def test_what_the_rules_forbid_is_refused(
    code: str, number: int, validity: int, entries: list[CrlEntry]
) -> None:
    with pytest.raises(Refused) as refusal:
        crl.build_tbs(software_ca().issuer, number, NOW, NOW + validity, entries, None)
    assert refusal.value.code == code
