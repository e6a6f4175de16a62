"""The seal of a hierarchy: what must not change by editing a file, signed by the root key.

`hierarchy.json` holds the sealed JSON text and the signature over its octets.  Whoever changes whose rules
bind, which keys issue or which perspectives are believed must have the root key, or put another root in the
place of ours, which no relying party trusts.

Must never: give out a hierarchy whose seal was not verified.

CPS 6.1, 6.5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from cryptography import x509

from core.people import Person
from signer.api import IssuerState as IssuerState
from signer.api import KeyUse
from signer.vault.tokens import adapter, algorithms
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.keys import KeyAlgorithm

VERSION = 2
CONTEXT = b"acme-server hierarchy v2\x00"
"""Signed before the sealed octets, so that the root's signature here is one on nothing else."""


class TokenRole(StrEnum):
    """Which keys a token holds: the root's, which only a ceremony opens, or the vault's."""

    ROOT = "root"
    ISSUING = "issuing"


@dataclass(frozen=True, slots=True)
class SealedActivation:
    """How a token's PIN was split: `threshold` of `holders` open it.

    `check` commits to the secret, so that a wrong combination is noticed before it is tried as a PIN.
    """

    threshold: int
    check: bytes
    holders: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class SealedToken:
    """A token of the hierarchy, what was recorded of it, and how it is opened (None: a PIN in a file)."""

    label: str
    serial: str
    role: TokenRole
    facts: TokenFacts | None = None
    activation: SealedActivation | None = None


@dataclass(frozen=True, slots=True)
class CopiedKey:
    """A CA key that was proven to be in the copy: it signed there, and its public half is the known one.

    `local` as the token says it (CKA_LOCAL): false, and for ever, once a key was unwrapped into a token.
    """

    label: str
    spki_sha256: bytes
    local: bool


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A copy as the seal knows it: of which token, where it was laid, `manifest` by its SHA-256.

    `second` is the token to which wrapped keys travelled, with a serial number, facts and shares of its own;
    a copied directory has those of the token that it was copied from.
    """

    id: str
    token: str
    serial: str
    place: str
    made_at: int
    keys: tuple[CopiedKey, ...]
    manifest: bytes
    second: SealedToken | None = None

    def holds(self, label: str) -> bool:
        """Whether the key is in it still."""
        return any(key.label == label for key in self.keys)


@dataclass(frozen=True, slots=True)
class SealedIssuer:
    """An issuing key: its label in the issuing token, its certificate, its custody and its life.

    `since` and `until` are the planned first and last moment of signing leaves, POSIX seconds; 0 is none.
    """

    id: str
    use: KeyUse
    algorithm: KeyAlgorithm
    label: str
    certificate: bytes
    custody: Custody = Custody.SEALED
    state: IssuerState = IssuerState.ACTIVE
    since: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class CrossCertificate:
    """Another CA's certificate for a key of ours: `subject` is "root" or an issuer's id; both are DER."""

    subject: str
    certificate: bytes
    issuer: bytes


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
    """What the root key sealed.

    `sequence` counts the ceremonies that sealed this hierarchy, from 1; `ceremony` is the last one's id and
    `transcript` the hash of its transcript's last line before the seal: the vault's journal, which remembers
    this hierarchy, so remembers how it came to be.
    """

    version: int
    created_at: int
    rules: str
    root: bytes
    root_crl: bytes
    issuers: tuple[SealedIssuer, ...]
    perspectives: tuple[SealedPerspective, ...]
    sequence: int = 1
    ceremony: str = ""
    transcript: bytes = b""
    tokens: tuple[SealedToken, ...] = ()
    cross: tuple[CrossCertificate, ...] = ()
    root_custody: Custody = Custody.SEALED
    copies: tuple[SealedCopy, ...] = ()

    def token(self, role: TokenRole) -> SealedToken:
        """The token of `role`, of which there is one.  Raises ValueError when there is none."""
        for each in self.tokens:
            if each.role is role:
                return each
        raise ValueError(f"the hierarchy has no {role} token")

    @property
    def root_token(self) -> str:
        """The serial number of the root's token."""
        return self.token(TokenRole.ROOT).serial

    @property
    def issuing_token(self) -> str:
        """The serial number of the vault's token."""
        return self.token(TokenRole.ISSUING).serial

    @property
    def activation(self) -> SealedActivation | None:
        """Who opens the vault's token; None: its PIN lies in a file, which does not conform to BR 6.2."""
        return self.token(TokenRole.ISSUING).activation


def seal(hierarchy: Hierarchy, sign: adapter.Sign) -> bytes:
    """The content of hierarchy.json, signed by the root key."""
    sealed = _text(hierarchy)
    return msgspec.json.encode(_File(msgspec.Raw(sealed), sign(CONTEXT + sealed))) + b"\n"


def unseal(content: bytes, trust_anchor: bytes) -> Hierarchy:
    """The hierarchy in hierarchy.json; `trust_anchor` is PEM.  Raises ValueError when the seal is broken."""
    file = msgspec.json.decode(content, type=_File)
    version = msgspec.json.decode(file.sealed, type=_Version).version
    if version != VERSION:
        raise ValueError(f"its version is {version}: use the software that made it")
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
    return hierarchy


def root_of(content: bytes) -> bytes:
    """The root certificate (DER) that a hierarchy.json claims, unchecked.  Raises ValueError."""
    return msgspec.json.decode(msgspec.json.decode(content, type=_File).sealed, type=_Root).root


def digest(hierarchy: Hierarchy) -> bytes:
    """SHA-256 of the sealed text: what a journal remembers a hierarchy by."""
    return hashlib.sha256(_text(hierarchy)).digest()


def _text(hierarchy: Hierarchy) -> bytes:
    return msgspec.json.format(msgspec.json.encode(hierarchy), indent=2)


class _Root(msgspec.Struct):
    root: bytes


class _Version(msgspec.Struct):
    version: int


class _File(msgspec.Struct):
    sealed: msgspec.Raw
    signature: bytes
