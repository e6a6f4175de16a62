"""aiohttp's side of a connection that was handed over.

aiohttp ends a connection whose next head does not come within the keep-alive time; status/app.py bounds the
time of a body; the socket bounds that of a client that does not read (`listening`).

RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept, and in which a head must be there."""

LINGER = 2.0
"""Seconds in which the rest of a refused body is read: closing at once would reset the connection, and the
refusal be lost (RFC 9112 section 9.6)."""

UNREAD = 20_000
"""Milliseconds after which the kernel ends a connection whose client takes nothing of what was sent (tcp(7),
TCP_USER_TIMEOUT)."""


_ERRORS = {
    400: "the request is not HTTP/1.1 (RFC 9112)\n",
    431: "the request line or a header field is too long\n",
    500: "this server failed; its operator can read why\n",
}
_log = logging.getLogger(__name__)


class Handed(RequestHandler):
    """aiohttp's handler of one connection; `gone` is called when that is over."""

    __slots__ = ("_gone",)

    def __init__(self, server: web.Server, gone: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,  # type: ignore[arg-type]  # relying parties are not logged
            lingering_time=LINGER,
        )
        self._gone = gone

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp cannot read (400), or a fault of ours (500); not a word of what came in or of why."""
        if status >= 500:
            _log.error("a request of a relying party failed", exc_info=exc)
        elif isinstance(exc, LineTooLong):
            status = 431
        response = web.Response(status=status, text=_ERRORS.get(status, _ERRORS[500]))
        response.headers["Server"] = "acme-server"
        response.force_close()
        return response

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._gone()


def handler(runner: web.AppRunner) -> Callable[[Callable[[], None]], Handed]:
    """Makes handlers for the application of a runner that is set up."""
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()
    return lambda gone: Handed(server, gone, loop)


def listening(address: str, *, shared: bool = False) -> socket.socket:
    """A bound socket for "host:port" or "[v6]:port".  Raises OSError.

    `shared` lets other processes listen there, too (SO_REUSEPORT): the kernel spreads the connections.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family, kind, protocol, _, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets have it from this one.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind(where)
    except BaseException:
        bound.close()
        raise
    return bound
