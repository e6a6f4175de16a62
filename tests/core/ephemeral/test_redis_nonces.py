"""What only nonces in Redis must stand: many fronts, and a Redis that lost some or all of its data."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.clock import FakeClock, SystemClock
from core.ephemeral.redis.nonces import BODY_OCTETS, CONFIRMED_FOR, EPOCH_OCTETS, RedisNonces
from core.ephemeral.redis.secret import NonceSecret
from core.ephemeral.redis.server import Server, Unfit
from core.ephemeral.seal import decoded
from core.errors import TransientError
from core.randomness import SystemRandomness
from core.settings import Redis
from tests.support import redis_server
from tests.support.redis_server import RedisServer, eventually

REPOSITORY = Path(__file__).resolve().parents[3]
PREFIX = "acme"

Host = Callable[..., RedisNonces]


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """Makes one more host that serves the CA: its connections and its memory are its own."""
    servers = []

    def make(
        redis: RedisServer | str,
        clock: SystemClock | FakeClock | None = None,
        secret: NonceSecret = redis_server.SECRET,
    ) -> RedisNonces:
        url = redis if isinstance(redis, str) else redis.url
        server = Server(Redis(url=url, timeout=redis_server.PATIENCE), clock or SystemClock())
        servers.append(server)
        clock = clock or SystemClock()
        return RedisNonces(server, PREFIX, secret, clock, SystemRandomness(), block_nonces=64)

    yield make
    for each in servers:
        await each.close()


async def given_out(nonces: RedisNonces, count: int) -> list[str]:
    return [await nonces.issue() for _ in range(count)]


async def used(nonces: RedisNonces, given: list[str]) -> int:
    return sum(await asyncio.gather(*map(nonces.consume, given)))


async def refuses_all_and_goes_on(hosts: list[RedisNonces], before: list[str]) -> None:
    """Nothing of before is accepted by any host, and what they give out now is, by each other, once."""
    for each in hosts:
        assert await used(each, before) == 0
    for giver, taker in itertools.permutations([*hosts, *hosts], 2):
        given = await given_out(giver, 3)
        assert await used(taker, given) == 3
        assert await used(giver, given) == 0
    for each in hosts:
        assert await used(each, before) == 0


class Racer:
    """A process of its own that uses what it is told, as fast as it can."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nonce_racer", url, PREFIX],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def must_be_ready(self) -> None:
        assert self._line() == "ready\n"

    def tell(self, nonces: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(nonces + "\n")
        self._process.stdin.flush()

    def won(self) -> list[int]:
        found: list[int] = json.loads(self._line())
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@pytest.mark.clause("RFC 8555 section 6.4")
@pytest.mark.clause("RFC 8555 section 6.5")
async def test_of_several_processes_that_race_for_the_same_nonces_each_nonce_goes_to_one(
    redis: RedisServer, host: Host
) -> None:
    giver = host(redis)
    racers = [Racer(redis.url) for _ in range(4)]
    wins: Counter[int] = Counter()
    try:
        for racer in racers:
            racer.must_be_ready()
        for _ in range(20):
            given = json.dumps(await given_out(giver, 100))
            for racer in racers:
                racer.tell(given)
            won = [racer.won() for racer in racers]
            assert Counter(itertools.chain(*won)) == Counter(range(100))
            wins.update({number: len(each) for number, each in enumerate(won)})
    finally:
        for racer in racers:
            racer.end()
    assert sum(each > 0 for each in wins.values()) > 1, "they did not race"


async def test_a_nonce_of_one_host_is_good_at_another_once(redis: RedisServer, host: Host) -> None:
    one, other = host(redis), host(redis)
    given = await given_out(one, 100)
    assert await used(other, given) == 100
    assert await used(one, given) == 0


async def test_giving_out_asks_redis_once_for_a_block(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = host(redis)
        await nonces.issue()
        before = redis.calls()
        await given_out(nonces, 63)
        assert redis.calls() == before
        await nonces.issue()
        assert redis.calls() > before


async def test_nonces_that_wait_are_used_in_one_step(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = host(redis)
        given = await given_out(nonces, 60)
        assert await used(nonces, given[:1]) == 1
        before = redis.calls("evalsha")
        assert await used(nonces, given[1:]) == 59
        assert redis.calls("evalsha") == before + 1


async def test_a_forged_nonce_of_the_epoch_does_not_reach_redis(redis: RedisServer, host: Host) -> None:
    nonces = host(redis)
    nonce = await nonces.issue()
    before = redis.calls("evalsha")
    assert not await nonces.consume(nonce[:-2] + ("AA" if nonce[-2:] != "AA" else "BA"))
    assert redis.calls("evalsha") == before


@pytest.mark.parametrize(
    "options",
    [redis_server.LOSES_ALL, redis_server.APPENDS_EVERY_SECOND, redis_server.APPENDS_ALWAYS],
    ids=["without a file", "everysec", "always"],
)
async def test_after_redis_was_killed_no_used_nonce_is_accepted(
    tmp_path: Path, host: Host, options: tuple[str, ...]
) -> None:
    with redis_server.running(tmp_path, options) as redis:
        one, other = host(redis), host(redis)
        given = await given_out(one, 40)
        assert await used(other, given[:20]) == 20
        redis.kill()
        with pytest.raises(TransientError):
            await one.consume(given[0])
        redis.start()
        await refuses_all_and_goes_on([one, other, host(redis)], given)


async def test_after_a_power_failure_that_took_the_last_second_no_used_nonce_is_accepted(
    tmp_path: Path, host: Host
) -> None:
    with redis_server.running(tmp_path, redis_server.APPENDS_EVERY_SECOND) as redis:
        one, other = host(redis), host(redis)
        given = await given_out(one, 40)
        [log] = (tmp_path / "appendonlydir").glob("*.incr.aof")
        await eventually(lambda: b"SETBIT" in log.read_bytes())
        as_it_was = log.read_bytes()
        assert await used(other, given[:20]) == 20
        redis.kill()
        assert log.read_bytes() != as_it_was
        log.write_bytes(as_it_was)
        redis.start()
        # What is there is the very epoch, and the block with no bit set.
        assert redis.ask("BITCOUNT", redis.block()) == ":0"
        await refuses_all_and_goes_on([one, other, host(redis)], given)


async def test_after_a_start_from_an_older_snapshot_no_used_nonce_is_accepted(
    tmp_path: Path, host: Host
) -> None:
    with redis_server.running(tmp_path) as redis:
        one = host(redis)
        given = await given_out(one, 40)
        assert redis.ask("SAVE") == "+OK"
        assert await used(one, given[:20]) == 20
        redis.kill()
        redis.start()
        assert redis.ask("BITCOUNT", redis.block()) == ":0"
        await refuses_all_and_goes_on([one, host(redis)], given)


async def test_after_everything_was_flushed_no_used_nonce_is_accepted(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        one, other = host(redis), host(redis)
        given = await given_out(one, 40)
        assert await used(other, given[:20]) == 20
        assert redis.ask("FLUSHALL") == "+OK"
        await refuses_all_and_goes_on([one, other, host(redis)], given)


async def test_a_lost_block_refuses_its_nonces(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = host(redis)
        given = await given_out(nonces, 40)
        assert await used(nonces, given[:20]) == 20
        assert redis.ask("DEL", redis.block()) == ":1"
        assert await used(nonces, given) == 0


async def test_data_put_back_under_a_living_redis_end_the_epoch(tmp_path: Path, host: Host) -> None:
    """As when the machine of Redis is set back to a snapshot with its memory."""
    with redis_server.running(tmp_path) as redis:
        one = host(redis)
        given = await given_out(one, 40)
        keys = redis.block(), redis.epoch()
        for key in keys:
            assert redis.ask("COPY", key, "kept:" + key) == ":1"
        assert await used(one, given[:20]) == 20
        for key in keys:
            assert redis.ask("COPY", "kept:" + key, key, "REPLACE") == ":1"
        assert redis.ask("BITCOUNT", redis.block()) == ":0"
        await refuses_all_and_goes_on([one, host(redis)], given)


class Pair:
    """A primary and a replica, and a path that leads to the one that is said to be the primary."""

    def __init__(self, directory: Path) -> None:
        self.one = RedisServer(directory / "1", tcp=True).start()
        self.two = RedisServer(directory / "2", tcp=True).start()
        self.path = directory / "primary"
        self.url = f"unix://{self.path}"
        self.lead_to(self.one)

    def lead_to(self, primary: RedisServer) -> None:
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(primary.socket)

    async def follow(self, replica: RedisServer, primary: RedisServer) -> None:
        assert replica.ask("REPLICAOF", "127.0.0.1", str(primary.port)) == "+OK"
        await eventually(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
        await eventually(lambda: replica.offset() == primary.offset())


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    await made.follow(made.two, made.one)
    yield made
    made.one.kill()
    made.two.kill()


async def test_after_a_replica_that_lagged_was_promoted_no_used_nonce_is_accepted(
    pair: Pair, host: Host
) -> None:
    one, other = host(pair.url), host(pair.url)
    given = await given_out(one, 40)
    await eventually(lambda: pair.two.offset() == pair.one.offset())
    assert pair.two.ask("REPLICAOF", "NO", "ONE") == "+OK"
    assert await used(other, given[:20]) == 20  # this it never hears of
    pair.one.kill()
    pair.lead_to(pair.two)
    assert pair.two.ask("BITCOUNT", pair.two.block()) == ":0"
    with pytest.raises(TransientError):
        await one.consume(given[0])  # its connection was to the dead one
    await refuses_all_and_goes_on([one, other, host(pair.url)], given)


async def test_while_two_say_they_are_the_primary_no_nonce_is_accepted_by_both(
    pair: Pair, host: Host
) -> None:
    left, right = host(pair.one), host(pair.two)
    given = await given_out(left, 40)
    await eventually(lambda: pair.two.offset() == pair.one.offset())
    assert pair.two.ask("REPLICAOF", "NO", "ONE") == "+OK"
    assert await used(left, given[:20]) == 20
    assert await used(right, given) == 0
    assert await used(left, given) == 20


async def test_after_the_old_primary_came_back_with_what_the_lagging_replica_had_nothing_is_accepted_twice(
    pair: Pair, host: Host
) -> None:
    """The process that began the epoch serves again, but not the history: `run_id` alone would not tell."""
    one = host(pair.one)
    given = await given_out(one, 40)
    run_id = pair.one.fact("server", "run_id")
    await eventually(lambda: pair.two.offset() == pair.one.offset())
    assert pair.two.ask("REPLICAOF", "NO", "ONE") == "+OK"
    assert await used(one, given[:20]) == 20
    await pair.follow(pair.one, pair.two)
    assert pair.one.ask("REPLICAOF", "NO", "ONE") == "+OK"
    assert pair.one.fact("server", "run_id") == run_id
    assert pair.one.ask("BITCOUNT", pair.one.block()) == ":0"
    await refuses_all_and_goes_on([host(pair.one), one], given)


async def test_a_replica_gives_out_and_accepts_nothing(pair: Pair, host: Host) -> None:
    pair.lead_to(pair.two)
    with pytest.raises(TransientError, match="name the primary"):
        await host(pair.url).issue()
    given = await given_out(host(pair.one), 3)
    await eventually(lambda: pair.two.offset() == pair.one.offset())
    with pytest.raises(TransientError):
        await host(pair.url).consume(given[0])
    assert await used(host(pair.one), given) == 3


async def test_a_primary_that_became_a_replica_is_left_for_the_new_one(pair: Pair, host: Host) -> None:
    nonces = host(pair.url)
    given = await given_out(nonces, 10)
    assert pair.two.ask("REPLICAOF", "NO", "ONE") == "+OK"
    await pair.follow(pair.one, pair.two)
    pair.lead_to(pair.two)
    with pytest.raises(TransientError):
        await nonces.consume(given[0])  # by the connection that it has
    await refuses_all_and_goes_on([nonces], given)


async def test_an_idle_host_asks_before_it_gives_out_a_nonce(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        clock = FakeClock(1_800_000_000)
        idle = host(redis, clock)
        await idle.issue()
        await asyncio.to_thread(redis.kill)  # the loop sees the connection end
        redis.start()
        clock.at += CONFIRMED_FOR + 1
        nonce = await idle.issue()
        assert await host(redis).consume(nonce)


async def test_a_refusal_for_a_new_epoch_brings_a_nonce_that_is_good(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = host(redis)
        given = await given_out(nonces, 2)
        assert redis.ask("FLUSHALL") == "+OK"
        assert not await nonces.consume(given[0])
        assert await nonces.consume(await nonces.issue())


async def test_nothing_that_lies_in_redis_makes_a_nonce(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        nonces = host(redis)
        epoch = decoded(await nonces.issue(), BODY_OCTETS)[:EPOCH_OCTETS]
        assert redis.ask("SAVE") == "+OK"
        kept = (tmp_path / "dump.rdb").read_bytes()
        assert epoch in kept
        assert redis_server.SECRET.fingerprint.encode() in kept
        assert redis_server.SECRET.key(epoch) not in kept
        assert redis.ask("HLEN", redis.epoch()) == ":5"  # id, began, uses, fingerprint, since


OTHER = NonceSecret(b"the secret of a host that was set up apart")


async def test_hosts_of_different_secrets_accept_nothing_of_each_other_and_say_what_to_do(
    tmp_path: Path, host: Host
) -> None:
    with redis_server.running(tmp_path) as redis:
        ours, theirs = host(redis), host(redis, secret=OTHER)
        given = await given_out(ours, 10)
        for attempt in (theirs.ready(), theirs.issue(), theirs.consume(given[0])):
            with pytest.raises(Unfit, match=r"same file in redis\.secret_file") as refused:
                await attempt
            assert OTHER.fingerprint in str(refused.value)
            assert redis_server.SECRET.fingerprint in str(refused.value)
        assert await used(ours, given) == 10


async def test_the_secret_is_kept_to_when_an_epoch_ends_and_changed_by_the_remedy_only(
    tmp_path: Path, host: Host
) -> None:
    with redis_server.running(tmp_path, redis_server.APPENDS_ALWAYS) as redis:
        ours, theirs = host(redis), host(redis, secret=OTHER)
        given = await given_out(ours, 10)
        await asyncio.to_thread(redis.kill)
        redis.start()
        with pytest.raises(Unfit) as refused:
            await theirs.ready()
        remedy = str(refused.value).rpartition("redis-cli ")[2]
        assert redis.ask(*remedy.split()) == ":1"
        anew = await given_out(theirs, 10)
        for nonce in (*given, *anew):
            with pytest.raises(TransientError):
                await ours.consume(nonce)
        with pytest.raises(Unfit, match="another secret"):
            await ours.issue()
        assert await used(theirs, [*given, *anew]) == 10


async def test_an_epoch_without_a_fingerprint_is_not_believed(tmp_path: Path, host: Host) -> None:
    with redis_server.running(tmp_path) as redis:
        one = host(redis)
        given = await given_out(one, 10)
        assert redis.ask("HDEL", redis.epoch(), "fingerprint") == ":1"
        assert await host(redis).issue()
        assert await used(one, given) == 0


@pytest.mark.clause("RFC 8555 section 6.5")
async def test_nonces_go_on_when_the_time_of_day_has_stepped_back(host: Host, redis: RedisServer) -> None:
    clock = FakeClock(1_795_392_000)
    clock.observe(clock.at + 1000)
    nonces = host(redis, clock)
    assert await used(nonces, await given_out(nonces, 3)) == 3
