"""acme_server/registration/validity.py: notBefore and notAfter are honoured to the second, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from core.errors import Refused
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key
from tests.support.acme_front import Front
from tests.support.database import NOW

NAME = "www.example.com"
HOUR, DAY = 3600, 86400


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


async def ordered(client: AcmeClient, **members: Any) -> Answer:
    identifiers = [{"type": "dns", "value": NAME}]
    return await client.post("/acme/new-order", {"identifiers": identifiers, **members})


async def ready(front: Front, client: AcmeClient, **members: Any) -> Answer:
    front.perspectives.pass_names.add(NAME)
    order = await ordered(client, **members)
    assert order.status == 201, order.body
    authorization = await client.post(order.body["authorizations"][0])
    await client.post(authorization.body["challenges"][0]["url"], {})
    await front.run_jobs()
    return await client.post(order.headers["Location"])


async def finalized(client: AcmeClient, order: Answer) -> Answer:
    return await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.contents")
@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.parametrize(
    ("members", "begins", "ends"),
    [
        ({"notBefore": at(NOW + HOUR)}, NOW + HOUR, None),
        ({"notAfter": at(NOW + DAY)}, None, NOW + DAY),
        ({"notBefore": at(NOW - HOUR), "notAfter": at(NOW + DAY)}, NOW - HOUR, NOW + DAY),
    ],
)
async def test_the_times_of_an_order_are_shown_and_reach_the_issuance(
    front: Front, subscriber: AcmeClient, members: dict[str, str], begins: int | None, ends: int | None
) -> None:
    order = await ready(front, subscriber, **members)
    assert {name: order.body[name] for name in ("notBefore", "notAfter") if name in order.body} == members
    await finalized(subscriber, order)
    await front.run_jobs()
    approved = front.issuance.approved[-1]
    assert (approved.not_before, approved.not_after) == (begins, ends)


async def test_an_order_without_times_shows_none(subscriber: AcmeClient) -> None:
    order = await ordered(subscriber)
    assert not {"notBefore", "notAfter"} & order.body.keys()


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize(
    "written",
    [
        datetime.fromtimestamp(NOW, timezone(timedelta(hours=9))).isoformat(),
        datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dt%H:%M:%S.000z"),
    ],
)
async def test_any_spelling_of_rfc_3339_is_the_instant_that_it_means(
    subscriber: AcmeClient, written: str
) -> None:
    order = await ordered(subscriber, notBefore=written)
    assert (order.status, order.body["notBefore"]) == (201, at(NOW))


PROFILE_SAYS = "profile 'tlsserver' allows 7776000 s"
REFUSED = {
    "a number": ({"notBefore": NOW}, "malformed", "be a string"),
    "null": ({"notAfter": None}, "malformed", "be a string"),
    "empty": ({"notAfter": ""}, "malformed", "RFC 3339"),
    "no zone": ({"notAfter": "2026-12-01T00:00:00"}, "malformed", "RFC 3339"),
    "a date": ({"notAfter": "2026-12-01"}, "malformed", "RFC 3339"),
    "a blank": ({"notAfter": "2026-12-01 00:00:00Z"}, "malformed", "RFC 3339"),
    "a basic form": ({"notAfter": "20261201T000000Z"}, "malformed", "RFC 3339"),
    "a 13th month": ({"notAfter": "2026-13-01T00:00:00Z"}, "malformed", "RFC 3339"),
    "a leap second": ({"notAfter": "2026-12-31T23:59:60Z"}, "malformed", "RFC 3339"),
    "other digits": ({"notAfter": "２026-12-01T00:00:00Z"}, "malformed", "RFC 3339"),
    "a newline": ({"notAfter": "2026-12-01T00:00:00Z\n"}, "malformed", "RFC 3339"),
    "a wide zone": ({"notAfter": "2026-12-01T00:00:00+99:00"}, "malformed", "RFC 3339"),
    "the year nought": ({"notBefore": "0000-01-01T00:00:00Z"}, "malformed", "RFC 3339"),
    "the year one": ({"notBefore": "0001-01-01T00:00:00+14:00"}, "malformed", "48 hours"),
    "a fraction": ({"notBefore": at(NOW)[:-1] + ".5Z"}, "malformed", "whole second"),
    "too early": ({"notBefore": at(NOW - 47 * HOUR - 1)}, "malformed", f"between {at(NOW - 47 * HOUR)}"),
    "too late": ({"notBefore": at(NOW + 48 * HOUR + 1)}, "malformed", f"and {at(NOW + 48 * HOUR)}"),
    "it has ended": ({"notAfter": at(NOW)}, "malformed", "in the future"),
    "ends first": ({"notBefore": at(NOW + 60), "notAfter": at(NOW + 60)}, "malformed", "after notBefore"),
    "too long": ({"notAfter": at(NOW - 60 + 90 * DAY)}, "malformed", PROFILE_SAYS),
    "too long from notBefore": (
        {"notBefore": at(NOW), "notAfter": at(NOW + 90 * DAY)},
        "malformed",
        f"{PROFILE_SAYS}, which end at {at(NOW + 90 * DAY - 1)}",
    ),
    "too long for a profile that was named": (
        {"notAfter": at(NOW + 6 * DAY), "profile": "shortlived"},
        "invalidProfile",
        "profile 'shortlived' allows 518400 s",
    ),
    "for ever": ({"notAfter": "9999-12-31T23:59:59Z"}, "malformed", PROFILE_SAYS),
}


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.error")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.parametrize(("members", "kind", "detail"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_time_that_cannot_be_had_is_refused_with_what_can_and_nothing_changes(
    front: Front, subscriber: AcmeClient, members: dict[str, Any], kind: str, detail: str
) -> None:
    before = front.counts()
    answer = await ordered(subscriber, **members)
    assert (answer.status, answer.problem) == (400, kind)
    assert detail in answer.body["detail"]
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize(
    "members",
    [
        {"notBefore": at(NOW - 47 * HOUR)},
        {"notBefore": at(NOW + 48 * HOUR)},
        {"notAfter": at(NOW + 90 * DAY - 61)},
        {"notBefore": at(NOW), "notAfter": at(NOW + 90 * DAY - 1)},
        {"notBefore": at(NOW), "notAfter": at(NOW + 1)},
        {"notAfter": at(NOW + 6 * DAY - 61), "profile": "shortlived"},
    ],
)
async def test_the_last_second_that_can_be_had_is_given(
    subscriber: AcmeClient, members: dict[str, Any]
) -> None:
    assert (await ordered(subscriber, **members)).status == 201


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.contents")
async def test_finalize_too_late_for_the_times_is_refused_and_never_shifts_them(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await ready(front, subscriber, notBefore=at(NOW))
    front.clock.at = NOW + 47 * HOUR + 1
    before = front.counts()
    answer = await finalized(subscriber, order)
    assert (answer.status, answer.problem) == (400, "malformed")
    assert "place a new order" in answer.body["detail"]
    assert front.counts() == before
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_an_order_whose_times_pass_while_it_is_processing_ends(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await ready(front, subscriber, notAfter=at(NOW + HOUR))
    await finalized(subscriber, order)
    front.clock.at = NOW + HOUR
    await front.run_jobs()
    ended = (await subscriber.post(order.headers["Location"])).body
    assert (ended["status"], ended["error"]["type"][-9:]) == ("invalid", "malformed")
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize("code", ["issuer.begins", "issuer.ends"])
async def test_times_that_no_issuing_ca_lives_to_see_end_the_order_and_say_so(
    front: Front, subscriber: AcmeClient, code: str
) -> None:
    order = await ready(front, subscriber, notAfter=at(NOW + DAY))
    front.issuance.fault = Refused(code, "no issuing CA lives as long")
    await finalized(subscriber, order)
    await front.run_jobs()
    ended = (await subscriber.post(order.headers["Location"])).body
    assert (ended["status"], ended["error"]["type"][-9:]) == ("invalid", "malformed")
    assert ended["error"]["detail"] == "no issuing CA lives as long; place a new order"
