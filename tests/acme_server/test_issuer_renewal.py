"""store/renewals.py: all certificates of an issuing CA that must be revoked are to be renewed."""

from __future__ import annotations

import pytest

from acme_server import cert_id
from acme_server.store import renewals
from core import issuer_causes
from core.database import Transaction
from tests.acme_server.test_incident import info
from tests.acme_server.test_renewal_info import window
from tests.acme_server.test_replacement import certified
from tests.support.acme_client import AcmeClient
from tests.support.acme_front import Front

DAY = 86400
PAGE = "https://ca.example/why"

pytestmark = [pytest.mark.clause("RFC 9773 section 4.2"), pytest.mark.clause("BR 4.9.1.2")]


async def compromised(front: Front, learned: float = 0) -> str:
    """The issuing CA of the newest certificate must be revoked, and somebody learned so days ago."""
    row = front.database.reader.one("SELECT issuer_id FROM certificates ORDER BY rowid DESC LIMIT 1")
    assert row is not None
    issuer_id = str(row["issuer_id"])
    at = front.clock.now() - int(learned * DAY)

    def unit(tx: Transaction) -> None:
        issuer_causes.record(tx, issuer_id, at, "its key is known", PAGE, actor="operator ann")

    await front.database.write(unit)
    return issuer_id


async def ended(front: Front, issuer_id: str, *, revoked: bool) -> None:
    await front.database.write(
        lambda tx: issuer_causes.end(tx, issuer_id, "x", actor="operator ann", revoked=revoked)
    )


async def test_every_certificate_of_the_ca_is_to_be_renewed_in_half_of_the_time_that_is_left_for_it(
    front: Front, subscriber: AcmeClient
) -> None:
    named = [await certified(front, subscriber, f"www{number}.example.com") for number in range(4)]
    await compromised(front)
    now, windows = front.clock.now(), set()
    for each in named:
        answer = await front.client().get(f"/acme/renewal-info/{each}")
        assert answer.body["explanationURL"] == PAGE
        assert answer.headers["Retry-After"] == "3600"
        start, end = window(answer)
        assert now <= start < end <= now + 3.5 * DAY
        windows.add(start)
    assert len(windows) == 4  # they do not all come at once
    front.clock.at += DAY
    assert {(await info(front, each))[0] for each in named} == windows  # alike whenever somebody asks


async def test_what_was_learned_long_ago_is_to_be_renewed_at_once(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    await compromised(front, learned=6)
    start, end = await info(front, named)
    assert start <= front.clock.now() < end <= front.clock.now() + 2


async def test_once_the_ca_is_revoked_its_certificates_are_due_and_without_a_cause_they_are_not(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    usual = await info(front, named)
    issuer_id = await compromised(front)
    assert await info(front, named) != usual
    await ended(front, issuer_id, revoked=False)
    answer = await front.client().get(f"/acme/renewal-info/{named}")
    assert window(answer) == usual
    assert "explanationURL" not in answer.body
    assert answer.headers["Retry-After"] == "21600"
    await compromised(front)
    await ended(front, issuer_id, revoked=True)
    assert (await info(front, named))[1] < front.clock.now()


async def test_a_certificate_of_another_issuing_ca_keeps_its_window(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    usual = await info(front, named)
    await front.database.write(
        lambda tx: tx.execute(
            "INSERT INTO issuers SELECT 'other', use, algorithm, x'00', chain, crl_shards, added_at"
            " FROM issuers LIMIT 1"
        )
    )
    await front.database.write(
        lambda tx: issuer_causes.record(tx, "other", tx.now, "its key is known", actor="operator ann")
    )
    assert await info(front, named) == usual


async def test_an_order_that_replaces_one_is_held_up_by_no_rate_limit(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    await compromised(front)
    found = renewals.find(front.database.reader, cert_id.read(named), front.context.settings.renewal)
    assert found is not None
    assert (found.urgent, found.free_from) == (True, front.clock.now())
