"""Serves the application: listening addresses, TLS, time limits, the access log's thread, an orderly end."""

from __future__ import annotations

import logging
import queue
import ssl
from collections.abc import Sequence
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path

from aiohttp import web

from core.errors import ConfigurationError

KEEPALIVE = 75
"""Seconds.  A client that polls an order keeps its connection."""

SHUTDOWN = 10
"""Seconds that requests under way are given to end."""


class Server:
    """One application on some addresses."""

    def __init__(self, app: web.Application, listen: Sequence[str], tls: ssl.SSLContext | None) -> None:
        """`listen` holds "host:port" and "[v6]:port"; port 0 takes a free one.  `tls` None is for tests."""
        self._addresses = [address(each) for each in listen]
        self._tls = tls
        # access_log=None: aiohttp's own costs half of the throughput (docs/adr/0003).
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN, handle_signals=False
        )

    async def start(self) -> None:
        """Listen.  Raises `ConfigurationError` when an address cannot be had."""
        await self._runner.setup()
        for host, port in self._addresses:
            site = web.TCPSite(self._runner, host, port, ssl_context=self._tls, backlog=1024)
            try:
                await site.start()
            except OSError as error:
                await self._runner.cleanup()
                raise ConfigurationError(
                    f"cannot listen on {host}:{port}: {error.strerror}; free it, or change acme.listen"
                ) from error

    @property
    def ports(self) -> list[int]:
        """The ports really taken."""
        return [int(each[1]) for each in self._runner.addresses]

    async def close(self) -> None:
        """Take no more requests, let those under way end."""
        await self._runner.cleanup()


class AccessLog:
    """Access lines go through a queue to a thread of its own, so that no request waits for a disk."""

    def __init__(self, path: Path) -> None:
        """`path` is a file; its directory must exist."""
        lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._file = logging.FileHandler(path, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._handler = QueueHandler(lines)
        self._listener = QueueListener(lines, self._file)
        self._logger = logging.getLogger("access")

    def open(self) -> None:
        """Begin to write."""
        self._logger.propagate = False
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self._handler)
        self._listener.start()

    def close(self) -> None:
        """Write what waits and stop."""
        self._logger.removeHandler(self._handler)
        self._listener.stop()
        self._file.close()


def address(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port".  Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"acme.listen holds {text!r}; write host:port, or [address]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)
