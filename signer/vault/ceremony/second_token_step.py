"""wrapped-backup: keys of `wrapped` custody travel to a second token, which the same people open.

The second token is made here, in an empty place, with the PIN of the first: its shares are new, as shares are
bound to a token, and lie beside the others.  The keys travel encrypted for that token alone (wrapping.py),
prove themselves there, and are never LOCAL again; the transcript says so of each.

For modules that keep a token in a directory; between two devices the same functions of wrapping.py serve, but
who plugs which one in when is no step yet.

BR 6.2.4, 6.2.6; CPS 6.2.4, 6.2.6.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core.errors import HaltIssuance, Refused
from signer.vault.ceremony.copy_steps import check_copy, must_be_a_directory, must_be_new
from signer.vault.ceremony.draft import Draft, KnownKey
from signer.vault.ceremony.step import Attempt, Plan
from signer.vault.ceremony.tokens import Tokens, officers_pin, save_shares, share_directory
from signer.vault.ceremony.transcript import Intent
from signer.vault.people import shares
from signer.vault.sealed import copies
from signer.vault.sealed.copies import CopiedKey, SealedCopy
from signer.vault.sealed.seal import SealedActivation, SealedToken
from signer.vault.tokens import keys, wrapping
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.facts import TokenFacts

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room


@dataclass(frozen=True, slots=True)
class WrappedBackup:
    """The keys of a token travel, wrapped, to a second token in the empty place `to`."""

    id: str
    token: str
    to: str

    KIND: ClassVar[str] = "wrapped-backup"
    Done: ClassVar[type] = SealedCopy

    def words(self, plan: Plan) -> str:
        return f"the keys of {self.token!r} travel, wrapped, to a second token in {self.to}, and sign"

    def check(self, plan: Plan) -> None:
        check_copy(plan, self.id, self.token)

    async def perform(self, room: Room, attempt: Attempt) -> SealedCopy:
        must_be_a_directory(room)
        draft, target = room.draft, room.base / self.to
        must_be_new(draft, self.id)
        known = draft.keys_of(self.token)
        if stays := [key.label for key in known if key.custody is not Custody.WRAPPED]:
            raise Refused(
                "copy.sealed",
                f"{', '.join(stays)} never leave the token, as sealed custody means: copy the token "
                'as it is (kind = "backup")',
            )
        if attempt.earlier is None:
            copies.must_be_free(target)
        attempt.intend(Intent(note=f"second token {self.id} for {self.token} in {target}"))
        shutil.rmtree(target / copies.TOKEN, ignore_errors=True)
        token = draft.tokens[self.token]
        facts, proven = _fill(room.tokens, token, target / copies.TOKEN, known)
        attempt.reached("filled")
        second = SealedToken(
            token.label, facts.serial, token.role, facts, self._activation(room, token, facts.serial)
        )
        made_at = room.clock.now()
        return copies.describe(target, self.id, token.label, facts.serial, made_at, proven, second)

    def apply(self, draft: Draft, done: SealedCopy) -> None:
        draft.copies[done.id] = done

    def _activation(self, room: Room, token: SealedToken, serial: str) -> SealedActivation | None:
        """The same secret in new shares, for the same holders."""
        if token.activation is None:
            return None
        secret = room.tokens.secret(token, token.activation)
        holders, threshold = token.activation.holders, token.activation.threshold
        splitting = shares.split(bytes(secret), threshold, holders, serial)
        shares.wipe(secret)
        save_shares(share_directory(room.data, f"{token.label}-{self.id}"), splitting)
        return SealedActivation(threshold, splitting.check, holders)


def _fill(
    tokens: Tokens, token: SealedToken, place: Path, known: list[KnownKey]
) -> tuple[TokenFacts, tuple[CopiedKey, ...]]:
    """Make the second token and bring the keys; its facts, and the keys as they proved themselves.

    Modules look at one place at a time, so the tokens are open in turn.
    """
    pin = tokens.pin(token)
    tokens.shut()
    receiving = tokens.load(place)
    try:
        serial = receiving.make_token(token.label, officers_pin(pin), pin.decode())
        facts = receiving.facts(serial)
        with receiving.open(serial, pin.decode(), read_write=True) as session:
            receiver = wrapping.make_receiver(session)
    finally:
        receiving.close()
    giving = tokens.load(tokens.place(token.label, token.role))
    try:
        labels = [key.label for key in known]
        backups = wrapping.wrap(giving, token.serial, pin.decode(), officers_pin(pin), labels, receiver)
    finally:
        giving.close()
    receiving = tokens.load(place)
    try:
        with receiving.open(serial, pin.decode(), read_write=True) as session:
            restored = [wrapping.restore(session, backup) for backup in backups]
            keys.destroy(session, wrapping.RECEIVER)  # nothing more comes to this token
    finally:
        receiving.close()
    for key, wanted in zip(restored, known, strict=True):
        if key.spki != wanted.spki:
            raise HaltIssuance(f"the key {key.label!r} in the second token is another one: the step is void")
    proven = tuple(CopiedKey(key.label, hashlib.sha256(key.spki).digest(), key.local) for key in restored)
    return facts, proven
