"""Every refusal: all resources meet each bent request, and every error type is provoked at least once.

A refusal has the right type and HTTP status, changes nothing, tells a person what to do about it and nothing
of our inside, and (to a POST) brings the nonce for the next try.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from acme_server import app
from acme_server.problems import NAMESPACE, STATUS, ErrorType
from core.errors import Refused
from core.settings import ExternalAccount, Settings
from tests.support.acme_client import JOSE, AcmeClient, Answer, b64, cert_id, csr, ec_key, jwk, sign
from tests.support.acme_front import BASE, Front, running

NAME = "www.example.com"
REPOSITORY = Path(__file__).resolve().parents[2]

# --- all resources × each bent request --------------------------------------------------------------------

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


def must_help(document: dict[str, Any], kind: ErrorType) -> None:
    """A person can act on it, and learns nothing of our inside."""
    assert document["type"] == NAMESPACE + kind
    detail = document["detail"]
    assert len(detail.split()) >= 3, detail
    assert detail.isprintable()
    for leak in (
        "Traceback",
        str(REPOSITORY),
        "site-packages",
        ".py",
        "sqlite",
        "SELECT",
        "None",
        "object at",
    ):
        assert leak not in json.dumps(document)


def must_be_refusal(answer: Answer, status: int, kind: ErrorType) -> None:
    assert (answer.status, answer.problem) == (status, kind), answer.octets
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    must_help(answer.body, kind)
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


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


# --- every error type ---------------------------------------------------------------------------------------

Provoke = Callable[[Front, AcmeClient], Awaitable[Any]]
PROVOKED: dict[ErrorType, Provoke] = {}
"""An answer, or the problem document that a challenge or an order shows."""


def provokes(kind: ErrorType) -> Callable[[Provoke], Provoke]:
    def keep(provoke: Provoke) -> Provoke:
        PROVOKED[kind] = provoke
        return provoke

    return keep


def order(*names: str, **members: Any) -> dict[str, Any]:
    return {"identifiers": [{"type": "dns", "value": each} for each in names], **members}


async def revoke(client: AcmeClient, certificate: x509.Certificate, reason: int = 0) -> Answer:
    der = b64(certificate.public_bytes(Encoding.DER))
    return await client.post("/acme/revoke-cert", {"certificate": der, "reason": reason})


async def failed(front: Front, client: AcmeClient, problem: str) -> dict[str, Any]:
    """The error of a challenge whose validation fails so."""
    front.perspectives.problem = problem
    authorization = (await client.order(NAME)).body["authorizations"][0]
    challenge = (await client.post(authorization)).body["challenges"][0]["url"]
    await client.post(challenge, {})
    await front.run_jobs()
    return dict((await client.post(challenge)).body["error"])


async def unissued(front: Front, client: AcmeClient, **world: Any) -> dict[str, Any]:
    """The error of an order that is finalized in vain."""
    ready = await front.authorized(client, NAME)
    front.clock.at += 7 * 3600 + 1
    for name, value in world.items():
        setattr(front.issuance if name == "fault" else front.perspectives, name, value)
    await client.post(ready.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    return dict((await client.post(ready.headers["Location"])).body["error"])


PROVOKED |= {
    ErrorType.ACCOUNT_DOES_NOT_EXIST: lambda f, c: f.client().register(onlyReturnExisting=True),
    ErrorType.BAD_NONCE: lambda f, c: c.post("/acme/new-order", order(NAME), nonce=None),
    ErrorType.BAD_PUBLIC_KEY: lambda f, c: f.client(rsa.generate_private_key(65537, 1024)).register(),
    ErrorType.BAD_SIGNATURE_ALGORITHM: lambda f, c: c.post("/acme/new-order", order(NAME), alg="none"),
    ErrorType.COMPOUND: lambda f, c: c.order("a_b.example.com", "1.0.0.127.in-addr.arpa"),
    ErrorType.CONNECTION: lambda f, c: failed(f, c, "connection"),
    ErrorType.DNS: lambda f, c: failed(f, c, "dns"),
    ErrorType.TLS: lambda f, c: failed(f, c, "tls"),
    ErrorType.INCORRECT_RESPONSE: lambda f, c: failed(f, c, "incorrectResponse"),
    ErrorType.UNAUTHORIZED: lambda f, c: failed(f, c, "unauthorized"),
    ErrorType.CAA: lambda f, c: unissued(f, c, caa_forbids={NAME}),
    ErrorType.SERVER_INTERNAL: lambda f, c: unissued(f, c, fault=Refused("lint.error", "our own fault")),
    ErrorType.EXTERNAL_ACCOUNT_REQUIRED: lambda f, c: f.client().register(),
    ErrorType.INVALID_CONTACT: lambda f, c: f.client().register(contact=["mailto:a@example.org,b@b.org"]),
    ErrorType.UNSUPPORTED_CONTACT: lambda f, c: f.client().register(contact=["tel:+81312345678"]),
    ErrorType.USER_ACTION_REQUIRED: lambda f, c: f.client().register(termsOfServiceAgreed=False),
    ErrorType.MALFORMED: lambda f, c: c.order(),
    ErrorType.REJECTED_IDENTIFIER: lambda f, c: c.order("1.0.0.127.in-addr.arpa"),
    ErrorType.UNSUPPORTED_IDENTIFIER: lambda f, c: c.post(
        "/acme/new-order", {"identifiers": [{"type": "email", "value": "a@example.org"}]}
    ),
    ErrorType.INVALID_PROFILE: lambda f, c: c.order(NAME, profile="nosuch"),
}


@provokes(ErrorType.ALREADY_REVOKED)
async def revoked_twice(front: Front, client: AcmeClient) -> Answer:
    _, certificate = await front.issued(client, NAME)
    await revoke(client, certificate)
    return await revoke(client, certificate)


@provokes(ErrorType.BAD_REVOCATION_REASON)
async def revoked_for_nothing(front: Front, client: AcmeClient) -> Answer:
    _, certificate = await front.issued(client, NAME)
    return await revoke(client, certificate, 2)


@provokes(ErrorType.BAD_CSR)
async def a_csr_for_another_name(front: Front, client: AcmeClient) -> Answer:
    ready = await front.authorized(client, NAME)
    return await client.post(ready.body["finalize"], {"csr": b64(csr(ec_key(), ["other.example.com"]))})


@provokes(ErrorType.ORDER_NOT_READY)
async def finalized_too_early(front: Front, client: AcmeClient) -> Answer:
    pending = await client.order(NAME)
    return await client.post(pending.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})


@provokes(ErrorType.RATE_LIMITED)
async def ordered_too_often(front: Front, client: AcmeClient) -> Answer:
    for _ in range(front.context.settings.limits.new_order_account):
        await client.order(NAME)
    return await client.order(NAME)


@provokes(ErrorType.ALREADY_REPLACED)
async def replaced_twice(front: Front, client: AcmeClient) -> Answer:
    _, certificate = await front.issued(client, NAME)
    named = cert_id(certificate)
    await client.order(NAME, replaces=named)
    return await client.order(NAME, "other.example.com", replaces=named)


def settings_for(kind: ErrorType) -> Callable[[Settings], Settings]:
    """Only one type needs settings of its own, and one a small limit."""
    how = ExternalAccount.REQUIRED if kind is ErrorType.EXTERNAL_ACCOUNT_REQUIRED else ExternalAccount.OFF
    return lambda settings: replace(
        settings,
        acme=replace(settings.acme, external_account=how),
        limits=replace(settings.limits, new_order_account=4),
    )


def test_every_error_type_is_provoked() -> None:
    assert set(PROVOKED) == set(ErrorType)


@pytest.mark.clause("RFC 8555 section 6.7")
@pytest.mark.must("rfc8555.6.7.problem-document", "rfc8555.6.6.rate-limited", "rfc8555.6.6.retry-after")
@pytest.mark.parametrize("kind", ErrorType)
async def test_every_error_type_is_met_with_its_status_and_a_word_that_helps(
    tmp_path: Path, kind: ErrorType
) -> None:
    async with running(tmp_path, settings_for(kind)) as front:
        client = front.client()
        if kind is not ErrorType.EXTERNAL_ACCOUNT_REQUIRED:
            client = await front.subscriber()
        found = await PROVOKED[kind](front, client)
        if isinstance(found, Answer):
            must_be_refusal(found, found.status, kind)
            assert found.status == STATUS.get(kind, 400)
            assert "Replay-Nonce" in found.headers
        else:
            must_help(found, kind)


async def test_a_key_that_the_vault_refuses_is_told_as_the_fault_of_the_csr(
    front: Front, subscriber: AcmeClient
) -> None:
    error = await unissued(
        front, subscriber, fault=Refused("key.blocked", "the key is known to be compromised")
    )
    must_help(error, ErrorType.BAD_CSR)
    assert "known to be compromised" in error["detail"]


async def test_a_name_that_no_offered_method_can_show_is_rejected(tmp_path: Path) -> None:
    def by_http_alone(settings: Settings) -> Settings:
        return replace(settings, validation=replace(settings.validation, methods=("http-01",)))

    async with running(tmp_path, by_http_alone) as front:
        client = await front.subscriber()
        before = front.counts()
        must_be_refusal(await client.order("*.example.com"), 400, ErrorType.REJECTED_IDENTIFIER)
        assert front.counts() == before
