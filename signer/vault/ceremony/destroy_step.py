"""destroy: an issuing key ends, in its token and in every recorded copy; the inventory comes to zero.

Only a key whose word nobody needs any more: its certificate has ended or is in the root's CRL, it never
signed, or its planned days are over for longer than any certificate lives.

C_DestroyObject removes the object.  What a medium keeps of a deleted file is encrypted under the token's PIN;
whoever fears for that destroys the medium, which people do and no step.

BR 6.2.10, 4.9.7; CPS 6.2.10.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509

from core.errors import ConfigurationError, HaltIssuance, Refused
from core.requirements import TABLE, Limit
from signer.vault.ceremony.copy_steps import known_copy
from signer.vault.ceremony.draft import Draft, serial_of
from signer.vault.ceremony.key_steps import RESPONDER_PREFIX
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.sealed import copies
from signer.vault.sealed.copies import SealedCopy
from signer.vault.sealed.seal import IssuerState, SealedIssuer
from signer.vault.tokens.session import Session

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

LONGEST_LEAF = max(row.value for row in TABLE[Limit.LEAF_VALIDITY])
"""Seconds after the last day of signing in which some certificate may still be valid."""


@dataclass(frozen=True, slots=True)
class Destroyed:
    """The key that is nowhere any more; `copies` as they are without it."""

    issuer: str
    label: str
    copies: tuple[SealedCopy, ...]


@dataclass(frozen=True, slots=True)
class Destroy:
    """The key of an issuing CA is destroyed.  `places` maps the id of a copy that was moved to its place."""

    issuer: str
    places: dict[str, str] = field(default_factory=dict)

    KIND: ClassVar[str] = "destroy"
    Done: ClassVar[type] = Destroyed

    def words(self, plan: Plan) -> str:
        return f"the key of issuing CA {self.issuer!r} is destroyed, in its token and in every copy"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.issuer)
        if self.issuer == ROOT:
            raise ConfigurationError("the root key ends with its token: name an issuing CA")

    async def perform(self, room: Room, attempt: Attempt) -> Destroyed:
        draft = room.draft
        issuer = draft.issuers[self.issuer]
        _must_be_over(draft, issuer, room.clock.now())
        token = draft.tokens[draft.key(issuer.label).token]
        labels = (issuer.label, RESPONDER_PREFIX + issuer.id)
        where = {each.id: self._place(room, each) for each in _holding(draft, issuer.label, token.label)}
        for id in self.places:
            known_copy(draft, id)
        if attempt.earlier is None:
            for id, place in where.items():
                copies.check(place, draft.copies[id])  # all of them, before the first is touched
        attempt.intend(
            Intent(note=f"destroy key {issuer.label}: token {token.label}, copies {sorted(where)}")
        )
        changed = []
        for id, place in where.items():
            there = draft.copies[id].second or replace(token, serial=draft.copies[id].serial)
            _destroy(room.tokens.elsewhere(there, place / copies.TOKEN), labels, f"copy {id!r}")
            attempt.reached("copy destroyed")
            room.tokens.shut()
            copy = draft.copies[id]
            left = tuple(key for key in copy.keys if key.label != issuer.label)
            made = copies.describe(place, id, copy.token, copy.serial, copy.made_at, left, copy.second)
            changed.append(replace(made, place=copy.place))
            attempt.reached("copy described")
        _destroy(room.session(token.label), labels, f"token {token.label!r}")
        attempt.reached("destroyed")
        # In a session of its own: what it cannot find is not there.
        room.tokens.shut()
        _must_be_gone(room.session(token.label), labels, f"token {token.label!r}")
        return Destroyed(self.issuer, issuer.label, tuple(changed))

    def apply(self, draft: Draft, done: Destroyed) -> None:
        draft.set_state(done.issuer, IssuerState.DESTROYED)
        draft.copies |= {each.id: each for each in done.copies}
        del draft.keys[done.label]

    def _place(self, room: Room, copy: SealedCopy) -> Path:
        return room.base / self.places[copy.id] if copy.id in self.places else Path(copy.place)


def _must_be_over(draft: Draft, issuer: SealedIssuer, now: int) -> None:
    """That nobody needs the key's word any more.  Raises `Refused`."""
    if issuer.state is IssuerState.DESTROYED:
        raise Refused("destroy.done", f"the key of {issuer.id!r} is destroyed already")
    sharing = [
        each.id
        for each in draft.issuers.values()
        if each.label == issuer.label and each.id != issuer.id and each.state is not IssuerState.DESTROYED
    ]
    if sharing:
        raise Refused("destroy.shared", f"the key {issuer.label!r} also serves {', '.join(sharing)}")
    ends = int(x509.load_der_x509_certificate(issuer.certificate).not_valid_after_utc.timestamp())
    if (
        now > ends
        or serial_of(issuer.certificate) in draft.revoked
        or issuer.state is IssuerState.PLANNED
        or (issuer.until and now > issuer.until + LONGEST_LEAF)
    ):
        return
    raise Refused(
        "destroy.needed",
        f"certificates of {issuer.id!r} may be valid still, and its CRLs must go on (BR 4.9.7): wait for its "
        'end, or put it into the root\'s CRL by a step kind = "revoke-issuer" before',
    )


def _holding(draft: Draft, label: str, token: str) -> list[SealedCopy]:
    return [each for each in draft.copies.values() if each.token == token and each.holds(label)]


def _destroy(session: Session, labels: tuple[str, ...], where: str) -> None:
    for label in labels:
        session.destroy(label)
    _must_be_gone(session, labels, where)


def _must_be_gone(session: Session, labels: tuple[str, ...], where: str) -> None:
    if left := sorted(session.labels() & set(labels)):
        raise HaltIssuance(f"{where} still shows {', '.join(left)} after C_DestroyObject: destroy the token")
