"""acme_server/strangers.py: what an address may ask before it has shown whose account it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.strangers import Strangers
from core.clock import FakeClock
from core.errors import Problem
from core.forwarded import Addresses
from core.settings import Acme, Limits, Settings
from tests.support.acme_client import JOSE, AcmeClient, Answer, ec_key, sign
from tests.support.acme_front import Front, running

HERE, THERE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """Behind a proxy on this machine; 30 requests in a minute of one address."""

    def change(settings: Settings) -> Settings:
        limits = replace(settings.limits, requests_address=30, requests_address_period=60)
        acme = replace(settings.acme, trusted_proxies=("127.0.0.1",))
        return replace(settings, limits=limits, acme=acme)

    async with running(tmp_path, change) as opened:
        yield opened


async def get(front: Front, path: str, address: str = HERE) -> int:
    headers = {"X-Forwarded-For": address}
    async with front.http.get(front.at + path, headers=headers) as answer:
        return answer.status


async def post(client: AcmeClient, path: str, payload: bytes = b"{}", address: str = HERE) -> Answer:
    body = sign(client.key, await client.protected(path), payload)
    return await client.send(path, body, JOSE | {"X-Forwarded-For": address})


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_address_that_asks_more_than_its_bound_waits_and_no_other_does(front: Front) -> None:
    for _ in range(30):
        assert await get(front, "/acme/new-nonce") == 204
    async with front.http.get(front.at + "/directory", headers={"X-Forwarded-For": HERE}) as answer:
        problem = await answer.json()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert problem["detail"] == (
        "requests-address: 30 requests from 198.51.100.7 without an account in one minute are the limit;"
        " the next is free at 2026-11-23 00:00:02 UTC"
    )
    assert await get(front, "/directory", THERE) == 200
    assert (await front.client().get("/directory")).status == 200  # the proxy itself
    front.clock.at += 1
    assert await get(front, "/directory") == 429
    front.clock.at += 1
    assert await get(front, "/directory") == 200
    assert await get(front, "/directory") == 429


async def test_a_request_by_an_unknown_key_counts_as_ten(front: Front) -> None:
    for _ in range(3):
        answer = await post(front.client(), "/acme/new-account", b'{"onlyReturnExisting": true}')
        assert answer.problem == "accountDoesNotExist"
    before = front.counts()
    assert (await post(front.client(), "/acme/new-account")).status == 429
    assert front.counts() == before
    assert await get(front, "/directory") == 429
    # What an account asks from there is heard all the same.
    client = await front.subscriber()
    assert (await post(client, str(client.kid), b"")).status == 200


async def test_requests_that_turn_out_to_be_from_no_account_are_counted_and_then_not_heard(
    front: Front,
) -> None:
    client = await front.subscriber()
    thief = front.client(ec_key())
    thief.kid = client.kid
    for _ in range(30):
        assert (await post(thief, "/acme/new-order")).problem == "malformed"
    refused = await post(thief, "/acme/new-order")
    assert refused.status == 429
    assert "30 requests from 198.51.100.7 that no account had signed" in refused.body["detail"]
    assert (await post(client, str(client.kid), b"", THERE)).status == 200
    front.clock.at += 2
    assert (await post(client, str(client.kid), b"")).status == 200
    assert len(front.audit("access.bad-signature")) == 1


async def test_what_a_valid_account_asks_is_not_counted(front: Front) -> None:
    client = await front.subscriber()
    assert client.kid is not None
    for _ in range(40):
        assert (await post(client, client.kid, b"")).status == 200
    assert await get(front, "/directory") == 200


async def test_one_key_from_many_addresses_is_bounded_like_one_address(front: Front) -> None:
    key = ec_key()
    answers = [
        await post(front.client(key), "/acme/new-account", b'{"onlyReturnExisting": true}', f"192.0.2.{last}")
        for last in range(31)
    ]
    assert {each.problem for each in answers[:30]} == {"accountDoesNotExist"}
    assert answers[30].status == 429
    assert "by one key without an account" in answers[30].body["detail"]


def test_full_buckets_are_forgotten() -> None:
    clock = FakeClock(1000)
    limits = Limits(requests_address=10, requests_address_period=10)
    strangers = Strangers(Settings(limits=limits), clock, Addresses(Acme()))
    for number in range(1000):
        strangers.admit(f"198.51.{number // 250}.{number % 250}")
        clock.at += 1
    assert len(strangers) < 10
    for _ in range(10):
        strangers.failed(HERE)
    strangers.failed(HERE)
    with pytest.raises(Problem) as refused:
        strangers.must_be_heard(HERE)
    assert refused.value.retry_after == 1


def test_a_bound_of_0_is_none() -> None:
    strangers = Strangers(Settings(limits=Limits(requests_address=0)), FakeClock(1000), Addresses(Acme()))
    for _ in range(2000):
        strangers.admit(HERE, 10)
        strangers.failed(HERE)


async def test_when_the_clock_steps_back_the_directory_is_served_and_the_bound_holds(front: Front) -> None:
    front.clock.now()
    front.clock.at -= 1000
    for _ in range(30):
        assert await get(front, "/directory") == 200
    async with front.http.get(front.at + "/directory", headers={"X-Forwarded-For": HERE}) as answer:
        assert answer.status == 429
        assert "the next is free in 2 s" in (await answer.json())["detail"]
