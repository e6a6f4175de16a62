"""acme_server/registration/rate_limits.py: the last one, the next one, and when it frees."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.registration import rate_limits, rates
from acme_server.registration.rates import Limit, Rates
from core.ephemeral import Bucket, Rate, Spend
from core.ephemeral.memory_buckets import MemoryBuckets
from core.errors import TransientError
from core.metrics import LIMITED
from core.settings import Limits, Settings
from tests.support.acme_client import JOSE, AcmeClient, Answer, b64, csr, ec_key, sign
from tests.support.acme_front import Front, running

LIMITS = {
    "new_account_address": 0,
    "new_order_account": 0,
    "certificate_domain": 0,
    "certificate_set": 0,
}
"""All off: each test turns on what it is about."""


def with_limits(**change: int) -> Callable[[Settings], Settings]:
    return lambda settings: replace(settings, limits=replace(settings.limits, **LIMITS | change))


def limited(answer: Answer, limit: str) -> int:
    """The seconds that a refusal by this limit says."""
    assert (answer.status, answer.problem) == (429, "rateLimited"), answer.body
    assert answer.body["limit"] == limit
    assert answer.body["detail"].startswith(f"{limit}: ")
    return int(answer.headers["Retry-After"])


@pytest.mark.must("rfc8555.6.6.rate-limited", "rfc8555.6.6.retry-after")
@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_account_orders_as_many_names_as_the_limit_says_and_the_next_when_it_frees(
    tmp_path: Path,
) -> None:
    change = with_limits(new_order_account=3, new_order_account_period=300)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        assert (await client.order("a.example.com", "b.example.com")).status == 201
        assert (await client.order("c.example.com")).status == 201
        before = front.counts()
        refused = await client.order("d.example.com")
        assert limited(refused, "new-order-account") == 100
        assert refused.body["detail"] == (
            "new-order-account: 3 names in new orders of this account in 5 minutes are the limit;"
            " the next is free at 2026-11-23 00:01:40 UTC"
        )
        assert limited(await client.order("d.example.com", "e.example.com"), "new-order-account") == 200
        assert front.counts() == before
        assert (await (await front.subscriber()).order("d.example.com")).status == 201

        front.clock.at += 99
        assert limited(await client.order("d.example.com"), "new-order-account") == 1
        front.clock.at += 1
        assert (await client.order("d.example.com")).status == 201
        limited(await client.order("e.example.com"), "new-order-account")


async def test_an_order_larger_than_its_limit_needs_a_full_bucket(tmp_path: Path) -> None:
    change = with_limits(new_order_account=2, new_order_account_period=200)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        assert (await client.order("a.example.com", "b.example.com", "c.example.com")).status == 201
        assert limited(await client.order("d.example.com"), "new-order-account") == 100


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_certificates_for_exactly_the_same_names_are_counted_when_they_are_finalized(
    tmp_path: Path,
) -> None:
    change = with_limits(certificate_set=2, certificate_set_period=2000)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        for _ in range(3):  # orders that come to nothing count nothing
            assert (await client.order("a.example.com", "b.example.com")).status == 201
        for _ in range(2):
            await front.issued(client, "a.example.com", "b.example.com")
        # For all accounts, and in whatever order the names come.
        another = await front.subscriber()
        before = front.counts()
        refused = await another.order("b.example.com", "a.example.com")
        assert limited(refused, "certificate-set") == 1000
        assert "certificates for exactly b.example.com, a.example.com in 2000 s" in refused.body["detail"]
        assert "subproblems" not in refused.body
        assert front.counts() == before
        assert (await another.order("a.example.com")).status == 201

        front.clock.at += 999
        assert limited(await another.order("b.example.com", "a.example.com"), "certificate-set") == 1
        front.clock.at += 1
        await front.issued(another, "b.example.com", "a.example.com")
        limited(await client.order("a.example.com", "b.example.com"), "certificate-set")


@pytest.mark.must("rfc8555.6.7.1.identifier", "rfc8555.6.7.1.not-on-top")
@pytest.mark.clause("RFC 8555 section 6.7.1")
async def test_of_several_domains_subproblems_tell_which_cannot_be_ordered(tmp_path: Path) -> None:
    change = with_limits(certificate_domain=1, certificate_domain_period=60)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        await front.issued(client, "a.example.com")
        refused = await client.order("www.example.org", "b.example.com", "*.c.example.com")
        assert limited(refused, "certificate-domain") == 60
        assert "certificates with names below example.com in one minute" in refused.body["detail"]
        named = [each["identifier"]["value"] for each in refused.body["subproblems"]]
        assert named == ["b.example.com", "*.c.example.com"]
        assert (await client.order("www.example.org")).status == 201


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_orders_hoarded_before_the_limit_are_refused_at_finalize_and_stay_ready(
    tmp_path: Path,
) -> None:
    change = with_limits(certificate_domain=1, certificate_domain_period=60)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        hoarded = [await front.authorized(client, f"{each}.example.com") for each in "ab"]
        answers = []
        for order, each in zip(hoarded, "ab", strict=True):
            before = front.counts()
            request = {"csr": b64(csr(ec_key(), (f"{each}.example.com",)))}
            answers.append(await client.post(order.body["finalize"], request))
        assert answers[0].status == 200
        assert limited(answers[1], "certificate-domain") == 60
        assert front.counts() == before
        assert (await client.post(hoarded[1].headers["Location"])).body["status"] == "ready"
        front.clock.at += 60
        assert (await client.post(hoarded[1].body["finalize"], request)).status == 200


async def test_who_does_not_control_a_domain_cannot_use_up_its_certificates(tmp_path: Path) -> None:
    async with running(tmp_path, with_limits(certificate_domain=1, certificate_set=1)) as front:
        stranger = await front.subscriber()
        for _ in range(3):
            assert (await stranger.order("www.example.com")).status == 201
        assert (await (await front.subscriber()).order("www.example.com")).status == 201


async def test_what_an_order_had_spent_is_given_back_when_its_transaction_refuses(tmp_path: Path) -> None:
    change = with_limits(new_order_account=2, new_order_account_period=200, failures_free=1)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        order = await client.order("www.example.com")
        authorization = await client.post(order.body["authorizations"][0])
        await client.post(authorization.body["challenges"][0]["url"], {})
        await front.run_jobs()
        for _ in range(3):  # the back-off after failures refuses them
            limited(await client.order("www.example.com"), "failures")
        assert (await client.order("example.org")).status == 201
        limited(await client.order("example.org"), "new-order-account")


async def test_what_a_finalize_had_spent_is_given_back_when_it_comes_too_late(tmp_path: Path) -> None:
    change = with_limits(certificate_set=2, certificate_set_period=200)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        order = await front.authorized(client, "www.example.com")
        request = {"csr": b64(csr(ec_key(), ("www.example.com",)))}
        answers = await asyncio.gather(
            *(
                AcmeClient.post(each, order.body["finalize"], request)
                for each in [await front.subscriber(client.key) for _ in range(5)]
            )
        )
        assert sorted(each.status for each in answers).count(200) == 1
        await front.run_jobs()
        await front.issued(client, "www.example.com")
        assert limited(await client.order("www.example.com"), "certificate-set") == 100


class Away(MemoryBuckets):
    """A home that cannot be reached."""

    async def spend(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        raise TransientError("Redis is away")


async def test_without_the_buckets_home_nothing_is_served(tmp_path: Path) -> None:
    async with running(tmp_path, buckets=Away()) as front:
        client = await front.subscriber()
        before = front.counts()
        answer = await client.order("www.example.com")
        assert (answer.status, answer.problem) == (503, "serverInternal")
        assert int(answer.headers["Retry-After"]) > 0
        assert front.counts() == before


def behind_a_proxy(**change: int) -> Callable[[Settings], Settings]:
    def turned(settings: Settings) -> Settings:
        acme = replace(settings.acme, trusted_proxies=("127.0.0.1",))
        return with_limits(**change)(replace(settings, acme=acme))

    return turned


async def register(client: AcmeClient, address: str, **members: Any) -> Answer:
    payload = json.dumps({"termsOfServiceAgreed": True} | members).encode()
    body = sign(client.key, await client.protected("/acme/new-account"), payload)
    return await client.send("/acme/new-account", body, JOSE | {"X-Forwarded-For": address})


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_address_makes_as_many_accounts_as_the_limit_says(tmp_path: Path) -> None:
    change = behind_a_proxy(new_account_address=2, new_account_address_period=600)
    async with running(tmp_path, change) as front:
        first = front.client()
        assert (await register(first, "198.51.100.7")).status == 201
        assert (await register(front.client(), "198.51.100.7")).status == 201
        before = front.counts()
        refused = await register(front.client(), "198.51.100.7")
        assert limited(refused, "new-account-address") == 300
        assert "2 new accounts from 198.51.100.7 in 10 minutes" in refused.body["detail"]
        assert front.counts() == before
        # An account that is there is found, as is one from another address.
        assert (await register(first, "198.51.100.7")).status == 200
        assert (await register(front.client(), "198.51.100.8")).status == 201
        front.clock.at += 300
        assert (await register(front.client(), "198.51.100.7")).status == 201
        limited(await register(front.client(), "198.51.100.7"), "new-account-address")


async def test_a_request_for_an_account_that_is_refused_costs_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, behind_a_proxy(new_account_address=1)) as front:
        await front.issued(await front.subscriber(), "www.example.com", key=(taken := ec_key()))
        for _ in range(3):
            refused = await register(front.client(taken), "198.51.100.7")
            assert refused.problem == "badPublicKey"
        key = ec_key()
        beside = [register(front.client(key), "198.51.100.7") for _ in range(4)]
        # One key at once from several places is one account; what was found to be there has cost nothing.
        statuses = sorted([each.status for each in await asyncio.gather(*beside)])
        assert (statuses.count(201), set(statuses) <= {200, 201, 429}) == (1, True)


async def test_a_64_of_ipv6_counts_as_one_address_and_a_48_as_ten(tmp_path: Path) -> None:
    async with running(tmp_path, behind_a_proxy(new_account_address=1)) as front:
        assert (await register(front.client(), "2001:db8:1::1")).status == 201
        limited(await register(front.client(), "2001:db8:1::ffff:2"), "new-account-address")
        for link in range(1, 10):
            assert (await register(front.client(), f"2001:db8:1:{link}::1")).status == 201
        refused = await register(front.client(), "2001:db8:1:a::1")
        limited(refused, "new-account-address")
        assert "from 2001:db8:1::/48" in refused.body["detail"]
        assert (await register(front.client(), "2001:db8:2::1")).status == 201


async def test_this_machine_makes_accounts_without_a_limit_by_address(tmp_path: Path) -> None:
    async with running(tmp_path, with_limits(new_account_address=1)) as front:
        for _ in range(3):
            await front.subscriber()


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_a_refusal_leads_to_the_line_of_its_limit(tmp_path: Path) -> None:
    async with running(tmp_path, with_limits(new_order_account=1)) as front:
        client = await front.subscriber()
        await client.order("a.example.com")
        counted = LIMITED.labels("new-order-account")._value.get()
        refused = await client.order("a.example.com")
        assert LIMITED.labels("new-order-account")._value.get() == counted + 1
        url, _, anchor = refused.links("help")[0].partition("#")
        page = await client.get(url)
        assert page.status == 200
        assert "text/html" in page.headers["Content-Type"]
        assert f'id="{anchor}">new-order-account<dd>1 names in new orders' in page.octets.decode()


async def test_every_limit_has_its_line(front: Front) -> None:
    text = (await front.client().get("/limits")).octets.decode()
    for limit in [
        *Limit,
        "requests-address",
        "failures",
        "validations-waiting",
        "attempts",
        "orders-held",
        "bad-csr",
    ]:
        line = text.partition(f'<dt id="{limit}">')[2].partition("<dt")[0]
        english, _, japanese = line.partition('<dd lang="ja">')
        assert "<dd>" in english
        assert re.search("[ぁ-ん]", japanese)
        assert not re.search("[A-Za-z]+( [a-z]+){2,}", japanese)


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_account_changes_its_key_and_contacts_as_often_as_the_limit_says_and_ends_at_any_time(
    tmp_path: Path,
) -> None:
    change = with_limits(change_account=2, change_account_period=200)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        account = str(client.kid)
        contact = {"contact": ["mailto:a@example.com"]}
        assert (await client.post(account, contact)).status == 200
        for _ in range(3):  # what changes nothing counts nothing
            assert (await client.post(account, contact)).status == 200
        assert (await client.change_key(client.key)).status == 409  # nor does what is refused
        new = ec_key()
        assert (await client.change_key(new)).status == 200
        client.key = new
        before = front.counts()
        assert limited(await client.change_key(ec_key()), "change-account") == 100
        assert limited(await client.post(account, {"contact": []}), "change-account") == 100
        assert front.counts() == before
        assert (await client.post(account, {"contact": [], "status": "deactivated"})).status == 200


async def test_by_default_a_provider_orders_5000_sites_at_once_and_meets_nothing() -> None:
    by_default, buckets, now = Rates(Limits()), MemoryBuckets(), 1_795_392_000
    for number in range(5000):
        names = (f"site{number}.hosting.example", f"www.site{number}.hosting.example")
        for claims in (rates.of_order(by_default, "one", names), rates.of_certificate(by_default, names)):
            stands = await buckets.spend([each.spend for each in claims], now)
            assert rates.reached(claims, stands, now) is None


async def test_by_default_a_client_that_orders_the_same_again_and_again_is_stopped(front: Front) -> None:
    client = await front.subscriber()
    for _ in range(10):
        await front.issued(client, "www.example.com")
    assert limited(await client.order("www.example.com"), "certificate-set") == 7 * 86400 // 10


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_account_that_sends_bad_csrs_again_and_again_has_to_wait_and_its_good_ones_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "BAD_CSRS", Rate(2, 3600))
    async with running(tmp_path) as front:
        client = await front.subscriber()
        for _ in range(3):
            await front.issued(client, "www.example.com")
        order = await front.authorized(client, "www.example.com")
        bad = [csr(ec_key(), ["another.example.com"]), csr(client.key, ["www.example.com"])]
        for each in bad:
            answer = await client.post(order.body["finalize"], {"csr": b64(each)})
            assert (answer.status, answer.problem) == (400, "badCSR")
        before = front.counts()
        answer = await client.post(order.body["finalize"], {"csr": b64(bad[0])})
        assert (answer.status, answer.problem, answer.body["limit"]) == (429, "rateLimited", "bad-csr")
        assert answer.headers["Retry-After"] == "1800"
        assert front.counts() == before
        front.clock.at += 1800
        good = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), ["www.example.com"]))})
        assert good.status == 200
