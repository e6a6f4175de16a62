"""The guard in the dialer itself, as if everything above it had failed."""

from __future__ import annotations

import asyncio
import os
import resource
from ipaddress import ip_address

import pytest

from core.errors import TransientError
from tests.support import web
from tests.support.web import WebServer
from validation.hosts.dialer import ConnectFailed, DialLimits, GuardedDialer, network
from validation.hosts.redirects import Hop
from validation.verdict import CheckFailed

DIALER = GuardedDialer(DialLimits(connect_v6=0.5, connect=0.5, read=0.3, hop=0.6))
good = web.response(b"body")

pytestmark = pytest.mark.timeout(30)


def hop(host: str = "name.example", target: str = "/x") -> Hop:
    return Hop("http", host, 80, target)


@pytest.mark.row("attacks.rebinding")
@pytest.mark.parametrize("literal", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_literal_in_the_url_cannot_lead_beside_the_pinned_address(literal: str) -> None:
    async with WebServer(good) as four, WebServer(good, "::1", port=four.port) as six:
        with pytest.raises(ConnectFailed, match=r"192\.0\.2\.1"):
            await DIALER.get(hop(literal), ip_address("192.0.2.1"), four.port, 10)
        assert (four.connections, six.connections) == (0, 0)


@pytest.mark.parametrize(
    ("host", "target"),
    [("name.example", "/x HTTP/1.1\r\nHost: b"), ("name.example", ""), ("a b", "/x"), ("a\r\nX: y", "/x")],
)
async def test_nothing_is_sent_that_would_be_another_request(host: str, target: str) -> None:
    async with WebServer(good) as server:
        with pytest.raises(TransientError, match="refused to send"):
            await DIALER.get(hop(host, target), ip_address("127.0.0.1"), server.port, 10)
        assert server.connections == 0


@pytest.mark.clause("RFC 9110 section 15.2")
async def test_the_answer_after_an_interim_one_counts() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLocation: /no\r\n\r\n"
    raw = interim + web.head("200 OK", "Content-Length: 4")
    async with WebServer(web.octets(raw + b"body")) as server:
        reply = await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)
    assert (reply.status, reply.location, reply.body) == (200, None, b"body")


async def test_a_redirect_is_handed_back_and_not_followed() -> None:
    async with (
        WebServer(good) as target,
        WebServer(web.redirect(f"http://127.0.0.1:{target.port}/")) as first,
    ):
        reply = await DIALER.get(hop(), ip_address("127.0.0.1"), first.port, 10)
        assert (reply.status, reply.location) == (302, f"http://127.0.0.1:{target.port}/")
        assert target.connections == 0


@pytest.mark.row("limits.http")
async def test_every_get_has_a_connection_of_its_own_and_no_memory() -> None:
    cookie = web.response(b"body", "200 OK", "Set-Cookie: a=b; Path=/")
    async with WebServer(cookie) as server:
        for _ in range(2):
            await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)
    assert server.connections == 2
    assert not any("cookie" in request.lower() for request in server.requests)


@pytest.mark.row("errors.detail")
@pytest.mark.row("limits.http")
async def test_no_more_of_a_body_is_read_than_asked_for_and_none_of_an_error() -> None:
    async with WebServer(web.response(b"x" * 1000)) as server:
        assert (await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)).body == b"x" * 10
    async with WebServer(web.response(b"secret", "500 Oops")) as server:
        assert (await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)).body == b""


@pytest.mark.clause("RFC 8555 section 8.3")
async def test_the_target_goes_out_as_it_is_written_and_the_host_without_the_moved_port() -> None:
    async with WebServer(good) as server:
        await DIALER.get(hop(target="/a%2Fb/../c?d=%41"), ip_address("127.0.0.1"), server.port, 10)
    lines = server.requests[0].split("\r\n")
    assert lines[0] == "GET /a%2Fb/../c?d=%41 HTTP/1.1"
    assert "Host: name.example" in lines


async def test_a_failed_connection_is_told_apart_from_a_failed_answer() -> None:
    async with WebServer(web.silence) as server:
        with pytest.raises(CheckFailed) as answer:
            await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)
        assert not isinstance(answer.value, ConnectFailed)
        port = server.port
    with pytest.raises(ConnectFailed) as refused:
        await DIALER.get(hop(), ip_address("127.0.0.1"), port, 10)
    assert refused.value.problem == "connection"


@pytest.mark.row("errors.server-internal")
async def test_a_machine_that_is_out_of_files_is_our_fault_and_not_the_applicants() -> None:
    async with WebServer(good) as server:
        _, most = before = resource.getrlimit(resource.RLIMIT_NOFILE)
        os.close(next_one := os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, most))
        try:
            with pytest.raises(TransientError, match="this machine could not connect: too many open files"):
                await DIALER.get(hop(), ip_address("127.0.0.1"), server.port, 10)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert server.connections == 0


class Crowd:
    """A web server's behaviour that counts how many it serves at once, and lets them go when told."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.go.wait()
        self.inside -= 1
        writer.write(web.head("200 OK", "Content-Length: 0"))
        await writer.drain()


@pytest.mark.row("limits.concurrency")
@pytest.mark.row("attacks.amplification")
async def test_one_network_gets_five_connections_at_once_whoever_asks_for_them() -> None:
    crowd = Crowd()
    dialer = GuardedDialer()
    async with WebServer(crowd, "0.0.0.0") as server:
        gets = [
            asyncio.create_task(
                dialer.get(hop(f"v{n}.example"), ip_address(f"127.0.0.{n + 1}"), server.port, 9)
            )
            for n in range(12)
        ]
        other = asyncio.create_task(dialer.get(hop("w.example"), ip_address("127.0.1.1"), server.port, 9))
        async with asyncio.timeout(10):
            while crowd.inside < 6:
                await asyncio.sleep(0.01)
        assert server.connections == 6  # five below 127.0.0.0/24, and the other network's
        crowd.go.set()
        assert [reply.status for reply in await asyncio.gather(*gets, other)] == [200] * 13
    assert crowd.most == 6
    assert len(dialer._networks) == 0


@pytest.mark.row("limits.concurrency")
async def test_who_waits_too_long_for_a_network_has_met_a_fault_of_ours_and_connects_nowhere() -> None:
    crowd = Crowd()
    dialer = GuardedDialer(DialLimits(busy=0.1))
    async with WebServer(crowd) as server:
        gets = [
            asyncio.create_task(dialer.get(hop(), ip_address("127.0.0.1"), server.port, 9)) for _ in range(5)
        ]
        async with asyncio.timeout(10):
            while crowd.inside < 5:
                await asyncio.sleep(0.01)
        with pytest.raises(TransientError, match=r"busy.*127\.0\.0\.1"):
            await dialer.get(hop(), ip_address("127.0.0.1"), server.port, 9)
        with pytest.raises(TransientError, match="busy"):
            await dialer.handshake("x.example", ip_address("127.0.0.200"), server.port)
        assert server.connections == 5
        crowd.go.set()
        await asyncio.gather(*gets)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.1", "203.0.113.254", True),
        ("203.0.113.1", "203.0.114.1", False),
        ("2001:db8:1:2::1", "2001:db8:1:ffff::1", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
    ],
)
def test_a_network_is_a_slash_24_or_a_slash_48(one: str, other: str, same: bool) -> None:
    assert (network(ip_address(one)) == network(ip_address(other))) is same
