"""acme_server/registration/incident.py, store/incidents.py: what an incident does to windows."""

from __future__ import annotations

import pytest

from acme_server import cert_id as cert_ids
from acme_server.registration import incident
from acme_server.store import incidents
from acme_server.store.incidents import Fate, Incident
from acme_server.store.selection import Selection
from core import revocations
from core.database import Transaction
from core.errors import Refused
from tests.acme_server.test_renewal_info import window
from tests.acme_server.test_replacement import NAMES, certified, look
from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front

DAY = 86400
PAGE = "https://ca.example/2026-12"


def new(
    front: Front, id: str = "one", *, title: str = "a fault", url: str = PAGE, days: float = 1
) -> Incident:
    now = front.clock.now()
    return Incident(id, title, url, now + int(days * DAY), now, "anna", 0, None)


async def opened(front: Front, *named: str, id: str = "one", days: float = 1) -> None:
    serials = [cert_ids.read(each).serial for each in named]

    def unit(tx: Transaction) -> None:
        incident.begin(tx, new(front, id, days=days))
        incident.name(tx, id, serials, "anna")

    await front.database.write(unit)


async def info(front: Front, named: str) -> tuple[int, int]:
    return window(await front.client().get(f"/acme/renewal-info/{named}"))


@pytest.mark.must("rfc9773.4.3.retry-after")
@pytest.mark.clause("RFC 9773 section 4.2")
async def test_its_certificates_are_to_be_renewed_before_the_time_is_over_and_clients_learn_why(
    front: Front, subscriber: AcmeClient
) -> None:
    named, other = await certified(front, subscriber), await certified(front, subscriber)
    usual = await info(front, named)
    await opened(front, named)
    now = front.clock.now()
    answer = await subscriber.get(f"/acme/renewal-info/{named}")
    start, end = window(answer)
    assert now <= start < end <= now + DAY
    assert answer.body["explanationURL"] == PAGE
    assert answer.headers["Retry-After"] == "3600"
    untouched = await subscriber.get(f"/acme/renewal-info/{other}")
    assert window(untouched)[0] >= now + 54 * DAY
    assert "explanationURL" not in untouched.body
    assert untouched.headers["Retry-After"] == "3600"  # it may be put in next
    front.clock.at += DAY
    assert await info(front, named) == (start, end)  # the time is over: it lies in the past
    await front.database.write(lambda tx: incident.end(tx, "one", "anna"))
    closed = await subscriber.get(f"/acme/renewal-info/{named}")
    assert window(closed) == usual
    assert closed.headers["Retry-After"] == "21600"


@pytest.mark.clause("RFC 9773 section 4.2")
async def test_a_certificate_that_is_due_earlier_anyway_keeps_its_window(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    usual = await info(front, named)
    front.clock.at += 80 * DAY
    await opened(front, named, days=5)
    assert await info(front, named) == usual


@pytest.mark.clause("RFC 9773 section 4.2")
async def test_of_two_incidents_the_more_urgent_counts(front: Front, subscriber: AcmeClient) -> None:
    named = await certified(front, subscriber)
    await opened(front, named, id="slow", days=9)
    await opened(front, named, id="fast", days=0.5)
    assert (await info(front, named))[1] <= front.clock.now() + DAY // 2
    await front.database.write(lambda tx: incident.end(tx, "fast", "anna"))
    assert DAY // 2 < (await info(front, named))[1] - front.clock.now() <= 9 * DAY


@pytest.mark.must("rfc9773.4.2.past")
@pytest.mark.clause("RFC 9773 section 4.2")
async def test_a_revoked_one_is_in_the_past_and_still_says_why(front: Front, subscriber: AcmeClient) -> None:
    named = await certified(front, subscriber)
    await opened(front, named)
    serial = cert_ids.read(named).serial
    await front.database.write(lambda tx: revocations.revoke(tx, serial, 4, "the incident"))
    answer = await subscriber.get(f"/acme/renewal-info/{named}")
    assert window(answer)[1] < front.clock.now()
    assert answer.body["explanationURL"] == PAGE


@pytest.mark.clause("RFC 9773 section 5")
async def test_from_its_opening_on_no_rate_limit_holds_a_renewal_up(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    assert not (await look(front, subscriber, named)).in_time
    await opened(front, named)
    assert (await look(front, subscriber, named)).in_time
    placed = await subscriber.order(*NAMES, replaces=named)
    assert front.database.reader.all("SELECT renewal FROM orders ORDER BY rowid DESC")[0]["renewal"] == 1
    assert placed.status == 201
    await front.database.write(lambda tx: incident.end(tx, "one", "anna"))
    assert not (await look(front, subscriber, named)).in_time


async def test_what_became_of_each_certificate(front: Front, subscriber: AcmeClient) -> None:
    named = [await certified(front, subscriber) for _ in range(4)]
    serials = [cert_ids.read(each).serial for each in named]
    await opened(front, *named)
    await front.database.write(lambda tx: revocations.revoke(tx, serials[1], 4, "the incident"))
    await front.database.write(
        lambda tx: tx.execute("UPDATE certificates SET not_after = 1 WHERE serial = ?", (serials[2],))
    )
    placed = await subscriber.order(*NAMES, replaces=named[0])
    for url in placed.body["authorizations"]:
        await subscriber.post((await subscriber.post(url)).body["challenges"][0]["url"], {})
    await front.run_jobs()
    assert found(front)[serials[0]] is Fate.LEFT  # its order has no certificate yet
    await subscriber.post(placed.body["finalize"], {"csr": b64(csr(ec_key(), NAMES))})
    await front.run_jobs()
    assert [found(front)[each] for each in serials] == [Fate.REPLACED, Fate.REVOKED, Fate.EXPIRED, Fate.LEFT]


def found(front: Front) -> dict[bytes, Fate]:
    """By pages of one."""
    rows, all_of, after = front.database.reader, {}, b""
    while page := incidents.fates(rows, "one", after, 1, front.clock.now()):
        all_of.update(page)
        after = page[0][0]
    return all_of


async def test_a_certificate_is_put_in_once_and_what_needs_no_renewal_is_left_out(
    front: Front, subscriber: AcmeClient
) -> None:
    named = [await certified(front, subscriber) for _ in range(3)]
    serials = [cert_ids.read(each).serial for each in named]
    await front.database.write(lambda tx: revocations.revoke(tx, serials[2], 4, "before"))
    await opened(front)
    front.clock.at += 60
    first = await front.database.write(lambda tx: incident.name(tx, "one", serials[:1], "anna"))
    front.clock.at += 60
    again = await front.database.write(lambda tx: incident.name(tx, "one", [*serials, b"\x01"], "anna"))
    assert (first.added, first.already, first.ended, first.unknown) == (1, 0, 0, 0)
    assert (again.added, again.already, again.ended, again.unknown) == (1, 1, 1, 1)
    rows = front.database.reader.all("SELECT added_at FROM incident_serials ORDER BY added_at")
    assert rows[1]["added_at"] - rows[0]["added_at"] == 60
    known = incidents.by_id(front.database.reader, "one")
    assert known is not None
    assert known.total == 2
    assert len(front.audit("incident.certificates")) == 2


async def test_a_selection_is_put_in_page_by_page(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acme_server.store.selection.SCAN", 2)
    for _ in range(5):
        await certified(front, subscriber)
    await certified(front, await front.subscriber())
    await opened(front)
    chosen = Selection(account_url=str(subscriber.kid))
    pages = [await front.database.write(lambda tx: incident.choose(tx, "one", chosen, 0, 0, "anna"))]
    while pages[-1].after < pages[-1].until:
        at = pages[-1]
        pages.append(
            await front.database.write(
                lambda tx, at=at: incident.choose(tx, "one", chosen, at.after, at.until, "anna")  # type: ignore[misc]
            )
        )
    assert [each.added for each in pages] == [2, 2, 1]
    repeated = await front.database.write(lambda tx: incident.choose(tx, "one", chosen, 0, 0, "anna"))
    assert (repeated.added, repeated.already) == (0, 2)


BENT = {
    "no title": ({"title": ""}, "incident.title"),
    "a title of two lines": ({"title": "a\nb"}, "incident.title"),
    "an endless title": ({"title": "a" * 201}, "incident.title"),
    "no URL": ({"url": "ca.example/page"}, "incident.url"),
    "a script": ({"url": "javascript:alert(1)"}, "incident.url"),
    "a URL with a blank": ({"url": "https://ca.example/a b"}, "incident.url"),
    "a URL that a terminal would obey": ({"url": "https://ca.example/\x1b[2J"}, "incident.url"),
    "a URL of no host": ({"url": "https:///2026-12"}, "incident.url"),
    "a time that is over": ({"days": 0}, "incident.renew-by"),
}


@pytest.mark.parametrize(("bent", "code"), BENT.values(), ids=BENT.keys())
async def test_what_makes_no_sense_is_refused_and_nothing_changes(
    front: Front, bent: dict[str, str], code: str
) -> None:
    before = front.counts()
    with pytest.raises(Refused) as refused:
        await front.database.write(lambda tx: incident.begin(tx, new(front, **bent)))  # type: ignore[arg-type]
    assert refused.value.code == code
    assert front.counts() == before


async def test_a_closed_incident_takes_nothing_in_and_is_closed_once(
    front: Front, subscriber: AcmeClient
) -> None:
    named = await certified(front, subscriber)
    await opened(front)
    with pytest.raises(Refused, match=r"incident.selection"):
        await front.database.write(lambda tx: incident.choose(tx, "one", Selection(), 0, 0, "anna"))
    await front.database.write(lambda tx: incident.end(tx, "one", "anna"))
    before = front.counts()
    for id, code in (("one", "closed"), ("two", "unknown")):
        for act in (
            lambda tx, id=id: incident.name(tx, id, [cert_ids.read(named).serial], "anna"),
            lambda tx, id=id: incident.choose(tx, id, Selection(issuer_id="ec-1"), 0, 0, "anna"),
            lambda tx, id=id: incident.end(tx, id, "anna"),
        ):
            with pytest.raises(Refused, match=rf"incident\.{code}"):
                await front.database.write(act)  # type: ignore[arg-type]
    assert front.counts() == before
    assert [each["kind"] for each in front.audit("incident.closed")] == ["incident.closed"]
