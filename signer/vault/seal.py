"""The seal of a hierarchy: what must not change by editing a file, signed by the root key.

`hierarchy.json` holds the sealed JSON text and the signature over its octets.  Whoever changes whose rules
bind, which keys issue or which perspectives are believed must have the root key, or put another root in the
place of ours, which no relying party trusts.

Must never: give out a hierarchy whose seal was not verified.

CPS 6.1, 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from cryptography import x509

from signer.api import KeyUse
from signer.vault import adapter, algorithms
from signer.vault.keys import KeyAlgorithm

VERSION = 1
CONTEXT = b"acme-server hierarchy v1\x00"
"""Signed before the sealed octets, so that the root's signature here is one on nothing else."""


@dataclass(frozen=True, slots=True)
class SealedIssuer:
    """An issuing key: its label in the issuing token, and its certificate."""

    id: str
    use: KeyUse
    algorithm: KeyAlgorithm
    label: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class SealedPerspective:
    """A perspective whose statements count, where it stands, and its SubjectPublicKeyInfo."""

    code: str
    region: str
    latitude: float
    longitude: float
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """What the root key sealed.  Tokens are named by their serial numbers."""

    version: int
    created_at: int
    rules: str
    root_token: str
    issuing_token: str
    root: bytes
    root_crl: bytes
    issuers: tuple[SealedIssuer, ...]
    perspectives: tuple[SealedPerspective, ...]


def seal(hierarchy: Hierarchy, sign: adapter.Sign) -> bytes:
    """The content of hierarchy.json, signed by the root key."""
    sealed = msgspec.json.format(msgspec.json.encode(hierarchy), indent=2)
    return msgspec.json.encode(_File(msgspec.Raw(sealed), sign(CONTEXT + sealed))) + b"\n"


def unseal(content: bytes, trust_anchor: bytes) -> Hierarchy:
    """The hierarchy in hierarchy.json; `trust_anchor` is PEM.  Raises ValueError when the seal is broken."""
    file = msgspec.json.decode(content, type=_File)
    hierarchy = msgspec.json.decode(file.sealed, type=Hierarchy)
    root = x509.load_der_x509_certificate(hierarchy.root)
    if x509.load_pem_x509_certificate(trust_anchor) != root:
        raise ValueError("trust-anchor.pem is another certificate than the sealed root")
    public_key = root.public_key()
    algorithms.for_key(public_key)
    algorithms.verify(public_key, file.signature, CONTEXT + bytes(file.sealed))  # type: ignore[arg-type]
    for issuer in hierarchy.issuers:
        try:
            x509.load_der_x509_certificate(issuer.certificate).verify_directly_issued_by(root)
        except Exception as error:
            raise ValueError(f"the root did not sign the certificate of {issuer.id}") from error
    if hierarchy.version != VERSION:
        raise ValueError(f"its version is {hierarchy.version}: use the software that made it")
    return hierarchy


class _File(msgspec.Struct):
    sealed: msgspec.Raw
    signature: bytes
