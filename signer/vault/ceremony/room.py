"""What the steps of a ceremony find in the room: the draft, the tokens, the linter, the people, the time.

Must never: sign what was not linted in this very form, or let a signature out that does not verify.

BR 4.3.1.2, 5.4.1, 6.1.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import HaltIssuance, Refused
from core.people import Identity
from core.randomness import Randomness
from core.settings import Settings
from signer import serials
from signer.vault.ceremony.draft import Draft, KnownKey
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.tokens import Tokens
from signer.vault.ceremony.transcript import Intent
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.sealed import lifetimes
from signer.vault.templates import leaf
from signer.vault.templates.ca_certificates import PrivateKey, Subject
from signer.vault.tokens import adapter, algorithms
from signer.vault.tokens.keys import Key
from signer.vault.tokens.session import Session

BACKDATE = 3600
"""Seconds: a client whose clock is an hour slow still accepts the chain; BR 7.1.2.1 allows a day."""

Build = Callable[[PrivateKey, bytes], bytes]
"""A certificate, DER, by the signing key and a serial number."""


@dataclass(frozen=True, slots=True)
class Room:
    """One sitting of a ceremony.

    `directory` is the ceremony's own, `base` where the script's files lie, `plan` what it will come to;
    `perspectives` maps code to SubjectPublicKeyInfo, as far as they are at hand.
    """

    ceremony: str
    directory: Path
    base: Path
    plan: Plan
    settings: Settings
    data: DataDirectory
    clock: Clock
    randomness: Randomness
    present: tuple[Identity, ...]
    perspectives: Mapping[str, bytes]
    draft: Draft
    tokens: Tokens
    lint: LintPool

    def session(self, token: str) -> Session:
        """A session on a token of the draft.  Raises as `Tokens.session`."""
        return self.tokens.session(self.draft.tokens[token])

    def key(self, label: str) -> tuple[Session, Key]:
        """A key, ready to sign; it is the known one and of the known custody.  Raises `HaltIssuance`."""
        known: KnownKey = self.draft.key(label)
        session = self.session(known.token)
        key = session.find(label, known.custody)
        if key.spki != known.spki:
            raise HaltIssuance(
                f"the key {label!r} in the token {known.token!r} is not the one of this hierarchy: is it the "
                "right token?"
            )
        return session, key

    def subject(self, common_name: str) -> Subject:
        """The name of a CA of ours."""
        ca = self.settings.ca
        return Subject(ca.country, ca.organization, f"{ca.organization} {common_name}")

    async def root_signs(self, attempt: Attempt, kind: Kind, build: Build) -> bytes:
        """A certificate by the root key: built, linted, meant, signed, verified.  DER.

        Raises `Refused` when it was not linted clean (no key was used), `HaltIssuance`.
        """
        session, key = self.key(ROOT)
        serial = serials.draw(self.randomness)
        draft = build(adapter.unsigned(key.public_key), serial)
        self._must_live(draft, kind)
        lint = await self.lint.lint(draft, kind, at=self.clock.now())
        tbs = x509.load_der_x509_certificate(draft).tbs_certificate_bytes
        attempt.intend(Intent(by=ROOT, serial=serial, tbs=tbs, lint=lint))
        signature = session.sign(key, tbs)
        attempt.reached("signed")
        certificate = leaf.assemble(tbs, algorithms.for_key(key.public_key).identifier, signature)
        must_be_as_linted(certificate, tbs)
        must_verify(key, signature, tbs)
        return certificate

    def _must_live(self, draft: bytes, kind: Kind) -> None:
        """See `lifetimes.admit_ca`: a key that was certified before is as old as its first certificate."""
        known = [x509.load_der_x509_certificate(each.certificate) for each in self.draft.issuers.values()]
        key = x509.load_der_x509_certificate(draft).public_key()
        births = [each.not_valid_before_utc for each in known if each.public_key() == key]
        lifetimes.admit_ca(
            draft,
            self.settings.ca.rules,
            self.clock.now(),
            parent=None if kind is Kind.ROOT else self.draft.root,
            key_born=int(min(births).timestamp()) if births else None,
        )


def must_be_as_linted(certificate: bytes, tbs: bytes) -> None:
    """That what was signed is what was linted, octet for octet.  Raises `HaltIssuance`."""
    if x509.load_der_x509_certificate(certificate).tbs_certificate_bytes != tbs:
        raise HaltIssuance(
            "the signed certificate is not the one that was linted: its serial number is revoked"
        )


def must_verify(key: Key, signature: bytes, data: bytes) -> None:
    """That the token made a good signature.  Raises `HaltIssuance`."""
    try:
        algorithms.verify(key.public_key, signature, data)
    except ValueError as error:
        raise HaltIssuance(
            f"the token's signature with {key.label!r}: {error}: take it out of use"
        ) from error


def must_outlive(parent: bytes, child: bytes) -> None:
    """That a certificate does not outlive the one above it.  Raises `Refused`."""
    above, below = (x509.load_der_x509_certificate(each) for each in (parent, child))
    if below.not_valid_after_utc > above.not_valid_after_utc:
        raise Refused(
            "ceremony.validity",
            f"it would be valid until {below.not_valid_after_utc:%Y-%m-%d}, longer than its issuer "
            f"({above.not_valid_after_utc:%Y-%m-%d}): give the step fewer `days`",
        )
