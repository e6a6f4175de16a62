"""acme_server/app.py, middleware.py: the way of a whole order, and what every answer has."""

from __future__ import annotations

import pytest
from cryptography import x509

from acme_server.registration.profiles import advertised
from core import metrics
from tests.support.acme_client import AcmeClient, b64, csr, ec_key, thumbprint
from tests.support.acme_front import BASE, Front

NAME = "www.example.com"


@pytest.mark.clause("RFC 8555 section 7.1")
@pytest.mark.must("rfc8555.7.4.created", "rfc8555.7.5.1.up", "rfc8555.7.1.6.order")
async def test_an_order_goes_from_pending_to_a_certificate(front: Front, subscriber: AcmeClient) -> None:
    front.perspectives.pass_names.add(NAME)
    order = await subscriber.order(NAME)
    assert (order.status, order.headers["Location"].startswith(f"{BASE}/acme/order/")) == (201, True)
    assert order.body["status"] == "pending"
    authorization = await subscriber.post(order.body["authorizations"][0])
    challenge = authorization.body["challenges"][0]
    answered = await subscriber.post(challenge["url"], {})
    assert answered.body["status"] == "processing"
    assert answered.links("up") == [order.body["authorizations"][0]]
    await front.run_jobs()

    assert front.perspectives.asked == [
        (NAME, subscriber.kid, "http-01", challenge["token"], thumbprint(subscriber.key))
    ]
    ready = await subscriber.post(order.headers["Location"])
    assert ready.body["status"] == "ready"
    key = ec_key()
    accepted = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
    assert accepted.body["status"] == "processing"
    assert accepted.headers["Retry-After"] == "1"
    await front.run_jobs()

    valid = await subscriber.post(order.headers["Location"])
    assert valid.body["status"] == "valid"
    chain = await subscriber.post(valid.body["certificate"])
    assert chain.headers["Content-Type"] == "application/pem-certificate-chain"
    leaf, issuer = x509.load_pem_x509_certificates(chain.octets)
    leaf.verify_directly_issued_by(issuer)
    assert leaf.public_key() == key.public_key()
    assert front.counts()["jobs"] == 0


@pytest.mark.clause("RFC 8555 section 7.1.1")
@pytest.mark.must(
    "rfc8555.7.1.directory-and-nonce",
    "rfc8555.7.1.1.meta",
    "rfc8555.7.1.1.caa-identities",
    "rfc8555.7.3.terms-url",
)
async def test_the_directory_names_what_is_offered_and_nothing_else(front: Front) -> None:
    answer = await front.client().get("/directory")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == {
        "newNonce": f"{BASE}/acme/new-nonce",
        "newAccount": f"{BASE}/acme/new-account",
        "newOrder": f"{BASE}/acme/new-order",
        "keyChange": f"{BASE}/acme/key-change",
        "revokeCert": f"{BASE}/acme/revoke-cert",
        "renewalInfo": f"{BASE}/acme/renewal-info",
        "newAuthz": f"{BASE}/acme/new-authz",
        "meta": {
            "termsOfService": "http://localhost:14080/terms/terms-1.en.html",
            "caaIdentities": ["ca.example"],
            "externalAccountRequired": False,
            "explain": {"template": "{+authorization}/explanation"},
            "limits": {"url": f"{BASE}/acme/limits", "documentation": f"{BASE}/limits"},
            "preflight": {"url": f"{BASE}/acme/preflight"},
            "profiles": advertised(front.context.settings),
        },
    }


async def test_requests_are_counted_by_resource_and_never_by_name(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order(NAME)
    await subscriber.post(order.headers["Location"])
    await subscriber.get("/nowhere")
    shown = metrics.render().decode()
    assert 'acme_requests_total{resource="/acme/order/{id}",status="200"}' in shown
    assert 'acme_requests_total{resource="other",status="404"}' in shown
    assert order.headers["Location"].rpartition("/")[2] not in shown
