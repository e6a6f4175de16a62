"""The state machines of RFC 8555 section 7.1.6, as tables.

A move that is not in the table raises `IllegalMove` and changes nothing.  The values of the states are the
words on the wire.  docs/states.md is drawn from these tables, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from core.errors import CaError


class AccountStatus(StrEnum):
    VALID = "valid"
    DEACTIVATED = "deactivated"  # by its owner (section 7.3.6)
    REVOKED = "revoked"  # by us


class OrderStatus(StrEnum):
    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(StrEnum):
    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ChallengeStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class Event(StrEnum):
    """What moves a machine."""

    ANSWERED = "the client says that it is ready"
    PASSED = "validation passed"
    FAILED = "validation failed"
    UNDECIDED = "no verdict could be reached"
    ALL_AUTHORIZED = "every authorization is valid"
    FINALIZED = "finalize with an acceptable CSR"
    ISSUED = "the certificate is stored"
    REFUSED = "issuance was refused"
    TIME_OUT = "its time is over"
    DEACTIVATED = "its owner deactivates it"
    REVOKED = "we revoke it"


class IllegalMove(CaError):
    """The table has no such move; nothing was changed."""


S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Machine(Generic[S]):
    """A named table: (state, event) -> state."""

    name: str
    initial: S
    moves: Mapping[tuple[S, Event], S]

    def move(self, state: S, event: Event) -> S:
        """The state after `event`.  Raises `IllegalMove`."""
        try:
            return self.moves[state, event]
        except KeyError:
            raise IllegalMove(f"a {self.name} that is {state} cannot be moved by: {event}") from None

    def allows(self, state: S, event: Event) -> bool:
        """Whether the table has the move."""
        return (state, event) in self.moves


ACCOUNT = Machine(
    "account",
    AccountStatus.VALID,
    {
        (AccountStatus.VALID, Event.DEACTIVATED): AccountStatus.DEACTIVATED,
        (AccountStatus.VALID, Event.REVOKED): AccountStatus.REVOKED,
    },
)

ORDER = Machine(
    "order",
    OrderStatus.PENDING,
    {
        (OrderStatus.PENDING, Event.ALL_AUTHORIZED): OrderStatus.READY,
        (OrderStatus.PENDING, Event.FAILED): OrderStatus.INVALID,
        (OrderStatus.PENDING, Event.TIME_OUT): OrderStatus.INVALID,
        (OrderStatus.PENDING, Event.DEACTIVATED): OrderStatus.INVALID,
        (OrderStatus.READY, Event.FINALIZED): OrderStatus.PROCESSING,
        (OrderStatus.READY, Event.TIME_OUT): OrderStatus.INVALID,
        (OrderStatus.READY, Event.DEACTIVATED): OrderStatus.INVALID,
        (OrderStatus.PROCESSING, Event.ISSUED): OrderStatus.VALID,
        (OrderStatus.PROCESSING, Event.REFUSED): OrderStatus.INVALID,
    },
)

AUTHORIZATION = Machine(
    "authorization",
    AuthorizationStatus.PENDING,
    {
        (AuthorizationStatus.PENDING, Event.PASSED): AuthorizationStatus.VALID,
        (AuthorizationStatus.PENDING, Event.FAILED): AuthorizationStatus.INVALID,
        # Section 7.1.4: after `expires` the server considers the authorization invalid.
        (AuthorizationStatus.PENDING, Event.TIME_OUT): AuthorizationStatus.INVALID,
        (AuthorizationStatus.PENDING, Event.DEACTIVATED): AuthorizationStatus.DEACTIVATED,
        (AuthorizationStatus.VALID, Event.TIME_OUT): AuthorizationStatus.EXPIRED,
        (AuthorizationStatus.VALID, Event.DEACTIVATED): AuthorizationStatus.DEACTIVATED,
        (AuthorizationStatus.VALID, Event.REVOKED): AuthorizationStatus.REVOKED,
    },
)

CHALLENGE = Machine(
    "challenge",
    ChallengeStatus.PENDING,
    {
        (ChallengeStatus.PENDING, Event.ANSWERED): ChallengeStatus.PROCESSING,
        (ChallengeStatus.PROCESSING, Event.PASSED): ChallengeStatus.VALID,
        (ChallengeStatus.PROCESSING, Event.FAILED): ChallengeStatus.INVALID,
        # Our own fault is never the applicant's: the challenge can be answered again.
        (ChallengeStatus.PROCESSING, Event.UNDECIDED): ChallengeStatus.PENDING,
    },
)

MACHINES = (ACCOUNT, ORDER, AUTHORIZATION, CHALLENGE)


def as_markdown() -> str:
    """docs/states.md: one diagram for each table."""
    parts = [
        "# State machines\n",
        "Drawn from `acme_server/states.py` (RFC 8555 section 7.1.6) by `python -m acme_server.states`;",
        "a test compares this page with the tables. What is not drawn is refused and changes nothing.",
    ]
    for machine in MACHINES:
        parts += [f"\n## {machine.name}\n", "```mermaid", "stateDiagram-v2", f"  [*] --> {machine.initial}"]
        parts += [f"  {state} --> {after}: {event}" for (state, event), after in machine.moves.items()]
        parts.append("```")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
