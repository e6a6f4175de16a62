"""One Open MPIC peer over HTTP: requests on warm connections, whole and bounded replies.

Must never: follow a redirect, heed a proxy of the environment, keep a cookie, or read more than a reply may
hold.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable

import aiohttp

from core.errors import ConfigurationError, TransientError
from validation.mpic import open_mpic
from validation.verdict import printable

CONNECT_SECONDS = 5.0
WARM_SECONDS = 60.0
"""An idle connection is kept that long: less than our server keeps it, so that we are the one who closes."""

CONNECTIONS = 64
SHOWN = 200
"""Characters of a peer's own words in a message."""

_CONTEXT = re.compile(r" ssl:<[^>]*>")
"""The TLS context as an object, which aiohttp shows in its messages and which tells nobody anything."""


class Peer:
    """The peer at `url`; a call takes `timeout` seconds at most.

    `context` gives the TLS to use, and `name` is that of the peer's certificate; without them the URL's own.
    """

    def __init__(
        self, url: str, timeout: float, context: Callable[[], ssl.SSLContext] | None = None, name: str = ""
    ) -> None:
        self.url = url
        self._timeout = timeout
        self._context = context
        self._name = name or None
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the reply.  Raises `TransientError` when there is none."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._exchange(method, path, body)
                except aiohttp.ServerDisconnectedError:
                    # A connection that was kept warm died with the process at its other end.
                    return await self._exchange(method, path, body)
        except TimeoutError as error:
            raise TransientError(f"no answer from {self.url} in {self._timeout:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = _CONTEXT.sub("", str(error))
            raise TransientError(f"{self.url}: {printable(said, SHOWN)}") from error
        except ConfigurationError as error:
            raise TransientError(str(error)) from error

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        async with self._opened().request(
            method,
            self.url + path,
            data=body,
            allow_redirects=False,
            server_hostname=self._name,
            ssl=self._context() if self._context is not None else True,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        ) as response:
            received = bytearray()
            async for piece in response.content.iter_any():
                received += piece
                if len(received) > open_mpic.REPLY_OCTETS:
                    response.close()
                    raise TransientError(
                        f"{self.url}: the reply is longer than {open_mpic.REPLY_OCTETS} octets"
                    )
            return response.status, bytes(received)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=WARM_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session
