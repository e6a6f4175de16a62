"""Our client against a server that does what it likes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock
from core.errors import TransientError
from operations.subscriber import client as under_test
from operations.subscriber.answers import DnsHook, Http01
from operations.subscriber.client import AcmeClient, AcmeRefused
from operations.subscriber.order import NotIssued, Orders, Wish
from tests.support.hostile_acme import Acme
from tests.world.addresses import free_port

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = "valid-ec.test.example"


class Answers:
    methods: Sequence[str] = ("tls-alpn-01",)

    def __init__(self) -> None:
        self.now: list[str] = []
        self.ever: list[str] = []

    @contextlib.asynccontextmanager
    async def answered(
        self, method: str, name: str, token: str, key_authorization: str
    ) -> AsyncIterator[None]:
        self.now.append(key_authorization)
        self.ever.append(key_authorization)
        yield
        self.now.remove(key_authorization)


class Desk:
    def __init__(self, acme: Acme, http: aiohttp.ClientSession) -> None:
        self.acme = acme
        self.clock = FakeClock(1_800_000_000)
        self.answers = Answers()
        self.client = AcmeClient(http, f"{acme.url}/directory", KEY, "http://x/account/1")
        self.orders = Orders(self.client, self.answers, self.clock, self._pause)
        self.paused: list[float] = []

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.clock.at += int(max(1, seconds))

    def serve(
        self, *, order: str = "pending", authorization: str = "pending", kind: str = "tls-alpn-01"
    ) -> None:
        url = self.acme.url
        self.order = {"authorizations": [f"{url}/authz"], "finalize": f"{url}/finalize"}
        self.acme.says("/newOrder", 201, {**self.order, "status": order}, {"Location": f"{url}/order"})
        challenge = {"type": kind, "url": f"{url}/challenge", "token": "token"}
        self.authz = {"identifier": {"type": "dns", "value": NAME}, "challenges": [challenge]}
        self.acme.says("/authz", 200, {**self.authz, "status": authorization})
        self.acme.says("/challenge", 200, {})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    acme = await Acme().start()
    async with aiohttp.ClientSession() as http:
        yield Desk(acme, http)
    await acme.stop()


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_an_order_is_gone_through_and_the_challenge_answered_only_meanwhile(desk: Desk) -> None:
    desk.serve()
    desk.acme.says("/authz", 200, {**desk.authz, "status": "valid"})
    desk.acme.says("/order", 200, {**desk.order, "status": "ready"})
    desk.acme.says("/finalize", 200, {**desk.order, "status": "processing"})
    desk.acme.says("/order", 200, {**desk.order, "status": "processing"}, {"Retry-After": "3"})
    desk.acme.says("/order", 200, {**desk.order, "status": "valid", "certificate": f"{desk.acme.url}/chain"})
    desk.acme.says("/chain", 200, b"PEM")
    assert await desk.orders.obtain(Wish(NAME, not_after=1_800_000_300), KEY) == "PEM"
    assert desk.answers.ever == [f"token.{desk.client.thumbprint}"]
    assert desk.answers.now == []
    assert 3 in desk.paused
    wished = next(payload for path, _, payload in desk.acme.asked if path == "/newOrder")
    assert wished["notAfter"] == "2027-01-15T08:05:00Z"


async def test_a_failed_challenge_is_told_in_the_servers_words_and_not_answered_any_more(desk: Desk) -> None:
    desk.serve()
    error = {"type": "urn:ietf:params:acme:error:connection", "detail": "port 443 is closed"}
    failed = {
        **desk.authz,
        "status": "invalid",
        "challenges": [{**desk.authz["challenges"][0], "error": error}],
    }
    desk.acme.says("/authz", 200, failed)
    with pytest.raises(NotIssued, match="port 443 is closed"):
        await desk.orders.obtain(Wish(NAME), KEY)
    assert desk.answers.now == []


async def test_a_server_that_is_never_ready_is_not_waited_for_without_end(desk: Desk) -> None:
    desk.serve()
    with pytest.raises(TransientError, match="still pending after 300 s"):
        await desk.orders.obtain(Wish(NAME), KEY)
    assert len(desk.paused) <= 301


async def test_a_retry_after_of_a_day_is_cut_short(desk: Desk) -> None:
    desk.serve()
    desk.acme.answers["/authz"] = [(200, {**desk.authz, "status": "pending"}, {"Retry-After": "86400"})]
    with pytest.raises(TransientError):
        await desk.orders.obtain(Wish(NAME), KEY)
    assert max(desk.paused) <= 15


async def test_without_a_challenge_that_can_be_answered_nothing_is_tried(desk: Desk) -> None:
    desk.serve(kind="dns-01")
    with pytest.raises(NotIssued, match="offers dns-01, and here only tls-alpn-01"):
        await desk.orders.obtain(Wish(NAME), KEY)
    assert "/challenge" not in {path for path, *_ in desk.acme.asked}


@pytest.mark.clause("RFC 9773 section 5")
async def test_what_was_replaced_already_is_ordered_anew(desk: Desk) -> None:
    desk.acme.refuses("/newOrder", "alreadyReplaced", 409)
    desk.serve(order="invalid", authorization="valid")
    desk.acme.says("/order", 200, {**desk.order, "status": "invalid", "error": {"detail": "CAA forbids"}})
    with pytest.raises(NotIssued, match="CAA forbids"):
        await desk.orders.obtain(Wish(NAME, replaces="a.b"), KEY)
    wished = [payload.get("replaces") for path, _, payload in desk.acme.asked if path == "/newOrder"]
    assert wished == ["a.b", None]


@pytest.mark.clause("RFC 8555 section 6.5")
async def test_a_bad_nonce_is_tried_again_with_the_new_one_and_not_for_ever(desk: Desk) -> None:
    desk.acme.refuses("/newOrder", "badNonce")
    with pytest.raises(AcmeRefused, match="badNonce"):
        await desk.orders.obtain(Wish(NAME), KEY)
    nonces = [header["nonce"] for path, header, _ in desk.acme.asked if path == "/newOrder"]
    assert len(nonces) == len(set(nonces)) == under_test.NONCE_TRIES


async def test_a_rate_limit_says_when_to_come_again(desk: Desk) -> None:
    desk.acme.refuses("/newOrder", "rateLimited", 429, **{"Retry-After": "3600"})
    with pytest.raises(AcmeRefused) as refused:
        await desk.orders.obtain(Wish(NAME), KEY)
    assert refused.value.retry_after == 3600


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"x" * (under_test.MAX_OCTETS + 1)), (200, b"[]"), (503, b"<html>"), (302, b"")],
    ids=["huge", "list", "away", "redirect"],
)
async def test_answers_that_are_none_are_transient_or_refused(desk: Desk, status: int, body: bytes) -> None:
    desk.acme.says("/newOrder", status, body, {"Location": "http://127.0.0.1:1/"})
    with pytest.raises((TransientError, AcmeRefused)):
        await desk.orders.obtain(Wish(NAME), KEY)


async def test_http_01_is_answered_while_it_is_asked(desk: Desk) -> None:
    port, http01 = free_port(), Http01()
    await http01.listen(f"127.0.0.1:{port}")
    url = f"http://127.0.0.1:{port}/.well-known/acme-challenge/token"
    async with aiohttp.ClientSession() as http:
        async with http01.answered("http-01", NAME, "token", "token.thumb"), http.get(url) as answer:
            assert (answer.status, await answer.text()) == (200, "token.thumb")
        async with http.get(url) as answer:
            assert answer.status == 404
    await http01.close()


async def test_a_dns_hook_sets_and_clears_the_record(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n[ "$3" != "" ]\n')
    hook.chmod(0o755)
    async with DnsHook(str(hook)).answered("dns-01", "a.example", "token", "token.thumb"):
        pass
    lines = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["set", "clear"]
    assert all(
        line.split()[1] == "_acme-challenge.a.example" and len(line.split()[2]) == 43 for line in lines
    )


async def test_a_dns_hook_that_fails_ends_the_order(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nexit 7\n")
    hook.chmod(0o755)
    with pytest.raises(TransientError, match="set ended with 7"):
        async with DnsHook(str(hook)).answered("dns-01", "a.example", "token", "token.thumb"):
            pass
