"""tls-alpn-01: hosts that shake no hands, and which problem it is."""

from __future__ import annotations

import ssl
import time
import warnings

import pytest

from core.errors import TransientError
from tests.support.fake_dns import failure
from tests.support.tls import RawServer, TlsServer, context, der
from tests.validation.methods.tls_alpn01_lab import NAME, RIGHT, Lab
from validation.dns.resolver import Type
from validation.hosts.dialer import DialLimits

QUICK = DialLimits(connect_v6=0.5, connect=0.5, tls_alpn=0.6)
"""For hosts that keep us waiting: what is expected of them holds on a slow machine, too."""

pytestmark = pytest.mark.timeout(30)
ALERT_HANDSHAKE_FAILURE = bytes.fromhex("15030300020228")
ALERT_INTERNAL_ERROR = bytes.fromhex("15030300020250")
ALERT_UNRECOGNIZED_NAME = bytes.fromhex("15030300020270")


@pytest.mark.row("errors.tls")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        bytes(64),
        ALERT_HANDSHAKE_FAILURE,
        ALERT_INTERNAL_ERROR,
        ALERT_UNRECOGNIZED_NAME,
        bytes.fromhex("150301000202") + b"\x46",  # protocol_version
    ],
    ids=["http", "ssh", "smtp", "zeroes", "handshake failure", "internal error", "name", "version"],
)
async def test_another_protocol_or_an_alert_is_a_tls_problem(answer: bytes) -> None:
    async with RawServer([answer]) as server:
        assert (await Lab(server.port).refused())[0] == "tls"


@pytest.mark.clause("BR 3.2.2.4.20")
@pytest.mark.must("rfc8737.4.tls-1-2")
@pytest.mark.row("errors.tls", "errors.connection")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_a_host_that_knows_only_old_tls_does_not_pass(version: ssl.TLSVersion) -> None:
    old = context(der(RIGHT))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is out of date is the point
        old.minimum_version = old.maximum_version = version
    async with TlsServer(old) as server:
        # Such a server says so by an alert or, like this one, just hangs up.
        assert (await Lab(server.port).refused())[0] in ("tls", "connection")
        assert server.read == b""


@pytest.mark.row("errors.connection")
@pytest.mark.parametrize(
    ("pieces", "then"),
    [
        ((), "reset"),
        ((), "close"),
        ((b"\x16\x03\x03\x00\x7a",), "reset"),
        ((b"\x16\x03\x03\x00\x7a\x02",), "close"),
    ],
    ids=["reset", "closed", "reset within", "closed within"],
)
async def test_a_connection_that_ends_within_the_handshake_is_a_connection_problem(
    pieces: tuple[bytes, ...], then: str
) -> None:
    async with RawServer(pieces, then) as server:
        assert (await Lab(server.port).refused())[0] == "connection"


@pytest.mark.clause("BR 3.2.2.4.20")
@pytest.mark.row("limits.tls-alpn", "errors.connection")
@pytest.mark.parametrize(
    "pieces", [(), (b"\x16\x03\x03\x40\x00", *(b"x" for _ in range(500)))], ids=["silence", "drip"]
)
async def test_a_host_that_keeps_us_waiting_is_left_in_time(pieces: tuple[bytes, ...]) -> None:
    async with RawServer(pieces) as server:
        began = time.monotonic()
        problem, detail = await Lab(server.port, limits=QUICK).refused()
        assert time.monotonic() - began < 5
    assert (problem, "time" in detail or "within" in detail) == ("connection", True)


@pytest.mark.row("limits.tls-alpn")
def test_ten_seconds_are_the_limit() -> None:
    assert DialLimits().tls_alpn == 10


@pytest.mark.row("errors.connection")
async def test_a_port_where_nobody_listens_is_a_connection_problem() -> None:
    async with RawServer([]) as server:
        port = server.port
    problem, detail = await Lab(port).refused()
    assert problem == "connection"
    assert f"127.0.0.1 port {port}" in detail


@pytest.mark.row("errors.dns")
@pytest.mark.parametrize(
    "table",
    [
        {},
        {f"{NAME} A": None, f"{NAME} AAAA": None},
        {f"{NAME} A": failure(NAME, Type.A), f"{NAME} AAAA": failure(NAME, Type.AAAA)},
        {f"{NAME} A": ["10.0.0.1", "169.254.169.254"], f"{NAME} AAAA": ["::ffff:127.0.0.1", "fe80::1"]},
    ],
    ids=["no address", "NXDOMAIN", "both fail", "special-purpose only"],
)
async def test_a_name_without_a_usable_address_is_a_dns_problem(table: dict) -> None:
    assert (await Lab(1, table).refused())[0] == "dns"


@pytest.mark.row("attacks.name-to-internal")
async def test_a_name_that_points_inside_is_not_connected_to() -> None:
    async with TlsServer(context(der(RIGHT))) as server:
        table = {f"{NAME} A": ["127.0.0.1"], f"{NAME} AAAA": ["::1"]}
        assert (await Lab(server.port, table, allowed=()).refused())[0] == "dns"
        assert (await Lab(server.port, {}, allowed=()).refused("127.0.0.1"))[0] == "connection"
        assert server.asked == []


async def test_a_resolver_that_is_away_is_nobodys_failure() -> None:
    away = TransientError("no resolver")
    with pytest.raises(TransientError):
        await Lab(1, {f"{NAME} A": away, f"{NAME} AAAA": away}).check()
