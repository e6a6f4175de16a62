"""Serves the application: listening addresses, TLS, time limits, access lines, an orderly end.

One look at all connections now and then ends those whose time is over: a timer for each request cost more
than the look.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from acme_server.http import Application, Connection, Front, Request, Response
from core.clock import Clock
from core.errors import CaError, ConfigurationError
from core.forwarded import Addresses
from core.settings import Acme, Limits

SHUTDOWN = 10
"""Seconds that requests under way are given to end."""

LOOK = 0.5
"""Seconds between two looks at the connections; also how fine the access log's time is."""

DIRECT = Addresses(Acme())
"""No proxies in front."""


class Server:
    """One application on some addresses."""

    def __init__(
        self,
        application: Application,
        listen: Sequence[str],
        tls: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        access: Callable[[str], None],
        addresses: Addresses = DIRECT,
    ) -> None:
        """`listen` holds "host:port" and "[v6]:port"; port 0 takes a free one.  `tls` None is for tests.

        `addresses` knows the proxies in front.
        """
        self._addresses = [address(each) for each in listen]
        self._tls = tls
        self._limits = limits
        self._clock = clock
        self._access = access
        self._clients = addresses
        self._stamp = ""
        self._application = application
        self._front: Front | None = None
        self._listening: list[asyncio.Server] = []
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.  Raises `ConfigurationError` when an address cannot be had."""
        loop = asyncio.get_running_loop()
        self._tell_time()
        self._front = Front(self._application, self._limits, self._answered, self._clients)
        handshake = float(self._limits.request_timeout) if self._tls is not None else None
        for host, port in self._addresses:
            try:
                server = await loop.create_server(
                    self._front, host, port, ssl=self._tls, backlog=1024, ssl_handshake_timeout=handshake
                )
            except OSError as error:
                await self.close()
                raise ConfigurationError(
                    f"cannot listen on {host}:{port}: {error.strerror}; free it, or change acme.listen"
                ) from error
            self._listening.append(server)
        self._looking = loop.create_task(self._look_now_and_then(self._front))

    @property
    def ports(self) -> list[int]:
        """The ports really taken."""
        return [int(each.getsockname()[1]) for server in self._listening for each in server.sockets]

    async def close(self) -> None:
        """Take no more requests, let those under way end."""
        for server in self._listening:
            server.close()
        if self._front is not None:
            self._front.pre_shutdown()
            await self._front.shutdown(SHUTDOWN)
        if self._looking is not None:
            self._looking.cancel()

    def _answered(self, request: Request, response: Response, seconds: float) -> None:
        self._access(
            f"{self._stamp} {request.remote} {request.method} {request.target} {response.status} "
            f"{seconds * 1000:.1f}ms {request.headers.get('User-Agent', '-')}"
        )

    async def _look_now_and_then(self, front: Front) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(LOOK, self._limits.request_timeout))
            self._tell_time()
            now = loop.time()
            for connection in front.connections:
                if isinstance(connection, Connection) and connection.deadline <= now:
                    connection.expire()

    def _tell_time(self) -> None:
        # A clock that stepped back stops issuance, not the answers that say so: they have the time before.
        with contextlib.suppress(CaError):
            self._stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def address(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port".  Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"acme.listen holds {text!r}; write host:port, or [address]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)
