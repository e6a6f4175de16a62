"""Holding a ceremony: the people sign in, each step is begun, done and written down, the people sign out.

Everything of a ceremony lies in `vault/ceremonies/NUMBER/`: the transcript is the only memory, and replaying
it (history.py) is how a killed ceremony goes on.  A step that was begun and not done is void: what it may
have signed is revoked, what it left in a token is destroyed, and it is tried again.  The new hierarchy comes
into force, by one rename, when all who are present have signed the transcript that ends with its seal.

Must never: do anything before enough people have signed in; use a key before the intent is durable; leave a
serial number that may have been signed unlisted.

BR 5.2.2, 5.4.1, 6.1.1.1, 6.2.2; CPS 5.2, 6.1.1, 6.2.2.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError, HaltIssuance, Refused
from core.people import Identity
from core.randomness import Randomness
from core.settings import Settings
from signer import steps
from signer.vault.ceremony import past
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.history import History
from signer.vault.ceremony.room import Room
from signer.vault.ceremony.script import LEAST_PRESENT, Script
from signer.vault.ceremony.seal_steps import pem
from signer.vault.ceremony.step import Attempt, Say
from signer.vault.ceremony.tokens import Tokens, write
from signer.vault.ceremony.transcript import (
    BEGIN_CONTEXT,
    END_CONTEXT,
    Begin,
    Begun,
    Burnt,
    Event,
    InForce,
    Intent,
    Line,
    Note,
    Signature,
    Transcript,
    Void,
)
from signer.vault.lint.pool import LintPool
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed import seal as seals
from signer.vault.sealed.seal import Hierarchy, TokenRole


@dataclass(frozen=True, slots=True)
class Held:
    """What a ceremony came to."""

    hierarchy: Hierarchy
    transcript: Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ceremony is held, and by which clock and chance.

    `base` is where the script's files lie; `perspectives` maps code to SubjectPublicKeyInfo.
    """

    data: DataDirectory
    settings: Settings
    clock: Clock
    randomness: Randomness
    base: Path
    perspectives: Mapping[str, bytes]
    say: Say = lambda line: None


async def hold(place: Place, script: Script, present: Sequence[Identity]) -> Held:
    """Hold a ceremony, or go on with the one of the same script that was interrupted.

    Raises `ConfigurationError`, `Refused` (nothing was done yet, or the step is void: mend it and run again),
    `HaltIssuance`.
    """
    settled = settle(place)
    if settled is not None and settled.script_sha256 == script.sha256:
        return Held(hierarchies.load(place.data, place.settings), past.transcripts(place.data)[-1])
    directory, begin = past.where(place.data)
    base = _base(place, script, begin)
    burnt, crl_number = (begin.burnt, begin.crl_number) if begin else past.abandoned(place.data, base)
    plan = script.plan(base, "a ceremony that was given up" if burnt else "")
    must_be_enough(place, script, present, base)
    if begin is None and base is None:
        _must_be_free(place.data)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    transcript = Transcript(directory / past.TRANSCRIPT, place.clock)
    tokens = Tokens(place.settings, place.data, directory / "softhsm2.conf", plan.described, tuple(present))
    lint = LintPool(1, place.settings.ca.rules, zlint=place.settings.vault.zlint)
    try:
        history = History(Draft.of(base)).replay(transcript.lines)
        sitting = _Sitting(place, script, tuple(present), transcript, history)
        lint.start()
        sitting.sign_in(directory.name, base, burnt, crl_number)
        room = Room(
            directory.name,
            directory,
            place.base,
            plan,
            place.settings,
            place.data,
            place.clock,
            place.randomness,
            tuple(present),
            place.perspectives,
            history.draft,
            tokens,
            lint,
        )
        await sitting.carry_out(room)
        sitting.sign_out()
        tokens.close()
        sitting.bring_into_force()
    finally:
        lint.close()
        tokens.close()
        transcript.close()
        (directory / "softhsm2.conf").unlink(missing_ok=True)
    # Shares of a token that was being made: its holders have others now, bound to its serial number.
    shutil.rmtree(directory / "shares", ignore_errors=True)
    return Held(hierarchies.load(place.data, place.settings), directory / past.TRANSCRIPT)


class _Sitting:
    """One try to get through the script."""

    def __init__(
        self,
        place: Place,
        script: Script,
        present: tuple[Identity, ...],
        transcript: Transcript,
        history: History,
    ) -> None:
        self._place = place
        self._script = script
        self._present = present
        self._transcript = transcript
        self._history = history

    def sign_in(
        self, ceremony: str, base: Hierarchy | None, burnt: tuple[Burnt, ...], crl_number: int
    ) -> None:
        """The agenda, or that it goes on; everybody present signs the script and the agenda."""
        history = self._history
        if history.begin is None:
            content = self._place.data.hierarchy.read_text() if base is not None else ""
            begin = Begin(
                ceremony,
                _software(),
                self._script.sha256,
                self._script.text,
                self._script.people,
                (self._script.policy.present, self._script.policy.of),
                self._place.settings.ca.rules,
                content,
                burnt,
                crl_number,
            )
            self._note(Event.BEGIN, begin)
        else:
            self._note(Event.RESUME, Note(f"resumed at step {history.done + 1}"))
            self._place.say(f"an interrupted ceremony goes on with step {history.done + 1}")
        steps.ceremony("begin")
        for identity in self._present:
            signed = identity.sign(BEGIN_CONTEXT, self._script.sha256 + history.begin_hash)
            self._note(Event.PRESENT, Signature(identity.person.id, signed))
        steps.ceremony("present")

    async def carry_out(self, room: Room) -> None:
        """Every step that is not done."""
        history = self._history
        for number, step in enumerate(self._script.steps, 1):
            if number <= history.done:
                continue
            if history.intent_open:
                self._void(number, "it was interrupted: whatever it may have signed counts as issued")
            words = step.words(room.plan)
            self._place.say(words)
            attempt = _Attempt(self, number, history.intent)
            self._note(Event.BEGUN, Begun(step.KIND, words), number)
            attempt.reached("begun")
            try:
                done = await step.perform(room, attempt)
            except CaError as error:
                self._void(number, str(error))
                raise
            attempt.reached("performed")
            self._note(Event.DONE, done, number)
            attempt.reached("done")

    def sign_out(self) -> None:
        """Everybody present signs the head."""
        head = self._history.closing
        for identity in self._present:
            self._note(Event.SIGNED, Signature(identity.person.id, identity.sign(END_CONTEXT, head)))
        steps.ceremony("signed")

    def bring_into_force(self) -> None:
        """The trust anchor, then hierarchy.json, by one rename each; safe to repeat."""
        data, draft = self._place.data, self._history.draft
        for directory in (data.tokens, data.vault):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if draft.base is None:
            write(data.trust_anchor, pem(draft.root), 0o644)
        steps.ceremony("anchor")
        write(data.hierarchy, draft.sealed, 0o644)
        steps.ceremony("hierarchy")
        sealed = seals.unseal(draft.sealed, pem(draft.root))
        self._note(Event.IN_FORCE, InForce(sealed.sequence, seals.digest(sealed)))

    def intend(self, number: int, intent: Intent) -> bytes:
        """See `Attempt.intend`."""
        return self._note(Event.INTENT, intent, number).hash

    def _void(self, number: int, reason: str) -> None:
        self._note(Event.VOID, Void(reason, self._history.burnt), number)

    def _note(self, event: Event, detail: Any, number: int = 0) -> Line:
        line = self._transcript.append(event, detail, number)
        self._history.take(line)
        return line


class _Attempt(Attempt):
    def __init__(self, sitting: _Sitting, number: int, earlier: Intent | None) -> None:
        self.earlier = earlier
        self._sitting = sitting
        self._number = number

    def intend(self, intent: Intent) -> bytes:
        head = self._sitting.intend(self._number, intent)
        self.reached("intent")
        return head

    def reached(self, what: str) -> None:
        steps.ceremony(f"{self._number} {what}")


def settle(place: Place) -> Begin | None:
    """Bring into force what was killed between the last signature and the last line; its agenda."""
    found = past.transcripts(place.data)
    if not found or not past.interrupted(place.data):
        return None
    transcript = Transcript(found[-1], place.clock)
    try:
        begin = transcript.lines[0].read(Begin)
        history = History(Draft.of(sealed_base(place.data, begin))).replay(transcript.lines)
        if not history.all_signed:
            return None
        _Sitting(place, history.must_begin()[1], (), transcript, history).bring_into_force()
    finally:
        transcript.close()
    return begin


def _base(place: Place, script: Script, begin: Begin | None) -> Hierarchy | None:
    """The sealed hierarchy that the ceremony carries on; of an interrupted one, as it was at its begin."""
    data = place.data
    if begin is None:
        return hierarchies.load(data, place.settings) if hierarchies.exists(data) else None
    if begin.script_sha256 != script.sha256:
        raise Refused(
            "ceremony.unfinished",
            f"ceremony {begin.ceremony} was interrupted, and this is not its script: run that one again, "
            f"unchanged, and it goes on (its text is in {past.transcripts(data)[-1]}); or give it up: "
            "acme-server ceremony abandon",
        )
    if begin.rules != place.settings.ca.rules:
        raise ConfigurationError(
            f"ceremony {begin.ceremony} was begun under {begin.rules!r} rules: set ca.rules = {begin.rules!r}"
        )
    return sealed_base(data, begin)


def sealed_base(data: DataDirectory, begin: Begin) -> Hierarchy | None:
    """The hierarchy that a ceremony carried on, as it was at its begin."""
    if not begin.base:
        return None
    return seals.unseal(begin.base.encode(), data.trust_anchor.read_bytes())


def must_be_enough(place: Place, script: Script, present: Sequence[Identity], base: Hierarchy | None) -> None:
    """That those present are among the script's people, and enough of them.  Raises `Refused`."""
    named = {person.id: person for person in script.people}
    for identity in present:
        if named.get(identity.person.id) != identity.person:
            raise Refused(
                "ceremony.people",
                f"{identity.person.name} ({identity.person.id}) is not one of the script's people: add their "
                "file to [[people]], or let somebody come who is",
            )
    if len({identity.person.id for identity in present}) != len(present):
        raise Refused("ceremony.people", "one identity is given twice: one person counts once")
    if len(present) < script.policy.present:
        raise Refused(
            "ceremony.people",
            f"{len(present)} of {script.policy.present} people are present: "
            f"{script.policy.present - len(present)} more of "
            f"{', '.join(person.name for person in script.people)} must come, with their identities",
        )
    if place.settings.deployment.production:
        if not script.people:
            raise Refused(
                "ceremony.people",
                f"production has no ceremony without people: name at least {LEAST_PRESENT} in the script, "
                "better 3 of 5 (BR 6.2.2)",
            )
        if not place.clock.synchronised():
            raise HaltIssuance("no time service disciplines the clock: see chronyc tracking or timedatectl")
    activation = base.token(TokenRole.ROOT).activation if base is not None else None
    if activation is not None and script.policy.present < activation.threshold:
        raise Refused(
            "ceremony.policy",
            f"the sealed hierarchy wants {activation.threshold} people for the root key, and the script only "
            f"{script.policy.present}: raise [policy] present",
        )


def _must_be_free(data: DataDirectory) -> None:
    """No first ceremony may lay its hand on keys that count."""
    if gone := [path for path in past.transcripts(data) if past.came_into_force(path)]:
        raise ConfigurationError(
            f"{gone[-1]} tells of a ceremony whose {data.hierarchy.name} is gone: restore the "
            "file from a backup (the transcript holds its content)"
        )
    if data.journal.exists():
        raise ConfigurationError(
            f"{data.journal} exists without {data.hierarchy.name}: restore the latter from a backup; "
            "a journal belongs to the keys that it tells of"
        )
    if data.tokens.exists() and any(data.tokens.iterdir()):
        raise ConfigurationError(
            f"{data.tokens} holds tokens of an unknown hierarchy: restore {data.hierarchy.name}, or move "
            "them away"
        )


def _software() -> str:
    try:
        return f"acme-server {importlib.metadata.version('acme-server')}"
    except importlib.metadata.PackageNotFoundError:
        return "acme-server (from its source)"
