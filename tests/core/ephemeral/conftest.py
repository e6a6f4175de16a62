"""Both homes of short-lived state, one after the other, for the tests that hold for either."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest

from core.clock import SystemClock
from core.ephemeral import Buckets, Nonces
from core.ephemeral.memory import MemoryNonces
from core.ephemeral.memory_buckets import MemoryBuckets
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.nonces import RedisNonces
from core.ephemeral.redis.server import Server
from core.randomness import SystemRandomness
from tests.support import redis_server
from tests.support.redis_server import RedisServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server that no test ends."""
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dataclass(slots=True)
class Home:
    """Makes nonces and buckets that nobody else shares; to be used in one event loop."""

    nonces: Callable[[], Nonces]
    buckets: Callable[[], Buckets]
    server: Server | None = None

    async def close(self) -> None:
        if self.server is not None:
            await self.server.close()


def memory() -> Home:
    """In the memory of this process."""
    return Home(
        lambda: MemoryNonces(SystemRandomness(), "app", chunk_bits=16, max_chunks=10_000), MemoryBuckets
    )


def in_redis(redis: RedisServer) -> Home:
    """In Redis, below a prefix of its own."""
    clock, prefix = SystemClock(), f"test-{next(_numbers)}"
    server = Server(redis.settings, clock)
    return Home(
        lambda: RedisNonces(server, prefix, redis_server.SECRET, clock, SystemRandomness(), block_nonces=16),
        lambda: RedisBuckets(server, prefix),
        server,
    )


@pytest.fixture(params=["memory", "redis"])
def make_home(request: pytest.FixtureRequest) -> Callable[[], Home]:
    """What makes the home that the test is about."""
    if request.param == "memory":
        return memory
    redis = request.getfixturevalue("redis")
    return lambda: in_redis(redis)


@pytest.fixture
async def home(make_home: Callable[[], Home]) -> AsyncIterator[Home]:
    """One home."""
    made = make_home()
    yield made
    await made.close()


@pytest.fixture
def buckets(home: Home) -> Buckets:
    """Empty buckets."""
    return home.buckets()


@pytest.fixture
def nonces(home: Home) -> Nonces:
    """Nonces of which none was given out."""
    return home.nonces()
