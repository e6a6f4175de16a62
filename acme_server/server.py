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
from email.utils import format_datetime

from acme_server.http import Application, Connection, Request, Response
from core.clock import Clock
from core.errors import CaError, ConfigurationError
from core.settings import Limits

SHUTDOWN = 10
"""Seconds that requests under way are given to end."""

LOOK = 0.5
"""Seconds between two looks at the connections; also how fine the Date and the access log's time are."""


class Server:
    """One application on some addresses; `acme_server.http.Host` to its connections."""

    def __init__(
        self,
        application: Application,
        listen: Sequence[str],
        tls: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        access: Callable[[str], None],
    ) -> None:
        """`listen` holds "host:port" and "[v6]:port"; port 0 takes a free one.  `tls` None is for tests."""
        self.application = application
        self.body_octets = limits.body_octets
        self.request_timeout = float(limits.request_timeout)
        self.date = ""
        self._addresses = [address(each) for each in listen]
        self._tls = tls
        self._limits = limits
        self._clock = clock
        self._access = access
        self._stamp = ""
        self._listening: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.  Raises `ConfigurationError` when an address cannot be had."""
        loop = asyncio.get_running_loop()
        self._tell_time()
        handshake = float(self._limits.request_timeout) if self._tls is not None else None
        for host, port in self._addresses:
            try:
                server = await loop.create_server(
                    lambda: Connection(self),
                    host,
                    port,
                    ssl=self._tls,
                    backlog=1024,
                    ssl_handshake_timeout=handshake,
                )
            except OSError as error:
                await self.close()
                raise ConfigurationError(
                    f"cannot listen on {host}:{port}: {error.strerror}; free it, or change acme.listen"
                ) from error
            self._listening.append(server)
        self._looking = loop.create_task(self._look_now_and_then())

    @property
    def ports(self) -> list[int]:
        """The ports really taken."""
        return [int(each.getsockname()[1]) for server in self._listening for each in server.sockets]

    async def close(self) -> None:
        """Take no more requests, let those under way end."""
        for server in self._listening:
            server.close()
        for connection in list(self._connections):
            connection.finish()
        loop = asyncio.get_running_loop()
        until = loop.time() + SHUTDOWN
        while any(connection.busy for connection in self._connections) and loop.time() < until:
            await asyncio.sleep(0.01)
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self._connections):
            connection.abort()

    # acme_server.http.Host

    def opened(self, connection: Connection) -> bool:
        """A connection came in; False when it is one too many."""
        if len(self._connections) >= self._limits.connections:
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)

    def answered(self, request: Request, response: Response, seconds: float) -> None:
        """One access line."""
        self._access(
            f"{self._stamp} {request.remote} {request.method} {request.target} {response.status} "
            f"{seconds * 1000:.1f}ms {request.headers.get('user-agent', '-')}"
        )

    async def _look_now_and_then(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(LOOK, self._limits.request_timeout))
            self._tell_time()
            now = loop.time()
            for connection in [each for each in self._connections if each.deadline <= now]:
                connection.expire()

    def _tell_time(self) -> None:
        # A clock that stepped back stops issuance, not the answers that say so: they have the time before.
        with contextlib.suppress(CaError):
            now = datetime.fromtimestamp(self._clock.now(), UTC)
            self.date = format_datetime(now, usegmt=True)
            self._stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")


def address(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port".  Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"acme.listen holds {text!r}; write host:port, or [address]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)
