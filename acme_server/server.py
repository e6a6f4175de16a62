"""Serves the application: listening addresses, TLS, time limits, the access log, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from core.errors import ConfigurationError
from core.settings import Limits

KEEPALIVE = 75
"""Seconds.  A client that polls an order keeps its connection."""

SHUTDOWN = 10
"""Seconds that requests under way are given to end."""

ACCESS_PAUSE = 0.5
"""Seconds between two writes of the access log: a person who follows it does not notice."""


LIMITS = web.AppKey("limits", Limits)
"""The application says how much a stranger may hold: connections, and seconds until a first answer."""


class Server:
    """One application on some addresses."""

    def __init__(self, app: web.Application, listen: Sequence[str], tls: ssl.SSLContext | None) -> None:
        """`listen` holds "host:port" and "[v6]:port"; port 0 takes a free one.  `tls` None is for tests."""
        self._addresses = [address(each) for each in listen]
        self._tls = tls
        self._limits = app.get(LIMITS, Limits())
        app.on_response_prepare.append(self._answered)
        # access_log=None: aiohttp's own costs half of the throughput (docs/adr/0003).
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN, handle_signals=False
        )
        self._listening: list[asyncio.Server] = []
        self._unproven: set[object] = set()
        """Connections that have not had an answer yet; aiohttp's keep-alive limit minds those that have."""

    async def start(self) -> None:
        """Listen.  Raises `ConfigurationError` when an address cannot be had."""
        await self._runner.setup()
        handshake = float(self._limits.request_timeout) if self._tls is not None else None
        for host, port in self._addresses:
            try:
                server = await asyncio.get_running_loop().create_server(
                    self._accept, host, port, ssl=self._tls, backlog=1024, ssl_handshake_timeout=handshake
                )
            except OSError as error:
                await self.close()
                raise ConfigurationError(
                    f"cannot listen on {host}:{port}: {error.strerror}; free it, or change acme.listen"
                ) from error
            self._listening.append(server)

    @property
    def ports(self) -> list[int]:
        """The ports really taken."""
        return [int(each.getsockname()[1]) for server in self._listening for each in server.sockets]

    async def close(self) -> None:
        """Take no more requests, let those under way end."""
        for server in self._listening:
            server.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        serve = self._runner.server
        if serve is None or len(serve.connections) >= self._limits.connections:
            return _Refusal()
        connection = serve()
        self._unproven.add(connection)
        # Once for the head of the first request, once for its body.
        asyncio.get_running_loop().call_later(
            2 * self._limits.request_timeout, self._lose_patience, connection
        )
        return connection

    def _lose_patience(self, connection: RequestHandler) -> None:
        if connection in self._unproven:
            self._unproven.discard(connection)
            connection.force_close()

    async def _answered(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._unproven.discard(request.protocol)


class _Refusal(asyncio.Protocol):
    """Ends a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class AccessLog(logging.Handler):
    """Access lines are gathered, and a thread writes them now and then: no request waits for a disk.

    Waking a thread for every line cost more than the line.  A kill loses the lines of the last moment; what
    must not be lost is in the audit log.
    """

    def __init__(self, path: Path) -> None:
        """`path` is a file; its directory must exist."""
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s\n"))
        self._file = path.open("a", encoding="utf-8")
        self._lines: list[str] = []
        self._logger = logging.getLogger("access")
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to write."""
        self._logger.propagate = False
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        self._writing = asyncio.get_running_loop().create_task(self._write_now_and_then())

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def close(self) -> None:
        """Write what waits and stop."""
        self._logger.removeHandler(self)
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if not self._file.closed:
            self._write()
            self._file.close()
        super().close()

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(ACCESS_PAUSE)
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._file.writelines(lines)
        self._file.flush()


def address(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port".  Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"acme.listen holds {text!r}; write host:port, or [address]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)
