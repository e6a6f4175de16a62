"""acme_server/registration/replacement.py: `replaces` in newOrder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from acme_server import cert_id as cert_ids
from acme_server.objects import Account
from acme_server.registration import replacement
from acme_server.registration.new_order import Wanted
from acme_server.registration.replacement import Replacement
from acme_server.store import accounts
from core import revocations
from tests.acme_server.test_cert_id import BENT, VECTOR
from tests.acme_server.test_rate_limits import limited, with_limits
from tests.support.acme_client import AcmeClient, Answer, b64, cert_id, csr, ec_key
from tests.support.acme_front import Front, running

NAMES = ("a.example.com", "b.example.com")
DAY = 86400


async def certified(front: Front, subscriber: AcmeClient, *names: str) -> str:
    """The CertID of a new certificate."""
    _, certificate = await front.issued(subscriber, *(names or NAMES))
    return cert_id(certificate)


async def refused(front: Front, answer: Answer, before: dict[str, int], status: int, kind: str) -> None:
    assert (answer.status, answer.problem) == (status, kind), answer.body
    assert answer.body["status"] == status
    assert front.counts() == before


@pytest.mark.must("rfc9773.5.reflected")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.must("rfc9773.5.reflected")
async def test_an_order_shows_what_it_replaces_in_every_answer(front: Front, subscriber: AcmeClient) -> None:
    named = await certified(front, subscriber)
    placed = await subscriber.order(*NAMES, replaces=named)
    assert (placed.status, placed.body["replaces"]) == (201, named)
    assert (await subscriber.post(placed.headers["Location"])).body["replaces"] == named
    plain = await subscriber.order(*NAMES)
    assert "replaces" not in plain.body
    told = front.audit("order.created")
    assert '"replaces"' in told[-2]["content"]
    assert '"replaces"' not in told[-1]["content"]


@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.parametrize(
    "value", [*BENT.values(), 7, None, ["x"], {}], ids=[*BENT.keys(), "7", "null", "[]", "{}"]
)
async def test_a_bent_name_is_malformed(front: Front, subscriber: AcmeClient, value: Any) -> None:
    before = front.counts()
    await refused(front, await subscriber.order(*NAMES, replaces=value), before, 400, "malformed")


@pytest.mark.clause("RFC 9773 section 5")
async def test_a_certificate_that_is_none_of_ours_cannot_be_replaced(
    front: Front, subscriber: AcmeClient
) -> None:
    before = front.counts()
    await refused(front, await subscriber.order(*NAMES, replaces=VECTOR), before, 400, "malformed")


@pytest.mark.must("rfc9773.5.same-account")
@pytest.mark.must("rfc9773.5.refused")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.must("rfc9773.5.same-account", "rfc9773.5.refused")
async def test_a_certificate_of_another_account_cannot_be_replaced(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    stranger = await front.subscriber()
    before = front.counts()
    await refused(front, await stranger.order(*NAMES, replaces=named), before, 403, "unauthorized")


@pytest.mark.must("rfc9773.5.shares-a-name")
@pytest.mark.must("rfc9773.5.refused")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.must("rfc9773.5.shares-a-name", "rfc9773.5.refused")
async def test_an_order_without_a_name_of_the_certificate_does_not_replace_it(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    before = front.counts()
    await refused(front, await subscriber.order("c.example.com", replaces=named), before, 400, "malformed")
    shared = await subscriber.order("c.example.com", NAMES[0], replaces=named)
    assert shared.status == 201


@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.parametrize("ready", [False, True], ids=["pending", "ready"])
async def test_the_same_order_asked_again_is_the_same_order(
    front: Front, subscriber: AcmeClient, ready: bool
) -> None:
    named = await certified(front, subscriber)
    front.clock.at += DAY  # what was shown for the certificate serves no order any more
    first = await subscriber.order(*NAMES, replaces=named)
    if ready:
        front.perspectives.pass_names.update(NAMES)
        for url in first.body["authorizations"]:
            await subscriber.post((await subscriber.post(url)).body["challenges"][0]["url"], {})
        await front.run_jobs()
    before = front.counts()
    again = await subscriber.order(*reversed(NAMES), replaces=named)
    assert (again.status, again.headers["Location"]) == (201, first.headers["Location"])
    assert again.body["status"] == ("ready" if ready else "pending")
    assert again.body["authorizations"] == first.body["authorizations"]
    assert front.counts() == before


@pytest.mark.clause("RFC 9773 section 5")
async def test_of_many_at_once_one_order_is_placed(front: Front, subscriber: AcmeClient) -> None:
    named = await certified(front, subscriber)
    clients = [subscriber, *(front.client(subscriber.key) for _ in range(7))]
    for each in clients[1:]:
        each.kid = subscriber.kid
    answers = await asyncio.gather(*(each.order(*NAMES, replaces=named) for each in clients))
    assert {each.status for each in answers} == {201}
    assert len({each.headers["Location"] for each in answers}) == 1
    assert len(front.audit("order.created")) == 2  # the certificate's own, and this one


@pytest.mark.must("rfc9773.5.not-replaced")
@pytest.mark.must("rfc9773.5.already-replaced")
@pytest.mark.must("rfc9773.5.refused")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.must("rfc9773.5.already-replaced", "rfc9773.5.not-replaced")
@pytest.mark.clause("RFC 9773 section 7.4")
async def test_another_order_for_a_certificate_that_is_being_replaced_is_a_conflict(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    first = await subscriber.order(*NAMES, replaces=named)
    before = front.counts()
    other = await subscriber.order(NAMES[0], replaces=named)
    await refused(front, other, before, 409, "alreadyReplaced")
    assert other.headers["Location"] == first.headers["Location"]
    assert first.headers["Location"] in other.body["detail"]


@pytest.mark.must("rfc9773.5.already-replaced")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.clause("RFC 9773 section 7.4")
async def test_an_order_that_was_finalized_is_bound_to_its_key_and_not_given_out_again(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    front.perspectives.pass_names.update(NAMES)
    placed = await subscriber.order(*NAMES, replaces=named)
    for url in placed.body["authorizations"]:
        await subscriber.post((await subscriber.post(url)).body["challenges"][0]["url"], {})
    await front.run_jobs()
    await subscriber.post(placed.body["finalize"], {"csr": b64(csr(ec_key(), NAMES))})
    for status in ("processing", "valid"):
        assert (await subscriber.post(placed.headers["Location"])).body["status"] == status
        before = front.counts()
        answer = await subscriber.order(*NAMES, replaces=named)
        await refused(front, answer, before, 409, "alreadyReplaced")
        assert answer.headers["Location"] == placed.headers["Location"]
        await front.run_jobs()
    chain = await subscriber.post((await subscriber.post(placed.headers["Location"])).body["certificate"])
    heir = cert_id(x509.load_pem_x509_certificates(chain.octets)[0])
    assert (await subscriber.order(*NAMES, replaces=heir)).status == 201


@pytest.mark.must("rfc9773.5.not-replaced")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.must("rfc9773.5.not-replaced")
async def test_an_order_that_became_invalid_frees_the_certificate(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    first = await subscriber.order(*NAMES, replaces=named)
    await subscriber.post(first.body["authorizations"][0], {"status": "deactivated"})
    second = await subscriber.order(*NAMES, replaces=named)
    assert second.status == 201
    assert second.headers["Location"] != first.headers["Location"]
    front.clock.at += 8 * DAY  # beyond the second one's life
    third = await subscriber.order(*NAMES, replaces=named)
    assert (third.status, third.body["status"]) == (201, "pending")
    assert third.headers["Location"] != second.headers["Location"]


async def look(front: Front, subscriber: AcmeClient, named: str, *names: str) -> Replacement:
    """What newOrder would find now."""
    wanted = Wanted(names or NAMES, "tlsserver", replaces=cert_ids.read(named))
    reader = front.database.reader
    account: Account | None = accounts.by_id(reader, str(subscriber.kid).rpartition("/")[2])
    assert account is not None
    found = replacement.find(reader, account, wanted, front.context.settings, front.clock.now())
    assert found is not None
    return found


@pytest.mark.clause("RFC 9773 section 5")
async def test_a_renewal_is_in_time_from_the_beginning_of_its_window_to_the_end_of_its_certificate(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    assert not (await look(front, subscriber, named)).in_time
    front.clock.at += 53 * DAY - 1
    assert not (await look(front, subscriber, named)).in_time
    front.clock.at += 12 * DAY
    assert (await look(front, subscriber, named)).in_time
    assert (await look(front, subscriber, named, NAMES[0])).in_time
    front.clock.at += 25 * DAY
    assert (await look(front, subscriber, named)).in_time
    front.clock.at += DAY
    assert not (await look(front, subscriber, named)).in_time


async def test_more_names_than_the_certificate_has_are_no_renewal(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    front.clock.at += 66 * DAY
    assert not (await look(front, subscriber, named, *NAMES, "c.example.com")).in_time


async def test_revoking_it_oneself_brings_no_renewal_forward(front: Front, subscriber: AcmeClient) -> None:
    named = await certified(front, subscriber)
    serial = cert_ids.read(named).serial
    await front.database.write(lambda tx: revocations.revoke(tx, serial, 4, "revokeCert"))
    assert not (await look(front, subscriber, named)).in_time
    front.clock.at += 66 * DAY
    assert (await look(front, subscriber, named)).in_time


@pytest.mark.parametrize("column", ["not_before", "not_after"])
async def test_a_life_of_ones_own_choosing_brings_no_renewal_forward(
    front: Front, subscriber: AcmeClient, column: str
) -> None:
    named = await certified(front, subscriber)
    await front.database.write(lambda tx: tx.execute(f"UPDATE orders SET {column} = 1"))
    front.clock.at += 66 * DAY
    assert not (await look(front, subscriber, named)).in_time


async def test_a_certificate_brings_five_orders_without_limits_and_no_more(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    front.clock.at += 66 * DAY
    for _ in range(replacement.FREE_TRIES):
        assert (await look(front, subscriber, named)).in_time
        placed = await subscriber.order(*NAMES, replaces=named)
        await subscriber.post(placed.body["authorizations"][0], {"status": "deactivated"})
    assert not (await look(front, subscriber, named)).in_time
    assert (await subscriber.order(*NAMES, replaces=named)).status == 201


@pytest.mark.clause("RFC 9773 section 5")
async def test_a_renewal_in_time_meets_no_rate_limit_from_order_to_certificate(tmp_path: Path) -> None:
    year = 365 * DAY
    change = with_limits(
        new_order_account=1,
        new_order_account_period=year,
        certificate_domain=1,
        certificate_domain_period=year,
        certificate_set=1,
        certificate_set_period=year,
        failures_free=1,
        failure_wait=DAY,
    )
    async with running(tmp_path, change) as front:
        subscriber = await front.subscriber()
        named = await certified(front, subscriber, NAMES[0])
        early = await subscriber.order(NAMES[0], replaces=named)
        limited(early, "new-order-account")
        front.clock.at += 66 * DAY
        limited(await subscriber.order(NAMES[0]), "new-order-account")

        # A first try whose validation fails holds up the next one of others, and not this one.
        front.perspectives.pass_names.clear()
        failed = await subscriber.order(NAMES[0], replaces=named)
        challenges = (await subscriber.post(failed.body["authorizations"][0])).body["challenges"]
        await subscriber.post(challenges[0]["url"], {})
        await front.run_jobs()
        front.perspectives.pass_names.add(NAMES[0])
        placed = await subscriber.order(NAMES[0], replaces=named)
        assert placed.status == 201, placed.body
        challenges = (await subscriber.post(placed.body["authorizations"][0])).body["challenges"]
        assert (await subscriber.post(challenges[0]["url"], {})).status == 200
        await front.run_jobs()
        done = await subscriber.post(placed.body["finalize"], {"csr": b64(csr(ec_key(), NAMES[:1]))})
        assert done.status == 200, done.body
        await front.run_jobs()
        valid = (await subscriber.post(placed.headers["Location"])).body
        chain = await subscriber.post(valid["certificate"])
        heir = cert_id(x509.load_pem_x509_certificates(chain.octets)[0])
        limited(await subscriber.order(NAMES[0], replaces=heir), "new-order-account")
