"""acme_server/authentication.py, middleware.py: hostile requests, each with a clear answer and no effect."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server import problems
from acme_server.problems import ErrorType
from core.errors import ConfigurationError
from core.settings import Settings
from tests.support.acme_client import JOSE, AcmeClient, Answer, b64, csr, ec_key, jwk, sign
from tests.support.acme_front import BASE, Front, running

REPOSITORY = Path(__file__).resolve().parents[2]
NEW_ORDER = "/acme/new-order"
ORDER = {"identifiers": [{"type": "dns", "value": "www.example.com"}]}
PAYLOAD = json.dumps(ORDER).encode()

Attack = Callable[[AcmeClient], Awaitable[Answer]]


async def body(client: AcmeClient) -> dict[str, Any]:
    return sign(client.key, await client.protected(NEW_ORDER), PAYLOAD)


async def wrong_content_type(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, await body(client), {"Content-Type": "application/json"})


async def no_content_type(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, await body(client), {"Content-Type": ""})


async def ten_megabytes(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, b"A" * 10_000_000)


async def large_payload(client: AcmeClient) -> Answer:
    message = sign(client.key, await client.protected(NEW_ORDER), b" " * 70_000 + PAYLOAD)
    return await client.send(NEW_ORDER, message)


async def not_gzip(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, await body(client), JOSE | {"Content-Encoding": "gzip"})


async def gzip_bomb(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, gzip.compress(b"A" * 10_000_000), JOSE | {"Content-Encoding": "gzip"})


async def malformed_json(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, b'{"protected": ')


async def malformed_base64(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, (await body(client)) | {"payload": "a+/="})


async def deep_nesting(client: AcmeClient) -> Answer:
    payload = b'{"a":' * 20 + b"1" + b"}" * 20
    return await client.send(NEW_ORDER, sign(client.key, await client.protected(NEW_ORDER), payload))


async def very_deep_nesting(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, b"[" * 60_000)


async def duplicate_key(client: AcmeClient) -> Answer:
    payload = b'{"identifiers":[],"identifiers":[{"type":"dns","value":"www.example.com"}]}'
    return await client.send(NEW_ORDER, sign(client.key, await client.protected(NEW_ORDER), payload))


async def payload_is_an_array(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, [ORDER])


async def payload_is_missing(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER)


async def wrong_url(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, url=BASE + "/acme/revoke-cert")


async def other_host_in_url(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, url="https://localhost:14000" + NEW_ORDER)


async def query_not_signed(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER + "?a=b", await body(client))


async def no_nonce(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, nonce=None)


async def invented_nonce(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, nonce=b64(b"\x00" * 28))


async def unknown_account(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, kid=BASE + "/acme/account/AAAAAAAAAAAAAAAAAAAAAA")


async def kid_of_another_ca(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, kid="https://other.test/acme/account/1")


async def kid_without_id(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, kid=BASE + "/acme/account/")


async def another_key(client: AcmeClient) -> Answer:
    return await client.send(NEW_ORDER, sign(ec_key(), await client.protected(NEW_ORDER), PAYLOAD))


async def jwk_instead_of_kid(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, kid=None, jwk=jwk(client.key))


async def wrong_algorithm(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, alg="RS256")


async def mac_algorithm(client: AcmeClient) -> Answer:
    return await client.post(NEW_ORDER, ORDER, alg="HS256")


async def sql_in_a_url(client: AcmeClient) -> Answer:
    return await client.post("/acme/order/'%20OR%201=1--")


async def unknown_path(client: AcmeClient) -> Answer:
    return await client.post("/acme/no-such-resource", ORDER)


ATTACKS: list[tuple[Attack, int, str]] = [
    (wrong_content_type, 415, "malformed"),
    (no_content_type, 415, "malformed"),
    (ten_megabytes, 413, "malformed"),
    (large_payload, 413, "malformed"),
    (not_gzip, 415, "malformed"),
    (gzip_bomb, 415, "malformed"),
    (malformed_json, 400, "malformed"),
    (malformed_base64, 400, "malformed"),
    (deep_nesting, 400, "malformed"),
    (very_deep_nesting, 400, "malformed"),
    (duplicate_key, 400, "malformed"),
    (payload_is_an_array, 400, "malformed"),
    (payload_is_missing, 400, "malformed"),
    (wrong_url, 403, "unauthorized"),
    (other_host_in_url, 403, "unauthorized"),
    (query_not_signed, 403, "unauthorized"),
    (no_nonce, 400, "badNonce"),
    (invented_nonce, 400, "badNonce"),
    (unknown_account, 400, "accountDoesNotExist"),
    (kid_of_another_ca, 400, "accountDoesNotExist"),
    (kid_without_id, 400, "accountDoesNotExist"),
    (another_key, 400, "malformed"),
    (jwk_instead_of_kid, 400, "malformed"),
    (wrong_algorithm, 400, "malformed"),
    (mac_algorithm, 400, "badSignatureAlgorithm"),
    (sql_in_a_url, 404, "malformed"),
    (unknown_path, 404, "malformed"),
]


@pytest.mark.clause("RFC 8555 sections 6.1 to 6.7")
@pytest.mark.must(
    "rfc8555.6.2.verified",
    "rfc8555.6.2.kid",
    "rfc8555.6.2.kid-is-account-url",
    "rfc8555.6.2.bad-algorithm",
    "rfc8555.6.2.content-type",
    "rfc8555.6.4.compared",
    "rfc8555.6.4.refused",
    "rfc8555.6.4.exact",
    "rfc8555.6.4.exact-refused",
    "rfc8555.6.5.ours",
    "rfc8555.6.5.bad-nonce",
    "rfc8555.6.7.problem-document",
)
@pytest.mark.parametrize(
    ("attack", "status", "kind"), ATTACKS, ids=[attack.__name__ for attack, _, _ in ATTACKS]
)
async def test_a_hostile_request_gets_a_clear_answer_and_changes_nothing(
    front: Front, subscriber: AcmeClient, attack: Attack, status: int, kind: str
) -> None:
    before = front.counts()
    answer = await attack(subscriber)
    assert (answer.status, answer.problem) == (status, kind)
    assert answer.body["status"] == status
    assert len(answer.body["detail"]) > 15
    for leak in ("Traceback", str(REPOSITORY), "site-packages", ".py", "sqlite"):
        assert leak not in answer.octets.decode()
    after = front.counts()
    after["audit"] -= len(front.audit("access.bad-signature"))
    assert after == before


@pytest.mark.clause("RFC 8555 section 6.5")
@pytest.mark.must("rfc8555.6.5.once", "rfc8555.6.5.in-errors", "rfc8555.6.5.fresh-with-bad-nonce")
async def test_a_nonce_is_good_once_and_each_answer_brings_a_new_one(
    front: Front, subscriber: AcmeClient
) -> None:
    header = await subscriber.protected(NEW_ORDER)
    message = sign(subscriber.key, header, PAYLOAD)
    first = await subscriber.send(NEW_ORDER, message)
    before = front.counts()
    replayed = await subscriber.send(NEW_ORDER, message)
    assert (first.status, replayed.status, replayed.problem) == (201, 400, "badNonce")
    assert front.counts() == before
    nonces = {header["nonce"], first.headers["Replay-Nonce"], replayed.headers["Replay-Nonce"]}
    assert len(nonces) == 3
    assert (await subscriber.order("www.example.com")).status == 201


@pytest.mark.clause("RFC 8555 section 7.2")
@pytest.mark.must(
    "rfc8555.7.2.nonce",
    "rfc8555.7.2.head",
    "rfc8555.7.2.get",
    "rfc8555.7.2.no-store",
    "rfc8555.7.1.directory-and-nonce",
)
async def test_new_nonce_answers_head_and_get_and_is_never_cached(front: Front) -> None:
    for method, status in (("HEAD", 200), ("GET", 204)):
        answer = await front.client().get("/acme/new-nonce", method)
        assert (answer.status, answer.octets) == (status, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert await front.context.nonces.consume(answer.headers["Replay-Nonce"])
        assert answer.links("index") == [f"{BASE}/directory"]


@pytest.mark.clause("RFC 8555 section 6.3")
@pytest.mark.must("rfc8555.6.3.no-get")
async def test_plain_get_is_not_for_resources(front: Front, subscriber: AcmeClient) -> None:
    order = await subscriber.order("www.example.com")
    authorization = await subscriber.post(order.body["authorizations"][0])
    assert subscriber.kid is not None
    for url in (
        subscriber.kid,
        order.headers["Location"],
        order.body["authorizations"][0],
        authorization.body["challenges"][0]["url"],
        BASE + "/acme/certificate/x",
        BASE + NEW_ORDER,
    ):
        answer = await subscriber.get(url)
        assert (answer.status, answer.problem, answer.headers["Allow"]) == (405, "malformed", "POST")


@pytest.mark.clause("RFC 8555 section 6.3")
@pytest.mark.must("rfc8555.6.3.empty-payload")
async def test_a_post_as_get_with_a_payload_is_refused(front: Front, subscriber: AcmeClient) -> None:
    order = await subscriber.order("www.example.com")
    answer = await subscriber.post(order.headers["Location"], {})
    assert (answer.status, answer.problem) == (400, "malformed")


@pytest.mark.clause("RFC 8555 section 10.5")
@pytest.mark.must("rfc8555.6.3.authenticated", "rfc8555.7.5.2.signed", "rfc8555.7.3.6.signed")
async def test_a_foreign_accounts_resources_are_refused_and_the_audit_log_is_told_once(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order("www.example.com")
    authorization = await subscriber.post(order.body["authorizations"][0])
    challenge = authorization.body["challenges"][0]["url"]
    other = await front.subscriber()
    assert subscriber.kid is not None
    before = front.counts()
    for url, payload in (
        (subscriber.kid, None),
        (subscriber.kid, {"status": "deactivated"}),
        (order.headers["Location"], None),
        (order.body["finalize"], {"csr": b64(csr(ec_key(), ["www.example.com"]))}),
        (order.body["authorizations"][0], None),
        (order.body["authorizations"][0], {"status": "deactivated"}),
        (challenge, None),
        (challenge, {}),
    ):
        answer = await other.post(url, payload)
        assert (answer.status, answer.problem) == (403, "unauthorized")
    assert front.counts() == before | {"audit": before["audit"] + 1}
    front.clock.at += 61
    await other.post(subscriber.kid)
    assert json.loads(front.audit("access.foreign-resource")[1]["content"])["suppressed_before"] == 7


@pytest.mark.clause("CPS 5.4.1")
async def test_a_bad_signature_for_a_known_account_is_recorded(front: Front, subscriber: AcmeClient) -> None:
    await another_key(subscriber)
    (record,) = front.audit("access.bad-signature")
    assert record["subject"] == f"account:{(subscriber.kid or '').rpartition('/')[2]}"


@pytest.mark.clause("RFC 8555 section 7.1")
@pytest.mark.must("rfc8555.7.1.index")
async def test_every_answer_links_to_the_directory(front: Front, subscriber: AcmeClient) -> None:
    for answer in (
        await subscriber.order("www.example.com"),
        await subscriber.get("/directory"),
        await subscriber.get("/nowhere"),
        await subscriber.post("/acme/order/x"),
    ):
        assert answer.links("index") == [f"{BASE}/directory"]
        assert answer.headers["Server"] == "acme-server"


async def test_a_fault_of_ours_tells_nothing_of_itself(
    front: Front, subscriber: AcmeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret path /srv/ca/vault/pin")

    monkeypatch.setattr(type(front.database), "write", broken)
    with caplog.at_level(logging.CRITICAL + 1):
        answer = await subscriber.order("www.example.com")
    assert (answer.status, answer.problem) == (500, "serverInternal")
    assert "secret" not in answer.octets.decode()
    assert "Replay-Nonce" in answer.headers


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    def impatient(settings: Settings) -> Settings:
        return replace(settings, limits=replace(settings.limits, request_timeout=1))

    async with running(tmp_path, impatient) as front:
        import asyncio

        stopped = asyncio.Event()

        async def slowly() -> Any:
            yield b"{"
            await stopped.wait()

        async def send() -> Answer:
            async with front.http.post(front.at + NEW_ORDER, data=slowly(), headers=JOSE) as response:
                return Answer(response.status, response.headers, await response.read())

        answer = await send()
        stopped.set()
        assert (answer.status, answer.problem) == (408, "malformed")


@pytest.mark.must("rfc8657.5.4.unique", "rfc8657.5.4.authority")
async def test_the_base_url_cannot_be_changed_once_accounts_exist(tmp_path: Path) -> None:
    async with running(tmp_path) as front:
        await front.subscriber()

    def moved(settings: Settings) -> Settings:
        return replace(settings, acme=replace(settings.acme, base_url="https://new.test"))

    with pytest.raises(ConfigurationError, match=r"Set acme.base_url back to 'https://ca.test:14000'"):
        async with running(tmp_path, moved):
            pass


@pytest.mark.clause("RFC 8555 section 6.7")
@pytest.mark.must("rfc8555.6.7.namespace")
def test_every_error_type_is_one_of_the_rfcs() -> None:
    # Copied from section 6.7, in its order; then RFC 9773.
    words = """accountDoesNotExist alreadyRevoked badCSR badNonce badPublicKey badRevocationReason
        badSignatureAlgorithm caa compound connection dns externalAccountRequired incorrectResponse
        invalidContact malformed orderNotReady rateLimited rejectedIdentifier serverInternal tls
        unauthorized unsupportedContact unsupportedIdentifier userActionRequired"""
    # What IANA's registry has besides, by the document that registers it.
    later = {
        "alreadyReplaced": "RFC 9773 section 7.4",
        "invalidProfile": "draft-ietf-acme-profiles-00 section 6.3",
    }
    assert [each.value for each in ErrorType] == [*words.split(), *later]


@pytest.mark.clause("RFC 9457 section 3.1.2")
def test_a_problem_document_has_the_status_of_its_answer() -> None:
    problem = problems.refusal(ErrorType.ORDER_NOT_READY, "x")
    assert problems.as_dict(problem)["status"] == problem.status == 403
