"""An order until it is ready, and finalize only then (RFC 8555 sections 7.1.6, 7.4)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front

NAME = "www.example.com"


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.4.expires")
@pytest.mark.parametrize("ready", [False, True])
async def test_an_open_order_is_invalid_once_its_time_is_over(
    front: Front, subscriber: AcmeClient, ready: bool
) -> None:
    order = await (front.authorized(subscriber, NAME) if ready else subscriber.order(NAME))
    front.clock.at += 7 * 86400
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    late = await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert (late.status, late.problem) == (403, "orderNotReady")


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.order-not-ready")
async def test_a_pending_order_cannot_be_finalized(front: Front, subscriber: AcmeClient) -> None:
    order = await subscriber.order(NAME)
    before = front.counts()
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert (answer.status, answer.problem) == (403, "orderNotReady")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.order-not-ready")
async def test_of_many_finalize_requests_at_once_one_is_taken(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    bodies = []
    for _ in range(8):
        client = front.client(subscriber.key)
        client.kid = subscriber.kid
        request = b64(csr(ec_key(), [NAME]))
        bodies.append(client.post(order.body["finalize"], {"csr": request}))
    answers = await asyncio.gather(*bodies)
    assert sorted(each.status for each in answers) == [200] + [403] * 7
    await front.run_jobs()
    assert len(front.issuance.approved) == 1
    assert front.counts()["certificates"] == 1
