"""A responder's certificate is the one that was meant, to the last octet, or it is not signed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import der
from core.errors import Refused
from signer.vault.status import responder_check
from signer.vault.templates import ca_certificates
from signer.vault.templates.ca_certificates import Subject
from signer.vault.tokens import adapter
from tests.support.software_ca import DAY, NOW, software_ca
from tests.support.tbs_mutants import MUTANTS

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
SPKI = KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
NAME = Subject("JP", "Example 試験 CA", "OCSP Responder ec-1")
SERIAL = bytes.fromhex("4a" * 17)
EXTENSIONS = 5


def made(algorithm: str) -> bytes:
    ca = software_ca(algorithm)
    return ca_certificates.ocsp_responder(
        ca.issuer.certificate, adapter.unsigned(ca.issuer.public_key), KEY, NAME, SERIAL, NOW, lifetime=DAY
    )


def check(draft: bytes, algorithm: str = "ec-p256") -> None:
    issuer = software_ca(algorithm).issuer.certificate
    responder_check.check(draft, issuer, NAME, SPKI, SERIAL, NOW, DAY)


def with_tbs(draft: bytes, tbs: bytes) -> bytes:
    _, *rest = der.elements(der.only(draft, der.SEQUENCE).content)
    return der.sequence(tbs, *(each.encoding for each in rest))


def mutants(draft: bytes) -> Iterator[bytes]:
    tbs = x509.load_der_x509_certificate(draft).tbs_certificate_bytes
    for octet in range(len(tbs)):
        changed = bytearray(tbs)
        changed[octet] ^= 0x01
        yield bytes(changed)
    for name, mutation in MUTANTS.items():
        if name.rsplit("-", 1)[-1] in map(str, range(EXTENSIONS - 1)) or "extensions" in name:
            changed_field = mutation(tbs)
            if changed_field != tbs:  # one of the mutants' times is the honest one
                yield changed_field


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_what_the_builder_makes_is_what_was_meant(algorithm: str) -> None:
    check(made(algorithm), algorithm)


@pytest.mark.clause("BR 4.3.1.2")
def test_no_responder_of_which_any_octet_or_field_was_changed_passes() -> None:
    draft = made("ec-p256")
    for tbs in mutants(draft):
        with pytest.raises(Refused, match=r"responder\."):
            check(with_tbs(draft, tbs))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("serial", {"serial": b"\x01" * 17}),
        ("validity", {"not_before": NOW + 1}),
        ("validity", {"lifetime": DAY + 1}),
        ("subject", {"subject": Subject("JP", "Example CA", "another")}),
    ],
)
def test_the_refusal_names_the_field(name: str, change: dict[str, object]) -> None:
    meant: dict[str, object] = {
        "draft": made("ec-p256"),
        "issuer": software_ca("ec-p256").issuer.certificate,
        "subject": NAME,
        "spki": SPKI,
        "serial": SERIAL,
        "not_before": NOW,
        "lifetime": DAY,
    }
    with pytest.raises(Refused, match=rf"responder\.{name}"):
        responder_check.check(**(meant | change))  # type: ignore[arg-type]
