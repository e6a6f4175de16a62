"""Reads the head of a *plain* OCSP request, and tells a plain one from every other.

Plain is what nearly all clients send (tests/vectors/ocsp_forms.toml): one request line of two forms, fields
that cannot be read in two ways, and a body whose length is told once.  Whatever else it may be, a plain head
means the same to every reader of HTTP/1.1; the rest, with all that is odd about it, is aiohttp's.

Must never: guess.  When in doubt it is not plain.

RFC 9112 sections 2 to 6; RFC 9110 section 5; RFC 6960 appendix A.1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from status.ocsp.request import MAX_OCTETS, unescaped

MAX_FIELDS = 64
"""More than any client sends; aiohttp takes 128."""

MAX_FIELD = 8000
"""Octets of a field line; somewhat above aiohttp refuses, and says how."""

MEMO = 1024
"""Blocks of fields that are remembered: of one client every request has the same."""

MEMO_OCTETS = 1024
"""Of one block; a longer one is read each time."""

_LINE = re.compile(
    # The base64 of a request and what it is escaped with; no dots, which routers read.
    rb"(?:GET /ocsp/([A-Za-z0-9+/=%_-]++)|POST /ocsp/?) HTTP/1\.([01])\r\n"
)
"""Both request lines.  The groups: what follows "/ocsp/" of a GET, and the minor version."""

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n")
"""Possessive: what is no field is seen in one pass, and ten thousand blanks cost no second of a worker."""

_ODD = frozenset(
    {
        b"transfer-encoding",
        b"content-encoding",
        b"expect",
        b"upgrade",
        b"te",
        b"trailer",
        b"proxy-connection",
        b"http2-settings",
    }
)
"""Fields with which a request is not plain: they change how the rest is to be read."""

_ONCE = frozenset(
    {
        b"host",
        b"connection",
        b"content-length",
        b"content-type",
        b"if-none-match",
        b"if-modified-since",
    }
)
"""Fields that we heed; twice is not plain, even where it is permitted.  All others are ignored."""


class Fields(NamedTuple):
    """What the fields say.  `length` is the body's, None when none is told."""

    host: bool
    close: bool
    keep_alive: bool
    length: int | None
    ocsp: bool
    if_none_match: str | None
    if_modified_since: str | None


class Plain(NamedTuple):
    """A plain head: what follows "/ocsp/" of a GET (unescaped; None for a POST), whether it is HTTP/1.1."""

    tail: bytes | None
    new: bool
    fields: Fields


class Heads:
    """Reads heads; of the blocks of fields, which many requests have alike, it remembers what they say."""

    def __init__(self) -> None:
        self._fields: dict[bytes, Fields | None] = {}

    def __len__(self) -> int:
        return len(self._fields)

    def read(self, buffer: bytes, at: int, end: int) -> Plain | None:
        """The head that begins at `at` and whose last field ends at `end`; None when it is not plain."""
        line = _LINE.match(buffer, at, end + 2)
        if line is None:
            return None
        found = self._fields_of(buffer[line.end() : end + 2])
        tail, minor = line.groups()
        new = minor == b"1"
        if found is None or (new and not found.host):
            return None
        if tail is None:
            return Plain(None, new, found) if found.ocsp and found.length is not None else None
        tail = unescaped(tail)
        if found.length is not None or len(tail) > MAX_OCTETS or b"%" in tail:
            return None
        return Plain(tail, new, found)

    def _fields_of(self, block: bytes) -> Fields | None:
        try:
            return self._fields[block]
        except KeyError:
            found = fields(block)
        if len(block) <= MEMO_OCTETS:
            if len(self._fields) >= MEMO:
                self._fields.clear()
            self._fields[block] = found
        return found


def fields(block: bytes) -> Fields | None:
    """What a block of field lines says, each with its line's end; None when it is not plain."""
    found: dict[bytes, bytes] = {}
    at = count = 0
    while at < len(block):
        line = _FIELD.match(block, at)
        count += 1
        if line is None or count > MAX_FIELDS or line.end() - at > MAX_FIELD:
            return None
        name = line[1].lower()
        if name in _ODD or (name in _ONCE and name in found):
            return None
        if name in _ONCE:
            found[name] = line[2].rstrip(b" \t")
        at = line.end()
    connection = found.get(b"connection", b"").lower()
    length = found.get(b"content-length")
    if connection not in (b"", b"close", b"keep-alive"):
        return None
    if length is not None and not (length.isdigit() and len(length) <= 5 and int(length) <= MAX_OCTETS):
        return None
    return Fields(
        host=found.get(b"host", b"") != b"",
        close=connection == b"close",
        keep_alive=connection == b"keep-alive",
        length=None if length is None else int(length),
        ocsp=found.get(b"content-type", b"").lower() == b"application/ocsp-request",
        if_none_match=_text(found.get(b"if-none-match")),
        if_modified_since=_text(found.get(b"if-modified-since")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
