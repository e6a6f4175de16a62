"""HTTP for the front, by aiohttp's low-level server: whole requests out of it, answers back in.

aiohttp reads and writes HTTP/1.1; its router, middlewares and access log are left out, since they cost more
than they gave (docs/adr/0013).  What it cannot read gets a problem document like every other refusal.

Must never: hold more of a request than the limits allow, or look into a body.
RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from acme_server.problems import malformed
from core.addresses import canonical
from core.connections import Connections
from core.errors import Problem
from core.forwarded import Addresses
from core.settings import Limits

LINE_OCTETS = 8190
"""A request target, or the name and value of one field: what Apache and nginx take."""

FIELDS = 100

KEEPALIVE = 75
"""Seconds.  A client that polls an order keeps its connection."""

LINGER = 2
"""Seconds in which the rest of a refused body is read: closing at once would reset the connection, and the
refusal be lost (RFC 9112 section 9.6)."""

_log = logging.getLogger(__name__)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request.  `target` is as it was sent, in origin form; `headers` ignores case."""

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


class Access(Protocol):
    """What hears of each answer."""

    def __call__(self, request: Request, response: Response, seconds: float) -> None:
        """`seconds` is the time that the answer took."""


class Front(web.Server):
    """Makes the connections of one application; to be used by the loop that serves it."""

    def __init__(
        self, application: Application, limits: Limits, access: Access, addresses: Addresses
    ) -> None:
        super().__init__(self._serve, request_factory=self._received)
        self._application = application
        self._limits = limits
        self._access = access
        self.addresses = addresses
        self._counted = Connections(limits)

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, self._limits, self._loop)

    def came(self, block: str | None) -> bool:
        """A connection from this block of addresses is there; whether it is one too many."""
        return self._counted.came(block)

    def went(self, block: str | None) -> None:
        """It is gone."""
        self._counted.went(block)

    def refused(self, request: web.BaseRequest, problem: Problem) -> web.Response:
        """A refusal after which the connection ends."""
        response = self._application.refuse(problem)
        unread = Request(request.method, request.raw_path, {}, b"", self._client(request))
        self._access(unread, response, 0.0)
        written = _written(response)
        written.force_close()
        return written

    def _received(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        most = self._limits.body_octets
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=most)

    async def _serve(self, received: web.BaseRequest) -> web.Response:
        connection = received.protocol
        assert isinstance(connection, Connection)
        problem = self._unacceptable(received)
        if problem is not None:
            return self.refused(received, problem)
        connection.wait_for(received.content)
        try:
            if received.headers.get("Expect", "").lower() == "100-continue":
                await received.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                received.writer.output_size = 0
            body = await received.read()
        except web.HTTPRequestEntityTooLarge:
            return self.refused(received, _BODY_TOO_LARGE)
        except TimeoutError:
            return self.refused(received, malformed("the body did not arrive in time", status=408))
        except web.RequestPayloadError:
            return self.refused(received, malformed("the body broke off, or is not as its headers say"))
        finally:
            connection.wait_for(None)
        began = self._loop.time()
        target = _origin_form(received.raw_path)
        request = Request(received.method, target, received.headers, body, self._client(received))
        response = await self._application.answer(request)
        self._access(request, response, self._loop.time() - began)
        written = _written(response)
        if "Upgrade" in received.headers:
            written.force_close()  # what follows is another protocol, which we do not speak
        return written

    def _client(self, received: web.BaseRequest) -> str:
        """The client's address, in its canonical form."""
        connection = received.protocol
        assert isinstance(connection, Connection)
        if connection.is_proxy:
            return self.addresses.client(connection.peer, received.headers)
        return connection.peer

    def _unacceptable(self, received: web.BaseRequest) -> Problem | None:
        """What aiohttp lets through and the RFC, or our limits, do not."""
        if received.version not in (HttpVersion10, HttpVersion11):
            return malformed("only HTTP/1.1 is spoken here", status=505)
        if received.version == HttpVersion11 and len(received.headers.getall("Host", ())) != 1:
            return malformed("there must be one Host field (RFC 9112 section 3.2)")
        if received.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
            return malformed("the only transfer coding is chunked", status=501)
        if (received.content_length or 0) > self._limits.body_octets:
            return _BODY_TOO_LARGE
        return None


class Connection(RequestHandler):
    """One client's connection.  `deadline` is the loop's time at which the server ends it (`expire`).

    `peer` is the address at the other end, which `is_proxy` when it is a trusted proxy's.
    """

    __slots__ = ("_block", "_body", "_front", "_timeout", "deadline", "is_proxy", "peer")

    def __init__(self, front: Front, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            front,
            loop=loop,
            keepalive_timeout=KEEPALIVE,
            access_log=None,  # type: ignore[arg-type]  # its own costs half of the throughput
            max_line_size=LINE_OCTETS,
            max_field_size=LINE_OCTETS,
            max_headers=FIELDS,
            lingering_time=LINGER,
            auto_decompress=False,
        )
        self._front = front
        self._block: str | None = None
        self._body: StreamReader | None = None
        self.is_proxy, self.peer = False, ""
        self._timeout = limits.request_timeout
        # For the head of the first request; aiohttp's keep-alive limit minds those after it.
        self.deadline = loop.time() + limits.request_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        addresses = self._front.addresses
        self.peer = canonical((transport.get_extra_info("peername") or ("",))[0])
        self.is_proxy = addresses.is_proxy(self.peer)
        self._block = addresses.block(self.peer)
        too_many = self._front.came(self._block)
        super().connection_made(transport)
        if too_many:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._front.went(self._block)
        super().connection_lost(exc)

    def wait_for(self, body: StreamReader | None) -> None:
        """A body is to come, within the time limit; None when it has."""
        self._body = body
        self.deadline = math.inf if body is None else self._loop.time() + self._timeout

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer within the time limit: who never reads has no connection for ever."""
        self.deadline = self._loop.time() + self._timeout
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.deadline = math.inf

    def expire(self) -> None:
        """The time is over: a body that does not come is told so, all else is cut."""
        if self._body is not None:
            self._body.set_exception(TimeoutError())
        elif (transport := self.transport) is not None:
            self.force_close()
            transport.abort()  # to close is to wait until what was written is read

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp could not read (400), or a fault of ours while answering (500)."""
        if status >= 500:
            _log.error("an answer could not be written", exc_info=exc)
            raise ConnectionError("there is no answer")
        self.deadline = math.inf
        return self._front.refused(request, _TOO_LARGE if isinstance(exc, LineTooLong) else _UNREADABLE)


def _written(response: Response) -> web.Response:
    headers = CIMultiDict(response.headers)
    return web.Response(status=response.status, headers=headers, body=response.body or None)


def _origin_form(target: str) -> str:
    """The path and query: a server MUST accept the absolute form, too (RFC 9112 section 3.2.2)."""
    if target.startswith("/"):
        return target
    _, scheme, rest = target.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path if scheme and slash else "/"


_UNREADABLE = malformed("the request is not HTTP/1.1 (RFC 9112)")
_BODY_TOO_LARGE = malformed("the request body is too large", status=413)
_TOO_LARGE = malformed(f"the request line or a header field is longer than {LINE_OCTETS} octets", status=431)
