"""The transcript of a ceremony: what was begun, meant, done and given up, line by line, each durable at once.

One line is one JSON object, chained as chain.py says.  The first holds the script and the people; a step has
a line before anything happens, one before a key is used for it, one when it is done.  So a transcript tells
by itself, whatever was killed when, what is certain, what may have happened, and what never did.

Must never: change or drop a complete line; hold a secret; return before fsync(2) came back.

BR 5.4.1, 6.1.1.1 (the key generation script and its witness); CPS 5.4, 6.1.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.clock import Clock
from core.durable import sync_directory
from core.errors import HaltIssuance, Refused
from core.people import Person
from signer.api import LintRecord
from signer.vault.record import chain
from signer.vault.sealed.seal import SealedActivation

T = TypeVar("T")

BEGIN_CONTEXT = b"ceremony begin v1"
"""What a person present signs at the begin under: the hash of the script and of the line that says so."""

ABANDON_CONTEXT = b"ceremony abandon v1"
"""What a person signs under, over the head, who agrees that the ceremony is given up."""

END_CONTEXT = b"ceremony end v1"
"""What a person signs at the end under: the head, the hash of the last line before."""


class Event(StrEnum):
    """What a line tells of; `EVENTS` says which detail goes with it."""

    BEGIN = "begin"
    RESUME = "resume"  # another sitting: the one before was interrupted
    PRESENT = "present"
    BEGUN = "begun"
    INTENT = "intent"
    DONE = "done"
    VOID = "void"  # the step's attempt counts for nothing; what it may have signed is revoked
    SIGNED = "signed"
    IN_FORCE = "in-force"
    ABANDONED = "abandoned"
    TORN = "torn"  # a last line without its end was cut off


@dataclass(frozen=True, slots=True)
class Burnt:
    """A serial number that the root key may have signed in a ceremony that was given up, and when."""

    serial: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Begin:
    """The agenda.  `policy` is (present, of); `base` the content of the hierarchy.json that is carried on.

    `burnt` and `crl_number` (the highest that was used) come from ceremonies that were given up since then.
    """

    ceremony: str
    software: str
    script_sha256: bytes
    script: str
    people: tuple[Person, ...]
    policy: tuple[int, int]
    rules: str
    base: str
    burnt: tuple[Burnt, ...] = ()
    crl_number: int = 0


@dataclass(frozen=True, slots=True)
class Signature:
    """A person's, over the begin or the head."""

    person: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Begun:
    """A step, as the script has it and in words."""

    kind: str
    words: str


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is about to be signed (certificate or CRL) by the key `by`, and what the linters said.

    `serial` is empty but for a certificate; `number` is 0 but for a CRL.  Of a token about to be made,
    `activation` says how its secret was split; of other things, `note` what they are.
    """

    by: str = ""
    serial: bytes = b""
    number: int = 0
    tbs: bytes = b""
    lint: LintRecord | None = None
    activation: SealedActivation | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Void:
    """Why an attempt counts for nothing; `serial` of a certificate whose signature may have been made."""

    reason: str
    serial: bytes = b""


@dataclass(frozen=True, slots=True)
class InForce:
    """The hierarchy that is in force now, by its digest."""

    sequence: int
    hierarchy: bytes


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Why it was given up, and the signatures over the head by all who were present."""

    reason: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Words."""

    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line.  `step` counts from 1; 0 is none.  `detail` is of the event's type."""

    sequence: int
    at: int
    event: Event
    step: int
    detail: msgspec.Raw
    hash: bytes

    def read(self, type: type[T]) -> T:
        """The detail.  Raises `Refused` when it is of another kind."""
        try:
            return msgspec.json.decode(self.detail, type=type)
        except msgspec.MsgspecError as error:
            raise Refused(
                "transcript.line", f"line {self.sequence} ({self.event}) cannot be read: {error}"
            ) from error


class Transcript:
    """An open transcript, growing.  The whole of it is read and its chain checked first."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self.path = path
        new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            content = path.read_bytes()
            kept = whole(content)
            torn = content[len(kept) :]
            self.lines = [*read(kept)]
            for line in self.lines:
                clock.observe(line.at)
            if torn:
                os.ftruncate(self._file, len(kept))
            if new:
                sync_directory(path.parent)
        except BaseException:
            os.close(self._file)
            raise
        if torn:
            self.append(Event.TORN, Note(torn.decode(errors="replace")))

    @property
    def head(self) -> bytes:
        """The hash of the last line."""
        return self.lines[-1].hash if self.lines else chain.GENESIS

    def append(self, event: Event, detail: Any, step: int = 0) -> Line:
        """Add a line; it is durable when this returns.  Raises `HaltIssuance` when the disk failed."""
        raw = msgspec.Raw(msgspec.json.encode(detail))
        line = Line(len(self.lines) + 1, self._clock.now(), event, step, raw, b"")
        octets, digest = chain.seal(line, self.head)
        try:
            chain.write_fully(self._file, octets)
            os.fsync(self._file)
        except OSError as error:
            raise HaltIssuance(
                f"{self.path} cannot be written ({error}): the ceremony ends here; mend the disk and run the "
                "same script again"
            ) from error
        self.lines.append(Line(line.sequence, line.at, event, step, raw, digest))
        return self.lines[-1]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def whole(content: bytes) -> bytes:
    """The complete lines: a last one without its end was being written when the machine stopped."""
    return content[: content.rfind(b"\n") + 1]


def read(content: bytes) -> Iterator[Line]:
    """The lines of a transcript, their chain checked.  Raises `HaltIssuance` naming the first wrong one."""
    head = chain.GENESIS
    for number, octets in enumerate(content.splitlines(keepends=True), 1):
        try:
            line = _decoder.decode(octets)
        except msgspec.MsgspecError as error:
            raise _broken(number, str(error)) from error
        head = chain.digest(octets, head)
        if not octets.endswith(chain.end(head)) or line.sequence != number:
            raise _broken(number, "its hash or its number is wrong")
        yield line


def _broken(number: int, reason: str) -> HaltIssuance:
    return HaltIssuance(
        f"transcript: line {number} breaks the chain: {reason}. Keep the file as evidence and compare it "
        "with the copies that the people present took"
    )


_decoder = msgspec.json.Decoder(Line)
