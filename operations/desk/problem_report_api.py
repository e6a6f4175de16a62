"""What the command line and the app say to each other of problem reports, on the operator's socket.

Times are POSIX seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.problem_reports import Channel, Kind
from core.rpc import Method


@dataclass(frozen=True, slots=True)
class ListRequest:
    """`closed`: the newest ones, also those that are closed; else all that are open."""

    closed: bool


@dataclass(frozen=True, slots=True)
class Clock:
    """A deadline; POSIX seconds."""

    step: str
    due: int
    met_at: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A report in a list."""

    number: str
    state: str
    kind: str
    channel: str
    received_at: int
    proven: bool
    clocks: tuple[Clock, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The reports."""

    reports: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """Which one."""

    number: str


@dataclass(frozen=True, slots=True)
class Concerned:
    """A certificate that a report names, by serial or key: whose it is, and how it stands."""

    serial: bytes
    names: tuple[str, ...]
    not_after: int
    revoked_at: int | None
    account_url: str
    contact: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to it."""

    at: int
    actor: str
    event: str
    note: str


@dataclass(frozen=True, slots=True)
class Shown:
    """All of a report; `certificates` are those of ours that it names."""

    line: Line
    serials: tuple[str, ...]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    description: str
    contact: str
    language: str
    answer: str
    cause: str
    run_id: str
    certificates: tuple[Concerned, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Open reports that meet all of these; "" for any.

    `key` (SHA-256, hex) and `name` are among what the report names, `kind` is what its reporter says it is,
    `decided` the cause that was decided on.
    """

    key: str = ""
    name: str = ""
    kind: str = ""
    decided: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The numbers of those, the oldest first."""

    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """`text` is shown on the receipts, and `text_ja`, if any, on those of reporters who wrote in Japanese.

    `told` says how reporter and subscriber were told.  With `dry_run` nothing is done; as below.
    """

    numbers: tuple[str, ...]
    text: str
    text_ja: str
    told: str
    dry_run: bool
    actor: str


@dataclass(frozen=True, slots=True)
class DecideRequest:
    """`cause` "" revokes nothing; else `serials`, or those that the reports name, or `run_id` does it."""

    numbers: tuple[str, ...]
    cause: str
    serials: tuple[bytes, ...]
    run_id: str
    note: str
    dry_run: bool
    actor: str


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """`note` says why nothing more is to be done."""

    numbers: tuple[str, ...]
    note: str
    dry_run: bool
    actor: str


@dataclass(frozen=True, slots=True)
class NotDone:
    """A report with which it cannot be done, and why."""

    number: str
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """The reports as they stand now, and those that were left alone; `serials` are what is revoked."""

    reports: tuple[Line, ...]
    refused: tuple[NotDone, ...]
    serials: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A report that came otherwise; `received_at` in POSIX seconds is when its clocks began."""

    received_at: int
    channel: Channel
    kind: Kind
    serials: tuple[bytes, ...]
    names: tuple[str, ...]
    description: str
    contact: str
    actor: str


LIST = Method("reports-list", ListRequest, Page)
SHOW = Method("reports-show", ShowRequest, Shown)
CHOOSE = Method("reports-choose", Conditions, Chosen)
ANSWER = Method("reports-answer", AnswerRequest, Done)
DECIDE = Method("reports-decide", DecideRequest, Done)
CLOSE = Method("reports-close", CloseRequest, Done)
ADD = Method("reports-add", AddRequest, Line)
