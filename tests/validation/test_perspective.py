"""The perspective as it is served: its own key, a socket, the world's DNS; under uvloop as in production."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.evidence import Result, verify
from core.randomness import SystemRandomness
from core.rpc import RpcClient
from core.settings import Ca, Rules, Settings, Validation
from tests.support import web
from tests.support.unbounds import CANARY, pid_of, validation_in
from tests.support.web import WebServer
from tests.world.world import World
from validation.api import HEALTH, HealthRequest
from validation.keys import generate_key
from validation.methods.txt import text_of
from validation.mpic.client import Perspectives
from validation.perspective import serve

TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
KEY_AUTHORIZATION = f"{TOKEN}.{THUMBPRINT}"
DIGEST = text_of(hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()).decode()
ACCOUNT = "https://ca.example/acme/account/1"

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def served(data: DataDirectory, settings: Settings, code: str = "local") -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(serve(settings, data, code, SystemClock(), SystemRandomness(), ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            task.result()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path)


@pytest.fixture
def spki(data: DataDirectory) -> bytes:
    return generate_key(data.perspective("local"), SystemRandomness())


def under(loop: str, journey: Callable[[], Awaitable[None]]) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(journey())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_name_is_validated_through_the_socket_by_both_methods(
    world: World, data: DataDirectory, spki: bytes, loop: str
) -> None:
    world.set_records("perspective.example.com", "A", ["127.0.0.1"])
    world.set_txt("_acme-challenge.perspective.example.com", DIGEST)
    public_key = serialization.load_der_public_key(spki)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)

    async def journey() -> None:
        async with WebServer(web.response(KEY_AUTHORIZATION.encode())) as server:
            settings = Settings(
                ca=Ca(rules=Rules.PRIVATE),
                validation=Validation(
                    resolvers=(world.resolver,),
                    http_port=server.port,
                    allowed_networks=("127.0.0.0/8",),
                ),
            )
            async with served(data, settings):
                perspectives = Perspectives(data, settings, SystemClock(), SystemRandomness())
                for name, method in (
                    ("perspective.example.com", "dns-01"),
                    ("perspective.example.com", "http-01"),
                    ("localhost", "http-01"),
                ):
                    outcome = await perspectives.check(name, ACCOUNT, method, TOKEN, THUMBPRINT)
                    assert outcome.result == Result.PASS, outcome
                    assert verify(outcome.statements[0], public_key).name == name
                denied = await perspectives.check(
                    "caa-deny.example.com", ACCOUNT, "http-01", TOKEN, THUMBPRINT
                )
                assert (denied.result, denied.problem) == (Result.FAIL, "caa")
                refused = await perspectives.check(
                    "refused.example.com", ACCOUNT, "http-01", TOKEN, THUMBPRINT
                )
                assert (refused.result, refused.problem) == (Result.FAIL, "connection")
                await perspectives.close()

    under(loop, journey)


async def test_health_names_the_code_the_key_and_the_resolvers(data: DataDirectory, spki: bytes) -> None:
    async with served(data, Settings(validation=Validation(resolvers=("127.0.0.1:5353",)))):
        client = RpcClient(data.perspective_socket("local"))
        health = await client.call(HEALTH, HealthRequest())
        await client.close()
    assert (health.code, health.public_key, health.resolvers) == ("local", spki, ("127.0.0.1:5353",))


@pytest.mark.row("dns.unbound", "dns.canary", "errors.server-internal")
@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_with_an_unbound_of_its_own_it_serves_and_reaches_no_verdict_while_that_is_away(
    world: World, data: DataDirectory, spki: bytes, loop: str
) -> None:
    world.set_txt("_acme-challenge.own.example.com", DIGEST)
    settings = Settings(validation=validation_in(world, **CANARY))

    async def journey() -> None:
        async with served(data, settings):
            perspectives = Perspectives(data, settings, SystemClock(), SystemRandomness())

            async def result() -> Result:
                outcome = await perspectives.check("own.example.com", ACCOUNT, "dns-01", TOKEN, THUMBPRINT)
                assert outcome.result == Result.PASS or outcome.problem == "serverInternal"
                return outcome.result

            assert await result() == Result.PASS
            client = RpcClient(data.perspective_socket("local"))
            health = await client.call(HEALTH, HealthRequest())
            await client.close()
            assert health.resolvers[0].startswith("own Unbound at 127.0.0.1:")
            assert health.trouble == ""
            killed = pid_of(data, "local")
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            assert await result() == Result.INDETERMINATE
            async with asyncio.timeout(20):
                while await result() != Result.PASS:
                    await asyncio.sleep(0.05)
            await perspectives.close()
        assert pid_of(data, "local") is None

    under(loop, journey)


async def test_it_ends_cleanly_and_starts_again(data: DataDirectory, spki: bytes) -> None:
    settings = Settings(validation=Validation(resolvers=("127.0.0.1:5353",)))
    for _ in range(2):
        async with served(data, settings):
            assert data.perspective_socket("local").exists()


async def test_a_perspective_that_is_not_configured_does_not_start(data: DataDirectory, spki: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"validation\.perspectives"):
        async with served(data, Settings(), "elsewhere"):
            pass
    assert not data.run.exists()


async def test_without_its_key_it_does_not_start(data: DataDirectory) -> None:
    with pytest.raises(ConfigurationError, match="set-up"):
        async with served(data, Settings()):
            pass
    assert not data.run.exists()


@pytest.mark.clause("BR 3.2.2.8.1")
async def test_under_public_rules_it_does_not_start_with_a_distant_resolver(
    data: DataDirectory, spki: bytes
) -> None:
    settings = Settings(ca=Ca(rules=Rules.PUBLIC), validation=Validation(resolvers=("192.0.2.1:53",)))
    with pytest.raises(ConfigurationError, match="loopback"):
        async with served(data, settings):
            pass
    assert not data.run.exists()
