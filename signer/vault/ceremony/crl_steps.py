"""revoke-issuer and root-crl: what the root key no longer says.

The root's CRL lists what was revoked, and every serial number whose signature may have been made in a step
that was killed: a certificate that nobody has must not be good because nobody knows of it.

BR 4.9.1.2 (revoking a subordinate CA), 4.9.7, 7.2; CPS 4.9, 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from core.errors import ConfigurationError
from signer.vault.ceremony.draft import Draft, serial_of
from signer.vault.ceremony.room import must_verify
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.lint.pool import Kind
from signer.vault.sealed.hierarchy import authority
from signer.vault.sealed.seal import IssuerState
from signer.vault.templates import crl

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

DAY = 86400
ROOT_CRL_DAYS = 300
"""BR 4.9.7 allows 12 months.  The next one needs the root key, so a ceremony: two months for it."""


class CaReason(StrEnum):
    """The CRLReasons that BR 7.2.2 allows for a CA certificate, by their names in RFC 5280 section 5.3.1."""

    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"

    @property
    def code(self) -> int:
        """Its number."""
        return _CODES[self]


_CODES = {
    CaReason.KEY_COMPROMISE: 1,
    CaReason.CA_COMPROMISE: 2,
    CaReason.AFFILIATION_CHANGED: 3,
    CaReason.SUPERSEDED: 4,
    CaReason.CESSATION_OF_OPERATION: 5,
    CaReason.PRIVILEGE_WITHDRAWN: 9,
}


@dataclass(frozen=True, slots=True)
class IssuerRevoked:
    """Whose certificate, its serial number, why and when (POSIX seconds)."""

    issuer: str
    serial: bytes
    reason: CaReason
    at: int


@dataclass(frozen=True, slots=True)
class RevokeIssuer:
    """An issuing CA's certificate goes into the next root CRL; it signs CRLs and OCSP answers only."""

    issuer: str
    reason: CaReason

    KIND: ClassVar[str] = "revoke-issuer"
    Done: ClassVar[type] = IssuerRevoked

    def words(self, plan: Plan) -> str:
        return (
            f"the certificate of {self.issuer!r} is revoked ({self.reason}): it goes into the next root CRL"
        )

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.issuer)
        if self.issuer == ROOT:
            raise ConfigurationError(
                "a root cannot revoke itself: relying parties must take it out of their stores"
            )
        plan.uncovered = f"the revocation of {self.issuer!r}"

    async def perform(self, room: Room, attempt: Attempt) -> IssuerRevoked:
        serial = serial_of(room.draft.issuers[self.issuer].certificate)
        return IssuerRevoked(self.issuer, serial, self.reason, room.clock.now())

    def apply(self, draft: Draft, done: IssuerRevoked) -> None:
        draft.revoke(done.serial, done.reason.code, done.at)
        draft.set_state(done.issuer, IssuerState.RETIRED)


@dataclass(frozen=True, slots=True)
class CrlMade:
    """The root's CRL, DER, and its number."""

    number: int
    crl: bytes


@dataclass(frozen=True, slots=True)
class RootCrl:
    """A new CRL of the root, over all that is to be listed by now."""

    days: int = ROOT_CRL_DAYS

    KIND: ClassVar[str] = "root-crl"
    Done: ClassVar[type] = CrlMade

    def words(self, plan: Plan) -> str:
        return f"the root's CRL, good for {self.days} days, is built, linted and signed by the root key"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(ROOT)
        plan.uncovered = ""

    async def perform(self, room: Room, attempt: Attempt) -> CrlMade:
        session, key = room.key(ROOT)
        issuer = authority(room.settings, ROOT, room.draft.root)
        now, number = room.clock.now(), room.draft.crl_number + 1
        entries = sorted(room.draft.revoked.values(), key=lambda entry: entry.serial)
        tbs = crl.build_tbs(issuer, number, now, now + self.days * DAY, entries, None, of_cas=True)
        lint = await room.lint.lint(crl.dummy_signed(tbs, issuer), Kind.ROOT_CRL, at=now)
        attempt.intend(Intent(by=ROOT, number=number, tbs=tbs, lint=lint))
        signature = session.sign(key, tbs)
        attempt.reached("signed")
        must_verify(key, signature, tbs)
        return CrlMade(number, crl.assemble(tbs, issuer.algorithm.identifier, signature))

    def apply(self, draft: Draft, done: CrlMade) -> None:
        draft.root_crl = done.crl
