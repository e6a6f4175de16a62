"""The hierarchy while a ceremony makes it: the sealed one (or nothing), and what the steps done so far added.

Must never: be changed but by a step's `apply` or a void: the transcript alone tells how it came to be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from core.errors import HaltIssuance
from signer.api import CrlEntry
from signer.vault.ceremony.step import ROOT
from signer.vault.sealed.seal import (
    VERSION,
    CrossCertificate,
    Hierarchy,
    IssuerState,
    SealedCopy,
    SealedIssuer,
    SealedPerspective,
    SealedToken,
    TokenRole,
)
from signer.vault.tokens.algorithms import PublicKey
from signer.vault.tokens.custody import Custody

SUPERSEDED = 4
"""CRLReason of a certificate that may have been signed by a step that was killed: another took its place.
An entry of a CA certificate always has a reason (BR 7.2.2)."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key pair of the hierarchy: where it lies, in which custody, and its SubjectPublicKeyInfo."""

    label: str
    token: str
    custody: Custody
    spki: bytes

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return cast(PublicKey, load_der_public_key(self.spki))


@dataclass(slots=True)
class Draft:
    """What will be sealed, by name."""

    base: Hierarchy | None
    tokens: dict[str, SealedToken] = field(default_factory=dict)
    keys: dict[str, KnownKey] = field(default_factory=dict)
    """By label."""
    root: bytes = b""
    root_crl: bytes = b""
    crl_number: int = 0
    """The highest that was ever meant to be signed."""
    issuers: dict[str, SealedIssuer] = field(default_factory=dict)
    perspectives: tuple[SealedPerspective, ...] = ()
    cross: tuple[CrossCertificate, ...] = ()
    copies: dict[str, SealedCopy] = field(default_factory=dict)
    """By id."""
    revoked: dict[bytes, CrlEntry] = field(default_factory=dict)
    """By serial number: all that the next root CRL must list."""
    sealed: bytes = b""
    """The content of the new hierarchy.json, once the root key has sealed it."""

    @classmethod
    def of(cls, hierarchy: Hierarchy | None) -> Draft:
        """What a ceremony begins with."""
        draft = cls(hierarchy)
        if hierarchy is None:
            return draft
        draft.tokens = {token.label: token for token in hierarchy.tokens}
        draft.root, draft.root_crl = hierarchy.root, hierarchy.root_crl
        draft.issuers = {issuer.id: issuer for issuer in hierarchy.issuers}
        root, issuing = hierarchy.token(TokenRole.ROOT), hierarchy.token(TokenRole.ISSUING)
        draft.keys = {ROOT: KnownKey(ROOT, root.label, hierarchy.root_custody, _spki(hierarchy.root))} | {
            each.label: KnownKey(each.label, issuing.label, each.custody, _spki(each.certificate))
            for each in hierarchy.issuers
            if each.state is not IssuerState.DESTROYED
        }
        draft.copies = {copy.id: copy for copy in hierarchy.copies}
        draft.perspectives, draft.cross = hierarchy.perspectives, hierarchy.cross
        crl = x509.load_der_x509_crl(hierarchy.root_crl)
        draft.crl_number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        draft.revoked = {entry.serial: entry for entry in map(_entry, crl)}
        return draft

    def token(self, role: TokenRole) -> SealedToken:
        """The token of this role.  Raises `HaltIssuance`: the script's check should have refused."""
        for token in self.tokens.values():
            if token.role is role:
                return token
        raise HaltIssuance(f"the ceremony has made no {role} token")

    def revoke(self, serial: bytes, reason: int, at: int) -> None:
        """List a serial number in the next root CRL; the first entry stands."""
        self.revoked.setdefault(serial, CrlEntry(serial, at, reason))

    def set_state(self, issuer: str, state: IssuerState) -> None:
        """Change what an issuing key may do."""
        self.issuers[issuer] = replace(self.issuers[issuer], state=state)

    def uncovered(self) -> list[bytes]:
        """The serial numbers that the newest root CRL does not list and must."""
        listed = (
            {_serial(entry) for entry in x509.load_der_x509_crl(self.root_crl)} if self.root_crl else set()
        )
        return [serial for serial in self.revoked if serial not in listed]

    def hierarchy(self, ceremony: str, transcript: bytes, rules: str, at: int) -> Hierarchy:
        """What is to be sealed at `at`, when `transcript` is the head."""
        made = Hierarchy(
            version=VERSION,
            created_at=at,
            rules=rules,
            root=self.root,
            root_crl=self.root_crl,
            issuers=tuple(self.issuers.values()),
            perspectives=self.perspectives,
            ceremony=ceremony,
            transcript=transcript,
            tokens=tuple(self.tokens.values()),
            cross=self.cross,
            root_custody=self.key(ROOT).custody,
            copies=tuple(self.copies.values()),
        )
        if self.base is None:
            return made
        return replace(made, sequence=self.base.sequence + 1, created_at=self.base.created_at)

    def key(self, label: str) -> KnownKey:
        """A key of this ceremony or of the sealed hierarchy.  Raises `HaltIssuance`."""
        if label not in self.keys:
            raise HaltIssuance(f"the ceremony knows no key {label!r}")
        return self.keys[label]

    def keys_of(self, token: str) -> list[KnownKey]:
        """The keys in a token."""
        return [each for each in self.keys.values() if each.token == token]


def serial_of(certificate: bytes) -> bytes:
    """The content octets of a certificate's serial number."""
    return _octets(x509.load_der_x509_certificate(certificate).serial_number)


def _spki(certificate: bytes) -> bytes:
    public_key = x509.load_der_x509_certificate(certificate).public_key()
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _entry(revoked: x509.RevokedCertificate) -> CrlEntry:
    reason = revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason
    return CrlEntry(_serial(revoked), int(revoked.revocation_date_utc.timestamp()), _REASONS[reason])


def _serial(revoked: x509.RevokedCertificate) -> bytes:
    return _octets(revoked.serial_number)


def _octets(serial: int) -> bytes:
    return serial.to_bytes(serial.bit_length() // 8 + 1)


_REASONS = {
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
}
