"""The error families of the CA.

`Problem` reaches clients (RFC 8555 section 6.7); `TransientError` is retried by the job that met it;
`HaltIssuance` stops signing until a person acts; `Refused` is a rule saying no.  Inside the CA a failing
check raises: nothing returns False where it means "forbidden".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class CaError(Exception):
    """Any error the CA raises on purpose.  The message says what to do about it."""


class TransientError(CaError):
    """A fault of our own or of the network that may pass: the job is tried again."""


class HaltIssuance(CaError):
    """Something that must never happen did: nothing is signed until a person acts."""


class Refused(CaError):
    """A rule says no.  `code` is dotted and stable (`evidence.missing`), `detail` is for a person."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ConfigurationError(CaError):
    """The settings cannot be used; the message names the key and the remedy."""


@dataclass(frozen=True, slots=True)
class Subproblem:
    """One identifier's share of a compound problem (RFC 8555 section 6.7.1)."""

    type: str
    detail: str
    identifier: dict[str, str]


@dataclass(slots=True, eq=False)
class Problem(CaError):
    """A problem document (RFC 9457) of an RFC 8555 section 6.7 type.

    `type` is the bare error word ("malformed"); `retry_after` is in seconds; `extra` holds members that
    the RFC names for some types (`algorithms`, `instance`); `headers` are sent with the document.
    """

    type: str
    detail: str
    status: int = 400
    subproblems: tuple[Subproblem, ...] = ()
    retry_after: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.type}: {self.detail}"
