"""Judging a transcript: anybody can, with nothing but the file.

The chain, the order of events, the signatures of the people, and of every certificate and CRL: that what was
signed is what was meant and linted before, under the root that the transcript itself shows.  What remains to
be compared by eye is that root's fingerprint, and who the people are.

BR 5.4.1, 6.1.1.1; CPS 5.4, 5.5, 6.1.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from core.errors import CaError, HaltIssuance, Refused
from core.people import Person
from signer.vault.ceremony.certificate_steps import IssuerMade, RootMade
from signer.vault.ceremony.crl_steps import CrlMade
from signer.vault.ceremony.cross_steps import CrossMade
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.history import History
from signer.vault.ceremony.key_steps import PROOF, KeyMade
from signer.vault.ceremony.responder_step import ResponderMade
from signer.vault.ceremony.seal_steps import Sealed, pem
from signer.vault.ceremony.transcript import Begin, Event, Intent, Line, read, whole
from signer.vault.sealed import seal as seals
from signer.vault.sealed.seal import Hierarchy
from signer.vault.tokens import algorithms


@dataclass(frozen=True, slots=True)
class Report:
    """What a good transcript tells.  `head` is its last line's hash, `root_sha256` the root's fingerprint."""

    title: str
    ceremony: str
    state: str
    rules: str
    begun_at: int
    policy: tuple[int, int]
    present: tuple[str, ...]
    signed: tuple[str, ...]
    sittings: int
    voids: int
    steps: tuple[str, ...]
    steps_done: int
    root_sha256: str
    head: str

    def words(self) -> list[str]:
        """For a person."""
        begun = datetime.fromtimestamp(self.begun_at, UTC)
        present = ", ".join(self.present) or "nobody (embedded set-up: does not conform to BR 6.2.2)"
        return [
            f"ceremony {self.ceremony}: {self.title}",
            f"  begun {begun:%Y-%m-%d %H:%M:%S} UTC under {self.rules} rules; {self.state}",
            f"  present ({self.policy[0]} of {self.policy[1]} must be): {present}",
            f"  signed at the end by: {', '.join(self.signed) or 'nobody'}",
            f"  sittings: {self.sittings}; steps tried in vain: {self.voids}",
            *(
                f"  {number:3} {'done' if number <= self.steps_done else '    '} {step}"
                for number, step in enumerate(self.steps, 1)
            ),
            f"  root certificate SHA-256: {self.root_sha256 or 'none yet'}",
            f"  head: {self.head}",
        ]


def verify(content: bytes) -> Report:
    """Judge a transcript.  Raises `HaltIssuance` or `Refused` naming the first line that is not right."""
    kept = whole(content)
    lines = [*read(kept)]
    if not lines or kept != content:
        raise Refused("transcript.torn", "the transcript has no line, or a last line without its end")
    history = History(Draft.of(_base(lines[0].read(Begin))))
    for line in lines:
        intent, head = history.intent, history.head
        history.take(line)
        if line.event is Event.DONE:
            _judge(history, line, intent, head)
    begin, script = history.must_begin()
    root = history.draft.root
    plan = script.plan(_base(begin))
    return Report(
        title=script.title,
        ceremony=begin.ceremony,
        state=history.state,
        rules=begin.rules,
        begun_at=lines[0].at,
        policy=begin.policy,
        present=tuple(_named(history.present)),
        signed=tuple(_named(history.signed)),
        sittings=history.sittings,
        voids=history.voids,
        steps=tuple(step.words(plan) for step in script.steps),
        steps_done=history.done,
        root_sha256=hashlib.sha256(root).hexdigest() if root else "",
        head=history.head.hex(),
    )


def _named(people: dict[str, Person]) -> list[str]:
    return [f"{person.name} ({id})" for id, person in people.items()]


def _base(begin: Begin) -> Hierarchy | None:
    """The hierarchy that was carried on, its seal checked under its own root."""
    if not begin.base:
        return None
    content = begin.base.encode()
    try:
        return seals.unseal(content, pem(seals.root_of(content)))
    except ValueError as error:
        raise Refused("transcript.base", f"line 1: the hierarchy that it carries on: {error}") from error


def _judge(history: History, line: Line, intent: Intent | None, head: bytes) -> None:
    _, script = history.must_begin()
    step = script.steps[line.step - 1]
    done: Any = line.read(step.Done)
    draft = history.draft
    try:
        match done:
            case KeyMade():
                algorithms.verify(draft.key(done.label).public_key, done.proof, PROOF + done.label.encode())
            case RootMade() | CrossMade():
                _certificate(done.certificate, draft.root, intent)
            case IssuerMade():
                _certificate(done.issuer.certificate, draft.root, intent)
            case ResponderMade():
                _certificate(done.certificate, draft.issuers[done.issuer].certificate, intent)
            case CrlMade():
                crl = x509.load_der_x509_crl(done.crl)
                _meant(crl.tbs_certlist_bytes, intent)
                _verify(draft.root, crl.signature, crl.tbs_certlist_bytes)
            case Sealed():
                hierarchy = seals.unseal(done.content.encode(), pem(draft.root))
                begin = history.must_begin()[0]
                made = draft.hierarchy(begin.ceremony, head, begin.rules, hierarchy.created_at)
                if hierarchy != made or seals.digest(hierarchy) != done.hierarchy:
                    raise ValueError("the seal is over something else than the steps made")
                if draft.uncovered():
                    raise ValueError("the root CRL does not list every serial number that may have been used")
    except (ValueError, CaError) as error:
        raise HaltIssuance(f"transcript: line {line.sequence} ({step.KIND}): {error}") from error


def _certificate(certificate: bytes, issuer: bytes, intent: Intent | None) -> None:
    parsed = x509.load_der_x509_certificate(certificate)
    _meant(parsed.tbs_certificate_bytes, intent)
    _verify(issuer, parsed.signature, parsed.tbs_certificate_bytes)


def _meant(tbs: bytes, intent: Intent | None) -> None:
    if intent is None or intent.tbs != tbs:
        raise ValueError("what was signed is not what was meant")
    if intent.lint is None or not intent.lint.linters:
        raise ValueError("what was signed was not linted before")


def _verify(issuer: bytes, signature: bytes, tbs: bytes) -> None:
    public_key = x509.load_der_x509_certificate(issuer).public_key()
    algorithms.for_key(public_key)
    algorithms.verify(public_key, signature, tbs)  # type: ignore[arg-type]
