"""acme_server/handlers/limits.py: the document of an account says what newOrder then does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.store import bindings, overrides
from acme_server.store.bindings import BindingKey
from acme_server.store.overrides import Override
from core.settings import Limits, Settings
from tests.support.acme_client import AcmeClient, Answer
from tests.support.acme_front import Front, running

PATH = "/acme/limits"


def small(**change: int) -> Callable[[Settings], Settings]:
    limits = Limits(
        new_order_account=12,
        new_order_account_period=1200,
        certificate_domain=4,
        certificate_domain_period=4000,
        certificate_set=2,
        certificate_set_period=3000,
        failures_free=2,
        failure_wait=100,
        limits_account=1000,
    )
    return lambda settings: replace(settings, limits=replace(limits, **change))


async def ask(client: AcmeClient, *names: str) -> Answer:
    identifiers = {"identifiers": [{"type": "dns", "value": name} for name in names]}
    return await client.post(PATH, identifiers if names else None)


def lines(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {each["limit"]: each for each in answer.body["limits"]}


async def override(front: Front, subject: str, limit: str, count: int, period: int = 1000) -> None:
    await front.database.write(lambda tx: overrides.put(tx, Override(subject, limit, count, period, "")))


async def test_the_directory_links_it_and_a_plain_client_sees_no_more(front: Front) -> None:
    directory = (await front.client().get("/directory")).body
    assert directory["meta"]["limits"]["url"] == front.context.urls.base + PATH
    assert (await front.client().get(PATH)).status == 405


async def test_it_shows_each_bucket_of_the_account_and_nothing_is_spent(tmp_path: Path) -> None:
    async with running(tmp_path, small()) as front:
        client = await front.subscriber()
        await client.order("a.example.com", "b.example.com")
        first, before = await ask(client), front.counts()
        for _ in range(20):
            again = await ask(client)
        assert front.counts() == before
        assert lines(again)["new-order-account"] == lines(first)["new-order-account"]
        assert lines(first)["new-order-account"] == {
            "limit": "new-order-account",
            "counts": "names in new orders of this account",
            "count": 12,
            "period": 1200,
            "remaining": 10,
            "nextFree": "2026-11-23T00:00:00Z",
            "full": "2026-11-23T00:03:20Z",
            "detail": "10 of 12 names in new orders of this account in 20 minutes are left",
        }
        assert "refusal" not in first.body
        assert first.body["documentation"] == "https://ca.test:14000/limits"


async def test_with_names_it_shows_their_domains_and_their_set(tmp_path: Path) -> None:
    async with running(tmp_path, small()) as front:
        client = await front.subscriber()
        await front.issued(client, "a.example.com", "www.example.org")
        answer = await ask(client, "www.example.org", "a.example.com")
        domains = [each for each in answer.body["limits"] if each["limit"] == "certificate-domain"]
        assert [(each["identifiers"][0]["value"], each["remaining"]) for each in domains] == [
            ("www.example.org", 3),
            ("a.example.com", 3),
        ]
        assert lines(answer)["certificate-set"]["remaining"] == 1
        assert [each["value"] for each in answer.body["identifiers"]] == ["www.example.org", "a.example.com"]


async def test_it_shows_failures_in_a_row_and_until_when_they_hold_up(tmp_path: Path) -> None:
    async with running(tmp_path, small()) as front:
        client = await front.subscriber()
        assert "failures" not in lines(await ask(client))
        for _ in range(2):
            order = await client.order("www.example.com")
            url = (await client.post(order.body["authorizations"][0])).body["challenges"][0]["url"]
            await client.post(url, {})
            await front.run_jobs()
        shown = lines(await ask(client))["failures"]
        assert (shown["remaining"], shown["nextFree"]) == (0, "2026-11-23T00:01:40Z")
        assert "2 validations of names below example.com failed" in shown["detail"]
        assert (await ask(client, "b.example.com")).body["refusal"]["limit"] == "failures"
        assert "refusal" not in (await ask(client, "example.org")).body
        assert "failures" not in lines(await ask(await front.subscriber(), "b.example.com"))


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_asking_has_a_bucket_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, small(limits_account=2, limits_account_period=20)) as front:
        client = await front.subscriber()
        await ask(client)
        assert lines(await ask(client))["limits-account"]["remaining"] == 0
        refused = await ask(client)
        assert (refused.status, refused.problem, refused.headers["Retry-After"]) == (429, "rateLimited", "10")
        assert (await client.order("www.example.com")).status == 201


@pytest.mark.parametrize("payload", [{"identifiers": "x"}, {"identifiers": []}, {"names": []}])
async def test_what_names_no_identifiers_is_refused(
    front: Front, subscriber: AcmeClient, payload: dict[str, Any]
) -> None:
    before = front.counts()
    assert (await subscriber.post(PATH, payload)).problem == "malformed"
    assert (await ask(subscriber, "no_name")).problem == "malformed"
    assert front.counts() == before


async def test_an_override_is_shown_and_that_of_the_account_goes_before_that_of_its_key(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, small(new_order_account=1)) as front:
        client, other = await front.subscriber(), await front.subscriber()
        assert client.kid is not None
        account = client.kid.rpartition("/")[2]

        def bind(tx: Any) -> None:
            bindings.insert(tx, BindingKey("key", "label", True, 0, "", 0, None, None))
            tx.execute("UPDATE accounts SET binding_kid = 'key' WHERE id = ?", (account,))

        await front.database.write(bind)
        await override(front, "binding:key", "new-order-account", 3)
        shown = lines(await ask(client))["new-order-account"]
        assert (shown["count"], shown["override"]) == (3, "binding")
        assert "override" not in lines(await ask(other))["new-order-account"]
        for _ in range(3):
            assert (await client.order("www.example.com")).status == 201
        assert (await client.order("www.example.com")).status == 429
        await override(front, f"account:{account}", "new-order-account", 5)
        shown = lines(await ask(client))["new-order-account"]
        assert (shown["count"], shown["override"]) == (5, "account")
        assert (await client.order("www.example.com")).status == 201
        await override(front, f"account:{account}", "new-order-account", 0)
        assert "new-order-account" not in lines(await ask(client))
        for _ in range(6):
            assert (await client.order("www.example.com")).status == 201


@pytest.mark.parametrize("seed", range(3))
async def test_what_it_says_is_what_new_order_then_does(tmp_path: Path, seed: int) -> None:
    """Many accounts, names and moments: the refusal is the same to the second, or there is none."""
    chance = random.Random(seed)
    names = ["a.example.com", "b.example.com", "example.org", "c.example.org"]
    met: set[str] = set()
    async with running(tmp_path, small()) as front:
        front.perspectives.pass_names.update(names[:3])
        clients = [await front.subscriber() for _ in range(2)]
        for _ in range(60):
            client, wanted = chance.choice(clients), chance.sample(names, chance.randint(1, 3))
            told = (await ask(client, *wanted)).body
            order = await client.order(*wanted)
            refusal = told.get("refusal")
            if refusal is None:
                assert order.status == 201, (told, order.body)
                for url in order.body["authorizations"]:
                    challenge = (await client.post(url)).body["challenges"][0]["url"]
                    await client.post(challenge, {})
                await front.run_jobs()
                if (await client.post(order.headers["Location"])).body["status"] == "ready":
                    await front.issued(client, *wanted)
            else:
                met.add(refusal["limit"])
                assert order.headers["Retry-After"] == str(refusal.pop("retryAfter"))
                assert order.body == refusal
            front.clock.at += chance.choice([0, 1, 30, 300])
    assert len(met) > 2
