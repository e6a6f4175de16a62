"""http-01 against hosts that send too much, too little or for too long: every limit, and what it costs us."""

from __future__ import annotations

import asyncio
import gc
import gzip
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import web
from tests.support.fake_dns import TableResolver
from tests.support.web import Behaviour, WebServer
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import Type
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import http01
from validation.verdict import CheckFailed, Trace

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
BODY = f"{TOKEN}.{THUMBPRINT}".encode()
DEFAULT = GuardedDialer().limits
QUICK = replace(DEFAULT, connect_v6=0.5, connect=0.5, read=0.5, hop=1.0, check=3.0)
MEMORY = 24_000_000
"""Octets that a check may need at its worst: buffers of the kernel's size, on both ends of the connection."""

good = web.response(BODY)
pytestmark = pytest.mark.timeout(60)


async def check(port: int, tls_port: int = 1, limits=QUICK) -> Trace:
    trace = Trace()
    tools = Tools(
        TableResolver({"www.example A": ["127.0.0.1"]}),
        GuardedDialer(limits),
        AddressPolicy.parse(["127.0.0.1/32"]),
        Ports(port, tls_port),
        lambda host: host,
    )
    await http01.check(
        Challenge.of("www.example", False, "https://ca.example/a/1", TOKEN, THUMBPRINT), tools, trace
    )
    return trace


async def problem(behaviour: Behaviour, limits=QUICK) -> str:
    async with WebServer(behaviour) as server:
        try:
            await check(server.port, limits=limits)
        except CheckFailed as error:
            return error.problem
    return ""


@pytest.mark.row("limits.http")
def test_the_limits_are_those_of_the_specification() -> None:
    assert (DEFAULT.connect, DEFAULT.connect_v6, DEFAULT.read, DEFAULT.hop) == (5.0, 3.0, 5.0, 10.0)
    # At most 20 s, and below the 15 s of the fan-out.
    assert DEFAULT.check == 12.0


@pytest.mark.row("limits.http")
@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (web.response(BODY, "200 OK", "X: " + "a" * 4000), web.response(BODY, "200 OK", "X: " + "a" * 4200)),
        (web.response(BODY, "200 " + "a" * 4000), web.response(BODY, "200 " + "a" * 4200)),
        (
            web.response(BODY, "200 OK", *[f"X{number}: y" for number in range(62)]),
            web.response(BODY, "200 OK", *[f"X{number}: y" for number in range(63)]),
        ),
    ],
    ids=["field", "status line", "number of fields"],
)
async def test_a_head_of_the_largest_size_is_read_and_a_larger_one_is_not(
    within: Behaviour, beyond: Behaviour
) -> None:
    assert (await problem(within), await problem(beyond)) == ("", "connection")


@pytest.mark.row("limits.http")
@pytest.mark.row("methods.http-01-body")
@pytest.mark.parametrize(("octets", "outcome"), [(128, ""), (129, "unauthorized")])
async def test_a_body_of_128_octets_is_read_and_a_longer_one_is_not(octets: int, outcome: str) -> None:
    assert await problem(web.response(BODY.ljust(octets))) == outcome
    assert await problem(web.octets(web.head("200 OK") + BODY.ljust(octets))) == outcome


@pytest.mark.row("limits.http")
@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.parametrize(("octets", "outcome"), [(2000, ""), (2001, "connection")])
async def test_a_location_of_2000_octets_is_followed_and_a_longer_one_is_not(
    octets: int, outcome: str
) -> None:
    location = "/" + "a" * (octets - 1)
    table = {f"www.example {http01.PATH}{TOKEN}": web.redirect(location), f"www.example {location}": good}
    assert await problem(web.routes(table)) == outcome


def endless(start: bytes, again: bytes) -> Behaviour:
    """`start`, and then `again` as fast as the other side reads."""

    async def behave(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(again)
            await writer.drain()

    return behave


CHUNKED = web.head("200 OK", "Transfer-Encoding: chunked")
FLOODS: dict[str, tuple[Behaviour, str]] = {
    "a field without end": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 4096), "connection"),
    "fields without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 700), "connection"),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"a" * 4096), "connection"),
    "interim answers without end": (endless(b"", b"HTTP/1.1 102 Wait\r\n\r\n" * 200), "connection"),
    "a chunk's extension without end": (endless(CHUNKED + b"1;", b"a" * 4096), "connection"),
    "a chunk's size without end": (endless(CHUNKED, b"0" * 4096), "connection"),
    "a trailer without end": (endless(CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"a" * 4096), "connection"),
    "chunks without end": (endless(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"), "unauthorized"),
    "tiny chunks without end": (endless(CHUNKED, b"1\r\n \r\n" * 700), "unauthorized"),
    "a body without end": (endless(web.head("200 OK"), b"x" * 4096), "unauthorized"),
    "a page of 50 MB": (web.response(bytes(50_000_000)), "unauthorized"),
    "a body without end after a 404": (endless(web.head("404 Not Found"), b"x" * 4096), "unauthorized"),
    "a bomb": (
        web.response(gzip.compress(bytes(20_000_000)), "200 OK", "Content-Encoding: gzip"),
        "unauthorized",
    ),
    "drops": (web.drip, "connection"),
    "silence": (web.silence, "connection"),
}


@pytest.mark.row("attacks.huge-answers")
@pytest.mark.row("limits.http")
@pytest.mark.parametrize(("behaviour", "expected"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_costs_bounded_time_and_memory(behaviour: Behaviour, expected: str) -> None:
    loop = asyncio.get_running_loop()
    gc.collect()
    async with WebServer(behaviour) as server:
        before, begun = _forget_the_peak(), loop.time()
        with pytest.raises(CheckFailed) as failed:
            await check(server.port)
        took, peak = loop.time() - begun, _resident("VmHWM")
    assert failed.value.problem == expected
    assert took < QUICK.check + 2
    assert peak - before < MEMORY


@pytest.mark.row("attacks.huge-answers")
async def test_what_is_not_the_answer_ends_the_connection_at_64_kib_and_not_with_the_time() -> None:
    for name in ("a chunk's extension without end", "a trailer without end", "interim answers without end"):
        assert await problem(FLOODS[name][0], replace(QUICK, read=20, hop=20, check=20)) == "connection"


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _forget_the_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


# --- what is no proper answer ---------------------------------------------------------------------------


async def reset(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up with a TCP reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.row("errors.connection")
async def test_a_reset_is_a_connection_problem() -> None:
    assert await problem(reset) == "connection"


@pytest.mark.row("errors.connection")
@pytest.mark.row("limits.http")
async def test_a_host_that_lets_nobody_in_is_given_up_in_the_time_to_connect() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for guest in (first, second):  # they fill the queue; whoever comes now is not answered
            guest.setblocking(False)
            guest.connect_ex(full.getsockname())
        with pytest.raises(CheckFailed, match="timeout while connecting") as failed:
            await check(full.getsockname()[1])
    assert failed.value.problem == "connection"


@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.clause("BR 3.2.2.4.19")
@pytest.mark.parametrize(
    "behaviour",
    [
        lambda url: web.redirect(url, "303 See Other"),
        lambda url: web.redirect(url, "300 Multiple Choices"),
        lambda url: web.redirect(url, "304 Not Modified"),
        lambda url: web.redirect(url, "305 Use Proxy"),
        lambda url: web.redirect(url, "200 OK"),
        lambda url: web.redirect(url, "201 Created"),
        lambda url: web.response(b"", "200 OK", f"Refresh: 0; url={url}"),
        lambda url: web.response(f'<meta http-equiv="refresh" content="0;url={url}">'.encode()),
        lambda url: web.response(f"<script>location={url!r}</script>".encode()),
    ],
)
async def test_nothing_but_the_four_statuses_leads_elsewhere(behaviour: Callable[[str], Behaviour]) -> None:
    async def told(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behaviour(f"http://www.example:{server.port}/there")(head, reader, writer)

    async with WebServer(told) as server:
        with pytest.raises(CheckFailed) as failed:
            await check(server.port)
    assert failed.value.problem == "unauthorized"
    assert server.connections == 1


@pytest.mark.row("errors.tls")
async def test_an_alert_behind_a_redirect_to_https_is_a_tls_problem() -> None:
    async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal, handshake_failure
        await writer.drain()
        await reader.read()
        writer.close()

    secure = await asyncio.start_server(alert, "127.0.0.1", 0)
    async with secure, WebServer(web.redirect("https://www.example/")) as plain:
        with pytest.raises(CheckFailed) as failed:
            await check(plain.port, secure.sockets[0].getsockname()[1])
    assert failed.value.problem == "tls"


# --- what is written down -------------------------------------------------------------------------------


@pytest.mark.row("attacks.log-injection")
@pytest.mark.row("errors.detail")
@pytest.mark.parametrize("octets", [b"\x1b[2J\x07", b"\xff\xfe", b"\xe2\x80\xae", b"\x7f\x9b31m"])
async def test_control_characters_in_location_and_body_are_written_escaped_and_capped(octets: bytes) -> None:
    behaviours = [
        web.response(octets * 20),
        web.octets(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://" + octets * 100 + b"/\r\n\r\n"
        ),
    ]
    for behaviour in behaviours:
        async with WebServer(behaviour) as server:
            with pytest.raises(CheckFailed) as failed:
                await check(server.port)
        assert failed.value.detail.isascii()
        assert failed.value.detail.isprintable()
        assert len(failed.value.detail) <= 400


@pytest.mark.row("errors.detail")
@pytest.mark.parametrize(
    "status", ["404 Not Found", "401 Unauthorized", "500 Oops", "201 Created", "206 Partial"]
)
async def test_the_body_of_any_status_but_200_is_told_to_nobody(status: str) -> None:
    async with WebServer(web.response(b"the metadata service's secret", status)) as server:
        with pytest.raises(CheckFailed) as failed:
            await check(server.port)
    assert "secret" not in str(failed.value)


@pytest.mark.row("errors.dns")
async def test_a_redirect_to_a_name_without_any_address_is_a_dns_problem_as_for_the_name_itself() -> None:
    for records in ((), None):
        resolver = TableResolver({"www.example A": ["127.0.0.1"]})
        resolver.table |= {f"gone.example {type}": records for type in (Type.A, Type.AAAA)}
        async with WebServer(web.redirect("http://gone.example/")) as server:
            tools = Tools(
                resolver,
                GuardedDialer(QUICK),
                AddressPolicy.parse(["127.0.0.1/32"]),
                Ports(server.port, 1),
                lambda host: host,
            )
            challenge = Challenge.of("www.example", False, "https://ca.example/a/1", TOKEN, THUMBPRINT)
            with pytest.raises(CheckFailed) as failed:
                await http01.check(challenge, tools, Trace())
        assert failed.value.problem == "dns"
