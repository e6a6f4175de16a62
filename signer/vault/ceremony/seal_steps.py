"""pin-perspectives, retire-issuer and seal: what binds from now on, fixed by the root key.

BR 3.2.2.9 (the network perspectives that count), 6.1.1.1; CPS 6.1, 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from core.errors import ConfigurationError, HaltIssuance
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.sealed import seal as seals
from signer.vault.sealed.seal import IssuerState, SealedPerspective

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room


@dataclass(frozen=True, slots=True)
class Pinned:
    """All perspectives that are believed from now on."""

    perspectives: tuple[SealedPerspective, ...]


@dataclass(frozen=True, slots=True)
class PinPerspectives:
    """Believe the perspectives of the settings, and no others.

    `keys` maps a perspective's code to the file (PEM) of its public key; what is not named there must be at
    hand in the data directory.
    """

    keys: dict[str, str] = field(default_factory=dict)

    KIND: ClassVar[str] = "pin-perspectives"
    Done: ClassVar[type] = Pinned

    def words(self, plan: Plan) -> str:
        return "the validation perspectives' public keys are pinned: only what they signed counts as evidence"

    def check(self, plan: Plan) -> None:
        plan.pinned = True

    async def perform(self, room: Room, attempt: Attempt) -> Pinned:
        at_hand = {**room.perspectives}
        for code, file in self.keys.items():
            at_hand[code] = _public_key((room.base / file).read_bytes(), file)
        configured = {place.code: place for place in room.settings.validation.perspectives}
        if configured.keys() != at_hand.keys():
            raise ConfigurationError(
                f"keys are at hand for the perspectives {sorted(at_hand)}, but validation.perspectives "
                f"names {sorted(configured)}: let each make its key first"
            )
        if len(set(at_hand.values())) != len(at_hand):
            raise ConfigurationError(
                "two perspectives have the same key: each makes its own, or they are one"
            )
        for key in at_hand.values():
            serialization.load_der_public_key(key)
        return Pinned(
            tuple(
                SealedPerspective(code, place.region, place.latitude, place.longitude, at_hand[code])
                for code, place in configured.items()
            )
        )

    def apply(self, draft: Draft, done: Pinned) -> None:
        draft.perspectives = done.perspectives


@dataclass(frozen=True, slots=True)
class Retired:
    """The issuer that signs no more leaves."""

    issuer: str


@dataclass(frozen=True, slots=True)
class RetireIssuer:
    """An issuing CA signs no more leaves; its CRLs and OCSP answers go on."""

    issuer: str

    KIND: ClassVar[str] = "retire-issuer"
    Done: ClassVar[type] = Retired

    def words(self, plan: Plan) -> str:
        return f"issuing CA {self.issuer!r} retires: no more leaves, its CRLs and OCSP answers go on"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.issuer)
        if self.issuer == ROOT:
            raise ConfigurationError("the root signs no leaf: name an issuing CA")

    async def perform(self, room: Room, attempt: Attempt) -> Retired:
        if room.draft.issuers[self.issuer].state is IssuerState.DESTROYED:
            raise ConfigurationError(f"the key of {self.issuer!r} is destroyed already")
        return Retired(self.issuer)

    def apply(self, draft: Draft, done: Retired) -> None:
        draft.set_state(done.issuer, IssuerState.RETIRED)


@dataclass(frozen=True, slots=True)
class Sealed:
    """The content of the new hierarchy.json, and its digest."""

    sequence: int
    hierarchy: bytes
    content: str


@dataclass(frozen=True, slots=True)
class Seal:
    """The root key seals the hierarchy; it comes into force when all have signed the transcript."""

    KIND: ClassVar[str] = "seal"
    Done: ClassVar[type] = Sealed

    def words(self, plan: Plan) -> str:
        return (
            "the root key seals the hierarchy: whose rules bind, who issues, which perspectives are believed"
        )

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(ROOT)
        if plan.uncovered:
            raise ConfigurationError(
                f'after {plan.uncovered} no root CRL was made: add a step kind = "root-crl" before'
            )
        if not plan.pinned:
            raise ConfigurationError('no perspective is pinned: add a step kind = "pin-perspectives" before')
        if len(plan.tokens) < 2 or plan.certified == {ROOT}:
            raise ConfigurationError(
                "a CA has a root token, an issuing token and an issuing CA: make them before"
            )
        plan.sealed = True

    async def perform(self, room: Room, attempt: Attempt) -> Sealed:
        # The script's check put a CRL after every certificate; whatever a killed step burnt is in it.
        if missing := room.draft.uncovered():
            serials = ", ".join(serial.hex() for serial in missing)
            raise HaltIssuance(f"the root CRL does not list {serials}: nothing is sealed")
        session, key = room.key(ROOT)
        head = attempt.intend(Intent(by=ROOT, note="the hierarchy is sealed"))
        now, rules = room.clock.now(), room.settings.ca.rules
        hierarchy = room.draft.hierarchy(room.ceremony, head, rules, now)
        content = seals.seal(hierarchy, lambda octets: session.sign(key, octets))
        attempt.reached("signed")
        seals.unseal(content, pem(room.draft.root))
        return Sealed(hierarchy.sequence, seals.digest(hierarchy), content.decode())

    def apply(self, draft: Draft, done: Sealed) -> None:
        draft.sealed = done.content.encode()


def pem(certificate: bytes) -> bytes:
    """A DER certificate as PEM."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)


def _public_key(content: bytes, file: str) -> bytes:
    try:
        public_key = serialization.load_pem_public_key(content)
    except ValueError as error:
        raise ConfigurationError(f"{file} is no public key (PEM): {error}") from error
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
