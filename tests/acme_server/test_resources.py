"""acme_server/resources.py: what accounts, orders, challenges and chains show, and what they never do."""

from __future__ import annotations

import itertools
import re

import pytest
from cryptography import x509

from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front

NAME = "www.example.com"
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


@pytest.mark.clause("RFC 8555 section 7.3")
@pytest.mark.must("rfc8555.7.3.ignored", "rfc8555.7.3.not-reflected")
async def test_what_a_client_may_not_say_of_its_account_is_neither_believed_nor_shown(front: Front) -> None:
    client = front.client()
    answer = await client.register(
        onlyReturnExisting=False, orders="https://elsewhere.example/", status="revoked", id="7", likes=["x"]
    )
    assert answer.status == 201
    assert answer.body == {
        "status": "valid",
        "contact": [],
        "termsOfServiceAgreed": True,
        "orders": f"{client.kid}/orders",
    }
    assert client.kid is not None
    assert (await client.post(client.kid)).body == answer.body


@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.must("rfc8555.7.1.3.expires")
async def test_an_order_says_when_it_expires_in_every_state(front: Front, subscriber: AcmeClient) -> None:
    seen = {}
    placed = await subscriber.order(NAME)
    ready = await front.authorized(subscriber, NAME)
    finalized = await subscriber.post(ready.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    valid = await subscriber.post(ready.headers["Location"])
    await subscriber.post(placed.body["authorizations"][0], {"status": "deactivated"})
    invalid = await subscriber.post(placed.headers["Location"])
    for each in (placed, ready, finalized, valid, invalid):
        seen[each.body["status"]] = each.body["expires"]
        assert ("certificate" in each.body) == (each is valid)
    assert set(seen) == {"pending", "ready", "processing", "valid", "invalid"}
    assert all(re.fullmatch(r"2026-11-\d\dT\d\d:\d\d:\d\dZ", each) for each in seen.values())


@pytest.mark.clause("RFC 8555 section 11.3")
@pytest.mark.must("rfc8555.8.3.entropy", "rfc8555.8.3.alphabet", "rfc8555.8.4.entropy")
@pytest.mark.must("rfc8555.8.4.alphabet", "rfc8737.3.entropy", "rfc8737.3.alphabet")
async def test_every_challenge_has_a_token_of_its_own_of_128_bits(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order(NAME, "*.example.org", "example.net")
    tokens = []
    for url in order.body["authorizations"]:
        tokens += [each["token"] for each in (await subscriber.post(url)).body["challenges"]]
    assert len(tokens) == len(set(tokens)) == 10
    for token in tokens:
        assert BASE64URL.fullmatch(token)
        assert len(token) * 6 >= 128


@pytest.mark.clause("RFC 8555 section 10.5")
@pytest.mark.must("rfc8555.10.5.unguessable")
async def test_no_url_of_a_resource_can_be_guessed_from_another(front: Front, subscriber: AcmeClient) -> None:
    other = await front.subscriber()
    found = [subscriber.kid, other.kid]
    for name in (NAME, f"other.{NAME}"):
        order = await subscriber.order(name)
        authorization = order.body["authorizations"][0]
        challenges = (await subscriber.post(authorization)).body["challenges"]
        found += [order.headers["Location"], authorization, *(each["url"] for each in challenges)]
    ids = [str(url).rpartition("/")[2] for url in found]
    assert len(set(ids)) == len(ids)
    assert all(BASE64URL.fullmatch(each) and len(each) * 6 >= 128 for each in ids)


@pytest.mark.clause("RFC 8555 section 9.1")
@pytest.mark.must("rfc8555.9.1.strict", "rfc8555.9.1.no-text", "rfc8555.9.1.leaf-first", "rfc8555.9.1.chain")
@pytest.mark.must("rfc8555.7.4.2.media-type")
async def test_a_chain_is_strict_pem_and_nothing_else_with_the_leaf_first(
    front: Front, subscriber: AcmeClient
) -> None:
    order, leaf = await front.issued(subscriber, NAME)
    chain = await subscriber.post(order.body["certificate"])
    assert chain.headers["Content-Type"] == "application/pem-certificate-chain"
    # RFC 7468 section 3, the strict grammar: full lines of 64, a last one that is not longer, no space.
    block = (
        rb"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/]{64}\n)*([A-Za-z0-9+/]{4}){0,15}"
        rb"([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\n-----END CERTIFICATE-----\n"
    )
    assert re.fullmatch(rb"(" + block + rb")+", chain.octets)
    shown = x509.load_pem_x509_certificates(chain.octets)
    assert shown[0] == leaf
    for certificate, issuer in itertools.pairwise(shown):
        certificate.verify_directly_issued_by(issuer)
