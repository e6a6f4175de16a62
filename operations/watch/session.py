"""Looks, one or many: memory before and after, the canary when it is due, results where they are wanted.

Must never: end because a look failed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from core.clock import Clock
from core.errors import ConfigurationError
from core.randomness import Randomness
from operations.subscriber.local_names import connector
from operations.watch import show
from operations.watch.canary import Canary, fly
from operations.watch.fetch import Fetcher
from operations.watch.finding import Finding, State, worst
from operations.watch.kept import Kept
from operations.watch.limits import about
from operations.watch.look import Looking, Wanted
from operations.watch.memory import Look, load, replace, save
from operations.watch.scope import Scope

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go besides the terminal; None and "" for nowhere."""

    state: Path | None = None
    page: Path | None = None
    textfile: Path | None = None
    listen: str = ""


LONGEST = 1800.0
"""Seconds of one look, without the canary: a server that lists much and is slow shall not silence us."""


class Session:
    """What outlasts a look."""

    longest = LONGEST

    def __init__(
        self, wanted: Wanted, canary: Canary | None, outputs: Outputs, clock: Clock, randomness: Randomness
    ) -> None:
        self._wanted = wanted
        self._canary = canary
        self._outputs = outputs
        self._clock = clock
        self._randomness = randomness
        self._metrics = show.Metrics()
        self._page = ""
        state = outputs.state
        if state is not None:
            state.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._file = None if state is None else state / "memory.json"
        self._kept = None if state is None else Kept(state / "kept")
        self.memory, self._damage = load(self._file)

    async def once(self) -> list[Finding]:
        """One look, its results written where they are wanted."""
        context = ssl.create_default_context()
        async with aiohttp.ClientSession(
            connector=connector(context, self._wanted.addresses),
            # As it is: what is unpacked could be a thousand times larger than what came.
            headers={"User-Agent": "acme-server-watch", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=60),
            auto_decompress=False,
        ) as http:
            looking = Looking(
                self._wanted,
                Fetcher(http, self._clock, self._wanted.patience),
                self.memory,
                self._clock,
                self._randomness,
            )
            looking.believe = lambda scope: _believe(context, scope)
            looking.kept = self._kept
            if self._damage:
                looking.findings.append(
                    Finding("memory", str(self._file), State.WARN, self._damage, "nothing")
                )
                self._damage = ""
            try:
                async with asyncio.timeout(self.longest):
                    await looking.everything()
            except TimeoutError:
                seen = f"the look did not end within {about(self.longest)}: the rest was not looked at"
                remedy = "see what keeps the server busy, and how much it lists"
                looking.findings.append(Finding("look", self._wanted.repository, State.FAIL, seen, remedy))
            await self._fly(looking, http)
        self._keep(looking.findings)
        return looking.findings

    async def for_ever(self, every: int, say: Callable[[str], None]) -> None:
        """Look each `every` seconds until cancelled."""
        async with self._served():
            while True:
                began = self._clock.monotonic()
                findings = await self.once()
                say(show.brief(findings, self._clock.now()))
                await asyncio.sleep(max(0.0, every - (self._clock.monotonic() - began)))

    async def _fly(self, looking: Looking, http: aiohttp.ClientSession) -> None:
        now = self._clock.now()
        if self._canary is None or now < self.memory.canary_at + self._canary.every:
            return
        await fly(self._canary, looking, http, self._clock)
        if any(each.check == "canary-issue" and each.state is State.OK for each in looking.findings):
            self.memory.canary_at = now

    def _keep(self, findings: list[Finding]) -> None:
        now = self._clock.now()
        names = [f"{each.check} {each.subject}" for each in findings if each.state is not State.OK]
        self.memory.add(Look(now, worst(findings), names[:20]))
        self._metrics.take(findings, now)
        self._page = show.page(findings, self.memory, now, self._wanted.repository)
        try:
            save(self._file, self.memory)
            if self._outputs.page is not None:
                replace(self._outputs.page, self._page.encode())
            if self._outputs.textfile is not None:
                replace(self._outputs.textfile, self._metrics.render())
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename}: {error.strerror}: the results cannot be kept"
            ) from error

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[None]:
        """/metrics, and the page at /, on `outputs.listen`."""
        if not self._outputs.listen:
            yield
            return

        async def metrics(request: web.Request) -> web.Response:
            return web.Response(
                body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
            )

        async def page(request: web.Request) -> web.Response:
            text = self._page or "the first look is under way\n"
            return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)

        app = web.Application()
        app.add_routes([web.get("/metrics", metrics), web.get("/", page)])
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        host, _, port = self._outputs.listen.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
            yield
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--metrics {self._outputs.listen}: {error}") from error
        finally:
            await runner.cleanup()


_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _believe(context: ssl.SSLContext, scope: Scope) -> None:
    """The ACME directory's certificate may come from the CA itself."""
    context.load_verify_locations(cadata=scope.anchor.public_bytes(Encoding.PEM).decode())
