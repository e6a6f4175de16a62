"""From finalize to the certificate: CAA once more, the vault's refusals, faults of ours, second thoughts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization

from core.database import Transaction
from core.errors import HaltIssuance, Refused, TransientError
from signer.issuance import Approved
from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front

NAME = "www.example.com"


async def finalized(front: Front, client: AcmeClient, *names: str) -> str:
    order = await front.authorized(client, *names)
    answer = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    assert answer.status == 200, answer.body
    return str(order.headers["Location"])


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.row("limits.reuse")
@pytest.mark.clause("BR 3.2.2.8")
@pytest.mark.must("rfc8657.5.5.fresh", "rfc8659.3.checked")
async def test_caa_is_rechecked_with_the_method_really_used_when_it_was_seen_long_ago(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    assert front.perspectives.asked[-1] == (NAME, subscriber.kid, "", "http-01")
    assert len(front.issuance.approved[0].evidence) == 2
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


@pytest.mark.clause("RFC 8555 section 7.5.2")
@pytest.mark.parametrize("gives_up", ["authorization", "account"])
async def test_what_is_given_up_while_caa_is_asked_is_not_issued_for(
    front: Front, subscriber: AcmeClient, gives_up: str
) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    url = subscriber.kid if gives_up == "account" else order.body["authorizations"][0]
    assert url is not None
    answers = []

    async def give_up() -> None:
        answers.append((await subscriber.post(url, {"status": "deactivated"})).status)

    front.perspectives.meanwhile = give_up
    await front.run_jobs()
    assert answers == [200]
    assert front.issuance.approved == []
    assert front.database.reader.all("SELECT status FROM orders")[0]["status"] == "invalid"


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.clause("BR 3.2.2.8")
async def test_caa_that_forbids_at_last_makes_the_order_invalid(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.caa_forbids = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    after = (await subscriber.post(order.headers["Location"])).body
    assert after["status"] == "invalid"
    assert after["error"]["type"] == "urn:ietf:params:acme:error:caa"
    assert front.issuance.approved == []
    assert front.counts()["jobs"] == 0


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.row("errors.compound")
@pytest.mark.clause("RFC 8555 section 6.7.1")
@pytest.mark.must("rfc8659.3.every-name")
async def test_a_name_that_caa_forbids_ends_the_order_though_another_cannot_be_seen(
    front: Front, subscriber: AcmeClient
) -> None:
    names = [NAME, "other.example.com", "third.example.com"]
    order = await front.authorized(subscriber, *names)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {names[0]}
    front.perspectives.caa_forbids = set(names[1:])
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    await front.run_jobs()
    after = (await subscriber.post(order.headers["Location"])).body
    assert after["status"] == "invalid"
    assert [(each["identifier"]["value"], each["type"]) for each in after["error"]["subproblems"]] == [
        (name, "urn:ietf:params:acme:error:caa") for name in names[1:]
    ]
    # The authorizations are what they were: control was shown.
    assert (await subscriber.post(order.body["authorizations"][1])).body["status"] == "valid"
    assert front.issuance.approved == []


@pytest.mark.clause("BR 3.2.2.8")
async def test_caa_that_cannot_be_seen_is_tried_again(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    assert front.issuance.approved == []
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "processing"
    front.perspectives.undecided = set()
    await front.run_jobs()
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


async def test_a_refusal_of_the_vault_makes_the_order_invalid_and_tells_no_secrets(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    front.issuance.fault = Refused("lint.error", "/srv/ca/profile.toml line 7")
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert order["status"] == "invalid"
    assert order["error"]["type"] == "urn:ietf:params:acme:error:serverInternal"
    assert "/srv" not in str(order)
    assert "/srv/ca" in front.audit("order.refused")[0]["content"]


@pytest.mark.parametrize("fault", [TransientError("away"), HaltIssuance("stop")])
async def test_a_fault_of_ours_leaves_the_order_processing_and_the_job_waiting(
    front: Front, subscriber: AcmeClient, fault: Exception
) -> None:
    url = await finalized(front, subscriber, NAME)
    front.issuance.fault = fault
    if isinstance(fault, HaltIssuance):
        with pytest.raises(HaltIssuance):
            await front.run_jobs()
    else:
        await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "processing"
    front.issuance.fault = None
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"


@pytest.mark.clause("RFC 8555 section 7.1.6")
async def test_an_order_that_cannot_be_issued_ends_an_hour_after_its_expiry(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    front.issuance.fault = TransientError("away")
    front.clock.at += front.context.settings.acme.order_lifetime + 3600
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "processing"
    front.clock.at += 1
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert (order["status"], "place a new order" in order["error"]["detail"]) == ("invalid", True)
    # What was tried for it may still come to light: the job stays until that is withdrawn.
    assert front.counts()["jobs"] == 1
    front.issuance.fault = None
    await front.run_jobs()
    assert front.counts()["jobs"] == 0
    assert front.issuance.withdrawn == [(order_id, None)]


async def test_a_certificate_that_the_order_does_not_take_is_withdrawn(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    issue = front.issuance.issue

    async def too_late(approved: Approved, finish: Callable[[Transaction, str], None]) -> str:
        def end(tx: Transaction) -> None:
            tx.execute("UPDATE orders SET status = 'invalid' WHERE id = ?", (order_id,))

        await front.database.write(end)
        return await issue(approved, finish)

    front.issuance.issue = too_late  # type: ignore[method-assign]
    await front.run_jobs()
    assert len(front.audit("order.certificate-not-delivered")) == 1
    await front.run_jobs()
    assert front.issuance.withdrawn == [(order_id, None)]
    assert front.counts()["jobs"] == 0


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.5.2.worthless")
async def test_an_authorization_given_up_after_finalize_stops_the_issuance(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    authorization = (await subscriber.post(url)).body["authorizations"][0]
    assert (await subscriber.post(authorization, {"status": "deactivated"})).status == 200
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert order["status"] == "invalid"
    assert order["error"]["subproblems"][0]["identifier"] == {"type": "dns", "value": NAME}
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_a_job_that_runs_twice_issues_once(front: Front, subscriber: AcmeClient) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    await front.handlers["issue"](order_id)
    await front.handlers["issue"](order_id)
    assert len(front.issuance.approved) == 1


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_was_compromised_is_never_certified_again(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, certificate = await front.issued(subscriber, NAME, key=key)
    der = certificate.public_bytes(serialization.Encoding.DER)
    by_key = front.client(key)
    revoked = await by_key.post("/acme/revoke-cert", {"certificate": b64(der), "reason": 1})
    assert revoked.status == 200
    order = await front.authorized(subscriber, NAME)
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
    assert (answer.status, answer.problem) == (400, "badCSR")
