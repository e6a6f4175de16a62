"""acme_server/registration/holds.py: an order for a high-risk name waits for a person."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.objects import Order
from acme_server.registration import holds
from acme_server.store import holds as rows
from core.database import Transaction
from core.errors import Refused, TransientError
from core.settings import Settings
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key
from tests.support.acme_front import Front, running

BANK = "www.bank.example.com"
REUSE = 30 * 86400


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A front with a list, whose authorizations are used again."""
    listed = tmp_path / "high-risk.txt"
    listed.write_text("bank.example.com\n")

    def change(settings: Settings) -> Settings:
        return replace(
            settings,
            acme=replace(settings.acme, authorization_reuse=REUSE),
            ca=replace(settings.ca, high_risk=str(listed)),
        )

    async with running(tmp_path, change) as opened:
        yield opened


async def finalized(front: Front, client: AcmeClient, *names: str) -> tuple[str, Answer]:
    """The order's URL and the answer to finalize, with the jobs run."""
    order = await front.authorized(client, *names)
    answer = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    assert answer.status == 200, answer.body
    await front.run_jobs()
    return order.headers["Location"], answer


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


async def decided(front: Front, decide: Callable[[Transaction], Order]) -> None:
    await front.database.write(decide)
    await front.run_jobs()


async def approve(front: Front, url: str) -> None:
    await decided(front, lambda tx: holds.approve(tx, id_of(url), "asked by telephone", actor="operator eve"))


async def refuse(front: Front, url: str) -> None:
    settings = front.context.settings
    await decided(front, lambda tx: holds.refuse(tx, id_of(url), "a fraud", settings, actor="operator eve"))


@pytest.mark.clause("BR 4.2.1")
@pytest.mark.clause("RFC 8555 section 7.4")
async def test_an_order_with_a_listed_name_is_processing_until_a_person_approves_it(
    front: Front, subscriber: AcmeClient
) -> None:
    url, answer = await finalized(front, subscriber, "harmless.example.com", BANK)
    for shown in (answer, await subscriber.post(url)):
        assert (shown.body["status"], shown.headers["Retry-After"]) == ("processing", "3600")
    assert front.issuance.approved == []
    assert [str(each) for each in front.raised] == [
        f"order {id_of(url)} waits for a person: acme-server holds list"
    ]
    (told,) = front.audit("order.held")
    assert json.loads(told["content"]) == {"order": id_of(url), "why": f"{BANK} (bank.example.com)"}

    await approve(front, url)
    issued = (await subscriber.post(url)).body
    assert issued["status"] == "valid"
    assert (await subscriber.post(issued["certificate"])).status == 200
    (told,) = front.audit("order.hold-approved")
    assert told["subject"] == "operator eve"
    assert json.loads(told["content"])["note"] == "asked by telephone"


@pytest.mark.clause("BR 4.2.1")
async def test_a_refused_order_is_invalid_and_says_whom_to_ask_and_nothing_of_the_note(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    await refuse(front, url)
    ended = (await subscriber.post(url)).body
    assert ended["status"] == "invalid"
    assert ended["error"]["type"] == "urn:ietf:params:acme:error:rejectedIdentifier"
    assert "write to pki@ca.example" in ended["error"]["detail"]
    assert "fraud" not in json.dumps(ended)
    assert front.issuance.approved == []
    assert front.database.reader.all("SELECT * FROM jobs") == []
    assert [each["subject"] for each in front.audit("order.hold-refused")] == ["operator eve"]


@pytest.mark.clause("BR 4.2.1")
async def test_no_other_way_leads_to_a_certificate_for_a_listed_name(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    await approve(front, url)
    # Its authorization is used again and its account is known, but every order is held by itself.
    again = await subscriber.order(BANK)
    assert again.body["status"] == "ready"
    other = await front.subscriber()
    held = [await finalized(front, subscriber, BANK), await finalized(front, other, "*.bank.example.com")]
    assert (await subscriber.post(url)).body["status"] == "valid"
    assert len(front.issuance.approved) == 1
    # Finalize once more, or a job that somebody adds, changes nothing.
    for waiting, client in zip([each[0] for each in held], (subscriber, other), strict=True):
        order = await client.post(waiting)
        once_more = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [BANK]))})
        assert (once_more.status, once_more.problem) == (403, "orderNotReady")
    await front.run_jobs()
    assert len(front.issuance.approved) == 1


async def test_an_order_without_a_listed_name_is_issued_at_once(front: Front, subscriber: AcmeClient) -> None:
    url, answer = await finalized(front, subscriber, "bank.example.org")
    assert answer.headers["Retry-After"] == "1"
    assert (await subscriber.post(url)).body["status"] == "valid"
    assert front.audit("order.held") == []


async def test_the_job_of_a_waiting_order_is_due_when_the_order_has_ended(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    expires = front.database.reader.all("SELECT expires FROM orders")[0]["expires"]
    (job,) = front.database.reader.all("SELECT * FROM jobs")
    assert (job["kind"], job["subject"], job["run_at"]) == ("issue", id_of(url), expires + holds.MARGIN)
    front.clock.at = expires + holds.MARGIN - 1
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "processing"
    front.clock.at = expires + holds.MARGIN
    await front.run_jobs()
    ended = (await subscriber.post(url)).body
    assert (ended["status"], ended["error"]["type"][-18:]) == ("invalid", "rejectedIdentifier")
    assert "nobody has looked at the order in time" in ended["error"]["detail"]
    assert rows.count(front.database.reader) == (0, None)


async def test_the_waiting_order_of_an_account_that_is_deactivated_ends_at_once(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    assert subscriber.kid is not None
    await subscriber.post(subscriber.kid, {"status": "deactivated"})
    (job,) = front.database.reader.all("SELECT * FROM jobs")
    assert job["run_at"] == front.clock.at
    await front.run_jobs()
    (order,) = front.database.reader.all("SELECT id, status, error FROM orders")
    assert (order["id"], order["status"]) == (id_of(url), "invalid")
    assert "deactivated" in order["error"]
    with pytest.raises(Refused, match="ended already"):
        await approve(front, url)


async def test_an_approved_order_ends_when_its_authorization_does_not_hold_any_more(
    front: Front, subscriber: AcmeClient
) -> None:
    url, answer = await finalized(front, subscriber, BANK)
    await subscriber.post(answer.body["authorizations"][0], {"status": "deactivated"})
    await approve(front, url)
    ended = (await subscriber.post(url)).body
    assert (ended["status"], ended["error"]["type"][-12:]) == ("invalid", "unauthorized")
    assert front.issuance.approved == []


async def _unknown(front: Front, subscriber: AcmeClient) -> str:
    return "nosuchorder"


async def _never_held(front: Front, subscriber: AcmeClient) -> str:
    return (await finalized(front, subscriber, "harmless.example.com"))[0]


async def _approved(front: Front, subscriber: AcmeClient) -> str:
    url, _ = await finalized(front, subscriber, BANK)
    await approve(front, url)
    return url


async def _refused(front: Front, subscriber: AcmeClient) -> str:
    url, _ = await finalized(front, subscriber, BANK)
    await refuse(front, url)
    return url


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (_unknown, "holds list shows them"),
        (_never_held, "holds list shows them"),
        (_approved, "approved already, by operator eve"),
        (_refused, "refused already, by operator eve"),
    ],
)
async def test_what_does_not_wait_cannot_be_decided_and_nothing_changes(
    front: Front, subscriber: AcmeClient, made: Any, why: str
) -> None:
    url = await made(front, subscriber)
    before = front.counts()
    for decide in (approve, refuse):
        with pytest.raises(Refused, match=why):
            await decide(front, url)
    assert front.counts() == before


async def test_an_expired_order_can_be_refused_and_not_approved(front: Front, subscriber: AcmeClient) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    front.clock.at = front.database.reader.all("SELECT expires FROM orders")[0]["expires"]
    before = front.counts()
    with pytest.raises(Refused, match="expired"):
        await approve(front, url)
    assert front.counts() == before
    await refuse(front, url)
    assert (await subscriber.post(url)).body["status"] == "invalid"


async def test_a_crash_between_approval_and_issuance_loses_neither(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    front.issuance.fault = TransientError("the vault is away")
    await approve(front, url)
    assert (await subscriber.post(url)).headers["Retry-After"] == "1"
    front.issuance.fault = None
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"


async def test_the_order_of_an_account_that_has_ended_cannot_be_approved(
    front: Front, subscriber: AcmeClient
) -> None:
    url, _ = await finalized(front, subscriber, BANK)
    assert subscriber.kid is not None
    await subscriber.post(subscriber.kid, {"status": "deactivated"})
    with pytest.raises(Refused, match="account has ended"):
        await approve(front, url)
    await front.run_jobs()
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_no_account_buries_the_orders_that_wait_under_its_own(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "MOST", 2)
    for _ in range(2):
        url, _ = await finalized(front, subscriber, BANK)
    order = await front.authorized(subscriber, BANK)
    before = front.counts()
    csr_again = {"csr": b64(csr(ec_key(), [BANK]))}
    answer = await subscriber.post(order.body["finalize"], csr_again)
    assert (answer.status, answer.problem, answer.body["limit"]) == (429, "rateLimited", "orders-held")
    assert answer.headers["Retry-After"] == str(holds.RETRY_AFTER)
    assert front.counts() == before
    assert (await finalized(front, await front.subscriber(), BANK))[1].body["status"] == "processing"
    await refuse(front, url)
    assert (await subscriber.post(order.body["finalize"], csr_again)).body["status"] == "processing"
