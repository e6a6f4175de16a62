"""What nonces and buckets cost a front, in memory and in a Redis of its own (docs/adr/0021).

usage: python -m bench.short_lived
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from core.clock import SystemClock
from core.ephemeral import Buckets, Nonces, Rate, Spend
from core.ephemeral.memory import MemoryNonces
from core.ephemeral.memory_buckets import MemoryBuckets
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.nonces import RedisNonces
from core.ephemeral.redis.server import Server
from core.randomness import SystemRandomness
from tests.support import redis_server

ROUNDS = 7
SECONDS = 0.7
AT_ONCE = (1, 8, 32, 128)

Once = Callable[[], Awaitable[object]]


async def cost(once: Once, at_once: int) -> tuple[float, float]:
    """Microseconds of this process' CPU, and of the clock, for each call: medians."""
    cpu, wall = [], []

    async def some(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            await once()
            done += 1
        return done

    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        done = sum(await asyncio.gather(*(some(began + SECONDS) for _ in range(at_once))))
        cpu.append((time.process_time() - used) / done * 1e6)
        wall.append((time.perf_counter() - began) / done * 1e6)
    return statistics.median(cpu), statistics.median(wall)


def nonce(nonces: Nonces) -> Once:
    """Give one out and use it: what each POST costs."""

    async def once() -> None:
        if not await nonces.consume(await nonces.issue()):
            raise AssertionError("a fresh nonce was refused")

    return once


def limits(buckets: Buckets) -> Once:
    """Four buckets of a request: address, account, domain, set of names."""
    spends = [Spend(f"{key}:example", Rate(1_000_000, 60)) for key in ("address", "account", "domain", "set")]
    now = int(time.time())
    return lambda: buckets.spend(spends, now)


async def main() -> None:
    """Print the table."""
    with redis_server.running(Path(tempfile.mkdtemp()), redis_server.APPENDS_EVERY_SECOND) as redis:
        server = Server(redis.settings, SystemClock())
        clock, randomness = SystemClock(), SystemRandomness()
        print(f"{'home':8} {'what':28} {'at once':>7} {'CPU us':>8} {'us':>8} {'a second':>9}")
        for home, nonces, buckets in (
            ("memory", MemoryNonces(randomness, "app"), MemoryBuckets()),
            (
                "redis",
                RedisNonces(server, "acme", redis_server.SECRET, clock, randomness),
                RedisBuckets(server, "acme"),
            ),
        ):
            for what, once in (("a nonce out and in", nonce(nonces)), ("four buckets", limits(buckets))):
                for at_once in AT_ONCE if home == "redis" else (1,):
                    cpu, wall = await cost(once, at_once)
                    print(f"{home:8} {what:28} {at_once:7} {cpu:8.1f} {wall:8.1f} {1e6 / wall:9.0f}")
        await server.close()


if __name__ == "__main__":
    uvloop.run(main())
