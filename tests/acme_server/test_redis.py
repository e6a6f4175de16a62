"""The front with its nonces and limits in Redis: two fronts, and a Redis that goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server import app
from acme_server.server import Server
from core.clock import FakeClock
from core.ephemeral.redis import server as redis
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.nonces import CONFIRMED_FOR, RedisNonces
from core.randomness import SystemRandomness
from tests.support import redis_server
from tests.support.acme_client import JOSE, cert_id, sign
from tests.support.acme_front import Front, running
from tests.support.redis_server import RedisServer

NEW_ORDER = "/acme/new-order"
PAYLOAD = json.dumps({"identifiers": [{"type": "dns", "value": "www.example.com"}]}).encode()


def ignore(*_: object) -> None:
    """Hears of an answer."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that the test may end."""
    with redis_server.running(tmp_path / "redis") as started:
        yield started


@pytest.fixture
async def front(tmp_path: Path, home: RedisServer) -> AsyncIterator[Front]:
    """A front whose nonces and buckets are in Redis."""
    way = redis.Server(home.settings, FakeClock(0))
    async with running(
        tmp_path,
        buckets=RedisBuckets(way, "acme"),
        nonces=lambda clock: RedisNonces(way, "acme", redis_server.SECRET, clock, SystemRandomness()),
    ) as opened:
        yield opened
    await way.close()


@pytest.mark.clause("RFC 8555 section 6.4")
@pytest.mark.clause("RFC 8555 section 6.5")
async def test_a_request_replayed_to_several_fronts_at_once_is_done_by_one(
    front: Front, home: RedisServer
) -> None:
    client = await front.subscriber()
    ways = [redis.Server(home.settings, FakeClock(0)) for _ in range(3)]
    fronts = []
    for way in ways:
        nonces = RedisNonces(way, "acme", redis_server.SECRET, front.clock, SystemRandomness())
        other = replace(front.context, nonces=nonces)
        fronts.append(
            Server(app.build(other), ["127.0.0.1:0"], None, other.settings.limits, front.clock, ignore)
        )
        await fronts[-1].start()
    places = [f"http://127.0.0.1:{each.ports[0]}" for each in fronts]
    try:
        for _ in range(10):
            before = front.counts()["orders"]
            body = json.dumps(sign(client.key, await client.protected(NEW_ORDER), PAYLOAD))
            answers = await asyncio.gather(
                *(front.http.post(place + NEW_ORDER, data=body, headers=JOSE) for place in places * 4)
            )
            assert sorted(each.status for each in answers) == [201] + [400] * 11
            refused = [await each.json() for each in answers if each.status == 400]
            assert {each["type"] for each in refused} == {"urn:ietf:params:acme:error:badNonce"}
            assert front.counts()["orders"] == before + 1
    finally:
        for server in fronts:
            await server.close()
        for way in ways:
            await way.close()


@pytest.mark.clause("RFC 8555 section 6.5")
async def test_while_redis_is_away_a_request_is_refused_with_when_to_come_again_and_nothing_is_done(
    front: Front, home: RedisServer
) -> None:
    client = await front.subscriber()
    _, certificate = await front.issued(client, "www.example.com")
    header = await client.protected(NEW_ORDER)
    before = front.counts()
    await asyncio.to_thread(home.kill)
    refused = await client.send(NEW_ORDER, sign(client.key, header, PAYLOAD))
    assert (refused.status, refused.problem) == (503, "serverInternal")
    assert int(refused.headers["Retry-After"]) > 0
    assert "later" in refused.body["detail"]
    assert front.counts() == before
    front.clock.at += CONFIRMED_FOR + 1
    async with front.http.get(front.at + "/acme/new-nonce") as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert "Replay-Nonce" not in answer.headers
        assert (await answer.json())["detail"]
    async with front.http.get(front.at + "/directory") as answer:
        assert answer.status == 200
    async with front.http.get(front.at + "/acme/renewal-info/" + cert_id(certificate)) as answer:
        assert answer.status == 200
    home.start()
    assert (await client.order("www.example.com")).status == 201


class GoneMeanwhile:
    """Redis goes away after each nonce that was used, and the answer takes long."""

    def __init__(self, front: Front, home: RedisServer) -> None:
        self._front, self._home = front, home
        self.issue = front.context.nonces.issue

    async def consume(self, nonce: str) -> bool:
        fresh = await self._front.context.nonces.consume(nonce)
        await asyncio.to_thread(self._home.kill)
        self._front.clock.at += CONFIRMED_FOR + 1
        return fresh


async def test_a_success_reaches_its_client_though_redis_went_away_meanwhile(
    front: Front, home: RedisServer
) -> None:
    client = await front.subscriber()
    assert client.kid is not None
    other = replace(front.context, nonces=GoneMeanwhile(front, home))
    server = Server(app.build(other), ["127.0.0.1:0"], None, other.settings.limits, front.clock, ignore)
    await server.start()
    client.at = f"http://127.0.0.1:{server.ports[0]}"
    try:
        ended = await client.post(client.kid, {"status": "deactivated"})  # which no limit holds up
        assert (ended.status, ended.body["status"]) == (200, "deactivated")
        assert "Replay-Nonce" not in ended.headers
    finally:
        await server.close()
