"""A whole perspective under public rules, attacked by http-01, where a listener stands on every address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock
from core.evidence import ControlSeen, PerspectiveKey, Result
from core.settings import Ca, Rules, Settings, Validation
from tests.support import web
from tests.support.anywhere import UNREACHABLE, anywhere
from tests.support.fake_dns import TableResolver
from tests.support.web import Behaviour, WebServer
from validation.addresses import BARRED_V4, BARRED_V6, Address
from validation.api import CheckRequest
from validation.perspective import make_checker

KEY = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
NAME = "www.attacker.com"
OUTSIDE, OUTSIDE_V6 = "9.9.9.9", "2620:fe::fe"
"""Public addresses, as far as the policy knows."""

PUBLIC = Settings(ca=Ca(rules=Rules.PUBLIC))
OPEN = Settings(ca=Ca(rules=Rules.PRIVATE), validation=Validation(allowed_networks=("0.0.0.0/0", "::/0")))
good = web.response(f"{TOKEN}.{THUMBPRINT}".encode())

pytestmark = pytest.mark.timeout(60)


def wrapped(inner: str) -> Iterable[Address]:
    """`inner` in every form in which an IPv6 address carries an IPv4 one."""
    number = int(IPv4Address(inner))
    for prefix, shift in (
        ("::", 0),
        ("::ffff:0:0", 0),
        ("::ffff:0:0:0", 0),
        ("64:ff9b::", 0),
        ("64:ff9b:1::", 0),
    ):
        yield IPv6Address(int(IPv6Address(prefix)) | number << shift)
    yield IPv6Address(int(IPv6Address("2002::")) | number << 80)
    yield IPv6Address(int(IPv6Address("2001::")) | number << 64 | 0xFFFFFFFF)
    yield IPv6Address(int(IPv6Address("2001::")) | number ^ 0xFFFFFFFF)


INTERNAL: list[Address] = [
    *(address for network in (*BARRED_V4, *BARRED_V6) for address in (network[0], network[1], network[-1])),
    *(
        form
        for inner in ("127.0.0.1", "10.0.0.1", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1")
        for form in wrapped(inner)
    ),
]


@asynccontextmanager
async def listening(behaviour: Behaviour, port: int = 80) -> AsyncIterator[list[WebServer]]:
    """On every address."""
    async with (
        WebServer(behaviour, "0.0.0.0", port=port) as four,
        WebServer(behaviour, "::", port=port) as six,
    ):
        yield [four, six]


def connections(servers: Iterable[WebServer]) -> int:
    return sum(server.connections for server in servers)


RESOLVER = TableResolver()
CHECKERS = {
    opened: make_checker(OPEN if opened else PUBLIC, "local", KEY, RESOLVER, FakeClock(1_800_000_000))
    for opened in (False, True)
}


async def control(table: dict[str, list[str]] | None = None, *, opened: bool = False) -> ControlSeen:
    """What the perspective sees of `NAME`, which stands outside unless `table` says otherwise."""
    RESOLVER.table = {f"{NAME} A": [OUTSIDE], **(table or {})}
    request = CheckRequest(NAME, "https://ca.example/a/1", "attempt", "http-01", "", TOKEN, THUMBPRINT)
    seen = (await CHECKERS[opened].check(request)).signed.statement().control
    assert seen is not None
    return seen


def url(address: Address) -> str:
    return f"http://[{address}]/" if address.version == 6 else f"http://{address}/"


def kind(address: Address) -> str:
    return "A" if address.version == 4 else "AAAA"


@pytest.mark.must("rfc8555.8.3.port-80")
@pytest.mark.row("methods.http-01")
def test_an_honest_host_passes_over_either_family_on_the_very_port_80() -> None:
    async def journey() -> None:
        async with listening(good) as servers:
            assert (await control()).result is Result.PASS
            assert (await control({f"{NAME} A": [], f"{NAME} AAAA": [OUTSIDE_V6]})).result is Result.PASS
        assert connections(servers) == 2

    anywhere(journey)


def elsewhere(locations: Iterable[str]) -> Behaviour:
    """A redirect to the next of `locations`, from `OUTSIDE` alone; all other addresses serve what passes."""
    following = iter(locations)

    async def behave(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outside = writer.get_extra_info("sockname")[0] == OUTSIDE
        await (web.redirect(next(following)) if outside else good)(head, reader, writer)

    return behave


@pytest.mark.row("attacks.redirect-to-internal")
@pytest.mark.row("errors.redirect")
@pytest.mark.clause("RFC 8555 section 10.4")
def test_a_redirect_to_an_address_of_any_internal_range_connects_to_nobody() -> None:
    async def journey() -> None:
        async with listening(elsewhere(map(url, INTERNAL))) as servers:
            for count, address in enumerate(INTERNAL, 1):
                seen = await control()
                assert (seen.result, seen.problem) == (Result.FAIL, "connection"), address
                assert "is not followed" in seen.detail
                assert connections(servers) == count, address

    anywhere(journey)


def test_the_same_redirects_reach_the_listener_when_the_policy_is_opened() -> None:
    reached = []

    async def journey() -> None:
        async with listening(elsewhere(map(url, INTERNAL))):
            for address in INTERNAL:
                if (await control(opened=True)).result is Result.PASS:
                    reached.append(address)

    anywhere(journey)
    # The rest are those to which the kernel itself sends no TCP: multicast, broadcast, "this network".
    assert len(reached) > len(INTERNAL) / 2
    assert {ip_address(text) for text in ("127.0.0.1", "10.0.0.1", "169.254.0.1", "::1", "fd00::")} & set(
        reached
    )


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.row("errors.dns")
@pytest.mark.clause("RFC 8555 section 10.4")
def test_a_name_at_an_address_of_any_internal_range_connects_to_nobody() -> None:
    async def journey() -> None:
        async with listening(good) as servers:
            for address in INTERNAL:
                seen = await control({f"{NAME} A": [], f"{NAME} {kind(address)}": [str(address)]})
                assert (seen.result, seen.problem) == (Result.FAIL, "dns"), address
                assert connections(servers) == 0, address

    anywhere(journey)


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.row("errors.redirect")
def test_a_redirect_to_a_name_at_an_internal_address_connects_to_nobody() -> None:
    async def journey() -> None:
        async with listening(elsewhere(["http://inside.attacker.com/"] * len(INTERNAL))) as servers:
            for count, address in enumerate(INTERNAL, 1):
                seen = await control({f"inside.attacker.com {kind(address)}": [str(address)]})
                assert (seen.result, seen.problem) == (Result.FAIL, "connection"), address
                assert connections(servers) == count, address

    anywhere(journey)


ODD = (
    "2130706433", "0x7f000001", "0X7F000001", "017700000001", "127.1", "127.0.1", "0177.0.0.1",
    "0x7f.0.0.1", "127.0.0.01", "127.0.0.1.", "0", "0.0.0.0", "[::1].", "[::01]",
    "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[::1%25lo]", "[fe80::1%lo]",
    "[v1.fe80::1]", "[127.0.0.1]", "::1", "127。0。0。1", "１２７.0.0.1", "①②⑦.0.0.1", "127.0.0.1%00",
    "%31%32%37.0.0.1", "a@127.0.0.1", "www.attacker.com@127.0.0.1", "127.0.0.1\\@www.attacker.com",
    "www.attacker.com\\127.0.0.1", "127.0.0.1#@www.attacker.com", "127.0.0.1 www.attacker.com",
    "127.0.0.1\twww.attacker.com", "localhost", "localhost.", "intranet",
    "metadata.google.internal", "127.0.0.1.nip", "1.0.0.127.in-addr.arpa",
    "www.attacker.com.well-known", "", ".", "..",
)  # fmt: skip


@pytest.mark.row("attacks.odd-literals")
@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.clause("BR 3.2.2.4.19")
def test_an_odd_way_to_write_an_inner_host_connects_to_nobody() -> None:
    # Names that look like addresses would lead inside, were they ever looked up.
    inside = {f"{host} {kind}": [at] for host in ODD for kind, at in (("A", "127.0.0.1"), ("AAAA", "::1"))}

    async def journey() -> None:
        async with listening(elsewhere(f"http://{host}/" for host in ODD)) as servers:
            for count, host in enumerate(ODD, 1):
                seen = await control(inside)
                assert (seen.result, seen.problem) == (Result.FAIL, "connection"), host
                assert connections(servers) == count, host

    anywhere(journey)


@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.parametrize(
    "host", ["printer.nosuchtld", "db.internal", "www.attacker.onion", "a.localhost", "com"]
)
def test_a_host_below_no_top_level_domain_of_iana_is_not_asked_for(host: str) -> None:
    async def journey() -> None:
        async with listening(elsewhere([f"http://{host}/"])) as servers:
            seen = await control({f"{host} A": [OUTSIDE]})
        assert (seen.problem, connections(servers)) == ("connection", 1)
        assert not any(line.startswith(f"dns {host} ") for line in seen.trace)

    anywhere(journey)


@pytest.mark.row("attacks.port-scan")
@pytest.mark.clause("BR 3.2.2.4.19")
def test_a_redirect_to_another_port_opens_no_connection_and_tells_nothing() -> None:
    ports = (22, 25, 6379, 8080, 9200)

    async def journey() -> None:
        async with listening(elsewhere(f"http://{OUTSIDE}:{port}/" for port in [*ports, *ports])) as servers:
            async with listening(good, ports[0]) as first, listening(good, ports[2]) as second:
                told = [(await control()).detail for _ in ports]
                assert connections([*first, *second]) == 0
            assert [(await control()).detail for _ in ports] == told
            assert connections(servers) == 2 * len(ports)
        assert len({detail.partition(": ")[0] for detail in told}) == 1

    anywhere(journey)


@pytest.mark.row("attacks.port-scan")
def test_an_inner_host_that_listens_and_one_that_does_not_are_told_alike() -> None:
    async def journey() -> None:
        async with listening(
            elsewhere(["http://10.0.0.1/", "https://10.0.0.1/", "http://10.0.0.1/"])
        ) as servers:
            first, other = (await control()).detail, (await control()).detail
            with socket.socket() as busy:
                busy.bind(("10.0.0.1", 443))
                busy.listen()
                assert (await control()).detail == first
        assert first == other
        assert connections(servers) == 3

    anywhere(journey)


@pytest.mark.row("attacks.echo-server")
def test_a_host_that_echoes_the_request_does_not_pass() -> None:
    async def echo(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        token = head.split(" ")[1].rpartition("/")[2]
        await web.response((token, head.split(" ")[1], head, f"{token}.{token}")[len(seen)].encode())(
            head, reader, writer
        )

    seen: list[ControlSeen] = []

    async def journey() -> None:
        async with listening(echo) as servers:
            for _ in range(4):
                seen.append(await control())
        assert {each.problem for each in seen} == {"unauthorized"}
        requests = servers[0].requests
        assert len(requests) == 4
        assert not any(THUMBPRINT in request for request in requests)

    anywhere(journey)


@pytest.mark.row("errors.connection")
def test_a_host_without_a_way_is_a_connection_problem() -> None:
    async def journey() -> None:
        seen = await control({f"{NAME} A": [UNREACHABLE]})
        assert (seen.problem, "no route to host" in seen.detail) == ("connection", True)

    anywhere(journey)
