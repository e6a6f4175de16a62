"""Other ways to answer challenges than tls-alpn-01: a small HTTP server, and an operator's program for DNS.

RFC 8555 sections 8.3, 8.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from josepy import b64

from core.errors import ConfigurationError, TransientError

HOOK_SECONDS = 300
"""For the hook, which waits until all name servers have the record."""

_PATH = "/.well-known/acme-challenge/{token}"


class Http01:
    """Answers http-01 where it listens; is an `operations.subscriber.order.Answering`."""

    methods: Sequence[str] = ("http-01",)

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        app = web.Application(client_max_size=1024)
        app.add_routes([web.get(_PATH, self._answer)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=5)

    async def listen(self, address: str) -> None:
        """Serve on `address` ("host:port").  Raises OSError."""
        host, _, port = address.rpartition(":")
        await self._runner.setup()
        await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()

    async def close(self) -> None:
        await self._runner.cleanup()

    @contextlib.asynccontextmanager
    async def answered(
        self, method: str, name: str, token: str, key_authorization: str
    ) -> AsyncIterator[None]:
        """While this is entered the token's page is there."""
        self._words[token] = key_authorization
        try:
            yield
        finally:
            del self._words[token]

    async def _answer(self, request: web.Request) -> web.Response:
        words = self._words.get(request.match_info["token"])
        if words is None:
            raise web.HTTPNotFound
        return web.Response(text=words, content_type="application/octet-stream", charset=None)


class DnsHook:
    """Answers dns-01 by `PROGRAM set|clear NAME VALUE`; it returns 0 once all name servers have it."""

    methods: Sequence[str] = ("dns-01",)

    def __init__(self, program: str) -> None:
        self._program = program

    @contextlib.asynccontextmanager
    async def answered(
        self, method: str, name: str, token: str, key_authorization: str
    ) -> AsyncIterator[None]:
        """While this is entered the TXT record is there."""
        value = b64.b64encode(hashlib.sha256(key_authorization.encode()).digest()).decode()
        record = f"_acme-challenge.{name.removeprefix('*.')}"
        await self._run("set", record, value)
        try:
            yield
        finally:
            await self._run("clear", record, value)

    async def _run(self, *words: str) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                self._program, *words, stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise ConfigurationError(f"--canary-hook {self._program}: {error}") from error
        try:
            async with asyncio.timeout(HOOK_SECONDS):
                code = await process.wait()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise TransientError(f"{self._program} {words[0]} took more than {HOOK_SECONDS} s") from error
        if code:
            raise TransientError(f"{self._program} {words[0]} ended with {code}")
