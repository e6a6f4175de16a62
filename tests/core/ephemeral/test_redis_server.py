"""Redis that is away, silent or wrongly set up."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock, SystemClock
from core.ephemeral import Rate, Spend
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.nonces import RedisNonces
from core.ephemeral.redis.server import PAUSE, Server, Unfit
from core.errors import ConfigurationError, TransientError
from core.randomness import SystemRandomness
from core.settings import Redis
from tests.support import redis_server, tls
from tests.world.addresses import free_port

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
SECRET = "correct horse battery staple"
ECHO = "return ARGV[1]"

Connect = Callable[..., Server]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes a `Server` that is closed in the end."""
    made = []

    def make(where: Redis, clock: FakeClock | None = None) -> Server:
        made.append(Server(where, clock or SystemClock()))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_redis_that_is_away_is_an_error_at_once_and_one_that_is_back_is_used(
    tmp_path: Path, connect: Connect
) -> None:
    with redis_server.running(tmp_path) as redis:
        server = connect(redis.settings)
        assert await server.run(ECHO, [], ["a"]) == b"a"
        await asyncio.to_thread(redis.kill)
        for _ in range(3):
            with pytest.raises(TransientError, match=r"redis\.url = unix.*refused"):
                await server.run(ECHO, [], ["a"])
        redis.start()
        assert await server.run(ECHO, [], ["a"]) == b"a"


async def test_a_redis_that_is_silent_costs_the_time_limit_once_and_not_for_everybody(
    tmp_path: Path, connect: Connect
) -> None:
    with redis_server.running(tmp_path) as redis:
        clock = FakeClock(0)
        server = connect(replace(redis.settings, timeout=1), clock)
        assert await server.run(ECHO, [], ["a"]) == b"a"
        redis.hang()
        began = time.monotonic()
        with pytest.raises(TransientError, match="no answer within 1 s"):
            await server.run(ECHO, [], ["a"])
        assert time.monotonic() - began > 0.9
        for _ in range(100):
            with pytest.raises(TransientError, match="silent a moment ago"):  # so it was not asked
                await server.run(ECHO, [], ["a"])
        redis.go_on()
        clock.at += PAUSE
        assert await server.run(ECHO, [], ["b"]) == b"b"


async def test_a_nonce_whose_answer_was_lost_is_never_accepted_twice(
    tmp_path: Path, connect: Connect
) -> None:
    with redis_server.running(tmp_path) as redis:
        clock = FakeClock(0)
        server = connect(replace(redis.settings, timeout=1), clock)
        nonces = RedisNonces(server, "acme", redis_server.SECRET, clock, SystemRandomness())
        given = [await nonces.issue() for _ in range(20)]
        redis.hang()
        answers = await asyncio.gather(*map(nonces.consume, given), return_exceptions=True)
        assert all(isinstance(each, TransientError) for each in answers)
        redis.go_on()
        clock.at += PAUSE
        first = await asyncio.gather(*map(nonces.consume, given))
        again = await asyncio.gather(*map(nonces.consume, given))
        assert not any(again)
        assert all(first) or not any(first)  # the one step was run, or it was not


async def test_a_connection_that_died_while_idle_costs_nobody_an_error(
    tmp_path: Path, connect: Connect
) -> None:
    with redis_server.running(tmp_path) as redis:
        server = connect(redis.settings)
        assert await server.run(ECHO, [], ["a"]) == b"a"
        assert await asyncio.to_thread(redis.ask, "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal") == ":1"
        await asyncio.to_thread(redis.ask, "PING")
        assert await server.run(ECHO, [], ["b"]) == b"b"


async def test_the_password_comes_from_its_file(tmp_path: Path, connect: Connect) -> None:
    with redis_server.running(
        tmp_path / "redis", (*redis_server.LOSES_ALL, "--requirepass", SECRET)
    ) as redis:
        file = tmp_path / "password"
        file.write_text(SECRET + "\n")
        server = connect(replace(redis.settings, password_file=str(file)))
        await server.check()
        file.write_text("wrong " + SECRET)
        for where in (redis.settings, replace(redis.settings, password_file=str(file))):
            with pytest.raises(Unfit, match=r"redis\.password_file") as refused:
                await connect(where).check()
            assert SECRET not in str(refused.value)


async def test_tls_believes_the_ca_that_is_named_and_no_other(tmp_path: Path, connect: Connect) -> None:
    cert, key = tmp_path / "redis.pem", tmp_path / "other.pem"
    cert.write_bytes(tls.pem(tls.der(tls.certificate(tls.names("127.0.0.1"))), tls.KEY))
    other = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(tls.pem(tls.der(tls.certificate(tls.names("127.0.0.1"), key=other)), other))
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(cert))
    options += ("--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no")
    with redis_server.running(tmp_path / "redis", (*redis_server.LOSES_ALL, *options)):
        where = Redis(url=f"rediss://127.0.0.1:{port}/0", ca_file=str(cert))
        await connect(where).check()
        with pytest.raises(TransientError, match="certificate verify failed"):
            await connect(replace(where, ca_file=str(key))).check()
        with pytest.raises(TransientError, match="certificate verify failed"):
            await connect(replace(where, ca_file="")).check()
        with pytest.raises(TransientError, match="match"):
            await connect(replace(where, url=f"rediss://localhost:{port}/0")).check()


async def test_a_password_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="password_file"):
        Server(Redis(url="redis://127.0.0.1:1/0", password_file=str(tmp_path / "none")), SystemClock())


async def test_an_empty_password_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        Server(Redis(url="redis://127.0.0.1:1/0", password_file=str(tmp_path / "empty")), SystemClock())


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "volatile-random"])
async def test_a_redis_that_may_evict_is_refused_with_the_remedy(
    tmp_path: Path, connect: Connect, policy: str
) -> None:
    evicting = ("--maxmemory", "50mb", "--maxmemory-policy", policy)
    with redis_server.running(tmp_path, (*redis_server.LOSES_ALL, *evicting)) as redis:
        server = connect(redis.settings)
        with pytest.raises(Unfit, match="set it to noeviction"):
            await server.check()
        nonces = RedisNonces(server, "acme", redis_server.SECRET, SystemClock(), SystemRandomness())
        with pytest.raises(Unfit):
            await nonces.issue()
        assert redis.ask("DBSIZE") == ":0"
        assert redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK"
        assert await nonces.consume(await nonces.issue())


async def test_a_policy_without_a_limit_of_memory_evicts_nothing(tmp_path: Path, connect: Connect) -> None:
    options = (*redis_server.LOSES_ALL, "--maxmemory-policy", "allkeys-lru")
    with redis_server.running(tmp_path, options) as redis:
        await connect(redis.settings).check()


async def test_a_redis_without_memory_refuses_and_accepts_no_nonce_twice(
    tmp_path: Path, connect: Connect
) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = RedisNonces(
            connect(redis.settings), "acme", redis_server.SECRET, SystemClock(), SystemRandomness()
        )
        given = [await nonces.issue() for _ in range(2)]
        assert await nonces.consume(given[0])
        assert redis.ask("CONFIG", "SET", "maxmemory", "1") == "+OK"
        for nonce in given:
            with pytest.raises(TransientError, match="maxmemory"):
                await nonces.consume(nonce)
        assert redis.ask("CONFIG", "SET", "maxmemory", "0") == "+OK"
        assert [await nonces.consume(nonce) for nonce in given] == [False, True]


async def test_a_user_who_may_not_run_scripts_is_told_apart(tmp_path: Path, connect: Connect) -> None:
    with redis_server.running(tmp_path) as redis:
        assert redis.ask("ACL", "SETUSER", "default", "-evalsha") == "+OK"
        with pytest.raises(Unfit, match="ACL"):
            await connect(redis.settings).run(ECHO, [], [])


async def test_the_documented_rights_are_enough(tmp_path: Path, connect: Connect) -> None:
    with redis_server.running(tmp_path / "redis") as redis:
        [line] = (each for each in OPERATIONS.read_text().splitlines() if "ACL SETUSER" in each)
        assert redis.ask(*shlex.split(line)[1:]) == "+OK"
        (tmp_path / "password").write_text("PASSWORD")
        url = redis.url.replace("unix://", "unix://acme@")
        server = connect(Redis(url=url, password_file=str(tmp_path / "password")))
        await server.check()
        buckets = RedisBuckets(server, "acme")
        await buckets.spend([Spend("a", Rate(1, 60))], 0)
        await buckets.look([Spend("a", Rate(1, 60))], 0)
        await buckets.give_back([Spend("a", Rate(1, 60))], 0)
        nonces = RedisNonces(server, "acme", redis_server.SECRET, SystemClock(), SystemRandomness())
        assert await nonces.consume(await nonces.issue())
