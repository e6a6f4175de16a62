"""acme_server/registration/limits.py: a full queue, and failures in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.registration import limits
from core.settings import Limits, Settings
from tests.support.acme_client import AcmeClient, Answer, ec_key
from tests.support.acme_front import Front, running

NAME = "www.example.com"
LIMITS = Limits()


def with_limits(**change: int) -> Callable[[Settings], Settings]:
    return lambda settings: replace(settings, limits=replace(settings.limits, **change))


async def challenge_of(client: AcmeClient, name: str) -> str:
    order = await client.order(name)
    assert order.status == 201, order.body
    authorization = await client.post(order.body["authorizations"][0])
    return authorization.body["challenges"][0]["url"]


async def fail(front: Front, client: AcmeClient, times: int, name: str = NAME) -> None:
    """So many validations of names of the same domain that fail, a second apart."""
    for number in range(times):
        url = await challenge_of(client, f"f{number}.{name}")
        assert (await client.post(url, {})).status == 200
        await front.run_jobs()
        front.clock.at += 1


def limited(answer: Answer) -> int:
    """The seconds that a refusal says."""
    assert (answer.status, answer.problem) == (429, "rateLimited"), answer.body
    return int(answer.headers["Retry-After"])


@pytest.mark.clause("RFC 8555 section 6.6")
@pytest.mark.must("rfc8555.6.6.rate-limited", "rfc8555.6.6.retry-after", "rfc8555.8.2.limited")
@pytest.mark.row("limits.concurrency")
async def test_a_challenge_that_finds_the_queue_full_is_rate_limited_and_nothing_changes(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, with_limits(validations_waiting=3)) as front:
        clients = [await front.subscriber() for _ in range(4)]
        urls = [await challenge_of(client, NAME) for client in clients]
        for client, url in list(zip(clients, urls, strict=True))[:3]:
            assert (await client.post(url, {})).status == 200
        before = front.counts()
        refused = await clients[3].post(urls[3], {})
        assert limited(refused) == limits.QUEUE_PAUSE
        assert "our limit" in refused.body["detail"]
        assert front.counts() == before
        assert (await clients[3].post(urls[3])).body["status"] == "pending"
        # One that waits already is answered as before.
        assert (await clients[0].post(urls[0], {})).body["status"] == "processing"

        front.perspectives.pass_names.add(NAME)
        await front.run_jobs()
        assert (await clients[3].post(urls[3], {})).body["status"] == "processing"


@pytest.mark.row("limits.concurrency")
async def test_of_a_queue_that_is_half_full_an_account_gets_a_tenth(tmp_path: Path) -> None:
    async with running(tmp_path, with_limits(validations_waiting=20)) as front:
        greedy, modest = await front.subscriber(), await front.subscriber()
        for number in range(10):
            url = await challenge_of(greedy, f"g{number}.example.com")
            assert (await greedy.post(url, {})).status == 200
        another = await challenge_of(greedy, "g.example.com")
        refused = await greedy.post(another, {})
        assert limited(refused) == limits.QUEUE_PAUSE
        assert "an account may have 2" in refused.body["detail"]
        for number in range(2):
            url = await challenge_of(modest, f"m{number}.example.com")
            assert (await modest.post(url, {})).status == 200
        limited(await modest.post(await challenge_of(modest, "m.example.com"), {}))
        assert front.counts()["jobs"] == 12


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(0, 0), (4, 0), (5, 900), (6, 1800), (7, 3600), (11, 57600), (12, 86400), (13, 86400), (10**6, 86400)],
)
def test_each_failure_beyond_the_free_ones_doubles_the_wait_up_to_a_day(failures: int, wait: int) -> None:
    assert limits.back_off(failures, LIMITS) == wait


@pytest.mark.clause("RFC 8555 section 6.6")
@pytest.mark.must("rfc8555.6.6.rate-limited", "rfc8555.6.6.retry-after", "rfc8555.8.2.limited")
@pytest.mark.row("limits.backoff")
async def test_after_failures_in_a_row_the_next_order_and_the_next_answer_have_to_wait(
    front: Front, subscriber: AcmeClient
) -> None:
    waiting = await challenge_of(subscriber, NAME)
    await fail(front, subscriber, 5)
    before = front.counts()
    for answer in (await subscriber.order("other.example.com"), await subscriber.post(waiting, {})):
        assert limited(answer) == 899
        assert "5 validations of names below example.com failed" in answer.body["detail"]
        assert "2026-11-23 00:15:04 UTC" in answer.body["detail"]
    assert front.counts() == before
    assert (await subscriber.post(waiting)).body["status"] == "pending"

    front.clock.at += 898
    assert limited(await subscriber.order(NAME)) == 1
    front.clock.at += 1
    await fail(front, subscriber, 1)
    assert limited(await subscriber.order(NAME)) == 1799


@pytest.mark.row("limits.backoff")
async def test_other_accounts_and_other_domains_do_not_wait(front: Front, subscriber: AcmeClient) -> None:
    await fail(front, subscriber, 5)
    assert (await subscriber.order("example.org")).status == 201
    assert (await (await front.subscriber()).order(NAME)).status == 201
    # One of several names has to wait: so has the order.
    limited(await subscriber.order("example.org", NAME))


@pytest.mark.row("limits.backoff")
async def test_a_validation_that_passes_ends_the_wait_and_begins_the_count_anew(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    url = await challenge_of(subscriber, NAME)
    await fail(front, subscriber, 4)
    await subscriber.post(url, {})
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"
    front.clock.at += 1
    await fail(front, subscriber, 4)
    assert (await subscriber.order(NAME)).status == 201


@pytest.mark.row("limits.backoff")
async def test_faults_of_our_own_make_nobody_wait(front: Front, subscriber: AcmeClient) -> None:
    front.perspectives.undecided.add(NAME)
    url = await challenge_of(subscriber, NAME)
    await subscriber.post(url, {})
    for _ in range(7):
        await front.run_jobs()
    assert front.counts()["attempts"] == 7
    assert (await subscriber.order(NAME)).status == 201


@pytest.mark.row("limits.backoff")
async def test_failures_are_forgotten_after_two_days(front: Front, subscriber: AcmeClient) -> None:
    await fail(front, subscriber, 5)
    front.clock.at += 2 * 86400
    await fail(front, subscriber, 4)
    assert (await subscriber.order(NAME)).status == 201


@pytest.mark.row("limits.backoff")
async def test_the_wait_outlasts_a_restart(tmp_path: Path) -> None:
    key = ec_key()
    async with running(tmp_path) as front:
        await fail(front, await front.subscriber(key), 5)
        stopped_at = front.clock.at
    async with running(tmp_path) as front:
        front.clock.at = stopped_at
        assert limited(await (await front.subscriber(key)).order(NAME)) == 899


@pytest.mark.row("attacks.retry-shopping")
@pytest.mark.row("limits.mpic")
async def test_a_challenge_without_a_verdict_is_tried_a_bounded_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ATTEMPTS", 4)

    def change(settings: Settings) -> Settings:
        return replace(settings, validation=replace(settings.validation, attempts=2))

    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        front.perspectives.undecided.add(NAME)
        url = await challenge_of(client, NAME)
        for _ in range(2):
            assert (await client.post(url, {})).body["status"] == "processing"
            await front.run_jobs()
            await front.run_jobs()
            assert (await client.post(url)).body["status"] == "pending"
        refused = await client.post(url, {})
        assert limited(refused) > 0
        assert "place a new order" in refused.body["detail"]
        assert (front.counts()["attempts"], front.counts()["jobs"]) == (4, 0)
        assert (await client.order(NAME)).status == 201


@pytest.mark.row("attacks.amplification")
async def test_many_orders_against_one_victim_are_a_handful_of_validations(tmp_path: Path) -> None:
    async with running(tmp_path) as front:
        client = await front.subscriber()
        refused = 0
        for number in range(60):
            order = await client.order(f"x{number}.victim.example.com")
            if order.status == 429:
                refused += 1
                continue
            challenge = (await client.post(order.body["authorizations"][0])).body["challenges"][0]["url"]
            await client.post(challenge, {})
            await front.run_jobs()
        assert (len(front.perspectives.asked), refused) == (5, 55)
