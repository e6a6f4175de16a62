"""How the app starts with its nonces and limits in Redis, and what check-config sees of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from core import settings
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.ephemeral import Nonces
from core.ephemeral.redis.standing import examine
from core.errors import ConfigurationError, TransientError
from core.randomness import SystemRandomness
from core.settings import Settings
from operations import wiring
from tests.support import redis_server
from tests.support.redis_server import RedisServer


async def started(closing: AsyncExitStack, redis: settings.Redis, data: DataDirectory) -> Nonces:
    """A host's nonces."""
    wanted = replace(Settings(), redis=redis)
    nonces, _, _ = await wiring._short_lived(closing, wanted, data, SystemClock(), SystemRandomness())
    return nonces


@pytest.fixture
def host(tmp_path: Path) -> Callable[[str], DataDirectory]:
    """The data directory of a host."""
    return lambda name: DataDirectory(tmp_path / name)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file of a secret for several hosts."""
    file = tmp_path / "shared"
    file.write_text("the secret of two hosts, brought by a person\n")
    file.chmod(0o600)
    return str(file)


async def test_a_host_with_another_secret_refuses_to_start_and_one_with_the_same_starts(
    tmp_path: Path, host: Callable[[str], DataDirectory], secret: str
) -> None:
    with redis_server.running(tmp_path / "redis") as redis:
        async with AsyncExitStack() as closing:
            alone = redis.settings
            first = await started(closing, alone, host("a"))
            with pytest.raises(ConfigurationError, match=r"redis\.secret_file"):
                await started(closing, alone, host("b"))
            assert await first.consume(await first.issue())
        assert redis.ask("FLUSHALL") == "+OK"
        async with AsyncExitStack() as closing:
            shared = replace(redis.settings, secret_file=secret)
            one, other = [await started(closing, shared, host(name)) for name in ("a", "b")]
            assert await other.consume(await one.issue())


async def test_a_host_that_started_while_redis_was_away_refuses_when_it_is_back_with_anothers_epoch(
    tmp_path: Path, host: Callable[[str], DataDirectory], secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis = RedisServer(tmp_path / "redis")
    async with AsyncExitStack() as closing:
        with caplog.at_level(logging.ERROR):
            late = await started(closing, redis.settings, host("a"))
        assert "503 until it is back" in caplog.text
        with redis_server.running(tmp_path / "redis"):
            first = await started(closing, replace(redis.settings, secret_file=secret), host("b"))
            with pytest.raises(TransientError, match=r"redis\.secret_file"):
                await late.issue()
            with pytest.raises(TransientError, match=r"redis\.secret_file"):
                await late.consume(await first.issue())


def test_check_config_sees_another_secret_and_changes_nothing(
    tmp_path: Path, host: Callable[[str], DataDirectory], secret: str
) -> None:
    clock, directory = SystemClock(), host("a").nonces
    with redis_server.running(tmp_path / "redis") as redis:
        assert examine(redis.settings, directory, clock).since is None
        assert redis.ask("DBSIZE") == ":0"
        assert not directory.exists()
        epoch = redis_server.SECRET.fingerprint
        redis.ask("HSET", "{acme}:nonces:epoch", "fingerprint", epoch, "since", "1800000000")
        assert examine(redis.settings, directory, clock).since == 1_800_000_000
        with pytest.raises(ConfigurationError, match=epoch):
            examine(replace(redis.settings, secret_file=secret), directory, clock)
