"""make-token and generate-key: where the CA's keys are born.

A token's PIN is split among its holders, durably, before the token knows it; so whenever a ceremony is
killed the people can open what was made.  A token that was not finished holds no key, and a key that was not
finished has no certificate: both are made anew, and what the killed try left is thrown away.

BR 6.1.1.1, 6.1.5, 6.1.6, 6.2.2, 6.2.7; CPS 6.1.1, 6.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.errors import ConfigurationError, HaltIssuance
from signer.vault.ceremony import tokens
from signer.vault.ceremony.draft import Draft, KnownKey
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.people import approval, shares
from signer.vault.sealed import hierarchy
from signer.vault.sealed.seal import SealedActivation, SealedToken, TokenRole
from signer.vault.tokens import algorithms, modules
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.keys import KeyAlgorithm

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

PROOF = b"acme-server key ceremony v1\x00"
"""Signed, with the label behind it, by every new key: the transcript proves who holds the private half."""

RESPONDER_PREFIX = "ocsp-"
"""Of the keys that the vault itself makes for its OCSP responders (status/responders.py)."""

VAULTS_OWN = (RESPONDER_PREFIX, "manifest-")
"""And of all that it makes (status/manifests.py)."""


@dataclass(frozen=True, slots=True)
class MakeToken:
    """An empty place becomes a token; its PIN is known to nobody alone."""

    token: str

    KIND: ClassVar[str] = "make-token"
    Done: ClassVar[type] = SealedToken

    def words(self, plan: Plan) -> str:
        threshold, holders = self._split(plan)
        role = plan.described[self.token].role
        if not holders:
            return f"token {self.token!r} is made for the {role} keys; its PIN lies in a file"
        return (
            f"token {self.token!r} is made for the {role} keys; its PIN is split among {', '.join(holders)}, "
            f"any {threshold} of whom open it"
        )

    def check(self, plan: Plan) -> None:
        described = plan.described.get(self.token)
        if described is None:
            raise ConfigurationError(f"no [[tokens]] has the label {self.token!r}")
        if described.role in plan.tokens.values():
            raise ConfigurationError(
                f"there is a token with the role {described.role.value!r} already: a later ceremony goes on "
                "with it, so leave this step out"
            )
        self._split(plan)
        plan.tokens[self.token] = described.role

    async def perform(self, room: Room, attempt: Attempt) -> SealedToken:
        plan = room.plan
        described = plan.described[self.token]
        if not plan.people:
            return self._with_pin_file(room, attempt, described.role)
        threshold, _ = self._split(plan)
        holders = plan.holders(described)
        aside = room.directory / "shares" / self.token
        name = f"{room.ceremony}/{self.token}"
        if attempt.earlier is not None and attempt.earlier.activation is not None:
            secret = room.tokens.combined(aside, name, attempt.earlier.activation)
            attempt.intend(attempt.earlier)
        else:
            room.tokens.must_be_free(self.token, described.role)
            secret = bytearray(room.randomness.octets(shares.SECRET))
            # The token has no serial number yet, to which shares are bound: these are for a killed ceremony.
            first = shares.split(bytes(secret), threshold, holders, name)
            tokens.save_shares(aside, first)
            attempt.intend(Intent(activation=SealedActivation(threshold, first.check, holders)))
        pin = shares.pin_of(secret)
        try:
            facts = room.tokens.make(self.token, described.role, pin)
            attempt.reached("token")
            _must_be_approved(room, facts)
            splitting = shares.split(bytes(secret), threshold, holders, facts.serial)
        finally:
            shares.wipe(pin)
            shares.wipe(secret)
        tokens.save_shares(tokens.share_directory(room.data, self.token), splitting)
        activation = SealedActivation(threshold, splitting.check, holders)
        return SealedToken(self.token, facts.serial, described.role, facts, activation)

    def apply(self, draft: Draft, done: SealedToken) -> None:
        draft.tokens[done.label] = done

    def _with_pin_file(self, room: Room, attempt: Attempt, role: TokenRole) -> SealedToken:
        if attempt.earlier is None:
            room.tokens.must_be_free(self.token, role)
        path = hierarchy.pin_file(room.settings, room.data, role)
        pin = tokens.laid_down_pin(path, room.randomness)
        attempt.intend(Intent(note=f"the PIN lies in {path.name}"))
        facts = room.tokens.make(self.token, role, pin)
        shares.wipe(pin)
        _must_be_approved(room, facts)
        attempt.reached("token")
        return SealedToken(self.token, facts.serial, role, facts)

    def _split(self, plan: Plan) -> tuple[int, tuple[str, ...]]:
        described = plan.described[self.token]
        return described.threshold or plan.policy.present, tuple(
            person.name for person in plan.holders(described)
        )


def _must_be_approved(room: Room, facts: TokenFacts) -> None:
    # Asked before a key is born in it; the vault asks again at each start.
    approval.must_be_approved(room.settings, facts, modules.HABITS[room.settings.vault.module_kind])


@dataclass(frozen=True, slots=True)
class KeyMade:
    """What came out, read back from the token; `proof` is the key's signature over PROOF and its label."""

    label: str
    token: str
    algorithm: KeyAlgorithm
    custody: Custody
    spki: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class GenerateKey:
    """A key pair is born in a token, and everything about it is read back."""

    token: str
    label: str
    algorithm: KeyAlgorithm
    custody: Custody = Custody.SEALED

    KIND: ClassVar[str] = "generate-key"
    Done: ClassVar[type] = KeyMade

    def words(self, plan: Plan) -> str:
        made = f"key {self.label!r} ({self.algorithm}) is generated in token {self.token!r}"
        return f"{made}, custody {self.custody}"

    def check(self, plan: Plan) -> None:
        role = plan.role_of(self.token)
        if (role is TokenRole.ROOT) != (self.label == ROOT):
            raise ConfigurationError('the key "root" lies in the root token, and no other key does')
        if self.label in plan.keys:
            raise ConfigurationError(f"there is a key {self.label!r} already: a key is made once")
        if self.label.startswith(VAULTS_OWN) or not self.label.strip():
            raise ConfigurationError(f"the label {self.label!r} is kept for the vault: choose another")
        plan.keys[self.label] = (self.token, self.algorithm)

    async def perform(self, room: Room, attempt: Attempt) -> KeyMade:
        session = room.session(self.token)
        if attempt.earlier is None and self.label in session.labels():
            raise HaltIssuance(
                f"token {self.token!r} holds a key {self.label!r} that no ceremony tells of: find out where "
                "it comes from; a key is made once, so choose another label"
            )
        attempt.intend(Intent(note=f"key {self.label}"))
        session.destroy(self.label)  # of a try that was killed: no certificate names it
        key = session.generate(self.label, self.algorithm, self.custody)
        attempt.reached("key")
        proof = session.sign(key, PROOF + self.label.encode())
        algorithms.verify(key.public_key, proof, PROOF + self.label.encode())
        self._must_be_listed(session.labels(), room.draft)
        return KeyMade(self.label, self.token, self.algorithm, self.custody, key.spki, proof)

    def apply(self, draft: Draft, done: KeyMade) -> None:
        draft.keys[done.label] = KnownKey(done.label, done.token, done.custody, done.spki)

    def _must_be_listed(self, labels: frozenset[str], draft: Draft) -> None:
        known = {key.label for key in draft.keys.values() if key.token == self.token} | {self.label}
        strange = {label for label in labels if label not in known and not label.startswith(VAULTS_OWN)}
        if strange:
            raise HaltIssuance(
                f"token {self.token!r} holds keys that no ceremony tells of ({', '.join(sorted(strange))}): "
                "find out who made them before this token is used"
            )
