"""http-01: what does not pass, and which problem it is (RFC 8555 sections 6.7, 8.3)."""

from __future__ import annotations

import gzip

import pytest

from core.errors import TransientError
from tests.support import web
from tests.support.fake_dns import failure
from tests.support.web import WebServer
from tests.validation.methods.http01_lab import KEY_AUTHORIZATION, PATH, TOKEN, Lab, good
from validation.dns.resolver import Type
from validation.hosts.dialer import DialLimits

QUICK = DialLimits(connect_v6=0.5, connect=0.5, read=0.3, hop=0.6, check=1.5)
"""For hosts that keep us waiting: what is expected of them holds on a slow machine, too."""

pytestmark = pytest.mark.timeout(30)


@pytest.mark.row("errors.http-unauthorized")
@pytest.mark.row("methods.http-01-body")
@pytest.mark.clause("RFC 8555 section 8.3")
@pytest.mark.must("rfc8555.8.3.body")
@pytest.mark.parametrize(
    "behaviour",
    [
        web.response(b""),
        web.response(b"x"),
        web.response(KEY_AUTHORIZATION.encode() + b"x"),
        web.response(b" " + KEY_AUTHORIZATION.encode()),
        web.response(KEY_AUTHORIZATION.swapcase().encode()),
        web.response(TOKEN.encode()),
        web.response(KEY_AUTHORIZATION.encode() + b"\n" * 100),
        web.response(KEY_AUTHORIZATION.encode(), "404 Not Found"),
        web.response(KEY_AUTHORIZATION.encode(), "201 Created"),
        web.response(KEY_AUTHORIZATION.encode(), "206 Partial Content"),
        web.response(KEY_AUTHORIZATION.encode(), "500 Oops"),
        web.redirect("/elsewhere", "303 See Other"),
        web.redirect("/elsewhere", "300 Multiple Choices"),
        web.response(gzip.compress(KEY_AUTHORIZATION.encode()), "200 OK", "Content-Encoding: gzip"),
        web.endless,
    ],
)
async def test_anything_but_a_200_with_the_key_authorization_is_unauthorized(behaviour) -> None:
    async with WebServer(behaviour) as server:
        assert (await Lab(port=server.port).refused())[0] == "unauthorized"


@pytest.mark.row("attacks.huge-answers")
async def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with WebServer(web.response(bomb, "200 OK", "Content-Encoding: gzip")) as server:
        assert (await Lab(port=server.port).refused())[0] == "unauthorized"


@pytest.mark.row("errors.detail")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!doctype html>MARKER", "a web page"),
        (b"MARKER \x1b[31mred", "15 other octets"),
        (b"", "nothing"),
        (KEY_AUTHORIZATION[:-4].encode() + b"MARK", "one of another account key"),
        (b"MARKERMARKERMARKERMARKER." + b"M" * 43, "one for another token"),
    ],
)
async def test_the_kind_of_another_answer_is_told_and_not_a_word_of_it(body: bytes, kind: str) -> None:
    async with WebServer(web.response(body)) as server:
        lab = Lab(port=server.port)
        _, detail = await lab.refused()
    assert kind in detail
    assert "MARK" not in detail
    assert "MARK" not in str(lab.trace.lines())
    assert "MARK" not in str(lab.trace.fetches)


@pytest.mark.row("limits.http")
@pytest.mark.row("errors.connection")
@pytest.mark.parametrize(
    "behaviour",
    [
        web.silence,
        web.drip,
        web.octets(b""),
        web.octets(b"hello, this is HTTP/0.9 " + KEY_AUTHORIZATION.encode()),
        web.octets(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
        web.octets(b"SSH-2.0-OpenSSH_9.2\r\n"),
        web.octets(web.head("200 OK", "X: " + "a" * 20_000)),
        web.octets(web.head("200 OK", *[f"X{n}: y" for n in range(500)])),
        web.octets(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        web.octets(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + KEY_AUTHORIZATION.encode()),
        web.octets(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        web.redirect("http://www.example:22/"),
        web.redirect("gopher://www.example/"),
        web.redirect(PATH),
        web.response(b"", "302 Found"),
    ],
    ids=[
        "silence", "drip", "closed", "http09", "http2", "ssh", "long header", "many headers", "negative",
        "short body", "bad chunk", "port 22", "gopher", "loop", "no location",
    ],
)  # fmt: skip
async def test_a_host_that_speaks_no_proper_http_is_a_connection_problem(behaviour) -> None:
    async with WebServer(behaviour) as server:
        assert (await Lab(port=server.port, limits=QUICK).refused())[0] == "connection"


@pytest.mark.row("errors.connection")
async def test_a_port_where_nobody_listens_is_a_connection_problem() -> None:
    async with WebServer(good) as server:
        port = server.port
    problem, detail = await Lab(port=port).refused()
    assert problem == "connection"
    assert "127.0.0.1" in detail


@pytest.mark.row("errors.dns")
@pytest.mark.parametrize(
    "table",
    [
        {},
        {"www.example A": None, "www.example AAAA": None},
        {"www.example A": failure("www.example", Type.A), "www.example AAAA": ()},
        {"www.example A": failure(), "www.example AAAA": failure()},
    ],
    ids=["empty", "nxdomain", "A fails", "both fail"],
)
async def test_a_name_without_address_is_a_dns_problem(table: dict) -> None:
    assert (await Lab(table).refused())[0] == "dns"


async def test_a_resolver_that_is_away_is_nobodys_failure() -> None:
    away = TransientError("no resolver")
    with pytest.raises(TransientError):
        await Lab({"www.example A": away, "www.example AAAA": away}).check()
