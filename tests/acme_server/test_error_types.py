"""Every error type is met with its status and a word that helps (RFC 8555 section 6.7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from acme_server.problems import STATUS, ErrorType
from core.errors import Refused
from core.settings import ExternalAccount, Settings
from tests.acme_server.refused import NAME, must_be_refusal, must_help, order
from tests.support.acme_client import AcmeClient, Answer, b64, cert_id, csr, ec_key
from tests.support.acme_front import Front, running

Provoke = Callable[[Front, AcmeClient], Awaitable[Any]]
PROVOKED: dict[ErrorType, Provoke] = {}
"""An answer, or the problem document that a challenge or an order shows."""


def provokes(kind: ErrorType) -> Callable[[Provoke], Provoke]:
    def keep(provoke: Provoke) -> Provoke:
        PROVOKED[kind] = provoke
        return provoke

    return keep


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
