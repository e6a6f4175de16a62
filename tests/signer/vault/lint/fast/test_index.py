"""lint/fast/index.py: the indexed linter finds what pkilint finds, also in mutated certificates."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from pkilint.cabf import serverauth
from pkilint.cabf.serverauth.serverauth_constants import CertificateType
from pkilint.pkix import certificate, extension, name

from core.settings import Rules
from signer.vault.lint import linter
from signer.vault.lint.fast.index import indexed
from signer.vault.templates import ca_certificates, leaf
from signer.vault.templates.ca_certificates import Subject
from tests.support.mutants import mutated
from tests.support.software_ca import NOW, SERIAL, leaf_request, private_key, profile, software_ca, spki

CA = software_ca()
LOAD = linter.certificate_loader.load_der_document


@cache
def validators(kind: CertificateType | None) -> tuple[Any, Any]:
    """The plain validator and the indexed one, of pkilint's TLS BR (or RFC 5280) set."""

    def plain() -> Any:
        if kind is not None:
            return certificate.create_pkix_certificate_validator_container(
                serverauth.create_decoding_validators(), serverauth.create_validators(kind)
            )
        decoders = certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        )
        parts = [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ]
        return certificate.create_pkix_certificate_validator_container(decoders, parts)

    return plain(), indexed(plain())


def findings(validator: Any, octets: bytes) -> list[tuple[str, str, str, str | None]] | str:
    try:
        document = LOAD(octets)
    except ValueError as error:
        return str(error)
    return [
        (type(result.validator).__name__, result.node.path, repr(found.finding), found.message)
        for result in validator.validate(document.root)
        for found in result.finding_descriptions
    ]


def seeds() -> dict[CertificateType | None, list[bytes]]:
    def leaves(rules: Rules) -> list[bytes]:
        requests = [
            leaf_request(),
            leaf_request(public_key=spki(private_key("rsa-2048")), names=("*.acme-shop.com", "localhost")),
        ]
        return [
            leaf.dummy_signed(leaf.build_tbs(CA.issuer, profile(rules), request), CA.issuer)
            for request in requests
        ]

    responder = ca_certificates.ocsp_responder(
        CA.certificate, CA.key, CA.key.public_key(), Subject("JP", "Acme Trust", "Acme OCSP"), SERIAL, NOW
    )
    return {
        None: [*leaves(Rules.PRIVATE), CA.root, CA.certificate],
        CertificateType.DV_FINAL_CERTIFICATE: leaves(Rules.PUBLIC),
        CertificateType.ROOT_CA: [CA.root],
        CertificateType.INTERNAL_UNCONSTRAINED_TLS_CA: [CA.certificate],
        CertificateType.OCSP_RESPONDER: [responder],
    }


def compare(kind: CertificateType | None, count: int, seed: int) -> set[str]:
    """Lint `count` mutants both ways; the codes that occurred."""
    plain, fast = validators(kind)
    chance = random.Random(seed)
    codes: set[str] = set()
    for _ in range(count):
        octets = mutated(chance.choice(seeds_of[kind]), chance)
        expected = findings(plain, octets)
        assert findings(fast, octets) == expected, octets.hex()
        if isinstance(expected, list):
            codes.update(code for _, _, code, _ in expected)
    return codes


seeds_of = seeds()


@pytest.mark.parametrize("kind", list(seeds_of), ids=lambda kind: kind.name if kind else "RFC 5280")
def test_the_findings_are_the_same_in_the_same_order(kind: CertificateType | None) -> None:
    assert len(compare(kind, 50, seed=1)) > 10


@pytest.mark.long
@pytest.mark.parametrize("kind", list(seeds_of), ids=lambda kind: kind.name if kind else "RFC 5280")
def test_the_findings_are_the_same_for_a_thousand_mutants_of_each_kind(kind: CertificateType | None) -> None:
    assert len(compare(kind, 1000, seed=2)) > 25


def test_the_index_is_used_and_asks_less() -> None:
    plain, _ = validators(CertificateType.DV_FINAL_CERTIFICATE)
    fast = indexed(plain)
    assert type(fast) is not type(plain)
    assert fast.validations == plain.validations
