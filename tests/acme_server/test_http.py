"""acme_server/http.py: octets in, whole requests out, and what no request may be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from acme_server import problems
from acme_server.http import FIELDS, LINE_OCTETS, Request, Response
from acme_server.server import Server
from core.clock import FakeClock
from core.errors import Problem
from core.forwarded import Addresses
from core.settings import Acme, Limits

BODY_OCTETS = 1000
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class Echo:
    """Answers with the target and the body; keeps what it met."""

    seen: list[Request] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> Response:
        self.seen.append(request)
        if request.target == "/wait":
            await self.gate.wait()
        return Response(200, (("Content-Type", "text/plain"),), request.target.encode() + b" " + request.body)

    def refuse(self, problem: Problem) -> Response:
        return Response(
            problem.status,
            (("Content-Type", problems.CONTENT_TYPE),),
            json.dumps(problems.as_dict(problem)).encode(),
        )


@asynccontextmanager
async def serving(timeout: int = 30) -> AsyncIterator[tuple[Echo, int, list[str]]]:
    """The application, its port, its access lines."""
    lines: list[str] = []
    echo = Echo()
    limits = Limits(body_octets=BODY_OCTETS, request_timeout=timeout)
    server = Server(echo, ["127.0.0.1:0"], None, limits, FakeClock(1_795_392_000), lines.append)
    await server.start()
    try:
        yield echo, server.ports[0], lines
    finally:
        echo.gate.set()
        await server.close()


async def exchange(port: int, *pieces: bytes) -> bytes:
    """All that comes back for some pieces, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    with contextlib.suppress(ConnectionResetError):
        octets = await reader.read()
    writer.close()
    return octets


def bodies(octets: bytes) -> list[bytes]:
    """The bodies of the answers, by their Content-Length."""
    found = []
    while octets:
        head, _, rest = octets.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(rest[:length])
        octets = rest[length:]
    return found


@pytest.mark.clause("RFC 9112 section 9.3.2")
async def test_requests_in_one_packet_are_answered_in_their_order() -> None:
    async with serving() as (_, port, _):
        octets = await exchange(port, GET + GET.replace(b"/a", b"/b") + LAST)
    assert bodies(octets) == [b"/a ", b"/b ", b"/last "]
    assert octets.count(b"Connection: close") == 1


async def test_a_request_that_comes_octet_by_octet_is_read_whole() -> None:
    async with serving() as (echo, port, _):
        await exchange(port, *(LAST[at : at + 1] for at in range(len(LAST))))
    assert [each.target for each in echo.seen] == ["/last"]


@pytest.mark.clause("RFC 9112 section 7.1")
async def test_a_chunked_body_is_joined_and_its_trailer_ignored() -> None:
    async with serving() as (echo, port, _):
        await exchange(
            port,
            b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\nHost: another\r\n\r\n",
        )
    assert [(each.body, each.headers["host"]) for each in echo.seen] == [(b"abcde", "h")]


@pytest.mark.clause("RFC 9110 section 10.1.1")
async def test_a_client_that_asks_whether_to_send_its_body_is_told_to() -> None:
    head = LAST.replace(b"GET /last", b"POST /a").replace(
        b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    async with serving() as (_, port, _):
        octets = await exchange(port, head, b"ok")
    assert octets.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert octets.endswith(b"/a ok")


@pytest.mark.clause("RFC 9112 section 3.2.2")
async def test_the_absolute_form_is_taken_for_the_path_in_it() -> None:
    async with serving() as (echo, port, _):
        await exchange(port, LAST.replace(b"/last", b"http://h:80/acme/x?after=1"))
    assert [(each.target, each.path) for each in echo.seen] == [("/acme/x?after=1", "/acme/x")]


async def test_an_upgrade_is_not_taken_up() -> None:
    async with serving() as (_, port, _):
        octets = await exchange(
            port, b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI *"
        )
    assert octets.startswith(b"HTTP/1.1 200 OK")
    assert bodies(octets) == [b"/a "]


@pytest.mark.clause("RFC 9110 section 9.3.2")
async def test_head_has_the_length_and_no_body() -> None:
    async with serving() as (_, port, _):
        octets = await exchange(port, LAST.replace(b"GET", b"HEAD"))
    assert b"Content-Length: 6\r\n" in octets
    assert octets.endswith(b"\r\n\r\n")


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as (_, port, _):
        octets = await exchange(port, b"GET /a HTTP/1.0\r\n\r\n")
    assert b"keep-alive" not in octets
    assert octets.endswith(b"/a ")


@pytest.mark.clause("RFC 9112 section 9.3")
async def test_a_connection_that_asks_far_ahead_gets_every_answer() -> None:
    async with serving() as (_, port, _):
        assert len(bodies(await exchange(port, GET * 100, LAST))) == 101


REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01", 400),
    "a bare line feed": (b"GET /a HTTP/1.1\nHost: h\n\n", 400),
    "white space before the colon": (b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    "a folded field": (b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
    "two lengths": (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "length and chunks": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an unknown transfer coding": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "another version": (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    "a long target": (b"GET /" + b"a" * LINE_OCTETS + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    "a long field": (b"GET /a HTTP/1.1\r\nHost: h\r\nA: " + b"a" * (LINE_OCTETS + 1) + b"\r\n\r\n", 431),
    "an endless field": (b"GET /a HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 9 * LINE_OCTETS, 431),
    "many fields": (b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * FIELDS + b"\r\n", 400),
    "a large body": (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413),
    "large chunks": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"12c\r\n%b\r\n" * 4 % ((b"a" * 300,) * 4),
        413,
    ),
}


@pytest.mark.clause("RFC 9457 section 3")
@pytest.mark.must("rfc8555.6.7.problem-document")
@pytest.mark.parametrize("octets", [octets for octets, _ in REFUSED.values()], ids=REFUSED)
async def test_what_is_no_request_gets_a_problem_document_and_reaches_nobody(octets: bytes) -> None:
    status = next(status for known, status in REFUSED.values() if known is octets)
    half = len(octets) // 2
    async with serving() as (echo, port, lines):
        for pieces in ((octets,), (octets[:half], octets[half:])):
            answer = await exchange(port, *pieces)
            assert answer.split(b" ")[1] == str(status).encode()
            assert answer.count(b"\r\nDate: ") == 1
            assert b"keep-alive" not in answer
            assert json.loads(bodies(answer)[0])["type"] == "urn:ietf:params:acme:error:malformed"
        assert echo.seen == []
        assert len(lines) == 2


async def test_a_refusal_comes_after_the_answers_to_what_was_asked_before() -> None:
    async with serving() as (echo, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"/a", b"/wait"))
        while not echo.seen:
            await asyncio.sleep(0.001)
        writer.write(b"nonsense\r\n\r\n")
        echo.gate.set()
        octets = await reader.read()
        writer.close()
    assert octets.startswith(b"HTTP/1.1 200 OK")
    assert octets.count(b" 400 Bad Request") == 1


async def test_an_answer_cannot_hold_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class Careless(Echo):
        async def answer(self, request: Request) -> Response:
            return Response(200, (("Location", "/a\r\nSet-Cookie: a=b"),))

    server = Server(Careless(), ["127.0.0.1:0"], None, Limits(), FakeClock(1_795_392_000), [].append)
    await server.start()
    assert await exchange(server.ports[0], GET) == b""
    assert "control character" in caplog.text
    await server.close()


async def test_requests_under_way_are_answered_before_the_server_ends() -> None:
    lines: list[str] = []
    echo = Echo()
    server = Server(echo, ["127.0.0.1:0"], None, Limits(), FakeClock(1_795_392_000), lines.append)
    await server.start()
    asking = asyncio.create_task(exchange(server.ports[0], GET.replace(b"/a", b"/wait")))
    while not echo.seen:
        await asyncio.sleep(0.001)
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    echo.gate.set()
    await closing
    assert bodies(await asking) == [b"/wait "]


class NoMachine(Addresses):
    """Counts this machine's own addresses, too."""

    def block(self, address: str) -> str | None:
        return address


async def connected(port: int, source: str) -> bool:
    """Whether a connection from the address is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(GET)
    answered = False
    with contextlib.suppress(ConnectionResetError):
        answered = bool(await reader.readline())
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answered


async def test_one_address_has_so_many_connections_and_leaves_room_for_others() -> None:
    server = Server(
        Echo(),
        ["127.0.0.1:0"],
        None,
        Limits(connections_address=2),
        FakeClock(1_795_392_000),
        [].append,
        NoMachine(Acme()),
    )
    await server.start()
    port = server.ports[0]
    held = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0)) for _ in range(2)]
    for _, writer in held:
        writer.write(GET)
    assert [(await reader.readline())[:12] for reader, _ in held] == [b"HTTP/1.1 200"] * 2
    assert not await connected(port, "127.0.0.9")
    assert await connected(port, "127.0.0.8")
    held[0][1].close()
    await held[0][1].wait_closed()
    async with asyncio.timeout(5):
        while not await connected(port, "127.0.0.9"):  # until the server has seen the end
            await asyncio.sleep(0.01)
    held[1][1].close()
    await server.close()
