"""One HTTP exchange on a connection that the dialer opened: a GET, and as much of the answer as is wanted.

llhttp (by httptools) reads the answer; what is here bounds it: octets, fields, silence.  There is no cookie
and no decompression.

Must never: open a connection.  RFC 9112; RFC 8555 section 8.3.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import cast

import httptools

from core.errors import TransientError
from validation.hosts.redirects import Hop

USER_AGENT = "acme-server validation (RFC 8555 http-01)"
LINE_OCTETS = 4096
HEADERS = 64
OCTETS = 16 * LINE_OCTETS
"""Until the answer is there: interim answers, chunk extensions and trailers are only ways to send more."""

_WORD = re.compile(r"[!-~]+")
"""What may stand in a request line or field: no white space, no line break."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: `body` holds at most the octets asked for, `location` is the raw field."""

    status: int
    location: str | None
    body: bytes


def request(hop: Hop) -> bytes:
    """The octets of a GET of `hop`.  Raises `TransientError` for what no policy should have let through."""
    # The Host field is the URL's own, also where a test bench moved port 80 to another.
    if not (_WORD.fullmatch(hop.target) and _WORD.fullmatch(hop.authority)):
        raise TransientError(f"the dialer refused to send {hop.url!r}")
    return (
        f"GET {hop.target} HTTP/1.1\r\nHost: {hop.authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


class Unacceptable(Exception):
    """Not an HTTP response that we take; the message is for the applicant."""


class Exchange(asyncio.Protocol):
    """Reads one response.  `reply` has it, as soon as all is there that was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, octets: int) -> None:
        """`seconds` that the host may be silent; `octets` of the body are enough."""
        self.reply: asyncio.Future[Reply] = loop.create_future()
        self._loop = loop
        self._seconds = seconds
        self._octets = octets
        self._transport: asyncio.Transport | None = None
        self._silence = loop.call_later(seconds, self._expire)
        self._parser = httptools.HttpResponseParser(self)
        # As browsers do: a bare LF and the like.  One answer is read, so nothing can be smuggled behind it.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headed = False
        self._read = self._reason = self._fields = 0
        self._status = 0
        self._location: str | None = None
        self._framed = False
        """The response says where it ends; else the end of the connection does (RFC 9112 section 6.3)."""
        self._body = b""

    def end(self) -> None:
        """Drop the connection."""
        self._silence.cancel()
        if not self.reply.cancel() and not self.reply.cancelled():
            self.reply.exception()  # seen, whoever raised it first
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only: an isinstance would say no.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._silence.cancel()
        if self.reply.done():
            return
        self._silence = self._loop.call_later(self._seconds, self._expire)
        try:
            self._parser.feed_data(data)
            self._read += len(data)
            if self._read > OCTETS:
                raise Unacceptable("too long an answer")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Unacceptable):
            self._fail(Unacceptable("not an acceptable HTTP response"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._fail(exc)
        elif self._headed and not self._framed:
            self._finish()
        elif self._read:
            self._fail(Unacceptable("the server closed the connection within its answer"))
        else:
            self._fail(Unacceptable("the server closed the connection without an answer"))

    # httptools

    def on_message_begin(self) -> None:
        self._headed = self._framed = False
        self._location = None
        self._reason = 0

    def on_status(self, reason: bytes) -> None:
        self._reason += len(reason)
        if self._reason > LINE_OCTETS:
            raise Unacceptable("too long a status line")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS or len(name) + len(value) > LINE_OCTETS:
            raise Unacceptable("too large a header")
        key = name.lower()
        if key == b"location" and self._location is None:
            self._location = value.decode("utf-8", "surrogateescape")
        self._framed = self._framed or key in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if 100 <= self._status < 200 and self._status != 101:
            return  # the answer is still to come (RFC 9110 section 15.2)
        self._headed = True
        if self._status != 200:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._body += body[: self._octets - len(self._body)]
        if len(self._body) >= self._octets:
            self._finish()

    def on_message_complete(self) -> None:
        if self._headed:
            self._finish()

    def _finish(self) -> None:
        if not self.reply.done():
            self.reply.set_result(Reply(self._status, self._location, self._body))

    def _fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)

    def _expire(self) -> None:
        self._fail(TimeoutError())
