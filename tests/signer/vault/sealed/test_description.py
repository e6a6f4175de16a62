"""vault/sealed/description.py: the chains that a sealed hierarchy leads to, and those that it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from core.errors import HaltIssuance
from core.settings import Settings
from signer.api import IssuerState, KeyUse
from signer.vault.sealed import description
from signer.vault.sealed.seal import VERSION, CrossCertificate, Hierarchy, SealedIssuer
from signer.vault.templates import ca_certificates
from signer.vault.templates.ca_certificates import Subject
from signer.vault.tokens.keys import KeyAlgorithm
from tests.support.software_ca import NOW, SERIAL, URLS, private_key, software_ca

CA = software_ca("ec-p256")
OTHER_KEY = private_key("ec-p384", 7)
OTHER = ca_certificates.root(OTHER_KEY, Subject("JP", "Other Trust", "Other Root"), SERIAL, NOW)
EC_1 = SealedIssuer(
    "ec-1", KeyUse.ISSUING, KeyAlgorithm.EC_P256, "ec-1", CA.certificate, since=NOW, until=NOW + 86400
)


def cross(of: bytes) -> bytes:
    """The other CA's certificate for the CA of `of`."""
    return ca_certificates.cross(OTHER, OTHER_KEY, of, SERIAL[::-1], NOW, URLS, policies=())


def sealed(*crossed: CrossCertificate, state: IssuerState = IssuerState.ACTIVE) -> Hierarchy:
    return Hierarchy(VERSION, NOW, "private", CA.root, b"", (replace(EC_1, state=state),), (), cross=crossed)


def chains(hierarchy: Hierarchy) -> tuple[tuple[bytes, ...], ...]:
    (info,) = description.issuers(hierarchy, Settings())
    return info.chains


def test_without_cross_certificates_there_is_one_chain_to_our_root() -> None:
    assert chains(sealed()) == ((CA.certificate, CA.root),)


@pytest.mark.clause("RFC 8555 section 7.4.2")
@pytest.mark.clause("BR 7.1.2.2")
def test_cross_certificates_lead_to_the_other_anchor_and_every_link_verifies() -> None:
    by_root = CrossCertificate("root", cross(CA.root), OTHER)
    own = CrossCertificate("ec-1", cross(CA.certificate), OTHER)
    default, first, second = chains(sealed(by_root, own))
    assert default == (CA.certificate, CA.root)
    assert first == (CA.certificate, by_root.certificate, OTHER)
    assert second == (own.certificate, OTHER)
    for chain in (default, first, second):
        parsed = [x509.load_der_x509_certificate(each) for each in chain]
        for subject, issuer in zip(parsed, [*parsed[1:], parsed[-1]], strict=True):
            subject.verify_directly_issued_by(issuer)


def test_a_cross_certificate_of_another_issuer_adds_no_chain() -> None:
    elsewhere = CrossCertificate("ec-9", cross(CA.certificate), OTHER)
    assert len(chains(sealed(elsewhere))) == 1


@pytest.mark.parametrize(
    ("crossed", "match"),
    [
        (CrossCertificate("root", cross(CA.certificate), OTHER), "another key or name"),
        (CrossCertificate("root", cross(CA.root), CA.root), "not signed by the CA"),
    ],
)
def test_a_chain_that_does_not_verify_is_never_told(crossed: CrossCertificate, match: str) -> None:
    with pytest.raises(HaltIssuance, match=match):
        chains(sealed(crossed))


@pytest.mark.parametrize("state", list(IssuerState))
def test_an_issuer_is_described_for_ever_with_its_state_and_its_days(state: IssuerState) -> None:
    (info,) = description.issuers(sealed(state=state), Settings())
    assert (info.id, info.state, info.since, info.until) == ("ec-1", state, NOW, NOW + 86400)
    assert info.certificate == CA.certificate
