"""backup and restore: a token's keys in a second place, and back again, by as many people as open the token.

A copy counts when it was opened in its new place and every CA key signed there under the known public key; a
restored token likewise.  What was copied and not proven stands in the transcript as an intent, never in the
seal.

For modules that keep a token in a directory (SoftHSM2, NSS).  A hardware token is cloned by its vendor's own
means, which no standard lets us drive.

BR 6.2.4, 6.2.6; CPS 5.1.8, 6.2.4, 6.2.6.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core.errors import ConfigurationError, HaltIssuance, Refused
from core.settings import ModuleKind
from signer.vault.ceremony.draft import Draft, KnownKey
from signer.vault.ceremony.key_steps import PROOF
from signer.vault.ceremony.step import Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.sealed import copies
from signer.vault.sealed.copies import CopiedKey, SealedCopy
from signer.vault.sealed.seal import SealedToken
from signer.vault.tokens import algorithms, cloning
from signer.vault.tokens.session import Session

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

IN_DIRECTORIES = frozenset({ModuleKind.SOFTHSM2, ModuleKind.NSS})
"""Kinds of module whose token is a directory of encrypted files."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a token is made in the empty place `to`, and every key in it proves itself there."""

    id: str
    token: str
    to: str

    KIND: ClassVar[str] = "backup"
    Done: ClassVar[type] = SealedCopy

    def words(self, plan: Plan) -> str:
        return f"token {self.token!r} is copied to {self.to} as copy {self.id!r}; each key signs in the copy"

    def check(self, plan: Plan) -> None:
        check_copy(plan, self.id, self.token)

    async def perform(self, room: Room, attempt: Attempt) -> SealedCopy:
        must_be_a_directory(room)
        draft, target = room.draft, room.base / self.to
        must_be_new(draft, self.id)
        if attempt.earlier is None:
            copies.must_be_free(target)
        attempt.intend(Intent(note=f"copy {self.id} of token {self.token} in {target}"))
        token = draft.tokens[self.token]
        room.tokens.shut()  # nothing of ours is half-way in the files
        _clone(room.tokens.place(token.label, token.role), target / copies.TOKEN)
        attempt.reached("copied")
        session = room.tokens.elsewhere(token, target / copies.TOKEN)
        proven = tuple(prove(session, key) for key in draft.keys_of(self.token))
        room.tokens.shut()  # the manifest is of files that nobody writes to
        return copies.describe(target, self.id, token.label, token.serial, room.clock.now(), proven)

    def apply(self, draft: Draft, done: SealedCopy) -> None:
        draft.copies[done.id] = done


@dataclass(frozen=True, slots=True)
class Restored:
    """The copy that became the token, and the keys that proved themselves in it.

    `second` when it is another token than the lost one: keys that travelled wrapped are not LOCAL there.
    """

    copy: str
    token: str
    keys: tuple[CopiedKey, ...]
    second: SealedToken | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """A copy is put into the empty place of its token; `at` is where the copy is now, if it was moved."""

    copy: str
    at: str = ""

    KIND: ClassVar[str] = "restore"
    Done: ClassVar[type] = Restored

    def words(self, plan: Plan) -> str:
        return f"copy {self.copy!r} is put in the place of its lost token; each key signs there"

    def check(self, plan: Plan) -> None:
        if not plan.existing:
            raise ConfigurationError("there is nothing to restore before a hierarchy was sealed")

    async def perform(self, room: Room, attempt: Attempt) -> Restored:
        must_be_a_directory(room)
        draft = room.draft
        copy = known_copy(draft, self.copy)
        source = room.base / self.at if self.at else Path(copy.place)
        copies.check(source, copy)
        room.tokens.pin(draft.tokens[copy.token])  # by the shares of the lost token, whoever brought which
        token = copy.second or draft.tokens[copy.token]
        if attempt.earlier is None:
            room.tokens.must_be_free(token.label, token.role)
        attempt.intend(Intent(note=f"token {token.label} from copy {copy.id}"))
        room.tokens.shut()
        _clone(source / copies.TOKEN, room.tokens.place(token.label, token.role))
        attempt.reached("copied")
        session = room.tokens.session(token)
        missing = sorted(key.label for key in draft.keys_of(token.label) if not session.has(key.label))
        if missing:
            raise Refused(
                "copy.older",
                f"copy {copy.id!r} is older than {', '.join(missing)}: restore a newer copy; with this one "
                "those keys are lost",
            )
        proven = tuple(prove(session, key) for key in draft.keys_of(token.label))
        return Restored(copy.id, token.label, proven, copy.second)

    def apply(self, draft: Draft, done: Restored) -> None:
        if done.second is not None:
            draft.tokens[done.token] = done.second


def _clone(source: Path, target: Path) -> None:
    # What is there now is of a try of this step that was killed: the place was free before.
    shutil.rmtree(target, ignore_errors=True)
    cloning.clone(source, target)


def prove(session: Session, known: KnownKey) -> CopiedKey:
    """That this very key is there, of its custody, and signs.  Raises `HaltIssuance`."""
    key = session.find(known.label, known.custody)
    if key.spki != known.spki:
        raise HaltIssuance(f"the key {known.label!r} there is another one: this is no copy of our token")
    proof = PROOF + known.label.encode()
    algorithms.verify(key.public_key, session.sign(key, proof), proof)
    return CopiedKey(known.label, hashlib.sha256(key.spki).digest(), key.local)


def known_copy(draft: Draft, id: str) -> SealedCopy:
    """A copy of the register.  Raises `Refused`."""
    if id not in draft.copies:
        there = ", ".join(sorted(draft.copies)) or "none"
        raise Refused("copy.unknown", f"the seal knows no copy {id!r} (there are: {there})")
    return draft.copies[id]


def must_be_a_directory(room: Room) -> None:
    """That the token can be copied as files.  Raises `ConfigurationError`."""
    kind = room.settings.vault.module_kind
    if kind not in IN_DIRECTORIES:
        raise ConfigurationError(
            f"a token of kind {kind.value!r} is no directory: clone it by its vendor's means, with the same "
            "people, and keep the vendor's record with the transcript"
        )


def check_copy(plan: Plan, id: str, token: str) -> None:
    """That `token` is there to be copied, and `id` is one of a copy.  Raises `ConfigurationError`."""
    plan.role_of(token)
    if not id.replace("-", "").isalnum():
        raise ConfigurationError(f"the id {id!r} of a copy has letters, digits and hyphens only")


def must_be_new(draft: Draft, id: str) -> None:
    """Raises `Refused` when there is a copy `id`."""
    if id in draft.copies:
        raise Refused("copy.id", f"there is a copy {id!r} already: name this one differently")
