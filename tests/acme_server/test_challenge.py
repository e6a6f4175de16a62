"""acme_server/handlers/{challenge,authorization}.py, registration/validate.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.settings import Settings
from tests.support.acme_client import AcmeClient, Answer
from tests.support.acme_front import Front

NAME = "www.example.com"


async def opened(client: AcmeClient, name: str = NAME) -> tuple[Answer, str, list[dict[str, str]]]:
    order = await client.order(name)
    url = order.body["authorizations"][0]
    return order, url, (await client.post(url)).body["challenges"][:2]


@pytest.mark.clause("RFC 8555 section 7.5.1")
@pytest.mark.must("rfc8555.7.5.1.ignored", "rfc8555.8.2.retry-after")
async def test_an_answer_with_unknown_members_starts_validation_once(
    front: Front, subscriber: AcmeClient
) -> None:
    _, _, (http, _) = await opened(subscriber)
    for _ in range(3):
        answer = await subscriber.post(http["url"], {"keyAuthorization": "as old drafts had it"})
        assert (answer.status, answer.body["status"]) == (200, "processing")
        assert answer.headers["Retry-After"] == "1"
    assert front.counts()["jobs"] == 1
    assert front.wakes[0] == "jobs"


@pytest.mark.clause("RFC 8555 section 7.5.1")
@pytest.mark.must("rfc8555.6.3.like-get")
async def test_a_post_as_get_starts_nothing(front: Front, subscriber: AcmeClient) -> None:
    _, url, (http, _) = await opened(subscriber)
    assert (await subscriber.post(http["url"])).body["status"] == "pending"
    assert front.counts()["jobs"] == 0
    assert "Retry-After" not in (await subscriber.post(url)).headers


@pytest.mark.clause("RFC 8555 section 7.5.1")
@pytest.mark.must("rfc8555.7.5.1.bad-response")
@pytest.mark.parametrize("payload", [[], "ready", 7, True])
async def test_a_response_that_is_no_object_is_refused_and_starts_nothing(
    front: Front, subscriber: AcmeClient, payload: Any
) -> None:
    _, _, (http, _) = await opened(subscriber)
    before = front.counts()
    answer = await subscriber.post(http["url"], payload)
    assert (answer.status, answer.problem) == (400, "malformed")
    assert front.counts() == before
    assert (await subscriber.post(http["url"])).body["status"] == "pending"


@pytest.mark.clause("RFC 8555 section 7.1.4")
@pytest.mark.must("rfc8555.7.1.4.expires", "rfc8555.7.5.1.expires", "rfc8555.8.validated")
async def test_what_a_valid_authorization_rests_on_is_kept(front: Front, subscriber: AcmeClient) -> None:
    front.perspectives.pass_names.add(NAME)
    _, url, (_, dns) = await opened(subscriber)
    await subscriber.post(dns["url"], {})
    front.clock.at += 5
    await front.run_jobs()
    row = front.database.reader.one("SELECT * FROM authorizations")
    assert row is not None
    assert (row["method"], row["adn"], row["oldest_datum"]) == ("dns-01", NAME, front.clock.at)
    shown = (await subscriber.post(url)).body
    assert shown["status"] == "valid"
    assert shown["expires"] == "2026-12-23T00:00:05Z"
    assert [(each["type"], each["status"]) for each in shown["challenges"]] == [("dns-01", "valid")]
    assert shown["challenges"][0]["validated"] == "2026-11-23T00:00:05Z"
    record = json.loads(front.audit("validation.result")[0]["content"])
    assert (record["result"], record["perspectives"]) == (
        "pass",
        {"local": {"control": "pass", "caa": "pass"}},
    )


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must(
    "rfc8555.7.5.1.kept",
    "rfc8555.8.invalid-has-error",
    "rfc8555.7.1.6.challenge",
    "rfc8555.7.1.6.authorization",
)
async def test_a_failed_challenge_is_kept_with_its_error_and_ends_the_order(
    front: Front, subscriber: AcmeClient
) -> None:
    order, url, (http, dns) = await opened(subscriber)
    await subscriber.post(http["url"], {})
    await front.run_jobs()
    shown = (await subscriber.post(url)).body
    assert shown["status"] == "invalid"
    assert [each["type"] for each in shown["challenges"]] == ["http-01"]
    assert shown["challenges"][0]["error"]["type"] == "urn:ietf:params:acme:error:connection"
    after = (await subscriber.post(order.headers["Location"])).body
    assert after["status"] == "invalid"
    assert after["error"]["subproblems"][0]["identifier"] == {"type": "dns", "value": NAME}
    late = await subscriber.post(dns["url"], {})
    assert (late.status, late.problem) == (400, "malformed")
    assert front.counts()["jobs"] == 0


@pytest.mark.row("errors.processing-error")
@pytest.mark.row("errors.server-internal")
@pytest.mark.clause("RFC 8555 section 8.2")
@pytest.mark.must(
    "rfc8555.8.2.retry",
    "rfc8555.8.2.error",
    "rfc8555.8.2.each-failure",
    "rfc8555.8.2.retry-after",
    "rfc8555.7.5.1.poll",
    "rfc8555.8.error-is-invalid",
)
async def test_a_missing_verdict_is_tried_again_and_never_the_applicants_failure(
    front: Front, subscriber: AcmeClient, settings_attempts: int
) -> None:
    front.perspectives.undecided.add(NAME)
    front.perspectives.pass_names.add(NAME)
    order, url, (http, _) = await opened(subscriber)
    await subscriber.post(http["url"], {})
    for attempt in range(1, settings_attempts):
        await front.run_jobs()
        polled = await subscriber.post(http["url"])
        shown = polled.body
        assert (polled.status, int(polled.headers["Retry-After"]) > 0) == (200, True)
        assert (len(front.raised), shown["status"]) == (attempt, "processing")
        assert shown["error"]["type"] == "urn:ietf:params:acme:error:serverInternal"
    await front.run_jobs()
    shown = (await subscriber.post(http["url"])).body
    assert shown["status"] == "pending"
    assert front.counts()["jobs"] == 0
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "pending"

    front.perspectives.undecided.clear()
    assert (await subscriber.post(http["url"], {})).body["status"] == "processing"
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"


@pytest.fixture
def settings_attempts() -> int:
    return Settings().validation.attempts


async def test_answering_the_other_challenge_of_a_valid_authorization_does_no_harm(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    _, url, (http, dns) = await opened(subscriber)
    await subscriber.post(http["url"], {})
    await front.run_jobs()
    answer = await subscriber.post(dns["url"], {})
    assert (answer.status, answer.body["status"]) == (200, "pending")
    assert front.counts()["jobs"] == 0
    assert (await subscriber.post(url)).body["status"] == "valid"


async def test_of_two_challenges_answered_at_once_the_first_result_counts(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    _, url, (http, dns) = await opened(subscriber)
    await subscriber.post(http["url"], {})
    await subscriber.post(dns["url"], {})
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"
    assert front.counts()["jobs"] == 0


@pytest.mark.row("attacks.token-confusion")
@pytest.mark.clause("RFC 8555 section 7.5.2")
@pytest.mark.must("rfc8555.7.5.2.worthless")
async def test_a_deactivated_authorization_ends_its_order_and_its_validation(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    order, url, (http, _) = await opened(subscriber)
    await subscriber.post(http["url"], {})
    answer = await subscriber.post(url, {"status": "deactivated"})
    assert (answer.status, answer.body["status"]) == (200, "deactivated")
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "deactivated"
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    assert front.counts()["jobs"] == 0
    again = await subscriber.post(url, {"status": "deactivated"})
    assert (again.status, again.problem) == (400, "malformed")


@pytest.mark.clause("RFC 8555 section 7.5.2")
async def test_an_authorization_can_be_given_no_other_status(front: Front, subscriber: AcmeClient) -> None:
    _, url, _ = await opened(subscriber)
    before = front.counts()
    for payload in ({}, {"status": "valid"}, {"status": 1}):
        assert (await subscriber.post(url, payload)).problem == "malformed"
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.1.4")
async def test_an_authorization_that_was_not_answered_in_time_is_invalid(
    front: Front, subscriber: AcmeClient
) -> None:
    _, url, (http, _) = await opened(subscriber)
    front.clock.at += 7 * 86400
    assert (await subscriber.post(url)).body["status"] == "invalid"
    late = await subscriber.post(http["url"], {})
    assert (late.status, late.problem) == (400, "malformed")
    assert front.counts()["jobs"] == 0


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.1.6.authorization")
async def test_a_valid_authorization_expires(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 30 * 86400
    shown = (await subscriber.post(order.body["authorizations"][0])).body
    assert shown["status"] == "expired"
