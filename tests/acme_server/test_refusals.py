"""Every resource refuses every bent request alike: all of both are tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from acme_server import app
from acme_server.problems import ErrorType
from tests.acme_server.refused import NAME, must_be_refusal
from tests.support.acme_client import JOSE, AcmeClient, Answer, b64, ec_key, jwk, sign
from tests.support.acme_front import BASE, Front

IDS = {
    "/acme/account/{id}",
    "/acme/account/{id}/orders",
    "/acme/order/{id}",
    "/acme/order/{id}/finalize",
    "/acme/certificate/{id}",
    "/acme/certificate/{id}/{chain}",
    "/acme/authorization/{id}",
    "/acme/authorization/{id}/explanation",
    "/acme/challenge/{id}",
}
"""The resources that belong to an account."""

READ_ONLY = {
    "/directory",
    "/acme/new-nonce",
    "/acme/account/{id}/orders",
    "/acme/order/{id}",
    "/acme/certificate/{id}",
    "/acme/certificate/{id}/{chain}",
    "/acme/authorization/{id}/explanation",
}

BY_KEY = "/acme/new-account"
BY_EITHER = "/acme/revoke-cert"
WITHOUT_SIGNATURE = {"/terms/{account}/{tag}"}
"""A page for a person's browser."""


@dataclass(frozen=True)
class Resource:
    template: str
    url: str


@dataclass
class House:
    """An account with one of everything, and all resources as URLs."""

    front: Front
    client: AcmeClient
    resources: list[Resource]

    def signer(self, resource: Resource) -> AcmeClient:
        """Who may ask: a client with the right kind of key reference."""
        client = self.front.client(self.client.key)
        client.kid = None if resource.template == BY_KEY else self.client.kid
        return client


def templates(front: Front) -> set[str]:
    """Every resource that answers a POST."""
    routes = app.build(front.context)._routes
    found = [*routes._plain.values(), *(r for each in routes._with_names.values() for _, r in each)]
    return {each.template for each in found if "POST" in each.methods}


async def house(front: Front) -> House:
    client = await front.subscriber()
    assert client.kid is not None
    order, _ = await front.issued(client, NAME)
    authorization = order.body["authorizations"][0]
    challenge = (await client.post(authorization)).body["challenges"][0]["url"]
    here = {
        "/acme/account/{id}": client.kid,
        "/acme/account/{id}/orders": f"{client.kid}/orders",
        "/acme/order/{id}": order.headers["Location"],
        "/acme/order/{id}/finalize": order.body["finalize"],
        "/acme/certificate/{id}": order.body["certificate"],
        "/acme/certificate/{id}/{chain}": order.body["certificate"] + "/1",
        "/acme/authorization/{id}": authorization,
        "/acme/authorization/{id}/explanation": f"{authorization}/explanation",
        "/acme/challenge/{id}": challenge,
    }
    found = sorted(templates(front) - WITHOUT_SIGNATURE)
    assert here.keys() == IDS == {each for each in found if "{" in each}, "a new resource: put it into IDS"
    resources = [Resource(each, here.get(each, BASE + each)) for each in found]
    return House(front, client, resources)


Bend = Callable[[House, Resource, AcmeClient], Awaitable[Answer]]


async def another_content_type(house: House, resource: Resource, client: AcmeClient) -> Answer:
    message = sign(client.key, await client.protected(resource.url), b"")
    return await client.send(resource.url, message, {"Content-Type": "application/json"})


async def compressed(house: House, resource: Resource, client: AcmeClient) -> Answer:
    message = sign(client.key, await client.protected(resource.url), b"")
    return await client.send(resource.url, message, JOSE | {"Content-Encoding": "gzip"})


async def no_jws(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.send(resource.url, {"identifiers": []})


async def too_much(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.send(resource.url, b"a" * 70_000)


async def another_key(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.send(resource.url, sign(ec_key(), await client.protected(resource.url), b""))


async def a_changed_payload(house: House, resource: Resource, client: AcmeClient) -> Answer:
    message = sign(client.key, await client.protected(resource.url), b"")
    return await client.send(resource.url, message | {"payload": b64(b"{}")})


async def no_nonce(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None, nonce=None)


async def a_used_nonce(house: House, resource: Resource, client: AcmeClient) -> Answer:
    nonce = await client.nonce()
    await house.front.context.nonces.consume(nonce)
    return await client.post(resource.url, None, nonce=nonce)


async def another_url(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None, url=resource.url + "/")


async def a_mac(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None, alg="HS256")


async def both_keys(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None, kid=house.client.kid, jwk=jwk(client.key))


async def no_account(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None, kid=f"{BASE}/acme/account/nobody")


async def the_other_kind_of_key(house: House, resource: Resource, client: AcmeClient) -> Answer:
    if resource.template == BY_KEY:
        return await client.post(resource.url, {}, kid=house.client.kid, jwk=None)
    return await client.post(resource.url, None, kid=None, jwk=jwk(client.key))


async def an_array(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, [])


async def an_object_to_read(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, {})


async def nothing_to_write(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.post(resource.url, None)


async def a_stranger(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await (await house.front.subscriber()).post(resource.url, None)


async def another_id(house: House, resource: Resource, client: AcmeClient) -> Answer:
    head, tail = resource.template.split("{id}")
    return await client.post(f"{BASE}{head}AAAAAAAAAAAAAAAAAAAAAA{tail.replace('{chain}', '1')}", None)


async def put(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.get(resource.url, "PUT")


async def plain_get(house: House, resource: Resource, client: AcmeClient) -> Answer:
    return await client.get(resource.url)


def everywhere(template: str) -> bool:
    return True


def by_account(template: str) -> bool:
    return template not in (BY_KEY, BY_EITHER)


def with_account(template: str) -> bool:
    return template != BY_KEY


def one_kind(template: str) -> bool:
    return template != BY_EITHER


WRITE_ONLY = (
    "/acme/new-account",
    "/acme/new-order",
    "/acme/new-authz",
    "/acme/key-change",
    "/acme/revoke-cert",
    "/acme/preflight",
)

BENT: list[tuple[Bend, Callable[[str], bool], int, ErrorType]] = [
    (another_content_type, everywhere, 415, ErrorType.MALFORMED),
    (compressed, everywhere, 415, ErrorType.MALFORMED),
    (no_jws, everywhere, 400, ErrorType.MALFORMED),
    (too_much, everywhere, 413, ErrorType.MALFORMED),
    (another_key, everywhere, 400, ErrorType.MALFORMED),
    (a_changed_payload, everywhere, 400, ErrorType.MALFORMED),
    (no_nonce, everywhere, 400, ErrorType.BAD_NONCE),
    (a_used_nonce, everywhere, 400, ErrorType.BAD_NONCE),
    (another_url, everywhere, 403, ErrorType.UNAUTHORIZED),
    (a_mac, everywhere, 400, ErrorType.BAD_SIGNATURE_ALGORITHM),
    (both_keys, everywhere, 400, ErrorType.MALFORMED),
    (no_account, with_account, 400, ErrorType.ACCOUNT_DOES_NOT_EXIST),
    (the_other_kind_of_key, one_kind, 400, ErrorType.MALFORMED),
    (an_array, everywhere, 400, ErrorType.MALFORMED),
    (an_object_to_read, READ_ONLY.__contains__, 400, ErrorType.MALFORMED),
    (nothing_to_write, WRITE_ONLY.__contains__, 400, ErrorType.MALFORMED),
    (a_stranger, IDS.__contains__, 403, ErrorType.UNAUTHORIZED),
    (another_id, lambda each: each in IDS and "/account/" not in each, 404, ErrorType.MALFORMED),
    (put, everywhere, 405, ErrorType.MALFORMED),
    (plain_get, lambda each: each not in ("/directory", "/acme/new-nonce"), 405, ErrorType.MALFORMED),
]


def counted(front: Front) -> dict[str, int]:
    """Rows of every table; that somebody was refused may be told to the audit log."""
    found = front.counts()
    recorded = front.database.reader.one("SELECT COUNT(*) FROM audit WHERE kind LIKE 'access.%'")
    assert recorded is not None
    return found | {"audit": found["audit"] - recorded[0]}


@pytest.mark.clause("RFC 8555 section 6.7")
@pytest.mark.must("rfc8555.6.7.problem-document", "rfc8555.6.5.in-errors", "rfc8555.6.3.authenticated")
@pytest.mark.must("rfc8555.6.2.verified", "rfc8555.6.2.kid", "rfc8555.6.4.compared", "rfc8555.6.5.ours")
@pytest.mark.must("rfc8555.6.2.content-type", "rfc8555.6.2.bad-algorithm", "rfc8555.6.2.algorithms")
@pytest.mark.must("rfc8555.6.3.no-get", "rfc8555.6.3.empty-payload", "rfc8555.6.2.one-key")
@pytest.mark.parametrize(("bend", "where", "status", "kind"), BENT, ids=[each[0].__name__ for each in BENT])
async def test_every_resource_refuses_a_bent_request_alike(
    front: Front, bend: Bend, where: Callable[[str], bool], status: int, kind: ErrorType
) -> None:
    made = await house(front)
    chosen = [each for each in made.resources if where(each.template)]
    assert chosen
    for resource in chosen:
        strangers = front.counts()["accounts"]
        before = counted(front)
        answer = await bend(made, resource, made.signer(resource))
        must_be_refusal(answer, status, kind)
        if bend not in (
            put,
            plain_get,
            too_much,
        ):  # what is too large was not read, so nobody knows what it was
            assert await front.context.nonces.consume(answer.headers["Replay-Nonce"])
        if kind is ErrorType.BAD_SIGNATURE_ALGORITHM:
            assert "ES256" in answer.body["algorithms"]
        if bend is not a_stranger:  # who had to make an account first
            assert counted(front) == before, resource.template
        else:
            assert front.counts()["accounts"] == strangers + 1


@pytest.mark.clause("RFC 8555 section 7.3.6")
@pytest.mark.must("rfc8555.7.3.6.refused", "rfc8555.7.3.6.ended")
async def test_a_deactivated_account_is_refused_by_every_resource(front: Front) -> None:
    made = await house(front)
    assert made.client.kid is not None
    await made.client.post(made.client.kid, {"status": "deactivated"})
    before = counted(front)
    for resource in made.resources:
        client = made.signer(resource)
        answer = await client.post(resource.url, {} if resource.template == BY_KEY else None)
        must_be_refusal(answer, 401, ErrorType.UNAUTHORIZED)
    assert counted(front) == before
