"""A whole CA under the public rules in the hostile Internet: who gets a certificate there, and who does not.

All its processes are the real ones, each perspective in a network of its own.  The attacker is an ACME client
like the applicant; he controls routes and not the host.  Whatever happens, the books are whole afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.client import ChallengeServer, make_csr, open_session
from bench.processes import tree
from tests.support.books import Books
from tests.support.ca import RunningCa
from tests.support.subscriber import Ended, Subscriber
from tests.world import namespaces
from tests.world.internet import PRESET, Internet
from tests.world.trap import Trap

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.clause("BR 3.2.2.9")]

PRIMARY = "tokyo"
REGION = ("oregon", "virginia")


class HostileCa(RunningCa):
    """Its perspectives are in the namespaces of an Internet (tests/world/supervised.py)."""

    prefix = ""

    def command(self, *words: str) -> list[str]:
        python, _, _, *rest = super().command(*words)
        return [python, "-m", "tests.world.supervised", self.prefix, *rest]

    def perspective(self, code: str) -> int:
        """The process of one perspective."""
        for pid in tree(self.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--code" in words and words[words.index(b"--code") + 1] == code.encode():
                return pid
        raise AssertionError(f"no perspective {code} runs")

    def resolver(self, code: str) -> int:
        """The Unbound of one perspective."""
        _, *children = tree(self.perspective(code))
        return children[0]


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    if not namespaces.possible():
        pytest.skip("network namespaces need root")
    with Internet(perspectives=False) as running:
        yield running


@pytest.fixture(scope="module")
def ca(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileCa]:
    changes = internet.changes | {
        "validation.methods": ["http-01", "dns-01", "tls-alpn-01"],
        "repository.base_url": "http://pki.example.com",
    }
    assert internet.namespaces is not None
    running = HostileCa(tmp_path_factory.mktemp("hostile"), changes, config=PRESET)
    running.prefix = internet.namespaces.prefix
    try:
        running.start()
        yield running
    finally:
        running.stop()


@contextmanager
def hijacked(internet: Internet, *codes: str) -> Iterator[None]:
    """The packets of these perspectives for the web server go to the attacker."""
    net = internet.namespaces
    assert net is not None
    for code in codes:
        net.hijack(code, net.addresses.web)
    try:
        yield
    finally:
        for code in codes:
            net.release(code, net.addresses.web)


def order(
    internet: Internet,
    ca: HostileCa,
    name: str,
    *,
    attacker: bool = False,
    meanwhile: Callable[[Subscriber, str], Awaitable[None]] | None = None,
) -> Ended:
    """The end of an order for `name` by the holder of the host, or by the attacker."""

    async def flow() -> Ended:
        async with open_session(ca.trust_anchor, 4) as session:
            subscriber = await Subscriber.register(session, ca.directory_url, ChallengeServer())
            server = internet.attacker if attacker else internet.web
            assert server is not None
            server.thumbprint = subscriber.client.thumbprint
            url = await subscriber.order(name)
            if meanwhile is not None:
                await meanwhile(subscriber, url)
            return await subscriber.finish(url, make_csr(name), 120)

    return asyncio.run(flow())


def issued(ca: HostileCa, name: str) -> int:
    with Books(ca).database() as db:
        row = db.one(
            "SELECT count(*) AS number FROM certificates WHERE state = 'issued' AND names LIKE ?",
            (f'%"{name}"%',),
        )
    assert row is not None
    return int(row["number"])


def test_the_holder_of_a_host_gets_a_certificate(internet: Internet, ca: HostileCa) -> None:
    assert order(internet, ca, "www.hostile.com").status == "valid"
    assert issued(ca, "www.hostile.com") == 1


@pytest.mark.row("attacks.bgp-region")
@pytest.mark.row("errors.secondary")
def test_whoever_leads_the_primary_and_a_region_astray_gets_none(internet: Internet, ca: HostileCa) -> None:
    with hijacked(internet, PRIMARY, *REGION):
        ended = order(internet, ca, "victim.hostile.com", attacker=True)
    assert (ended.status, ended.chain) == ("invalid", b"")
    assert issued(ca, "victim.hostile.com") == 0


@pytest.mark.row("attacks.bgp-primary")
def test_whoever_leads_all_remotes_astray_gets_none(internet: Internet, ca: HostileCa) -> None:
    remotes = [code for code in internet.codes if code != PRIMARY]
    with hijacked(internet, *remotes):
        ended = order(internet, ca, "other-victim.hostile.com", attacker=True)
    assert ended.status == "invalid"
    assert issued(ca, "other-victim.hostile.com") == 0


@pytest.mark.row("attacks.bgp-region")
def test_a_region_led_astray_keeps_nobody_from_a_certificate(internet: Internet, ca: HostileCa) -> None:
    with hijacked(internet, *REGION):
        assert order(internet, ca, "steadfast.hostile.com").status == "valid"


@pytest.mark.parametrize(
    "name",
    [
        "to-metadata.hostile.com",
        "caa-deny.example.com",
        "www.keytrap-example.com",
        "www.tampered-example.com",
        "caa-padded.example.com",
    ],
)
def test_a_hostile_name_gets_none(internet: Internet, ca: HostileCa, name: str) -> None:
    assert order(internet, ca, name).status == "invalid"
    assert issued(ca, name) == 0


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_two_perspectives_that_hang_keep_nobody_from_a_certificate(internet: Internet, ca: HostileCa) -> None:
    with stopped(*(ca.perspective(code) for code in REGION)):
        assert order(internet, ca, "two-hang.hostile.com").status == "valid"


@pytest.mark.row("errors.server-internal")
def test_three_perspectives_that_hang_invalidate_nothing_and_the_order_goes_on_afterwards(
    internet: Internet, ca: HostileCa
) -> None:
    name = "waits.hostile.com"
    pids = [ca.perspective(code) for code in (*REGION, "sydney")]

    async def hang(subscriber: Subscriber, url: str) -> None:
        with stopped(*pids), pytest.raises(AssertionError, match="did not end"):
            await subscriber.finish(url, make_csr(name), 20)
        assert issued(ca, name) == 0

    assert order(internet, ca, name, meanwhile=hang).status == "valid"
    assert issued(ca, name) == 1


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_resolver_that_ends_or_hangs_is_replaced_and_the_order_is_not_lost(
    internet: Internet, ca: HostileCa, number: signal.Signals
) -> None:
    os.kill(ca.resolver(PRIMARY), number)
    assert order(internet, ca, f"{number.name.lower()}.hostile.com").status == "valid"


def test_after_all_of_it_the_books_are_whole(ca: HostileCa) -> None:
    assert Books(ca).faults() == []


async def asked(subscriber: Subscriber, url: str, payload: dict[str, Any] | None) -> Any:
    return json.loads((await subscriber.client.post(url, payload))[1])


def meta(subscriber: Subscriber) -> Any:
    return subscriber.client.directory["meta"]


@pytest.mark.row("errors.secondary")
def test_the_holder_of_a_host_reads_from_where_it_looks_otherwise(internet: Internet, ca: HostileCa) -> None:
    name, astray = "told.hostile.com", (*REGION, "sydney")

    async def flow() -> Any:
        async with open_session(ca.trust_anchor, 4) as session:
            subscriber = await Subscriber.register(session, ca.directory_url, ChallengeServer())
            assert internet.web is not None
            internet.web.thumbprint = subscriber.client.thumbprint
            ended = await subscriber.finish(await subscriber.order(name), make_csr(name), 120)
            assert ended.status == "invalid"
            template = meta(subscriber)["explain"]["template"]
            url = template.replace("{+authorization}", ended.order["authorizations"][0])
            return await asked(subscriber, url, None)

    with hijacked(internet, *astray):
        explained = asyncio.run(flow())
    (attempt,) = explained["attempts"]
    assert (attempt["result"], attempt["quorum"]) == ("fail", {"control": "3/6", "caa": "6/6"})
    assert "several places" in attempt["advice"]["en"]
    failed = {each["code"]: each for each in attempt["perspectives"] if each["result"] == "fail"}
    assert set(failed) == set(astray)
    for each in failed.values():
        assert "another account key" in each["control"]["detail"]
        (request,) = each["control"]["requests"]
        assert (request["address"], request["status"]) == (internet.net.addresses.web, 200)
    for each in attempt["perspectives"]:
        assert {lookup["dnssec"] for lookup in each["control"]["lookups"]} == {"secure"}


@pytest.mark.row("attacks.name-to-internal")
def test_a_preflight_is_no_way_inside_and_foretells_what_hostile_names_would_meet(
    internet: Internet, ca: HostileCa
) -> None:
    expected = {
        "www.hostile.com": "yes",
        "not-found.hostile.com": "yes",
        "closed.hostile.com": "no",
        "to-metadata.hostile.com": "no",
        "redirect-22.hostile.com": "no",
        "caa-deny.example.com": "no",
        "www.tampered-example.com": "no",
        "loopback.internal-example.com": "no",
    }

    async def flow() -> Any:
        async with open_session(ca.trust_anchor, 4) as session:
            subscriber = await Subscriber.register(session, ca.directory_url, ChallengeServer())
            identifiers = [{"type": "dns", "value": name} for name in expected]
            wanted = {"identifiers": identifiers, "methods": ["http-01"]}
            return await asked(subscriber, meta(subscriber)["preflight"]["url"], wanted)

    with ExitStack() as stack:
        traps = [stack.enter_context(Trap(internet.net, code)) for code in internet.codes]
        foretold = asyncio.run(flow())
        assert [trap.caught for trap in traps] == [[]] * len(traps)
    assert foretold["placed"] is True
    works = {each["identifier"]["value"]: each["methods"][0]["works"] for each in foretold["identifiers"]}
    assert works == expected
    first = foretold["identifiers"][0]["methods"][0]
    assert first["quorum"] == {"control": "6/6", "caa": "6/6"}
    assert all(each["requests"][0]["status"] for each in first["perspectives"])
    with Books(ca).database() as db:
        assert db.one("SELECT 1 FROM authorizations WHERE value = 'not-found.hostile.com'") is None
