"""HTTP/1.1 for the front: octets of one connection in, whole requests out, answers back in their order.

llhttp (by httptools) reads the syntax, with none of its leniencies; what is here bounds it.  A handler meets
only requests that have come in whole, one at a time for each connection.  What cannot be read gets a problem
document, and the connection ends.

Must never: hold more of a request than the limits allow, or look into a body.
RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from acme_server.problems import malformed
from core.errors import Problem

LINE_OCTETS = 8190
"""A request target, or the name and value of one field: what Apache and nginx take."""

HEAD_OCTETS = 4 * LINE_OCTETS
FIELDS = 100

PIPELINED = 16
"""Requests that may wait on one connection; then it is not read until they are answered."""

KEEPALIVE = 75
"""Seconds.  A client that polls an order keeps its connection."""

LINGER = 2
"""Seconds in which a refused client may still send: closing at once would reset the connection, and the
refusal be lost (RFC 9112 section 9.6)."""

_log = logging.getLogger(__name__)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request.  `target` is as it was sent, in origin form; names in `headers` are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    remote: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; Content-Length, Date and Connection are added on the way out."""

    status: int
    headers: Headers
    body: bytes = b""


class Application(Protocol):
    """What answers requests."""

    async def answer(self, request: Request) -> Response:
        """The answer to a request.  Never raises."""

    def refuse(self, problem: Problem) -> Response:
        """The answer to something that is no request."""


class Host(Protocol):
    """What a connection needs of its server."""

    application: Application
    date: str
    body_octets: int
    request_timeout: float

    def opened(self, connection: Connection) -> bool:
        """A connection came in; False when it is one too many."""

    def closed(self, connection: Connection) -> None:
        """It is gone."""

    def answered(self, request: Request, response: Response, seconds: float) -> None:
        """For the access log."""


class Connection(asyncio.Protocol):
    """One client's connection.  `deadline` is the loop's time at which the server ends it (`expire`)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._remote = ""
        self._last = False
        """No further request is read: the client or we said so."""
        self._deaf = False
        """The client sends no more."""
        self._secured = False
        self._refusal: Response | None = None
        self._begun = False
        self._unread = 0
        """Octets of a head that has not ended."""
        self.deadline = math.inf

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only: an isinstance would say no.
        self._transport = cast(asyncio.Transport, transport)
        if not self._host.opened(self):
            self.expire()
            return
        self._secured = transport.get_extra_info("ssl_object") is not None
        peer = transport.get_extra_info("peername")
        self._remote = peer[0] if peer else ""
        self.deadline = self._loop.time() + self._host.request_timeout

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        self._ended = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request stands; what follows it would be another protocol, which we do not speak.
            self._last = True
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Problem) else malformed("the request cannot be read"))
        except httptools.HttpParserError:
            self._refuse(malformed("the request is not HTTP/1.1 (RFC 9112)"))
        else:
            if self._begun and not self._headed:
                # Of a field that has not ended the parser tells nothing: count what came in, but for the
                # octets that are in part another request's.
                self._unread += 0 if self._ended else len(data)
                if self._unread > HEAD_OCTETS:
                    self._refuse(_too_large())

    def eof_received(self) -> bool:
        self._last = self._deaf = True
        # A client may send its last request and close its side; TLS knows no half-closed connection.
        return self._serving is not None and not self._secured

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._last = True
        self._waiting.clear()
        self._drained.set()
        self._host.closed(self)

    # httptools

    def on_message_begin(self) -> None:
        self._begun = True
        self._headed = False
        self._unread = self._head = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._fields = 0
        self._hosts = 0
        self._body: list[bytes] = []
        self._size = 0
        if not self._serving:
            self.deadline = self._loop.time() + self._host.request_timeout

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > LINE_OCTETS:
            raise malformed(f"the request target is longer than {LINE_OCTETS} octets", status=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head += len(name) + len(value)
        if self._fields > FIELDS or len(name) + len(value) > LINE_OCTETS or self._head > HEAD_OCTETS:
            raise _too_large()
        if self._headed:
            return  # a trailer field: to be ignored (RFC 9110 section 6.5.1)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._hosts += key == "host"
        # RFC 9110 section 5.3: fields of one name are one list.
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._headed = True
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise malformed("only HTTP/1.1 is spoken here", status=505)
        if version == "1.0":
            self._last = True  # answered, but not kept
        elif self._hosts != 1:
            raise malformed("there must be one Host field (RFC 9112 section 3.2)")
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise malformed("the only transfer coding is chunked", status=501)
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._host.body_octets:
            raise _body_too_large()
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._serving:
            self.deadline = self._loop.time() + self._host.request_timeout

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._host.body_octets:
            raise _body_too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._begun = False
        self._ended = True
        if not self._parser.should_keep_alive():
            self._last = True
        self._waiting.append(
            Request(
                method=self._parser.get_method().decode("ascii"),
                target=_origin_form(self._target),
                headers=self._headers,
                body=b"".join(self._body),
                remote=self._remote,
            )
        )
        if self._serving is None:
            self.deadline = math.inf
            self._serving = self._loop.create_task(self._serve())
        elif len(self._waiting) >= PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    # the server's

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._serving is not None

    def expire(self) -> None:
        """The time is over: a body that does not come is told so, all else is cut."""
        if self._begun and self._headed and not self._last:
            self._refuse(malformed("the body did not arrive in time", status=408))
        else:
            self.abort()

    def abort(self) -> None:
        """Cut it off now."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Take no more requests; close once those that are here have been answered."""
        self._last = True
        if self._serving is None and self._transport is not None:
            self._transport.close()

    async def _serve(self) -> None:
        try:
            await self._answer_waiting()
        except Exception:
            _log.exception("an answer could not be written")
            self.abort()
        self._serving = None
        if self._transport is None:
            return
        if self._refusal is not None:
            self._end_with(self._refusal)
            return
        if self._last:
            self._transport.close()
            return
        self.deadline = self._loop.time() + (self._host.request_timeout if self._begun else KEEPALIVE)
        self._transport.resume_reading()

    async def _answer_waiting(self) -> None:
        """Answer what waits, in the order in which it came."""
        while self._waiting:
            request = self._waiting.popleft()
            began = self._loop.time()
            response = await self._host.application.answer(request)
            last = self._last and not self._waiting and self._refusal is None
            self._write(response, last=last, head_only=request.method == "HEAD")
            self._host.answered(request, response, self._loop.time() - began)
            if not self._drained.is_set():
                await self._drained.wait()

    def _refuse(self, problem: Problem) -> None:
        """Answer what cannot be read, after the requests before it; then the connection ends."""
        self._last = True
        self._begun = False
        response = self._host.application.refuse(problem)
        self._host.answered(Request("?", "?", {}, b"", self._remote), response, 0.0)
        if self._serving is None:
            self._end_with(response)
        else:
            self._refusal = response

    def _end_with(self, response: Response) -> None:
        self._write(response, last=True)
        self.deadline = self._loop.time() + LINGER
        if self._deaf and self._transport is not None:
            self._transport.close()

    def _write(self, response: Response, *, last: bool, head_only: bool = False) -> None:
        if self._transport is None:
            return
        lines = [f"HTTP/1.1 {_STATUS[response.status]}", f"Date: {self._host.date}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines.append(f"Content-Length: {len(response.body)}")
        if last:
            lines.append("Connection: close")
        head = "\r\n".join(lines)
        # A line break within a field would begin another field, or another answer.
        if not head.count("\n") == head.count("\r") == len(lines) - 1:
            raise ValueError("a header field holds a line break")
        octets = f"{head}\r\n\r\n".encode("latin-1")
        self._transport.write(octets if head_only else octets + response.body)


_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _origin_form(target: bytes) -> str:
    """The path and query: a server MUST accept the absolute form, too (RFC 9112 section 3.2.2)."""
    text = target.decode("latin-1")
    if text.startswith("/"):
        return text
    _, scheme, rest = text.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path if scheme and slash else "/"


def _too_large() -> Problem:
    return malformed(
        f"the header is larger than {HEAD_OCTETS} octets, {LINE_OCTETS} in one field, or {FIELDS} fields",
        status=431,
    )


def _body_too_large() -> Problem:
    return malformed("the request body is too large", status=413)
