"""How a check says no, and what it writes down while it looks.

A check that passes returns; one that fails raises `CheckFailed`, which is the applicant's failure; our own
faults are `core.errors.TransientError` and become the third value, indeterminate.

RFC 8555 sections 6.7 and 8.2.
"""

from __future__ import annotations

from core.errors import CaError
from core.facts import Facts, Fetch, Handshake, Lookup

LINE_LIMIT = 240
"""Characters of one trace line: enough for a URL and an address; the rest tells an auditor nothing more."""

TRACE_LIMIT = 48
"""Lines of one trace: 11 hops of 4 lines fit; beyond that a hostile host would only fill the audit log."""

LOOKUP_LIMIT = 24
"""Facts of a kind: 11 hops have 22 look-ups, and 22 connections where each tries two addresses."""

DETAIL_LIMIT = 400
"""Characters of a problem's detail, which reaches clients and logs."""


class CheckFailed(CaError):
    """The applicant's failure: `problem` is an RFC 8555 section 6.7 error word, `detail` its sentence."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = printable(detail, DETAIL_LIMIT)


class Trace:
    """What was asked and answered: short lines for the statement (BR 5.4.1), facts for the applicant.

    Both are escaped and capped.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.lookups: list[Lookup] = []
        self.fetches: list[Fetch] = []
        self.handshakes: list[Handshake] = []

    def add(self, line: str) -> None:
        """One more line; lines beyond the limit are dropped."""
        if len(self._lines) < TRACE_LIMIT:
            self._lines.append(printable(line, LINE_LIMIT))

    def lines(self) -> tuple[str, ...]:
        """What was written."""
        return tuple(self._lines)

    def facts(self, caa: Trace) -> Facts:
        """The facts of control, and of CAA beside them."""
        return Facts(
            tuple(self.lookups[:LOOKUP_LIMIT]),
            tuple(caa.lookups[:LOOKUP_LIMIT]),
            tuple(self.fetches[:LOOKUP_LIMIT]),
            tuple(self.handshakes[:LOOKUP_LIMIT]),
            cut=max(len(self.lookups), len(self.fetches), len(self.handshakes)) > LOOKUP_LIMIT,
        )


def printable(text: str | bytes, limit: int) -> str:
    """At most `limit` characters of `text`, everything but printable ASCII escaped.

    Hosts and zones are hostile: their octets must not forge a log line or drive a terminal.
    """
    if isinstance(text, str):
        if len(text) <= limit and text.isascii() and text.isprintable():
            return text
        text = text[: limit + 1].encode("utf-8", "surrogateescape")
    escaped = "".join(
        chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}" for octet in text[: limit + 1]
    )
    return escaped if len(escaped) <= limit else escaped[: limit - 3] + "..."
