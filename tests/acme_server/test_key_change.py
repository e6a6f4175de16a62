"""acme_server/handlers/key_change.py."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.acme_client import AcmeClient, b64, csr, ec_key, jwk, sign, thumbprint
from tests.support.acme_front import BASE, Front

NAME = "www.example.com"


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.orders-stay", "rfc8555.7.3.5.no-other-effect")
async def test_the_new_key_takes_over_and_orders_survive(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    new = ec_key(ec.SECP384R1())
    answer = await subscriber.change_key(new)
    assert (answer.status, answer.headers["Location"]) == (200, subscriber.kid)

    with_old = await subscriber.post(order.headers["Location"])
    assert (with_old.status, with_old.problem) == (400, "malformed")
    subscriber.key = new
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"
    rows = front.database.reader.all("SELECT valid_until FROM account_keys ORDER BY rowid")
    assert [row["valid_until"] is None for row in rows] == [False, True]
    assert len(front.audit("account.key-changed")) == 1


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.step-9", "rfc8555.7.3.5.in-use", "rfc8555.11.1.one-account")
async def test_a_key_that_an_account_has_is_refused_with_that_accounts_url(
    front: Front, subscriber: AcmeClient
) -> None:
    other = await front.subscriber()
    before = front.counts()
    answer = await subscriber.change_key(other.key)
    assert (answer.status, answer.headers["Location"]) == (409, other.kid)
    assert front.counts() == before


BENT: dict[str, tuple[dict[str, Any], str]] = {
    "a nonce inside": ({"nonce": "bm9uY2U"}, "malformed"),
    "another url": ({"url": BASE + "/acme/new-account"}, "malformed"),
    "another account": ({"account": BASE + "/acme/account/x"}, "malformed"),
    "an account that is a number": ({"account": 1}, "malformed"),
    "another old key": ({"oldKey": jwk(ec_key())}, "malformed"),
    "no old key": ({"oldKey": None}, "malformed"),
    "another key than the one that signs": ({"jwk": jwk(ec_key())}, "malformed"),
    "a kid": ({"kid": BASE + "/acme/account/x"}, "malformed"),
}


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must(
    "rfc8555.7.3.5.inner",
    "rfc8555.7.3.5.inner-nonce",
    "rfc8555.7.3.5.inner-url",
    "rfc8555.7.3.5.step-4",
    "rfc8555.7.3.5.step-6",
    "rfc8555.7.3.5.step-7",
    "rfc8555.7.3.5.step-8",
    "rfc8555.7.3.5.account-url",
)
@pytest.mark.parametrize(("bent", "kind"), BENT.values(), ids=BENT.keys())
async def test_a_bent_inner_request_changes_nothing(
    front: Front, subscriber: AcmeClient, bent: dict[str, Any], kind: str
) -> None:
    before = front.counts()
    answer = await subscriber.change_key(ec_key(), **bent)
    assert (answer.status, answer.problem) == (400, kind)
    assert front.counts() == before


async def test_who_goes_to_and_fro_between_two_keys_has_to_wait_a_second(
    front: Front, subscriber: AcmeClient
) -> None:
    old, new = subscriber.key, ec_key()
    assert (await subscriber.change_key(new)).status == 200
    subscriber.key = new
    before = front.counts()
    answer = await subscriber.change_key(old)
    assert (answer.status, answer.problem) == (400, "malformed")
    assert "try again in a second" in answer.body["detail"]
    assert front.counts() == before
    front.clock.at += 1
    assert (await subscriber.change_key(old)).status == 200


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.inner")
async def test_a_weak_new_key_is_refused(front: Front, subscriber: AcmeClient) -> None:
    before = front.counts()
    answer = await subscriber.change_key(rsa.generate_private_key(65537, 1024))
    assert (answer.status, answer.problem) == (400, "badPublicKey")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.inner-jwk", "rfc8555.7.3.5.step-3")
async def test_the_inner_request_carries_the_new_key_and_not_an_account(
    front: Front, subscriber: AcmeClient
) -> None:
    new = ec_key()
    inner = {"alg": "ES256", "kid": subscriber.kid, "url": BASE + "/acme/key-change"}
    payload = json.dumps({"account": subscriber.kid, "oldKey": jwk(subscriber.key)}).encode()
    before = front.counts()
    answer = await subscriber.post("/acme/key-change", sign(new, inner, payload))
    assert (answer.status, answer.problem) == (400, "malformed")
    assert "must carry the new key" in answer.body["detail"]
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.step-5")
@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"7", b"{", b'{"account":"x","account":"x"}'])
async def test_an_inner_payload_that_is_no_key_change_is_refused(
    front: Front, subscriber: AcmeClient, payload: bytes
) -> None:
    new = ec_key()
    inner = {"alg": "ES256", "jwk": jwk(new), "url": BASE + "/acme/key-change"}
    before = front.counts()
    answer = await subscriber.post("/acme/key-change", sign(new, inner, payload))
    assert (answer.status, answer.problem) == (400, "malformed")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.5")
@pytest.mark.must("rfc8555.7.3.5.outer", "rfc8555.7.3.5.step-1")
async def test_the_outer_request_needs_the_old_key_of_a_valid_account(
    front: Front, subscriber: AcmeClient
) -> None:
    old, new = subscriber.key, ec_key()
    header = {"alg": "ES256", "jwk": jwk(new), "url": BASE + "/acme/key-change"}
    inner = sign(new, header, json.dumps({"account": subscriber.kid, "oldKey": jwk(old)}).encode())
    subscriber.key = new
    by_new = await subscriber.post("/acme/key-change", inner)
    assert (by_new.status, by_new.problem) == (400, "malformed")
    subscriber.key = old
    assert subscriber.kid is not None
    await subscriber.post(subscriber.kid, {"status": "deactivated"})
    ended = await subscriber.post("/acme/key-change", inner)
    assert (ended.status, ended.problem) == (401, "unauthorized")
    assert front.audit("account.key-changed") == []


@pytest.mark.must("rfc8555.7.3.5.step-2")
async def test_a_payload_that_is_no_request_is_refused(front: Front, subscriber: AcmeClient) -> None:
    for payload in ({}, {"protected": "", "payload": "", "signature": ""}, None):
        assert (await subscriber.post("/acme/key-change", payload)).problem == "malformed"


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.any-account")
async def test_a_past_account_key_is_not_certified_either(front: Front, subscriber: AcmeClient) -> None:
    old, new = subscriber.key, ec_key()
    await subscriber.change_key(new)
    subscriber.key = new
    order = await front.authorized(subscriber, NAME)
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(old, [NAME]))})
    assert (answer.status, answer.problem) == (400, "badCSR")


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_the_key_that_an_account_has_already_is_no_new_one(
    front: Front, subscriber: AcmeClient
) -> None:
    before = front.counts()
    answer = await subscriber.change_key(subscriber.key)
    assert (answer.status, answer.headers["Location"]) == (409, subscriber.kid)
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_the_key_of_an_account_that_has_ended_is_in_use_for_ever(
    front: Front, subscriber: AcmeClient
) -> None:
    ended = await front.subscriber()
    assert ended.kid is not None
    await ended.post(ended.kid, {"status": "deactivated"})
    answer = await subscriber.change_key(ended.key)
    assert (answer.status, answer.headers["Location"]) == (409, ended.kid)


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_of_many_accounts_that_want_one_key_at_once_one_gets_it(front: Front) -> None:
    clients = [await front.subscriber() for _ in range(6)]
    new = ec_key()
    answers = await asyncio.gather(*(each.change_key(new) for each in clients))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    winner = next(each for each, answer in zip(clients, answers, strict=True) if answer.status == 200)
    assert {answer.headers["Location"] for answer in answers} == {winner.kid}
    rows = front.database.reader.all("SELECT 1 FROM account_keys WHERE valid_until IS NOT NULL")
    assert len(rows) == 1


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_a_pending_authorization_is_validated_for_the_key_of_the_moment(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order(NAME)
    new = ec_key()
    await subscriber.change_key(new)
    subscriber.key = new
    front.perspectives.pass_names.add(NAME)
    shown = await subscriber.post(order.body["authorizations"][0])
    await subscriber.post(shown.body["challenges"][0]["url"], {})
    await front.run_jobs()
    assert front.perspectives.asked[-1][-1] == thumbprint(new)
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"


@pytest.mark.clause("RFC 8555 section 7.3.5")
async def test_of_two_changes_by_one_key_at_once_the_first_counts(
    front: Front, subscriber: AcmeClient
) -> None:
    # A thief of the key must not have the last word because his request was under way already.
    thief = front.client(subscriber.key)
    thief.kid = subscriber.kid
    for each in (subscriber, thief):
        await each.get("/acme/new-nonce", "HEAD")
    answers = await asyncio.gather(subscriber.change_key(ec_key()), thief.change_key(ec_key()))
    assert sorted(each.status for each in answers) == [200, 400]
    (refused,) = (each for each in answers if each.status == 400)
    assert (refused.problem, "just got another" in refused.body["detail"]) == ("malformed", True)
    assert len(front.audit("account.key-changed")) == 1
