"""Certificate problem reports: what anybody may report, what becomes of a report, and by when.

A report comes by the page (status/pages/report.py), through its spool (core/report_spool.py), or is entered
by an operator for a mail or a call.  From when it was received two clocks run (BR 4.9.5): a preliminary
report to the subscriber and the reporter within 24 hours; and, from the same moment, the cause's own time to
the *published* revocation.  Until a person has decided on the cause, the one that the reporter's words amount
to counts, and the shortest where they amount to none.

Must never: let a clock begin later than the report was received.

BR 1.5.2, 4.9.3, 4.9.5; CPS 1.5.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.causes import DAY, RULES, Cause
from core.key_proofs import Proof
from core.randomness import Randomness

ANSWER_WITHIN = DAY
"""Seconds to the preliminary report (BR 4.9.5)."""

MOST_DESCRIPTION = 10_000
MOST_CONTACT = 320
"""Characters; the longest mail address has 320."""

MOST_CERTIFIED = 24_000
"""Octets of the certificates that go with a proof: several of ours, and less than the spool holds."""

MOST_NAMED = 100
"""Certificates, keys or names in one report; whoever has more writes that, and is asked for the list."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Crockford's: nothing in it is taken for another when it is read over the telephone.
_NUMBER = re.compile(r"PR-\d{8}-[0-9A-HJKMNP-TV-Z]{10}")


class Kind(StrEnum):
    """What the reporter says it is."""

    KEY_COMPROMISE = "key-compromise"
    NOT_REQUESTED = "not-requested"
    MISUSE = "misuse"
    WRONG_CONTENT = "wrong-content"
    CPS_VIOLATION = "cps-violation"
    OTHER = "other"


PRESUMED: Mapping[Kind, Cause] = {
    Kind.KEY_COMPROMISE: Cause.KEY_COMPROMISE,
    Kind.NOT_REQUESTED: Cause.UNRELIABLE_VALIDATION,
    Kind.MISUSE: Cause.MISUSE,
    Kind.WRONG_CONTENT: Cause.INACCURATE_INFORMATION,
    Kind.CPS_VIOLATION: Cause.MISISSUANCE,
}
"""The cause whose clock runs until a person has decided; OTHER has none, and the shortest time."""


class Channel(StrEnum):
    """How it came."""

    PAGE = "page"
    MAIL = "mail"
    TELEPHONE = "telephone"
    OTHER = "other"


class State(StrEnum):
    """How far it is; each is the last of the steps that were taken."""

    RECEIVED = "received"
    ANSWERED = "answered"
    DECIDED = "decided"
    CLOSED = "closed"


class Step(StrEnum):
    """What has a deadline."""

    ANSWER = "answer"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Filed:
    """A report as it was received; `received_at` in POSIX seconds.

    `serials` and `keys` (SHA-256 of a SubjectPublicKeyInfo) are hexadecimal, `names` domains.  `contact` and
    `description` may hold personal data: they are shown to operators, and stay out of logs and public pages.
    `certified` are the DER certificates that were named and have the proven key: they go from the page to the
    app, which needs those whose key the register does not know, and are not kept.
    """

    number: str
    received_at: int
    channel: Channel
    kind: Kind
    language: str
    serials: tuple[str, ...]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    description: str
    contact: str
    proof: Proof | None = None
    certified: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A report and what became of it.  Times are POSIX seconds, None for what is still to come.

    `cause` "" with `decided_at` means that nothing is to be revoked; `run_id` "" that no run was begun.
    `revoked_at` is when the last of its certificates stood on a public CRL, `erased_at` when contact and
    description were taken away: both are "" since.
    """

    filed: Filed
    answered_at: int | None = None
    answer: str = ""
    decided_at: int | None = None
    cause: str = ""
    run_id: str = ""
    revoked_at: int | None = None
    closed_at: int | None = None
    erased_at: int | None = None

    @property
    def state(self) -> State:
        """The last step."""
        if self.closed_at is not None:
            return State.CLOSED
        if self.decided_at is not None:
            return State.DECIDED
        return State.RECEIVED if self.answered_at is None else State.ANSWERED


@dataclass(frozen=True, slots=True)
class Deadline:
    """By when a step must be taken, and when it was; POSIX seconds."""

    step: Step
    begins: int
    due: int
    met_at: int | None

    def part(self, now: int) -> float:
        """How much of the time is used up, 1.0 when it is over; 0.0 when the step was taken."""
        return 0.0 if self.met_at is not None else max(0.0, (now - self.begins) / (self.due - self.begins))

    def is_late(self, now: int) -> bool:
        """Whether the step was, or still is, taken too late."""
        return (now if self.met_at is None else self.met_at) > self.due


def deadlines(report: Report) -> tuple[Deadline, ...]:
    """The clocks of a report: its preliminary answer, and the published revocation unless none is due."""
    filed = report.filed
    begins = filed.received_at
    clocks = [Deadline(Step.ANSWER, begins, begins + ANSWER_WITHIN, report.answered_at)]
    if report.decided_at is None:
        if report.closed_at is None:
            clocks.append(Deadline(Step.REVOKE, begins, begins + _presumed(filed.kind), None))
    elif report.cause:
        within = RULES[Cause(report.cause)].within
        clocks.append(Deadline(Step.REVOKE, begins, begins + within, report.revoked_at))
    return tuple(clocks)


def draw_number(randomness: Randomness, day: str) -> str:
    """A new receipt number, 50 random bits behind the `day` (YYYYMMDD): unique, speakable, not secret."""
    bits = int.from_bytes(randomness.octets(7), "big")
    return f"PR-{day}-" + "".join(_ALPHABET[bits >> 5 * at & 31] for at in range(10))


def is_number(text: str) -> bool:
    """Whether it has the form of a receipt number."""
    return _NUMBER.fullmatch(text) is not None


def _presumed(kind: Kind) -> int:
    cause = PRESUMED.get(kind)
    return DAY if cause is None else RULES[cause].within
