"""An order that renews by ARI in its window meets no rate limit, and is no way around one for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.registration.replacement import FREE_TRIES
from core.ephemeral import Bucket, Spend
from core.ephemeral.memory_buckets import MemoryBuckets
from core.settings import Settings
from tests.acme_server.test_rate_limits import limited, with_limits
from tests.support.acme_client import AcmeClient, Answer, b64, cert_id, csr, ec_key
from tests.support.acme_front import Front, running

NAME = "www.example.com"
YEAR = 365 * 86400
IN_WINDOW = 65 * 86400
"""Seconds after the issue of a certificate of 90 days."""


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """One name and one certificate a year, one failure, one validation at a time."""

    def change(settings: Settings) -> Settings:
        limits = replace(
            settings.limits,
            new_order_account=1,
            new_order_account_period=YEAR,
            certificate_domain=1,
            certificate_domain_period=YEAR,
            certificate_set=1,
            certificate_set_period=YEAR,
            failures_free=1,
            validations_waiting=1,
        )
        return replace(settings, limits=limits, acme=replace(settings.acme, authorization_reuse=0))

    async with running(tmp_path, change) as opened:
        yield opened


async def certified(front: Front, client: AcmeClient, name: str = NAME) -> str:
    """The CertID of a certificate, with which every limit is reached."""
    _, certificate = await front.issued(client, name)
    front.perspectives.pass_names.clear()
    return cert_id(certificate)


async def fail(front: Front, client: AcmeClient, order: Answer) -> None:
    """Answer the order's challenge, and let it fail."""
    authorization = await client.post(order.body["authorizations"][0])
    answered = await client.post(authorization.body["challenges"][0]["url"], {})
    assert answered.status == 200, answered.body
    await front.run_jobs()


async def fill_queue(front: Front) -> None:
    """A validation of another account waits."""
    other = await front.subscriber()
    order = await other.order("waiting.example.net")
    authorization = await other.post(order.body["authorizations"][0])
    assert (await other.post(authorization.body["challenges"][0]["url"], {})).status == 200


@pytest.mark.clause("RFC 9773 section 5")
async def test_with_every_limit_reached_a_renewal_in_its_window_goes_through_to_its_certificate(
    front: Front,
) -> None:
    client = await front.subscriber()
    named = await certified(front, client)
    front.clock.at += IN_WINDOW
    # One that failed has the next wait, but not this one.
    await fail(front, client, await client.order(NAME, replaces=named))
    await fill_queue(front)
    for refused in (await client.order(NAME), await client.order("other.example.com")):
        assert (refused.status, refused.problem) == (429, "rateLimited")

    order = await client.order(NAME, replaces=named)
    assert order.status == 201, order.body
    front.perspectives.pass_names.add(NAME)
    authorization = await client.post(order.body["authorizations"][0])
    answered = await client.post(authorization.body["challenges"][0]["url"], {})
    assert answered.status == 200, answered.body
    await front.run_jobs()
    finalized = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), (NAME,)))})
    assert finalized.status == 200, finalized.body
    await front.run_jobs()
    assert (await client.post(order.headers["Location"])).body["status"] == "valid"


@pytest.mark.clause("RFC 9773 section 5")
async def test_before_its_window_or_for_another_name_it_is_an_order_like_any_other(front: Front) -> None:
    client = await front.subscriber()
    named = await certified(front, client)
    before = front.counts()
    early = await client.order(NAME, replaces=named)
    assert (early.status, early.body["limit"]) == (429, "new-order-account")
    front.clock.at += IN_WINDOW
    wider = await client.order(NAME, "other.example.com", replaces=named)
    assert (wider.status, wider.body["limit"]) == (429, "new-order-account")
    assert front.counts() == before


async def test_a_certificate_brings_a_few_validations_of_its_own_name_and_then_they_back_off(
    front: Front,
) -> None:
    client = await front.subscriber()
    named = await certified(front, client)
    front.clock.at += IN_WINDOW
    asked = len(front.perspectives.asked)
    refused: Answer | None = None
    for _ in range(20):
        order = await client.order(NAME, replaces=named)
        if order.status == 201:
            await fail(front, client, order)
        else:
            refused = order
    assert len(front.perspectives.asked) - asked == FREE_TRIES
    assert {each[0] for each in front.perspectives.asked[asked:]} == {NAME}
    assert refused is not None
    assert (refused.status, refused.problem) == (429, "rateLimited")


class Together(MemoryBuckets):
    """Each of a round of requests goes on when all of them have spent."""

    def __init__(self) -> None:
        super().__init__()
        self.round: asyncio.Barrier | None = None

    async def spend(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        found = await super().spend(spends, now)
        if self.round is not None:
            await self.round.wait()
        return found


@pytest.mark.clause("RFC 9773 section 5")
async def test_of_the_same_orders_at_once_that_renew_early_one_is_counted(tmp_path: Path) -> None:
    change, buckets = with_limits(new_order_account=6, new_order_account_period=600), Together()
    async with running(tmp_path, change, buckets=buckets) as front:
        client = await front.subscriber()
        _, certificate = await front.issued(client, NAME)
        clients = [await front.subscriber(client.key) for _ in range(5)]
        buckets.round = asyncio.Barrier(5)
        answers = await asyncio.gather(*(each.order(NAME, replaces=cert_id(certificate)) for each in clients))
        buckets.round = None
        assert [each.status for each in answers] == [201] * 5
        assert len({each.headers["Location"] for each in answers}) == 1
        assert (await client.order(*(f"{each}.example.com" for each in "abcd"))).status == 201
        assert limited(await client.order("e.example.com"), "new-order-account") == 100
