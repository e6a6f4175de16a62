"""acme_server/handlers/account.py: newAccount, update, deactivation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from core.settings import Settings
from tests.support.acme_client import AcmeClient, ec_key, jwk
from tests.support.acme_front import BASE, Front, running

NEW = "/acme/new-account"


@pytest.mark.clause("RFC 8555 section 7.3")
@pytest.mark.must("rfc8555.7.3.created")
async def test_a_new_account_is_created_with_its_contacts(front: Front) -> None:
    client = front.client()
    answer = await client.register(contact=["mailto:admin@example.org"])
    assert answer.status == 201
    assert answer.headers["Location"].startswith(f"{BASE}/acme/account/")
    assert answer.body == {
        "status": "valid",
        "contact": ["mailto:admin@example.org"],
        "termsOfServiceAgreed": True,
        "orders": answer.headers["Location"] + "/orders",
    }
    assert len(front.audit("account.created")) == 1


@pytest.mark.clause("RFC 8555 section 7.3.1")
@pytest.mark.must("rfc8555.7.3.1.existing", "rfc8555.7.3.1.request-ignored")
async def test_a_known_key_finds_its_account_whatever_the_request_says(front: Front) -> None:
    client = front.client()
    first = await client.register()
    client.kid = None
    before = front.counts()
    again = await client.register(contact=["tel:+81"], termsOfServiceAgreed=False, onlyReturnExisting=True)
    assert (again.status, again.headers["Location"]) == (200, first.headers["Location"])
    assert again.body == first.body
    assert front.counts() == before


REFUSED: dict[str, tuple[dict[str, Any], str, int]] = {
    "only an existing one": ({"onlyReturnExisting": True}, "accountDoesNotExist", 400),
    "terms not agreed": ({"termsOfServiceAgreed": False}, "userActionRequired", 403),
    "terms that are a word": ({"termsOfServiceAgreed": "yes"}, "malformed", 400),
    "contact is a string": ({"contact": "mailto:a@example.org"}, "malformed", 400),
    "contact holds a number": ({"contact": [1]}, "malformed", 400),
    "another scheme": ({"contact": ["tel:+81312345678"]}, "unsupportedContact", 400),
    "no scheme": ({"contact": ["admin@example.org"]}, "unsupportedContact", 400),
    "header fields": ({"contact": ["mailto:a@example.org?subject=x"]}, "invalidContact", 400),
    "two addresses": ({"contact": ["mailto:a@example.org,b@example.org"]}, "invalidContact", 400),
    "no address": ({"contact": ["mailto:"]}, "invalidContact", 400),
    "a line break": ({"contact": ["mailto:a@example.org\n"]}, "invalidContact", 400),
    "too many": ({"contact": ["mailto:a@example.org"] * 11}, "invalidContact", 400),
}


@pytest.mark.clause("RFC 8555 section 7.3")
@pytest.mark.must(
    "rfc8555.7.3.only-existing",
    "rfc8555.7.3.1.none",
    "rfc8555.7.3.contacts",
    "rfc8555.7.3.hfields",
    "rfc8555.7.3.invalid-contact",
    "rfc8555.7.3.terms",
)
@pytest.mark.parametrize(("members", "kind", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_for_an_account_is_refused_and_nothing_changes(
    front: Front, members: dict[str, Any], kind: str, status: int
) -> None:
    before = front.counts()
    answer = await front.client().register(**members)
    assert (answer.problem, answer.status) == (kind, status)
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.3")
async def test_who_has_not_agreed_is_told_where_the_terms_are(front: Front) -> None:
    answer = await front.client().register(termsOfServiceAgreed=False)
    assert answer.links("terms-of-service") == ["http://localhost:14080/terms/terms-1.en.html"]


@pytest.mark.clause("RFC 8555 section 7.3")
@pytest.mark.must("rfc8555.7.3.unsupported-contact")
async def test_a_refused_contact_names_the_scheme_that_is_accepted(front: Front) -> None:
    answer = await front.client().register(contact=["tel:+81312345678"])
    assert (answer.problem, "mailto:" in answer.body["detail"]) == ("unsupportedContact", True)


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.jwk-signs")
async def test_a_new_account_needs_the_signature_of_its_own_key(front: Front) -> None:
    client = front.client()
    before = front.counts()
    answer = await client.post(NEW, {"termsOfServiceAgreed": True}, jwk=jwk(ec_key()))
    assert (answer.status, answer.problem) == (400, "malformed")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.bad-public-key", "rfc8555.6.2.bad-public-key-reason")
@pytest.mark.parametrize("bits", [1024, 2056])
async def test_a_weak_account_key_is_refused(front: Front, bits: int) -> None:
    before = front.counts()
    answer = await front.client(rsa.generate_private_key(65537, bits)).register()
    assert (answer.status, answer.problem) == (400, "badPublicKey")
    assert f"an RSA key of {bits} bits" in answer.body["detail"]
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.2")
@pytest.mark.must("rfc8555.7.3.2.updated", "rfc8555.7.3.mailto")
async def test_contacts_are_replaced_and_other_members_are_ignored(
    front: Front, subscriber: AcmeClient
) -> None:
    assert subscriber.kid is not None
    answer = await subscriber.post(
        subscriber.kid, {"contact": ["mailto:b@example.org"], "orders": "x", "termsOfServiceAgreed": False}
    )
    assert answer.status == 200
    assert answer.body["contact"] == ["mailto:b@example.org"]
    assert answer.body["termsOfServiceAgreed"] is True
    assert (await subscriber.post(subscriber.kid)).body == answer.body
    assert len(front.audit("account.updated")) == 1


@pytest.mark.clause("RFC 8555 section 7.3.2")
@pytest.mark.must("rfc8555.7.3.2.ignored")
@pytest.mark.parametrize("status", ["revoked", "valid", "Deactivated", 7, ["deactivated"], None])
async def test_any_status_but_deactivated_is_ignored(
    front: Front, subscriber: AcmeClient, status: Any
) -> None:
    assert subscriber.kid is not None
    before = front.counts()
    answer = await subscriber.post(
        subscriber.kid, {"status": status, "orders": [], "termsOfServiceAgreed": False, "likes": 1}
    )
    assert (answer.status, answer.body["status"], answer.body["termsOfServiceAgreed"]) == (200, "valid", True)
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.6")
@pytest.mark.must(
    "rfc8555.7.3.6.refused",
    "rfc8555.7.3.6.ended",
    "rfc8555.7.3.6.cancelled",
    "rfc8555.7.3.6.certificates-stay",
    "rfc8555.7.1.6.account",
)
async def test_a_deactivated_account_ends_what_is_open_and_is_refused_everywhere(
    front: Front, subscriber: AcmeClient
) -> None:
    assert subscriber.kid is not None
    _, certificate = await front.issued(subscriber, "kept.example.com")
    ready = await front.authorized(subscriber, "ready.example.com")
    order = await subscriber.order("open.example.com")
    answer = await subscriber.post(subscriber.kid, {"status": "deactivated"})
    assert (answer.status, answer.body["status"]) == (200, "deactivated")

    for path in (subscriber.kid, order.headers["Location"], order.body["authorizations"][0]):
        refused = await subscriber.post(path)
        assert (refused.status, refused.problem) == (401, "unauthorized")
    assert [row["subject"] for row in front.audit("access.ended-account")] == [
        f"account:{subscriber.kid.rpartition('/')[2]}"
    ]
    subscriber.kid = None
    assert (await subscriber.register()).status == 401

    statuses = front.database.reader.all("SELECT status FROM orders ORDER BY created_at, rowid")
    assert [row["status"] for row in statuses] == ["valid", "invalid", "invalid"]
    assert ready.body["status"] == "ready"
    assert front.counts()["revocations"] == 0
    assert certificate.serial_number > 0


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.jwk", "rfc8555.6.2.kid")
async def test_newaccount_needs_a_jwk_and_other_resources_a_kid(front: Front, subscriber: AcmeClient) -> None:
    with_kid = await subscriber.post(NEW, {"onlyReturnExisting": True})
    assert (with_kid.status, with_kid.problem) == (400, "malformed")
    stranger = front.client()
    with_jwk = await stranger.order("www.example.com")
    assert (with_jwk.status, with_jwk.problem) == (400, "malformed")


@pytest.mark.clause("RFC 8555 section 7.3")
@pytest.mark.must("rfc8555.11.1.one-account")
async def test_two_requests_at_once_with_one_key_make_one_account(front: Front) -> None:
    import asyncio

    key = ec_key()
    answers = await asyncio.gather(*(front.client(key).register() for _ in range(8)))
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert front.counts()["accounts"] == 1


@pytest.mark.clause("RFC 8555 section 7.3.3")
@pytest.mark.must("rfc8555.7.3.3.user-action", "rfc8555.7.3.3.link", "rfc8555.7.3.3.instance")
async def test_changed_terms_must_be_agreed_to_before_anything_new(tmp_path: Path) -> None:
    key = ec_key()
    async with running(tmp_path) as front:
        await front.subscriber(key)

    def changed(settings: Settings) -> Settings:
        return replace(settings, ca=replace(settings.ca, terms_version="2"))

    async with running(tmp_path, changed) as front:
        client = await front.subscriber(key)
        before = front.counts()
        answer = await client.order("www.example.com")
        assert (answer.status, answer.problem) == (403, "userActionRequired")
        assert answer.links("terms-of-service") == ["http://localhost:14080/terms/terms-2.en.html"]
        assert front.counts() == before

        page = answer.body["instance"]
        assert page.startswith(BASE)
        shown = await client.get(page)
        for words in ("version 2", "第2版", "I have read the terms and agree", "同意します"):
            assert words in shown.octets.decode()
        assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"]
        assert front.counts() == before
        forged = await client.get(page[:-1] + ("0" if page[-1] != "0" else "1"), "POST")
        assert forged.status == 404
        assert (await client.order("www.example.com")).status == 403
        assert (await client.get(page, "POST")).status == 200
        assert (await client.order("www.example.com")).status == 201
        assert len(front.audit("account.terms-agreed")) == 1


@pytest.mark.clause("RFC 8555 section 7.3.3")
async def test_a_link_to_the_terms_outlasts_a_restart_and_is_good_for_its_version_and_account_alone(
    tmp_path: Path,
) -> None:
    def version(number: str) -> Callable[[Settings], Settings]:
        return lambda settings: replace(settings, ca=replace(settings.ca, terms_version=number))

    key = ec_key()
    async with running(tmp_path) as front:
        other = await front.subscriber()
        await front.subscriber(key)
    async with running(tmp_path, version("2")) as front:
        page = (await (await front.subscriber(key)).order("www.example.com")).body["instance"]
    async with running(tmp_path, version("3")) as front:
        assert (await front.client().get(page, "POST")).status == 404
    async with running(tmp_path, version("2")) as front:
        client = await front.subscriber(key)
        assert client.kid is not None
        assert other.kid is not None
        foreign = page.replace(client.kid.rpartition("/")[2], other.kid.rpartition("/")[2])
        assert (await client.get(foreign, "POST")).status == 404
        assert (await client.get(page, "POST")).status == 200
        row = front.database.reader.one(
            "SELECT terms_version, terms_agreed_at FROM accounts WHERE url = ?", (client.kid,)
        )
        assert row is not None
        assert tuple(row) == ("2", front.clock.now())
        await client.post(client.kid, {"status": "deactivated"})
        assert (await client.get(page)).status == 404


@pytest.mark.clause("RFC 8555 section 7.3.6")
@pytest.mark.parametrize("resource", ["order", "authorization", "key", "contact"])
async def test_what_is_under_way_when_an_account_ends_begins_nothing(front: Front, resource: str) -> None:
    owner = await front.subscriber()
    other = front.client(owner.key)
    other.kid = owner.kid
    assert owner.kid is not None
    for each in (owner, other):
        await each.get("/acme/new-nonce", "HEAD")
    later = {
        "order": lambda: other.order("www.example.com"),
        "authorization": lambda: other.post(
            "/acme/new-authz", {"identifier": {"type": "dns", "value": "www.example.com"}}
        ),
        "key": lambda: other.change_key(ec_key()),
        "contact": lambda: other.post(owner.kid, {"contact": ["mailto:a@example.com"]}),
    }[resource]
    ended, answer = await asyncio.gather(owner.post(owner.kid, {"status": "deactivated"}), later())
    assert (ended.status, answer.status, answer.problem) == (200, 401, "unauthorized")
    counts = front.counts()
    assert (counts["orders"], counts["authorizations"], counts["account_keys"]) == (0, 0, 1)
    assert [each["kind"] for each in front.audit("account.updated")] == []
