"""The front with real perspectives behind their sockets, each with a resolver of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from acme_server import app
from core.data_directory import DataDirectory
from core.evidence import PerspectiveKey, SignedStatement, Statement
from core.randomness import SystemRandomness
from core.rpc import RpcServer
from core.settings import Perspective, Settings
from tests.support.acme_front import Front, running
from validation.api import CHECK, PREFLIGHT
from validation.checker import Checker
from validation.dns.resolver import Resolver
from validation.mpic.client import Perspectives
from validation.mpic.foresight import Foreseer
from validation.perspective import make_checker, make_scout
from validation.preflight import Scout

REGIONS = ("APNIC", "ARIN", "RIPE NCC")


class CountingKey(PerspectiveKey):
    """Counts what it signed."""

    signed = 0

    def sign(self, statement: Statement) -> SignedStatement:
        self.signed += 1
        return super().sign(statement)


@asynccontextmanager
async def looking(
    directory: Path,
    resolvers: Mapping[str, Resolver],
    change: Callable[[Settings], Settings] = lambda settings: settings,
    **validation: object,
) -> AsyncIterator[tuple[Front, CountingKey]]:
    """A front whose perspectives are named by `resolvers`, the first one primary; `validation` are settings.

    All of them sign with the one key that is given beside the front.
    """
    places = tuple(Perspective(code, region) for code, region in zip(resolvers, REGIONS, strict=False))

    def changed(settings: Settings) -> Settings:
        loopback = replace(settings.validation, perspectives=places, allowed_networks=("127.0.0.0/8",))
        return change(replace(settings, validation=replace(loopback, **validation)))  # type: ignore[arg-type]

    key = CountingKey(ec.generate_private_key(ec.SECP256R1()))
    async with AsyncExitStack() as closing:
        front = await closing.enter_async_context(running(directory, changed))
        settings, data = front.context.settings, DataDirectory(directory / "data")
        data.run.mkdir(parents=True)
        for code, resolver in resolvers.items():
            checker = make_checker(settings, code, key, resolver, front.clock)
            scout = make_scout(settings, code, resolver, front.clock)
            assert scout is not None
            await closing.enter_async_context(serving(data, code, checker, scout))
        perspectives = Perspectives(data, settings, front.clock, SystemRandomness())
        closing.push_async_callback(perspectives.close)
        front.foreseer.inner = Foreseer(perspectives.channels, settings, front.clock, SystemRandomness())
        front.handlers = app.job_handlers(
            front.database, settings, front.clock, perspectives, front.issuance, front.context.changes
        )
        yield front, key


@asynccontextmanager
async def serving(data: DataDirectory, code: str, checker: Checker, scout: Scout) -> AsyncIterator[None]:
    """The perspective's socket."""
    server = RpcServer()
    server.add(CHECK, checker.check)
    server.add(PREFLIGHT, scout.preview)
    await server.listen(data.perspective_socket(code))
    try:
        yield
    finally:
        await server.close()
