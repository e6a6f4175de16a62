"""Every name of the world gets the verdict that its table says, from a real perspective without any hole.

Slow hosts keep their checks while all others are asked; listeners on every inner address count who is lured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.evidence import Statement
from tests.world import catalogue
from tests.world.applicant import ACCOUNT
from tests.world.catalogue import CATALOGUE, Entry, entries
from tests.world.internet import Internet, asking
from tests.world.trap import Trap
from validation.methods import CHECKS

pytestmark = pytest.mark.timeout(120)

GROWTH_KB = 64 * 1024
"""More memory than all these checks may take, several of which are sent 50 MB and more."""


@dataclass(frozen=True, slots=True)
class Day:
    """`seen` has statement and seconds by name and method, `caught` who was lured inside, `growth` in kB."""

    seen: dict[tuple[str, str], tuple[Statement, float]]
    caught: list[str]
    growth: int

    def of(self, entry: Entry) -> Statement:
        if entry.method not in CHECKS:
            pytest.skip(f"{entry.method} is not offered yet")
        return self.seen[entry.name, entry.method][0]


@pytest.fixture(scope="module")
def day(internet: Internet) -> Iterator[Day]:
    pid = internet.processes[internet.codes[0]].pid
    before = _memory(pid, "VmRSS")
    with Trap(internet.net, internet.codes[0]) as trap:
        for inner in ("10.1.2.3", "169.254.169.254", "127.0.0.1", "fc00::1", "64:ff9b::7f00:1"):
            trap.bait(inner)
        deadline = time.monotonic() + 5
        while len(trap.caught) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(trap.caught) == 5, "the trap does not work, so that nothing caught would mean nothing"
        trap.caught.clear()
        seen = asyncio.run(_ask_all(internet))
        yield Day(seen, trap.caught, _memory(pid, "VmHWM") - before)


async def _ask_all(internet: Internet) -> dict[tuple[str, str], tuple[Statement, float]]:
    """The slow ones all at once, meanwhile the others, as many as a domain and a network have room for.

    The slow ones are of another account, so that they leave the applicant's its places below a domain.
    """
    room = asyncio.Semaphore(2)
    async with asking(internet.data, internet.codes[0]) as ask:

        async def one(entry: Entry) -> tuple[tuple[str, str], tuple[Statement, float]]:
            async with nullcontext() if entry.slow else room:
                begun = time.monotonic()
                account = f"{ACCOUNT}-slow" if entry.slow else ACCOUNT
                statement = await ask(entry.name, entry.method, account=account)
            return (entry.name, entry.method), (statement, time.monotonic() - begun)

        return dict(await asyncio.gather(*(one(each) for each in entries() if each.method in CHECKS)))


def _memory(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def expected(*groups: str) -> Callable[..., object]:
    found = [entry for group in groups for entry in CATALOGUE[group]]
    return pytest.mark.parametrize("entry", found, ids=[f"{each.name}-{each.method}" for each in found])


def judge(day: Day, entry: Entry) -> None:
    statement = day.of(entry)
    assert catalogue.verdict(statement) in entry.verdict.split("/"), statement


@expected("honest hosts")
def test_an_honest_host_passes(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.clause("BR 3.2.2.4.19")
@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.row("errors.redirect")
@pytest.mark.row("attacks.port-scan")
@pytest.mark.row("attacks.rebinding")
@expected("redirects that are not followed")
def test_a_redirect_that_the_policy_forbids_is_not_followed(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.row("errors.connection")
@pytest.mark.row("errors.http-unauthorized")
@pytest.mark.row("attacks.huge-answers")
@pytest.mark.row("attacks.echo-server")
@expected("web servers")
def test_a_web_server_that_misbehaves_shows_no_control(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.row("methods.tls-alpn-01")
@pytest.mark.row("errors.alpn-unauthorized")
@pytest.mark.row("attacks.default-vhost-alpn")
@expected("tls-alpn-01")
def test_only_the_certificate_that_was_made_for_it_shows_control(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.clause("RFC 8738 section 3")
@pytest.mark.row("methods.ip")
@pytest.mark.row("methods.tls-alpn-01-ip")
@expected("IP addresses")
def test_an_address_is_validated_as_itself(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.row("caa.climb")
@pytest.mark.row("caa.alias")
@pytest.mark.row("caa.wildcard")
@pytest.mark.row("attacks.wildcard-confusion")
@pytest.mark.row("attacks.fragmentation")
@expected("CAA")
def test_caa_is_read_as_its_holder_means_it(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.row("errors.dns")
@pytest.mark.row("dns.bogus")
@pytest.mark.row("dns.lame")
@pytest.mark.row("dns.silent")
@pytest.mark.row("dns.broken-record")
@pytest.mark.row("attacks.cname-loops")
@pytest.mark.row("attacks.keytrap")
@pytest.mark.row("attacks.partial-set")
@pytest.mark.row("attacks.tcp-blocked")
@pytest.mark.row("attacks.stripping")
@expected("DNS")
def test_what_the_dns_does_not_say_soundly_is_no_permission(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.row("attacks.redirect-to-internal")
@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.row("attacks.odd-literals")
@expected("the way inside")
def test_the_way_inside_is_refused(day: Day, entry: Entry) -> None:
    judge(day, entry)


@pytest.mark.row("attacks.redirect-to-internal")
@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.row("attacks.port-scan")
@pytest.mark.row("attacks.rebinding")
def test_nobody_was_lured_inside(day: Day) -> None:
    assert day.caught == []


@pytest.mark.row("attacks.huge-answers")
def test_memory_stays_bounded_whatever_hosts_send(day: Day) -> None:
    assert day.growth < GROWTH_KB


@pytest.mark.row("attacks.silent-server")
@pytest.mark.row("attacks.keytrap")
def test_silence_and_traps_stall_their_own_domain_only(day: Day) -> None:
    others = [day.seen[each.name, each.method][1] for each in entries() if not each.slow]
    assert max(others) < 5


@pytest.mark.row("attacks.log-injection")
def test_no_octet_of_a_stranger_reaches_a_statement_unescaped(day: Day) -> None:
    for statement, _ in day.seen.values():
        assert statement.control is not None
        assert statement.caa is not None
        for line in (
            statement.control.detail,
            *statement.control.trace,
            statement.caa.detail,
            *statement.caa.records,
            *statement.caa.trace,
        ):
            assert line.isascii()
            assert line.isprintable()
