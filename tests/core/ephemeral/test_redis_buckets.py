"""What only buckets in Redis must stand: several hosts, keys that expire, and the doubles of Lua."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import SystemClock
from core.ephemeral import LONGEST_PERIOD, MOST_COUNT, Bucket, Rate, Spend
from core.ephemeral.memory_buckets import MemoryBuckets
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.server import Server
from tests.support.redis_server import RedisServer

NOW = 1_800_000_000
RATE = Rate(50, 3600)

Host = Callable[[str], RedisBuckets]
_numbers = itertools.count()

spends = st.builds(
    lambda key, rate, cost: Spend(key, rate, min(cost, rate.count)),
    st.sampled_from("abc"),
    st.sampled_from([Rate(1, 7), Rate(3, 10), Rate(20, 60), Rate(MOST_COUNT, LONGEST_PERIOD)]),
    st.integers(0, MOST_COUNT),
)
steps = st.tuples(
    st.sampled_from(["spend", "look", "give_back"]), st.integers(0, 30), st.lists(spends, max_size=4)
)


@pytest.fixture
async def host(redis: RedisServer) -> AsyncIterator[Host]:
    """Makes one more host with the prefix."""
    servers = []

    def make(prefix: str) -> RedisBuckets:
        servers.append(Server(redis.settings, SystemClock()))
        return RedisBuckets(servers[-1], prefix)

    yield make
    for each in servers:
        await each.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(story=st.lists(steps, max_size=12))
async def test_redis_and_memory_say_the_same_to_the_second(host: Host, story: list[object]) -> None:
    ours, oracle = host(f"same-{next(_numbers)}"), MemoryBuckets()
    now = NOW
    for what, wait, some in story:  # type: ignore[misc]
        now += wait
        assert await getattr(ours, what)(some, now) == await getattr(oracle, what)(some, now)


async def test_of_hosts_that_spend_at_the_same_time_no_more_than_the_count_succeed(host: Host) -> None:
    hosts = [host("race") for _ in range(4)]
    answers = await asyncio.gather(
        *(each.spend([Spend("a", RATE), Spend("b", RATE)], NOW) for each in hosts * 25)
    )
    assert sum(all(bucket.frees_at <= NOW for bucket in standing) for standing in answers) == 50
    assert await hosts[0].look([Spend("b", RATE)], NOW) == [Bucket(0, NOW + 72, NOW + 3600)]


async def test_a_key_stays_until_its_bucket_is_full(redis: RedisServer, host: Host) -> None:
    buckets = host("expiry")
    await buckets.spend([Spend("a", RATE, 5)], NOW)
    key = "{expiry}:bucket:50/3600:a"
    assert 300 < int(redis.ask("TTL", key)[1:]) <= 360
    await buckets.give_back([Spend("a", RATE, 2)], NOW)
    assert 150 < int(redis.ask("TTL", key)[1:]) <= 216
    await buckets.give_back([Spend("a", RATE, 3)], NOW)
    assert redis.ask("EXISTS", key) == ":0"


async def test_all_keys_of_a_ca_are_in_one_slot_of_a_cluster(redis: RedisServer, host: Host) -> None:
    buckets = host("slot")
    await buckets.spend([Spend(f"key-{number}", RATE) for number in range(20)], NOW)
    keys = redis.keys("{slot}*")
    assert len(keys) == 20
    assert all(each.startswith("{slot}:") for each in keys)


async def test_a_key_that_holds_anything_at_all_is_no_pattern_and_no_command(host: Host) -> None:
    buckets = host("hostile")
    odd = ["*", "\r\nFLUSHALL\r\n", "{other}", "ü\x00", "", "a b'\"\\"]
    assert len(await buckets.spend([Spend(each, RATE) for each in odd], NOW)) == len(odd)
    assert {each.remain for each in await buckets.look([Spend(each, RATE) for each in odd], NOW)} == {49}
