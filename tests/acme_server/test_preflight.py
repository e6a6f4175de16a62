"""POST /acme/preflight: what would become of an order, and that nothing becomes of asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.handlers import preflight
from core.settings import Settings
from tests.support import web
from tests.support.acme_client import AcmeClient, Answer
from tests.support.acme_front import BASE, Front, running
from tests.support.fake_dns import TableResolver, caa, failure
from tests.support.looking_front import CountingKey, looking
from tests.support.tls import TlsServer, certificate, context, der, names
from tests.support.web import WebServer
from validation.dns.resolver import Answer as DnsAnswer
from validation.dns.resolver import Fault, LookupFailure, Type
from validation.methods.dns_account01 import account_label

NAME = "www.example.com"
HERE = {f"{NAME} A": ["127.0.0.1"], f"{NAME} AAAA": []}
MARKER = "MARKER-OF-A-BODY"


async def foreseen(client: AcmeClient, *names: str, **members: Any) -> Answer:
    identifiers = [{"type": "dns", "value": name} for name in names]
    return await client.post("/acme/preflight", {"identifiers": identifiers, **members})


def of_method(answer: Answer, method: str, at: int = 0) -> dict[str, Any]:
    (found,) = (each for each in answer.body["identifiers"][at]["methods"] if each["method"] == method)
    return dict(found)


@asynccontextmanager
async def kept_as_it_was(front: Front, key: CountingKey | None = None) -> AsyncIterator[None]:
    """Not a row more or less, no record of the audit log, no job, no statement."""
    before, wakes = front.counts(), list(front.wakes)
    head = front.database.reader.one("SELECT MAX(sequence), hash FROM audit")
    yield
    assert front.counts() == before
    after = front.database.reader.one("SELECT MAX(sequence), hash FROM audit")
    assert tuple(after or ()) == tuple(head or ())
    assert front.wakes == wakes
    assert key is None or key.signed == 0


async def test_a_name_that_could_be_validated_is_said_to_be_and_nothing_comes_of_it(tmp_path: Path) -> None:
    page = web.response(MARKER.encode(), "404 Not Found")
    table = {**HERE, "example.com CAA": [caa(0, "issue", "ca.example")]}
    eyes = {"tokyo": TableResolver(table), "oregon": TableResolver(table)}
    async with (
        WebServer(page) as host,
        TlsServer(context(der(certificate(names("another.example"))))) as tls,
        looking(tmp_path, eyes, http_port=host.port, tls_alpn_port=tls.port) as (front, key),
    ):
        subscriber = await front.subscriber()
        async with kept_as_it_was(front, key):
            answer = await foreseen(subscriber, NAME)
    assert answer.status == 200
    assert answer.body["placed"] is True
    assert answer.body["order"]["status"] == "pending"
    (told,) = answer.body["identifiers"]
    assert (told["authorization"], told["looked"]) == ({"reused": False, "status": "pending"}, True)
    http = of_method(answer, "http-01")
    assert (http["works"], http["quorum"]) == ("yes", {"control": "1/1", "caa": "1/1"})
    assert "404" in http["note"]
    assert [each["code"] for each in http["perspectives"]] == ["tokyo", "oregon"]
    (request,) = http["perspectives"][1]["requests"]
    assert (request["status"], request["address"]) == (404, "127.0.0.1")
    assert request["url"].startswith(f"http://{NAME}/.well-known/acme-challenge/")
    assert of_method(answer, "tls-alpn-01")["works"] == "yes"
    dns = of_method(answer, "dns-01")
    assert (dns["works"], dns["record"]["name"]) == ("yes", f"_acme-challenge.{NAME}")
    account = of_method(answer, "dns-account-01")["record"]["name"]
    assert account == f"{account_label(subscriber.kid or '')}._acme-challenge.{NAME}"
    assert told["caa"][0]["foundAt"] == "example.com"
    assert told["caa"][0]["records"][0]["says"] == "permits this certificate"
    assert host.connections == 2
    assert MARKER not in answer.octets.decode()


@pytest.mark.clause("RFC 8657 section 3")
@pytest.mark.clause("RFC 8657 section 4")
async def test_caa_is_judged_for_each_method_and_this_account(tmp_path: Path) -> None:
    async with looking(tmp_path, {"tokyo": (resolver := TableResolver(HERE))}) as (front, _):
        subscriber = await front.subscriber()
        mine = f"ca.example; accounturi={subscriber.kid}; validationmethods=dns-01"
        resolver.table[f"{NAME} CAA"] = [caa(0, "issue", mine)]
        answer = await foreseen(subscriber, NAME, methods=["dns-01", "dns-account-01"])
        stranger = await foreseen(await front.subscriber(), NAME, methods=["dns-01"])
    assert (of_method(answer, "dns-01")["works"], of_method(answer, "dns-01")["caa"]) == ("yes", "yes")
    other = of_method(answer, "dns-account-01")
    assert (other["works"], other["network"], other["caa"]) == ("no", "yes", "no")
    assert other["problem"]["type"].endswith(":caa")
    assert "validationmethods does not name dns-account-01" in other["problem"]["detail"]
    assert set(other["advice"]) == {"en", "ja"}
    assert "another account" in of_method(stranger, "dns-01")["problem"]["detail"]


async def test_what_would_fail_says_how_and_what_to_do(tmp_path: Path) -> None:
    bogus = LookupFailure(NAME, Type.TXT, "SERVFAIL", Fault.BOGUS)
    table = {**HERE, f"{NAME} TXT": bogus}
    async with looking(tmp_path, {"tokyo": TableResolver(table)}, http_port=1, tls_alpn_port=1) as (front, _):
        answer = await foreseen(await front.subscriber(), NAME)
    http, dns = of_method(answer, "http-01"), of_method(answer, "dns-01")
    assert (http["works"], http["problem"]["type"].rpartition(":")[2]) == ("no", "connection")
    assert "connection refused" in http["problem"]["detail"]
    assert "port 80" in http["advice"]["en"]
    assert (dns["works"], dns["problem"]["type"].rpartition(":")[2]) == ("no", "dns")
    assert "DNSSEC" in dns["advice"]["en"]
    assert of_method(answer, "tls-alpn-01")["works"] == "no"
    assert of_method(answer, "dns-account-01")["works"] == "no"


async def test_the_others_are_asked_only_when_the_primary_met_something_that_could_work(
    tmp_path: Path,
) -> None:
    away = TableResolver({f"{NAME} {kind}": failure() for kind in ("A", "AAAA")})
    other = TableResolver(HERE)
    async with looking(tmp_path, {"tokyo": away, "oregon": other}) as (front, _):
        answer = await foreseen(await front.subscriber(), NAME, methods=["http-01"])
    _, oregon = of_method(answer, "http-01")["perspectives"]
    assert "not asked" in oregon["absence"]
    assert of_method(answer, "http-01")["quorum"] == {"control": "", "caa": ""}
    assert other.asked == []


async def test_a_place_that_would_see_another_thing_is_named(tmp_path: Path) -> None:
    dark = TableResolver({**HERE, f"{NAME} A": None, f"{NAME} AAAA": None})
    eyes = {"tokyo": TableResolver(HERE), "oregon": dark}
    async with (
        WebServer(web.response(b"", "404 Not Found")) as host,
        looking(tmp_path, eyes, http_port=host.port) as (front, _),
    ):
        answer = await foreseen(await front.subscriber(), NAME, methods=["http-01"])
    http = of_method(answer, "http-01")
    assert (http["works"], http["quorum"]["control"]) == ("no", "0/1")
    assert http["problem"]["detail"].startswith("During secondary validation: ")
    assert "several places" in http["advice"]["en"]


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "192.168.7.7", "100.64.0.1"])
@pytest.mark.row("attacks.name-to-internal")
async def test_an_inner_address_is_never_visited(tmp_path: Path, address: str) -> None:
    table = {f"{NAME} A": [address], f"{NAME} AAAA": ["::ffff:127.0.0.1"]}
    async with looking(tmp_path, {"tokyo": TableResolver(table)}) as (front, _):
        answer = await foreseen(await front.subscriber(), NAME, methods=["http-01", "tls-alpn-01"])
    for method in ("http-01", "tls-alpn-01"):
        told = of_method(answer, method)
        assert told["works"] == "no"
        assert "requests" not in told["perspectives"][0]
        assert "handshakes" not in told["perspectives"][0]


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.parametrize("location", [f"http://{NAME}:PORT/", "http://10.0.0.1/", "http://169.254.169.254/"])
async def test_a_redirect_leads_to_no_other_port_and_no_inner_address(tmp_path: Path, location: str) -> None:
    async with WebServer(web.response(MARKER.encode())) as inner:
        lure = web.redirect(location.replace("PORT", str(inner.port)))
        async with (
            WebServer(lure) as host,
            looking(tmp_path, {"tokyo": TableResolver(HERE)}, http_port=host.port) as (front, _),
        ):
            answer = await foreseen(await front.subscriber(), NAME, methods=["http-01"])
        assert inner.connections == 0
    told = of_method(answer, "http-01")
    assert (told["works"], told["problem"]["type"].rpartition(":")[2]) == ("no", "connection")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"identifiers": []}, "malformed"),
        ({}, "malformed"),
        ({"identifiers": [{"type": "dns", "value": "a..b"}]}, "malformed"),
        ({"identifiers": [{"type": "dns", "value": "example.com"}], "profile": "none"}, "invalidProfile"),
        ({"identifiers": [{"type": "ip", "value": "10.0.0.1"}]}, "rejectedIdentifier"),
    ],
)
async def test_what_new_order_would_refuse_is_told_word_for_word(
    front: Front, subscriber: AcmeClient, payload: dict[str, Any], problem: str
) -> None:
    async with kept_as_it_was(front):
        answer = await subscriber.post("/acme/preflight", payload)
    refused = await subscriber.post("/acme/new-order", payload)
    assert answer.status == 200
    assert (answer.body["placed"], answer.body["identifiers"]) == (False, [])
    assert answer.body["problem"] == refused.body
    assert refused.problem == problem
    assert front.foreseer.asked == []


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_an_account_that_is_backed_off_is_told_so_and_may_still_look(
    front: Front, subscriber: AcmeClient
) -> None:
    for _ in range(front.context.settings.limits.failures_free):
        order = await subscriber.order(NAME)
        authorization = await subscriber.post(order.body["authorizations"][0])
        await subscriber.post(authorization.body["challenges"][0]["url"], {})
        await front.run_jobs()
    assert (await subscriber.order(NAME)).problem == "rateLimited"
    async with kept_as_it_was(front):
        answer = await foreseen(subscriber, NAME)
    assert answer.body["placed"] is False
    assert answer.body["problem"]["type"].endswith(":rateLimited")
    assert answer.body["problem"]["retryAfter"] > 0
    assert [each[0] for each in front.foreseer.asked] == [NAME]
    assert answer.body["identifiers"][0]["looked"] is False


async def test_a_limit_of_orders_is_looked_at_and_not_spent(tmp_path: Path) -> None:
    def few(settings: Settings) -> Settings:
        return replace(settings, limits=replace(settings.limits, new_order_account=2))

    async with running(tmp_path, few) as front:
        subscriber = await front.subscriber()
        for _ in range(4):
            assert (await foreseen(subscriber, NAME)).body["placed"] is True
        assert (await subscriber.order("a.example.com", "b.example.com")).status == 201
        told = (await foreseen(subscriber, NAME)).body
    assert told["placed"] is False
    assert told["problem"]["limit"] == "new-order-account"


@pytest.mark.clause("RFC 8555 section 6.6")
@pytest.mark.parametrize(("limit", "others"), [("preflight_account", False), ("preflight_domain", True)])
async def test_it_has_limits_of_its_own(tmp_path: Path, limit: str, others: bool) -> None:
    def few(settings: Settings) -> Settings:
        return replace(settings, limits=replace(settings.limits, **{limit: 3}))

    async with running(tmp_path, few) as front:
        subscriber = await front.subscriber()
        for _ in range(3):
            assert (await foreseen(subscriber, NAME)).status == 200
        asked = len(front.foreseer.asked)
        async with kept_as_it_was(front):
            refused = await foreseen(subscriber, NAME)
        assert (refused.status, refused.problem) == (429, "rateLimited")
        assert limit.replace("_", "-") in refused.body["detail"]
        assert refused.headers["Retry-After"].isdigit()
        assert len(front.foreseer.asked) == asked
        assert (await subscriber.order(NAME)).status == 201
        stranger = await foreseen(await front.subscriber(), f"other.{NAME}")
        assert (stranger.status == 429) is others


async def test_a_valid_authorization_is_used_again_and_not_looked_at(tmp_path: Path) -> None:
    def reusing(settings: Settings) -> Settings:
        return replace(settings, acme=replace(settings.acme, authorization_reuse=86400))

    async with running(tmp_path, reusing) as front:
        subscriber = await front.subscriber()
        order = await front.authorized(subscriber, NAME)
        async with kept_as_it_was(front):
            answer = await foreseen(subscriber, NAME, "new.example.com")
        alone = (await foreseen(subscriber, NAME)).body
    first, second = answer.body["identifiers"]
    assert first["authorization"]["reused"] is True
    assert first["authorization"]["url"] == order.body["authorizations"][0]
    assert second["authorization"] == {"reused": False, "status": "pending"}
    assert [each[0] for each in front.foreseer.asked] == ["new.example.com"]
    assert alone["order"]["status"] == "ready"


async def test_ten_names_are_looked_at_and_what_is_missing_is_said(
    front: Front, subscriber: AcmeClient
) -> None:
    asked = [f"n{number}.example.com" for number in range(12)]
    answer = await foreseen(subscriber, *asked)
    assert [each[0] for each in front.foreseer.asked] == asked[: preflight.NAMES]
    missing = ["missing" in each for each in answer.body["identifiers"]]
    assert missing == [True] * 10 + [False] * 2


async def test_the_answer_comes_in_time_without_who_is_late(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "SECONDS", 0.05)
    ended = asyncio.Event()

    class Never:
        async def look(self, *asked: object) -> Any:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

    front.foreseer.inner = Never()
    answer = await foreseen(subscriber, NAME)
    assert answer.body["identifiers"][0]["looked"] is False
    assert ended.is_set()


@pytest.mark.parametrize("methods", [[], ["http-02"], "http-01", [1]])
async def test_methods_that_are_none_are_refused(
    front: Front, subscriber: AcmeClient, methods: object
) -> None:
    async with kept_as_it_was(front):
        refused = await foreseen(subscriber, NAME, methods=methods)
    assert (refused.status, refused.problem) == (400, "malformed")


async def test_only_an_account_may_ask(front: Front) -> None:
    stranger = front.client()
    refused = await foreseen(stranger, NAME)
    assert (refused.status, refused.problem) == (400, "malformed")
    assert (await stranger.get("/acme/preflight")).status == 405
    assert front.foreseer.asked == []


async def test_it_can_be_turned_off(tmp_path: Path) -> None:
    def off(settings: Settings) -> Settings:
        return replace(settings, acme=replace(settings.acme, preflight=False))

    async with running(tmp_path, off) as front:
        assert "preflight" not in (await front.client().get("/directory")).body["meta"]
        refused = await foreseen(await front.subscriber(), NAME)
        assert refused.status == 404


async def test_what_would_wait_for_a_person_is_told_by_name_alone_to_who_controls_the_name(
    tmp_path: Path,
) -> None:
    listed = tmp_path / "high-risk.txt"
    listed.write_text("example.com\n")

    def watchful(settings: Settings) -> Settings:
        return replace(settings, ca=replace(settings.ca, high_risk=str(listed)))

    async with running(tmp_path, watchful) as front:
        subscriber, stranger = await front.subscriber(), await front.subscriber()
        await front.authorized(subscriber, NAME)
        async with kept_as_it_was(front):
            answer = await foreseen(subscriber, NAME, "www.example.org")
        free = await foreseen(subscriber, "www.example.org")
        # Else whoever has an account could read the list, and find names that look alike and are not on it.
        others = await foreseen(stranger, NAME, "example.com")
    assert answer.body["order"]["held"] == [NAME]
    assert "held" not in free.body["order"]
    assert (others.body["placed"], "held" in others.body["order"]) == (True, False)


async def test_a_pending_authorization_that_would_be_shared_is_named_and_looked_at(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order(NAME)
    answer = await foreseen(subscriber, NAME)
    (told,) = answer.body["identifiers"]
    assert (told["authorization"]["reused"], told["authorization"]["status"]) == (True, "pending")
    assert told["authorization"]["url"] == order.body["authorizations"][0]
    assert [each[0] for each in front.foreseer.asked] == [NAME]


class Counting(TableResolver):
    """Counts how many look at once, and holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.waiting = 0

    async def lookup(self, name: str, type: Type) -> DnsAnswer:
        if type is Type.TXT:
            self.waiting += 1
            await self.free.wait()
        return await super().lookup(name, type)


async def test_it_takes_no_place_from_a_validation(tmp_path: Path) -> None:
    resolver = Counting()
    async with looking(tmp_path, {"tokyo": resolver}, concurrency=1, methods=("dns-01",)) as (front, _):
        subscriber = await front.subscriber()
        looks = [
            asyncio.create_task(
                front.foreseer.look(f"n.example{each}.com", f"{BASE}/{each}", ["dns-01"], ["B" * 43])
            )
            for each in range(8)
        ]
        while resolver.waiting < 8:
            await asyncio.sleep(0)
        front.foreseer.inner, scouts = None, resolver.waiting
        resolver.free.set()
        order = await subscriber.order(NAME)
        authorization = await subscriber.post(order.body["authorizations"][0])
        await subscriber.post(authorization.body["challenges"][0]["url"], {})
        await front.run_jobs()
        await asyncio.gather(*looks)
    assert scouts == 8
    assert front.raised == []
