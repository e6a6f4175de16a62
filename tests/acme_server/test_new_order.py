"""newOrder: which identifiers are taken, how an order and its authorizations look (RFC 8555 7.1.3, 7.4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core.settings import Settings
from tests.support.acme_client import AcmeClient, b64, csr, ec_key, thumbprint
from tests.support.acme_front import Front, running

NAME = "www.example.com"

REFUSED: dict[str, tuple[Any, str]] = {
    "no identifiers": ({}, "malformed"),
    "an empty list": ({"identifiers": []}, "malformed"),
    "a string": ({"identifiers": NAME}, "malformed"),
    "an identifier that is a string": ({"identifiers": [NAME]}, "malformed"),
    "no value": ({"identifiers": [{"type": "dns"}]}, "malformed"),
    "a number": ({"identifiers": [{"type": "dns", "value": 7}]}, "malformed"),
    "another type": ({"identifiers": [{"type": "email", "value": "a@b"}]}, "unsupportedIdentifier"),
    "an address of documentation": (
        {"identifiers": [{"type": "ip", "value": "192.0.2.1"}]},
        "rejectedIdentifier",
    ),
    "loopback": ({"identifiers": [{"type": "ip", "value": "127.0.0.1"}]}, "rejectedIdentifier"),
    "an inner address": ({"identifiers": [{"type": "ip", "value": "10.0.0.1"}]}, "rejectedIdentifier"),
    "an address in an address": (
        {"identifiers": [{"type": "ip", "value": "64:ff9b::7f00:1"}]},
        "rejectedIdentifier",
    ),
    "an address with zeroes": ({"identifiers": [{"type": "ip", "value": "9.9.9.09"}]}, "malformed"),
    "a short address": ({"identifiers": [{"type": "ip", "value": "9.9"}]}, "malformed"),
    "a network": ({"identifiers": [{"type": "ip", "value": "9.9.9.0/24"}]}, "malformed"),
    "capitals": ({"identifiers": [{"type": "ip", "value": "2620:FE::9"}]}, "malformed"),
    "a long form": ({"identifiers": [{"type": "ip", "value": "2620:fe:0::9"}]}, "malformed"),
    "brackets": ({"identifiers": [{"type": "ip", "value": "[2620:fe::9]"}]}, "malformed"),
    "a zone index": ({"identifiers": [{"type": "ip", "value": "fe80::1%eth0"}]}, "malformed"),
    "a name as address": ({"identifiers": [{"type": "ip", "value": NAME}]}, "malformed"),
    "an address": ({"identifiers": [{"type": "dns", "value": "192.0.2.1"}]}, "malformed"),
    "an underscore": ({"identifiers": [{"type": "dns", "value": "a_b.example.com"}]}, "malformed"),
    "a NUL": ({"identifiers": [{"type": "dns", "value": "a\x00.example.com"}]}, "malformed"),
    "too many": (
        {"identifiers": [{"type": "dns", "value": f"{n}.example.com"} for n in range(101)]},
        "malformed",
    ),
}


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.error")
@pytest.mark.parametrize(("payload", "kind"), REFUSED.values(), ids=REFUSED.keys())
async def test_an_order_is_refused_and_nothing_changes(
    front: Front, subscriber: AcmeClient, payload: Any, kind: str
) -> None:
    before = front.counts()
    answer = await subscriber.post("/acme/new-order", payload)
    assert (answer.status, answer.problem) == (400, kind)
    assert front.counts() == before


@pytest.mark.row("errors.compound")
@pytest.mark.clause("RFC 8555 section 6.7.1")
@pytest.mark.must("rfc8555.6.7.1.identifier", "rfc8555.6.7.1.not-on-top")
async def test_every_refused_identifier_has_its_subproblem(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("good.example.com", "a_b.example.com", "1.0.0.127.in-addr.arpa")
    assert (answer.status, answer.problem) == (400, "compound")
    assert [each["identifier"]["value"] for each in answer.body["subproblems"]] == [
        "a_b.example.com",
        "1.0.0.127.in-addr.arpa",
    ]
    assert "identifier" not in answer.body


@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.must("rfc8555.7.1.4.encoded")
async def test_names_are_normalised_and_each_is_ordered_once(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("WWW.Example.COM", "www.example.com", "*.example.com")
    assert [each["value"] for each in answer.body["identifiers"]] == ["www.example.com", "*.example.com"]
    assert len(answer.body["authorizations"]) == 2


@pytest.mark.row("methods.wildcard")
@pytest.mark.clause("RFC 8555 section 7.1.4")
@pytest.mark.must(
    "rfc8555.7.1.3.no-star",
    "rfc8555.7.1.3.wildcard",
    "rfc8555.7.1.4.wildcard",
    "rfc8555.7.1.4.wildcard-absent",
    "rfc8555.7.1.4.no-star",
    "rfc8555.7.1.4.base-domain",
)
async def test_a_wildcard_is_shown_without_its_star_and_with_dns_challenges_only(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order("*.example.com", "example.com")
    wildcard, plain = [(await subscriber.post(url)).body for url in order.body["authorizations"]]
    assert wildcard["identifier"] == {"type": "dns", "value": "example.com"}
    assert wildcard["wildcard"] is True
    assert [each["type"] for each in wildcard["challenges"]] == ["dns-01", "dns-account-01"]
    assert "wildcard" not in plain
    offered = ["http-01", "dns-01", "tls-alpn-01", "dns-account-01"]
    assert [each["type"] for each in plain["challenges"]] == offered
    assert all(len(each["token"]) >= 22 for each in plain["challenges"])


@pytest.mark.row("methods.ip")
@pytest.mark.row("errors.new-order")
@pytest.mark.clause("RFC 8738 section 3, section 7")
@pytest.mark.must("rfc8738.3.type", "rfc8738.3.text", "rfc8738.7.no-dns", "rfc8555.7.4.contents")
async def test_an_address_is_ordered_validated_and_certified_without_a_dns_challenge(
    front: Front, subscriber: AcmeClient
) -> None:
    addresses = ("9.9.9.9", "2620:fe::fe")
    front.perspectives.pass_names = {*addresses, NAME}
    order = await subscriber.order(*addresses, NAME)
    assert order.body["identifiers"] == [
        {"type": "ip", "value": "9.9.9.9"},
        {"type": "ip", "value": "2620:fe::fe"},
        {"type": "dns", "value": NAME},
    ]
    for url, name in zip(order.body["authorizations"], (*addresses, NAME), strict=True):
        shown = (await subscriber.post(url)).body
        assert shown["identifier"] == {"type": "dns" if name == NAME else "ip", "value": name}
        if name != NAME:
            assert [each["type"] for each in shown["challenges"]] == ["http-01", "tls-alpn-01"]
        await subscriber.post(shown["challenges"][-1]["url"], {})
        await front.run_jobs()
    ready = (await subscriber.post(order.headers["Location"])).body
    assert (ready["status"], ready["identifiers"]) == ("ready", order.body["identifiers"])

    async def finalize(request: bytes) -> tuple[int, str]:
        answer = await subscriber.post(order.body["finalize"], {"csr": b64(request)})
        return answer.status, answer.problem

    as_names = x509.SubjectAlternativeName([x509.DNSName(each) for each in (*addresses, NAME)])
    assert await finalize(csr(ec_key(), [], extensions=[as_names])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [NAME, "9.9.9.9"])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [NAME, "9.9.9.9", "2620:fe::ff"])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [*addresses, NAME])) == (200, "")
    await front.run_jobs()
    assert front.issuance.approved[-1].names == (*addresses, NAME)
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


@pytest.mark.row("errors.compound")
async def test_a_refused_address_is_named_with_its_type(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("10.0.0.1", "a_b.example.com")
    assert [each["identifier"]["type"] for each in answer.body["subproblems"]] == ["ip", "dns"]


def persistent(settings: Settings, *, plain: bool = False) -> Settings:
    return replace(
        settings,
        ca=replace(settings.ca, caa_identities=("ca.example", "ca.example.net")),
        validation=replace(settings.validation, methods=("http-01", "dns-persist-01"), persist_plain=plain),
    )


@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 3.1")
@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 3.2")
async def test_a_persistent_challenge_names_the_issuers_and_has_no_token(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        meta = (await subscriber.get("/directory")).body["meta"]
        assert meta["issuerDomainNames"] == meta["caaIdentities"] == ["ca.example", "ca.example.net"]
        assert meta["accountHashPrefix"] == "https://ca.test:14000/acme/account-hash/"
        front.perspectives.pass_names = {NAME}
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        assert [each["type"] for each in shown] == ["http-01", "dns-persist-01"]
        assert set(shown[1]) == {"type", "url", "status", "issuerDomainNames"}
        assert shown[1]["issuerDomainNames"] == ["ca.example", "ca.example.net"]
        answered = (await subscriber.post(shown[1]["url"], {})).body
        assert answered["status"] == "processing"
        await front.run_jobs()
        # The perspectives are asked without a token; what they saw is good for an hour at least.
        assert front.perspectives.asked[-1][1:4] == (subscriber.kid, "dns-persist-01", "")
        valid = (await subscriber.post(order.body["authorizations"][0])).body
        expires = datetime.fromisoformat(valid["expires"]).timestamp()
        assert (valid["status"], expires - front.clock.at) == ("valid", 3600)


@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.clause("draft-ietf-acme-dns-persist-00 section 3.1")
async def test_where_the_plain_form_is_allowed_the_challenge_has_both(tmp_path: Path) -> None:
    async with running(tmp_path, partial(persistent, plain=True)) as front:
        subscriber = await front.subscriber()
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"][1]
        assert shown["issuerDomainNames"] == shown["issuer-domain-names"] == ["ca.example", "ca.example.net"]
        assert shown["accounturi"] == subscriber.kid


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
async def test_an_authorization_ends_with_the_records_persist_until(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        front.perspectives.pass_names = {NAME}
        front.perspectives.good_until = front.clock.at + 600
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[1]["url"], {})
        await front.run_jobs()
        valid = (await subscriber.post(order.body["authorizations"][0])).body
        expires = datetime.fromisoformat(valid["expires"]).timestamp()
        assert (valid["status"], expires) == ("valid", front.perspectives.good_until)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
async def test_the_perspectives_hear_of_all_keys_that_the_account_had(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        keys = [subscriber.key, ec_key(), ec_key()]
        for new in keys[1:]:
            front.clock.at += 60
            assert (await subscriber.change_key(new)).status == 200
            subscriber.key = new
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[1]["url"], {})
        await front.run_jobs()
        assert front.perspectives.asked[-1][4:] == tuple(thumbprint(key) for key in reversed(keys))
        # Any other method proves the current key by itself.
        other = await subscriber.order("b.example.com")
        shown = (await subscriber.post(other.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[0]["url"], {})
        await front.run_jobs()
        assert front.perspectives.asked[-1][4:] == (thumbprint(keys[2]),)


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.1.6.order")
async def test_an_order_becomes_ready_only_when_every_authorization_is_valid(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names = {"a.example.com", "b.example.com"}
    order = await subscriber.order("a.example.com", "b.example.com")
    states = []
    for url in order.body["authorizations"]:
        challenge = (await subscriber.post(url)).body["challenges"][0]
        await subscriber.post(challenge["url"], {})
        await front.run_jobs()
        states.append((await subscriber.post(order.headers["Location"])).body["status"])
    assert states == ["pending", "ready"]
