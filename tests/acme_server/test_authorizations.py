"""acme_server/registration/authorizations.py: which authorization serves an order; and newAuthz."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.requirements import DAY, HOUR
from core.settings import Settings
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key
from tests.support.acme_front import BASE, Front, running

NAME = "www.example.com"
NEW_AUTHZ = "/acme/new-authz"
REUSE = Settings().acme.authorization_reuse


def changed(section: str = "acme", **change: Any) -> Callable[[Settings], Settings]:
    """The settings, with members of one section turned."""
    return lambda settings: replace(settings, **{section: replace(getattr(settings, section), **change)})


async def later(front: Front, client: AcmeClient, seconds: int) -> None:
    """Time passes; the nonces of before are too old then."""
    front.clock.at += seconds
    await client.get("/acme/new-nonce")


async def authorize(front: Front, client: AcmeClient, name: str = NAME) -> str:
    """A valid authorization of the account for the name; its URL."""
    order = await front.authorized(client, name)
    assert order.body["status"] == "ready"
    return str(order.body["authorizations"][0])


async def ask(client: AcmeClient, name: str = NAME, type_: str = "dns") -> Answer:
    """newAuthz."""
    return await client.post(NEW_AUTHZ, {"identifier": {"type": type_, "value": name}})


def set_authorization(front: Front, url: str, column: str, value: Any) -> Any:
    statement = f"UPDATE authorizations SET {column} = ? WHERE id = ?"
    return front.database.write(lambda tx: tx.execute(statement, (value, url.rpartition("/")[2])))


# --- valid ones, reused ---


@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.1.3.all-authorizations")
async def test_a_valid_authorization_serves_the_next_order_which_lists_it(
    front: Front, subscriber: AcmeClient
) -> None:
    held = await authorize(front, subscriber)
    second = await subscriber.order(NAME)
    assert (second.body["status"], second.body["authorizations"]) == ("ready", [held])
    accepted = await subscriber.post(second.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert accepted.status == 200
    await front.run_jobs()
    assert (await subscriber.post(second.headers["Location"])).body["status"] == "valid"


@pytest.mark.clause("BR 4.2.1")
async def test_reuse_counts_from_the_oldest_thing_that_was_seen(front: Front, subscriber: AcmeClient) -> None:
    held = await authorize(front, subscriber)
    await set_authorization(front, held, "oldest_datum", front.clock.now() - REUSE)
    assert (await subscriber.order(NAME)).body["authorizations"] == [held]
    await set_authorization(front, held, "oldest_datum", front.clock.now() - REUSE - 1)
    assert (await subscriber.order(NAME)).body["authorizations"] != [held]


async def test_without_reuse_a_name_is_validated_for_each_order(tmp_path: Path) -> None:
    async with running(tmp_path, changed(authorization_reuse=0)) as front:
        client = await front.subscriber()
        held = await authorize(front, client)
        order = await client.order(NAME)
        assert (order.body["status"], held in order.body["authorizations"]) == ("pending", False)


@pytest.mark.clause("BR 4.2.1")
async def test_a_limit_that_has_become_shorter_binds_what_was_validated_before(tmp_path: Path) -> None:
    change = changed(authorization_reuse=300 * DAY, authorization_lifetime=300 * DAY)
    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        held = await authorize(front, client)
        await later(front, client, 111 * DAY)  # 2027-03-14: 200 days
        assert (await client.order(NAME)).body["authorizations"] == [held]
        await later(front, client, DAY)  # 2027-03-15: 100 days
        assert (await client.post(held)).body["status"] == "valid"
        assert (await client.order(NAME)).body["status"] == "pending"


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize(
    ("left", "status"), [(HOUR, "ready"), (HOUR - 1, "pending")], ids=["an hour", "a second less"]
)
async def test_an_authorization_that_ends_too_soon_to_issue_serves_no_new_order(
    front: Front, subscriber: AcmeClient, left: int, status: str
) -> None:
    held = await authorize(front, subscriber)
    await set_authorization(front, held, "expires", front.clock.now() + left)
    assert (await subscriber.order(NAME)).body["status"] == status


@pytest.mark.clause("RFC 8555 section 7.1.6")
async def test_an_order_ends_no_later_than_its_authorizations(front: Front, subscriber: AcmeClient) -> None:
    held = await authorize(front, subscriber)
    await set_authorization(front, held, "expires", front.clock.now() + 2 * HOUR)
    order = await subscriber.order(NAME, "new.example.com")
    assert order.body["expires"] == "2026-11-23T02:00:00Z"


async def test_what_was_shown_by_a_method_that_is_no_longer_offered_is_not_reused(tmp_path: Path) -> None:
    key = ec_key()
    async with running(tmp_path) as front:
        held = await authorize(front, await front.subscriber(key))
    async with running(tmp_path, changed("validation", methods=("dns-01",))) as front:
        client = await front.subscriber(key)
        assert (await client.post(held)).body["challenges"][0]["type"] == "http-01"
        assert (await client.order(NAME)).body["status"] == "pending"


@pytest.mark.clause("RFC 8555 section 7.1.4")
@pytest.mark.parametrize(("held", "wanted"), [(NAME, f"*.{NAME}"), (f"*.{NAME}", NAME)])
@pytest.mark.must("rfc8555.7.1.4.wildcard-absent", "rfc8555.7.1.4.base-domain")
async def test_a_name_and_its_wildcard_do_not_serve_each_other(
    front: Front, subscriber: AcmeClient, held: str, wanted: str
) -> None:
    await authorize(front, subscriber, held)
    assert (await subscriber.order(held)).body["status"] == "ready"
    order = await subscriber.order(wanted)
    assert order.body["status"] == "pending"
    shown = (await subscriber.post(order.body["authorizations"][0])).body
    assert shown["identifier"]["value"] == NAME
    assert shown.get("wildcard") == (True if wanted.startswith("*") else None)


@pytest.mark.clause("RFC 8555 section 7.5.2")
@pytest.mark.must("rfc8555.7.5.2.worthless")
async def test_an_authorization_that_was_given_up_serves_no_order_and_issues_nothing(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    held = order.body["authorizations"][0]
    answer = await subscriber.post(held, {"status": "deactivated"})
    assert (answer.status, answer.body["status"]) == (200, "deactivated")
    refused = await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert (refused.status, refused.problem) == (403, "orderNotReady")
    assert (await subscriber.order(NAME)).body["status"] == "pending"
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.parametrize("status", ["revoked", "expired", "invalid"])
async def test_no_other_state_than_valid_serves_an_order(
    front: Front, subscriber: AcmeClient, status: str
) -> None:
    held = await authorize(front, subscriber)
    await set_authorization(front, held, "status", status)
    assert (await subscriber.order(NAME)).body["status"] == "pending"


async def test_what_one_account_has_shown_serves_no_other(front: Front, subscriber: AcmeClient) -> None:
    await authorize(front, subscriber)
    assert (await (await front.subscriber()).order(NAME)).body["status"] == "pending"


@pytest.mark.parametrize(
    ("decision", "status"), [(None, "pending"), ("refused", "pending"), ("approved", "ready")]
)
async def test_a_name_that_a_person_has_yet_to_judge_is_not_reused(
    front: Front, subscriber: AcmeClient, decision: str | None, status: str
) -> None:
    order = await front.authorized(subscriber, NAME)
    row = (order.headers["Location"].rpartition("/")[2], "high risk", front.clock.now(), decision)
    await front.database.write(
        lambda tx: tx.execute("INSERT INTO holds (order_id, why, held_at, decision) VALUES (?, ?, ?, ?)", row)
    )
    assert (await subscriber.order(NAME)).body["status"] == status


# --- pending ones, shared ---


@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.must("rfc8555.7.1.3.shared")
async def test_orders_that_wait_for_a_name_share_its_authorization_and_become_ready_together(
    front: Front, subscriber: AcmeClient
) -> None:
    first = await subscriber.order(NAME)
    second = await subscriber.order(NAME, "other.example.com")
    assert first.body["authorizations"][0] == second.body["authorizations"][0]
    assert (await front.authorized(subscriber, NAME)).body["status"] == "ready"
    assert (await subscriber.post(first.headers["Location"])).body["status"] == "ready"
    assert (await subscriber.post(second.headers["Location"])).body["status"] == "pending"


@pytest.mark.clause("RFC 8555 section 7.1.6")
async def test_orders_that_share_an_authorization_fail_together(front: Front, subscriber: AcmeClient) -> None:
    first, second = await subscriber.order(NAME), await subscriber.order(NAME)
    shown = await subscriber.post(first.body["authorizations"][0])
    await subscriber.post(shown.body["challenges"][0]["url"], {})
    await front.run_jobs()
    for order in (first, second):
        assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    assert (await subscriber.order(NAME)).body["authorizations"] != first.body["authorizations"]


@pytest.mark.clause("RFC 8555 section 7.5.2")
async def test_giving_up_a_shared_authorization_ends_all_orders_that_wait_for_it(
    front: Front, subscriber: AcmeClient
) -> None:
    first, second = await subscriber.order(NAME), await subscriber.order(NAME)
    await subscriber.post(first.body["authorizations"][0], {"status": "deactivated"})
    for order in (first, second):
        assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    assert (await subscriber.order(NAME)).body["authorizations"] != first.body["authorizations"]


async def test_orders_that_are_placed_at_once_share(front: Front, subscriber: AcmeClient) -> None:
    clients = [front.client(subscriber.key) for _ in range(6)]
    for each in clients:
        each.kid = subscriber.kid
    orders = await asyncio.gather(*(each.order(NAME) for each in clients))
    assert {order.status for order in orders} == {201}
    assert len({order.headers["Location"] for order in orders}) == 6
    assert len({order.body["authorizations"][0] for order in orders}) == 1


@pytest.mark.clause("RFC 8555 section 7.5.2")
async def test_an_authorization_given_up_while_it_is_validated_stays_given_up_for_all_orders(
    front: Front, subscriber: AcmeClient
) -> None:
    first, second = await subscriber.order(NAME), await subscriber.order(NAME)
    url = first.body["authorizations"][0]
    front.perspectives.pass_names.add(NAME)
    challenge = (await subscriber.post(url)).body["challenges"][0]["url"]
    await subscriber.post(challenge, {})
    front.perspectives.meanwhile = lambda: subscriber.post(url, {"status": "deactivated"})
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "deactivated"
    for order in (first, second):
        assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    assert (await subscriber.order(NAME)).body["status"] == "pending"


async def test_an_order_that_comes_while_the_name_is_validated_is_ready_with_the_others(
    front: Front, subscriber: AcmeClient
) -> None:
    first = await subscriber.order(NAME)
    front.perspectives.pass_names.add(NAME)
    shown = await subscriber.post(first.body["authorizations"][0])
    await subscriber.post(shown.body["challenges"][0]["url"], {})
    front.perspectives.meanwhile = lambda: subscriber.order(NAME)
    await front.run_jobs()
    statuses = front.database.reader.all("SELECT status FROM orders")
    assert [row["status"] for row in statuses] == ["ready", "ready"]


async def test_an_authorization_that_found_no_verdict_is_not_shared(
    front: Front, subscriber: AcmeClient
) -> None:
    first = await subscriber.order(NAME)
    front.perspectives.undecided.add(NAME)
    shown = await subscriber.post(first.body["authorizations"][0])
    await subscriber.post(shown.body["challenges"][0]["url"], {})
    await front.run_jobs()
    assert (await subscriber.order(NAME)).body["authorizations"] != first.body["authorizations"]


async def test_an_authorization_with_less_than_half_of_its_time_is_not_shared(
    front: Front, subscriber: AcmeClient
) -> None:
    first = await subscriber.order(NAME)
    half = Settings().acme.order_lifetime // 2
    await later(front, subscriber, half)
    assert (await subscriber.order(NAME)).body["authorizations"] == first.body["authorizations"]
    await later(front, subscriber, 1)
    fresh = await subscriber.order(NAME)
    assert fresh.body["authorizations"] != first.body["authorizations"]
    assert (await subscriber.order(NAME)).body["authorizations"] == fresh.body["authorizations"]


async def test_an_authorization_that_offers_other_challenges_than_today_is_not_shared(tmp_path: Path) -> None:
    key = ec_key()
    async with running(tmp_path) as front:
        first = await (await front.subscriber(key)).order(NAME)
    async with running(tmp_path, changed("validation", methods=("http-01",))) as front:
        second = await (await front.subscriber(key)).order(NAME)
        assert second.body["authorizations"] != first.body["authorizations"]


# --- newAuthz ---


@pytest.mark.clause("RFC 8555 section 7.4.1")
@pytest.mark.must("rfc8555.7.4.1.pending")
async def test_an_authorization_can_be_had_before_any_order_and_serves_the_next_one(
    front: Front, subscriber: AcmeClient
) -> None:
    made = await ask(subscriber)
    url = made.headers["Location"]
    assert (made.status, url.startswith(f"{BASE}/acme/authorization/")) == (201, True)
    assert made.body["status"] == "pending"
    assert made.body["identifier"] == {"type": "dns", "value": NAME}
    assert made.body["expires"] == "2026-11-30T00:00:00Z"
    assert [each["type"] for each in made.body["challenges"]] == list(Settings().validation.methods)
    assert "wildcard" not in made.body
    assert front.counts()["orders"] == 0
    front.perspectives.pass_names.add(NAME)
    await subscriber.post(made.body["challenges"][0]["url"], {})
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"
    order = await subscriber.order(NAME)
    assert (order.body["status"], order.body["authorizations"]) == ("ready", [url])
    assert len(front.audit("authorization.requested")) == 1


@pytest.mark.clause("RFC 8555 section 7.4.1")
async def test_who_asks_again_gets_the_authorization_that_he_has(
    front: Front, subscriber: AcmeClient
) -> None:
    first = await ask(subscriber)
    again = await ask(subscriber)
    assert (again.status, again.headers["Location"]) == (201, first.headers["Location"])
    held = await authorize(front, subscriber)
    valid = await ask(subscriber)
    assert (valid.status, valid.body["status"], valid.headers["Location"]) == (201, "valid", held)
    assert first.headers["Location"] == held


REFUSED: dict[str, tuple[Any, str, int]] = {
    "no identifier": (None, "malformed", 400),
    "a list": ([{"type": "dns", "value": NAME}], "malformed", 400),
    "no type": ({"value": NAME}, "malformed", 400),
    "a value that is a number": ({"type": "dns", "value": 1}, "malformed", 400),
    "a wildcard": ({"type": "dns", "value": "*.example.com"}, "malformed", 400),
    "another type": ({"type": "email", "value": "a@example.com"}, "unsupportedIdentifier", 403),
    "a name that is never certified": (
        {"type": "dns", "value": "a." * 10 + "com"},
        "rejectedIdentifier",
        403,
    ),
    "an address of special purpose": ({"type": "ip", "value": "127.0.0.1"}, "rejectedIdentifier", 403),
}


@pytest.mark.clause("RFC 8555 section 7.4.1")
@pytest.mark.must("rfc8555.7.4.1.willing", "rfc8555.7.4.1.forbidden")
@pytest.mark.parametrize(("identifier", "kind", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_authorized_beforehand_changes_nothing(
    front: Front, subscriber: AcmeClient, identifier: Any, kind: str, status: int
) -> None:
    before = front.counts()
    payload = {} if identifier is None else {"identifier": identifier}
    answer = await subscriber.post(NEW_AUTHZ, payload)
    assert (answer.problem, answer.status) == (kind, status), answer.body
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.1.1")
@pytest.mark.must("rfc8555.7.1.1.newauthz")
async def test_where_authorizations_are_not_reused_none_is_offered_beforehand(tmp_path: Path) -> None:
    async with running(tmp_path, changed(authorization_reuse=0)) as front:
        client = await front.subscriber()
        assert "newAuthz" not in (await client.get("/directory")).body
        assert (await ask(client)).status == 404


@pytest.mark.clause("RFC 8555 section 7.3.3")
async def test_who_has_not_agreed_to_changed_terms_authorizes_nothing(tmp_path: Path) -> None:
    key = ec_key()
    async with running(tmp_path) as front:
        await front.subscriber(key)
    async with running(tmp_path, changed("ca", terms_version="2")) as front:
        client = await front.subscriber(key)
        before = front.counts()
        answer = await ask(client)
        assert (answer.status, answer.problem) == (403, "userActionRequired")
        assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_names_that_are_authorized_beforehand_count_as_names_that_are_ordered(tmp_path: Path) -> None:
    async with running(tmp_path, changed("limits", new_order_account=2)) as front:
        client = await front.subscriber()
        assert (await ask(client)).status == 201
        assert (await client.order(NAME)).status == 201
        before = front.counts()
        answer = await ask(client, "other.example.com")
        assert (answer.status, answer.problem) == (429, "rateLimited")
        assert int(answer.headers["Retry-After"]) > 0
        assert front.counts() == before
