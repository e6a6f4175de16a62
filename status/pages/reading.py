"""Reads a form that a stranger posts: bounded, in memory alone, and only what a form of ours has.

aiohttp's own `Request.post` writes every file of a form to the disk; a private key may be in one of ours.  So
the parts are read here, into buffers that are overwritten after use (`Form.forget`).  What the HTTP library
held of them on the way is freed, not overwritten: docs/adr/0039.

Must never: write a body to a file; read more than `MOST_OCTETS`.

RFC 7578 (multipart/form-data); HTML forms (application/x-www-form-urlencoded).
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes

from aiohttp import BodyPartReader, web

from core.errors import CaError

MOST_OCTETS = 65536
"""Of a body."""

MOST_FIELDS = 20

PATIENCE = 20.0
"""Seconds for the whole of a body."""


class Unreadable(CaError):
    """The body is no form of ours; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Form:
    """The fields by name; of two with one name the first that is not empty."""

    def __init__(self) -> None:
        self._fields: dict[str, bytearray] = {}

    def add(self, name: str, octets: bytearray) -> None:
        """Another field."""
        if not self._fields.get(name):
            self._fields[name] = octets

    def octets(self, name: str) -> bytearray:
        """A field as it came; empty when there is none.  Not a copy."""
        return self._fields.get(name) or bytearray()

    def text(self, name: str) -> str:
        """A field as text: lines end with a newline, and there is no other control character in it."""
        text = self.octets(name).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        return "".join(each for each in text if each.isprintable() or each in "\n\t").strip()

    def forget(self) -> None:
        """Overwrite everything."""
        for octets in self._fields.values():
            octets[:] = bytes(len(octets))
        self._fields.clear()


async def form(request: web.Request) -> Form:
    """The form in a request's body.  Raises `Unreadable`."""
    if request.content_length is None:
        # Of unknown length even the headers of its parts could go on for ever.
        raise Unreadable(411, "send the form with its Content-Length")
    if request.content_length > MOST_OCTETS:
        raise Unreadable(413, f"a form has at most {MOST_OCTETS} octets here")
    if "Content-Encoding" in request.headers:
        raise Unreadable(415, "send the form as it is, not compressed")
    try:
        async with asyncio.timeout(PATIENCE):
            if request.content_type == "multipart/form-data":
                return await _multipart(request)
            if request.content_type == "application/x-www-form-urlencoded":
                return await _urlencoded(request)
    except TimeoutError:
        raise Unreadable(408, "the form did not arrive in time") from None
    except (ValueError, AssertionError, RuntimeError, LookupError) as error:
        raise Unreadable(400, "the body is not the form that its Content-Type says") from error
    raise Unreadable(415, "send a form: multipart/form-data or application/x-www-form-urlencoded")


async def _multipart(request: web.Request) -> Form:
    found, left = Form(), MOST_OCTETS
    reader = await request.multipart()
    for _ in range(MOST_FIELDS):
        part = await reader.next()
        if part is None:
            return found
        if not isinstance(part, BodyPartReader):
            raise Unreadable(400, "a form has no forms in it")
        octets = bytearray()
        while chunk := await part.read_chunk(8192):
            left -= len(chunk)
            if left < 0:
                raise Unreadable(413, f"a form has at most {MOST_OCTETS} octets here")
            octets += chunk
        found.add(part.name or "", octets)
    raise Unreadable(400, f"a form has at most {MOST_FIELDS} fields here")


async def _urlencoded(request: web.Request) -> Form:
    body = bytearray()
    async for chunk in request.content.iter_chunked(8192):
        body += chunk
        if len(body) > MOST_OCTETS:
            raise Unreadable(413, f"a form has at most {MOST_OCTETS} octets here")
    found = Form()
    for pair in bytes(body).split(b"&")[:MOST_FIELDS]:
        name, _, value = pair.partition(b"=")
        decoded = bytearray(unquote_to_bytes(value.replace(b"+", b" ")))
        found.add(unquote_to_bytes(name).decode("utf-8", "replace"), decoded)
    body[:] = bytes(len(body))
    return found
