"""What a transcript tells: replayed line by line, each event only where it may come.

The engine resumes by it and `verify.py` judges by it, so the two cannot disagree.

Must never: let an event pass that the table does not allow after the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import Refused
from core.people import Person, verify
from signer.vault.ceremony.draft import SUPERSEDED, Draft
from signer.vault.ceremony.script import Script, parse
from signer.vault.ceremony.step import ROOT
from signer.vault.ceremony.transcript import (
    ABANDON_CONTEXT,
    BEGIN_CONTEXT,
    END_CONTEXT,
    Abandoned,
    Begin,
    Event,
    InForce,
    Intent,
    Line,
    Signature,
    Void,
)
from signer.vault.record import chain


class State(StrEnum):
    """Where a ceremony is."""

    NEW = "new"
    GATHERING = "gathering"  # begun or resumed; who is present signs
    BETWEEN = "between"  # no step is under way
    UNDER_WAY = "under way"
    SIGNING = "signing"  # all steps are done; who is present signs the head
    IN_FORCE = "in force"
    ABANDONED = "abandoned"


_ALLOWED: dict[State, dict[Event, State]] = {
    State.NEW: {Event.BEGIN: State.GATHERING},
    State.GATHERING: {Event.PRESENT: State.GATHERING, Event.RESUME: State.GATHERING},
    State.BETWEEN: {Event.BEGUN: State.UNDER_WAY, Event.ABANDONED: State.ABANDONED},
    State.UNDER_WAY: {Event.INTENT: State.UNDER_WAY, Event.DONE: State.BETWEEN, Event.VOID: State.BETWEEN},
    State.SIGNING: {
        Event.ABANDONED: State.ABANDONED,
        Event.SIGNED: State.SIGNING,
        Event.IN_FORCE: State.IN_FORCE,
    },
    State.IN_FORCE: {},
    State.ABANDONED: {},
}
"""Besides: a sitting that ended early goes on with RESUME (and TORN before it), from any state but the last
two; when enough people are present, GATHERING is over."""

_OPEN = (State.GATHERING, State.BETWEEN, State.UNDER_WAY, State.SIGNING)


@dataclass(slots=True)
class History:
    """A ceremony as far as its lines go.  `draft` is given as it was before the first."""

    draft: Draft
    state: State = State.NEW
    begin: Begin | None = None
    begin_hash: bytes = chain.GENESIS
    script: Script | None = None
    present: dict[str, Person] = field(default_factory=dict)
    """Who is there in this sitting, by id."""
    signed: dict[str, Person] = field(default_factory=dict)
    done: int = 0
    """How many steps are done."""
    intent: Intent | None = None
    """The last one of the step that is under way, or of its void try before."""
    sittings: int = 0
    voids: int = 0
    in_force: InForce | None = None
    head: bytes = chain.GENESIS
    intent_open: bool = False
    """Whether a step was begun and neither done nor made void."""
    _closing: bytes = chain.GENESIS

    def replay(self, lines: Iterable[Line]) -> History:
        """Take in the lines.  Raises `Refused` naming the first that may not stand there."""
        for line in lines:
            self.take(line)
        return self

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.script is not None and self.done == len(self.script.steps)

    @property
    def closing(self) -> bytes:
        """What the people present sign at the end."""
        return self._closing if self.state is State.SIGNING else self.head

    @property
    def all_signed(self) -> bool:
        """Whether the ceremony can come into force: all steps done, signed by everybody present."""
        begin, _ = self.must_begin()
        enough = len(self.present) >= begin.policy[0]
        return self.complete and enough and self.signed.keys() == self.present.keys()

    @property
    def burnt(self) -> bytes:
        """The serial number that the root key may have signed in the step under way, if any."""
        return self.intent.serial if self.intent is not None and self.intent.by == ROOT else b""

    def must_begin(self) -> tuple[Begin, Script]:
        """The agenda.  Raises `Refused` when there is none."""
        if self.begin is None or self.script is None:
            raise Refused("transcript.begin", "the transcript has no first line: it is not a ceremony's")
        return self.begin, self.script

    def take(self, line: Line) -> None:
        """Take in one more line.  Raises `Refused`."""
        if line.event is Event.TORN and self.state in _OPEN:
            pass
        elif line.event is Event.RESUME and self.state in _OPEN:
            self.state, self.present, self.signed = State.GATHERING, {}, {}
            self.sittings += 1
        else:
            following = _ALLOWED[self._effective(line.event)].get(line.event)
            if following is None:
                raise Refused(
                    "transcript.order", f"line {line.sequence}: {line.event} may not come here ({self.state})"
                )
            _TAKE[line.event](self, line)
            self.state = following
        self.head = line.hash

    def _effective(self, event: Event) -> State:
        """The state that `event` is judged in: GATHERING ends by itself, and so do the steps."""
        if self.state is State.GATHERING and event not in _ALLOWED[State.GATHERING]:
            begin, _ = self.must_begin()
            if len(self.present) < begin.policy[0]:
                raise Refused(
                    "ceremony.people",
                    f"{len(self.present)} people were present, and {begin.policy[0]} must be",
                )
            # A step that was killed is made void before another is begun.
            self.state = State.UNDER_WAY if self.intent_open else State.BETWEEN
        if self.state is State.BETWEEN and self.complete:
            self.state, self._closing = State.SIGNING, self.head
        return self.state

    def _begin(self, line: Line) -> None:
        begin = line.read(Begin)
        people = iter(begin.people)
        self.script = parse(begin.script, lambda _: next(people))
        if self.script.sha256 != begin.script_sha256:
            raise Refused("transcript.script", "the script in the transcript is not the one of its hash")
        if (self.script.policy.present, self.script.policy.of) != begin.policy:
            raise Refused("transcript.policy", "the policy in the transcript is not the script's")
        self.begin, self.begin_hash, self.sittings = begin, line.hash, 1
        for burnt in begin.burnt:
            self.draft.revoke(burnt.serial, SUPERSEDED, burnt.at)
        self.draft.crl_number = max(self.draft.crl_number, begin.crl_number)

    def _present(self, line: Line) -> None:
        begin, script = self.must_begin()
        person, signature = self._signature(line, {person.id: person for person in begin.people})
        if person.id in self.present:
            raise Refused("ceremony.people", f"line {line.sequence}: {person.name} is present twice")
        verify(person, BEGIN_CONTEXT, script.sha256 + self.begin_hash, signature)
        self.present[person.id] = person

    def _begun(self, line: Line) -> None:
        if line.step != self.done + 1:
            raise Refused("transcript.step", f"line {line.sequence}: step {line.step} comes before its turn")
        self.intent_open = True

    def _intent(self, line: Line) -> None:
        self.intent = line.read(Intent)
        self.draft.crl_number = max(self.draft.crl_number, self.intent.number)

    def _done(self, line: Line) -> None:
        _, script = self.must_begin()
        step = script.steps[self.done]
        step.apply(self.draft, line.read(step.Done))
        self.done += 1
        self.intent, self.intent_open = None, False

    def _void(self, line: Line) -> None:
        void = line.read(Void)
        if void.serial != self.burnt:
            raise Refused("transcript.void", f"line {line.sequence}: another serial number was meant")
        if self.burnt:
            self.draft.revoke(self.burnt, SUPERSEDED, line.at)
        self.voids += 1
        self.intent_open = False

    def _signed(self, line: Line) -> None:
        person, signature = self._signature(line, self.present)
        verify(person, END_CONTEXT, self._closing, signature)
        self.signed[person.id] = person

    def _in_force(self, line: Line) -> None:
        if not self.all_signed:
            missing = [person.name for id, person in self.present.items() if id not in self.signed]
            raise Refused("ceremony.people", f"not all who were present signed: {', '.join(missing)}")
        self.in_force = line.read(InForce)

    def _abandoned(self, line: Line) -> None:
        given = {each.person: each.signature for each in line.read(Abandoned).signatures}
        if given.keys() != self.present.keys():
            raise Refused("ceremony.people", f"line {line.sequence}: not all who were present gave it up")
        for id, person in self.present.items():
            verify(person, ABANDON_CONTEXT, self.head, given[id])

    def _signature(self, line: Line, among: dict[str, Person]) -> tuple[Person, bytes]:
        found = line.read(Signature)
        if found.person not in among:
            raise Refused("ceremony.people", f"line {line.sequence}: {found.person} is not one of the people")
        return among[found.person], found.signature


_TAKE: dict[Event, Any] = {
    Event.BEGIN: History._begin,
    Event.PRESENT: History._present,
    Event.BEGUN: History._begun,
    Event.INTENT: History._intent,
    Event.DONE: History._done,
    Event.VOID: History._void,
    Event.SIGNED: History._signed,
    Event.IN_FORCE: History._in_force,
    Event.ABANDONED: History._abandoned,
}
