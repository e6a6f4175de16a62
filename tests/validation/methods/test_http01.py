"""http-01: real web servers on loopback, good and hostile; names from a table."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import Problem, TransientError
from tests.support import web
from tests.support.fake_dns import TableResolver, failure
from tests.support.web import WebServer
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import LocalNames, Type
from validation.hosts.dialer import DialLimits, GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import http01
from validation.verdict import CheckFailed, Trace

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
KEY_AUTHORIZATION = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
PATH = http01.PATH + TOKEN
QUICK = DialLimits(connect_v6=0.5, connect=0.5, read=0.3, hop=0.6, check=1.5)
"""For hosts that keep us waiting: what is expected of them holds on a slow machine, too."""

pytestmark = pytest.mark.timeout(30)
good = web.response(KEY_AUTHORIZATION.encode())


def host_rule(host: str) -> str:
    if not host.endswith((".example", "localhost")):
        raise Problem("rejectedIdentifier", "not of this world")
    return host


class Lab:
    """The method under test with its surroundings."""

    def __init__(
        self,
        table: dict | None = None,
        *,
        port: int = 1,
        tls_port: int = 1,
        allowed: tuple[str, ...] = ("127.0.0.1/32", "::1/128"),
        local_names: tuple[str, ...] = (),
        limits: DialLimits | None = None,
    ) -> None:
        self.resolver = TableResolver({"www.example A": ["127.0.0.1"]} if table is None else table)
        self.trace = Trace()
        self.tools = Tools(
            LocalNames(self.resolver, local_names),
            GuardedDialer(limits),
            AddressPolicy.parse(allowed),
            Ports(port, tls_port),
            host_rule,
            local_names,
        )

    async def check(self, name: str = "www.example") -> None:
        challenge = Challenge.of(
            name, False, "https://ca.example/acme/account/1", TOKEN, KEY_AUTHORIZATION.partition(".")[2]
        )
        await http01.check(challenge, self.tools, self.trace)

    async def refused(self, name: str = "www.example") -> tuple[str, str]:
        with pytest.raises(CheckFailed) as raised:
            await self.check(name)
        assert raised.value.detail.isprintable()
        return raised.value.problem, raised.value.detail


# --- what passes ----------------------------------------------------------------------------------------


@pytest.mark.row("methods.common")
@pytest.mark.row("methods.http-01")
@pytest.mark.clause("RFC 8555 section 8.3")
@pytest.mark.must("rfc8555.8.3.body")
async def test_the_key_authorization_on_the_web_port_passes() -> None:
    async with WebServer(web.routes({f"www.example {PATH}": good})) as server:
        lab = Lab(port=server.port)
        await lab.check()
    request = server.requests[0].split("\r\n")
    assert request[:2] == [f"GET /.well-known/acme-challenge/{TOKEN} HTTP/1.1", "Host: www.example"]
    assert "Accept-Encoding: identity" in request
    assert "cookie" not in server.requests[0].lower()
    assert lab.resolver.asked == ["www.example AAAA", "www.example A"]
    assert lab.trace.lines() == (
        "dns www.example AAAA: 0 records AD=1 from table",
        "dns www.example A: 127.0.0.1 AD=1 from table",
        f"GET http://www.example{PATH} at 127.0.0.1 port {server.port}",
        f"status 200, {len(KEY_AUTHORIZATION)} octets",
    )


@pytest.mark.row("methods.http-01-body")
@pytest.mark.clause("RFC 8555 section 8.3")
@pytest.mark.must("rfc8555.8.3.trailing-space")
@pytest.mark.parametrize("tail", [b"\n", b"\r\n", b" \t \n", b""])
async def test_trailing_white_space_is_no_matter(tail: bytes) -> None:
    async with WebServer(web.response(KEY_AUTHORIZATION.encode() + tail)) as server:
        await Lab(port=server.port).check()


@pytest.mark.row("methods.http-01-body")
async def test_a_body_without_length_and_a_chunked_one_are_read() -> None:
    body = KEY_AUTHORIZATION.encode()
    for raw in (
        web.head("200 OK") + body,
        web.head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ):
        async with WebServer(web.octets(raw)) as server:
            await Lab(port=server.port).check()


@pytest.mark.row("methods.http-01")
async def test_ipv6_is_used_first() -> None:
    async with WebServer(good, "::1") as six, WebServer(good, "127.0.0.1", port=six.port) as four:
        await Lab({"www.example A": ["127.0.0.1"], "www.example AAAA": ["::1"]}, port=six.port).check()
        assert (six.connections, four.connections) == (1, 0)


@pytest.mark.row("methods.http-01")
@pytest.mark.clause("BR 3.2.2.4.19")
async def test_ipv4_is_tried_after_ipv6_did_not_connect() -> None:
    async with WebServer(good) as server:
        lab = Lab({"www.example A": ["127.0.0.1"], "www.example AAAA": ["::1"]}, port=server.port)
        await lab.check()
    assert any("connect failed" in line for line in lab.trace.lines())


@pytest.mark.row("methods.http-01")
async def test_ipv4_is_not_tried_after_a_wrong_answer_over_ipv6() -> None:
    async with WebServer(web.response(b"wrong"), "::1") as six, WebServer(good, port=six.port) as four:
        lab = Lab({"www.example A": ["127.0.0.1"], "www.example AAAA": ["::1"]}, port=six.port)
        assert (await lab.refused())[0] == "unauthorized"
        assert four.connections == 0


async def test_one_family_whose_lookup_fails_does_not_hide_the_other() -> None:
    async with WebServer(good) as server:
        await Lab(
            {"www.example A": ["127.0.0.1"], "www.example AAAA": failure("www.example", Type.AAAA)},
            port=server.port,
        ).check()


@pytest.mark.must("rfc8555.8.3.redirects")
@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_followed_to_another_name(status: str) -> None:
    table = {
        f"www.example {PATH}": web.redirect("http://other.example/there?x=1", status),
        "other.example /there?x=1": good,
    }
    async with WebServer(web.routes(table)) as server:
        await Lab(
            {"www.example A": ["127.0.0.1"], "other.example A": ["127.0.0.1"]}, port=server.port
        ).check()


@pytest.mark.row("errors.redirect")
@pytest.mark.row("methods.http-01-redirects")
async def test_ten_redirects_are_followed_and_the_eleventh_is_not() -> None:
    def chain(length: int) -> web.Behaviour:
        table = {f"www.example {PATH}": web.redirect("/1")}
        table |= {f"www.example /{n}": web.redirect(f"/{n + 1}") for n in range(1, length)}
        return web.routes(table | {f"www.example /{length}": good})

    async with WebServer(chain(10)) as server:
        await Lab(port=server.port).check()
    async with WebServer(chain(11)) as server:
        problem, detail = await Lab(port=server.port).refused()
    assert problem == "connection"
    assert "10 redirects" in detail


@pytest.fixture(scope="module")
def tls_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expired certificate for another name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "wrong.example")])
    past = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, past, past + timedelta(days=1))
    ).sign(key, hashes.SHA256())
    file: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="module")
def tls(tls_file: Path) -> ssl.SSLContext:
    """A server that nobody would trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_file)
    return context


@pytest.mark.row("methods.http-01-redirects")
async def test_a_redirect_to_https_is_followed_whatever_its_certificate(tls: ssl.SSLContext) -> None:
    async with (
        WebServer(web.redirect(f"https://www.example{PATH}")) as plain,
        WebServer(good, tls=tls) as secure,
    ):
        await Lab(port=plain.port, tls_port=secure.port).check()


@pytest.mark.row("errors.tls")
async def test_plain_http_on_the_https_port_is_a_tls_problem() -> None:
    async def plain_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(web.head("400 Bad Request"))
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(plain_text, "127.0.0.1", 0)
    async with listener, WebServer(web.redirect("https://www.example/")) as plain:
        lab = Lab(port=plain.port, tls_port=listener.sockets[0].getsockname()[1])
        assert (await lab.refused())[0] == "tls"


@pytest.mark.row("errors.tls")
@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.clause("BR 3.2.2.4.19")
async def test_a_host_that_knows_only_tls_11_is_not_read_from(tls_file: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.load_cert_chain(tls_file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is out of date is the point
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with WebServer(web.redirect("https://www.example/")) as plain, WebServer(good, tls=old) as secure:
        # Such a server says so by an alert or, like this one, just hangs up.
        assert (await Lab(port=plain.port, tls_port=secure.port).refused())[0] in ("tls", "connection")
        assert secure.requests == []


@pytest.mark.clause("RFC 6761 section 6.3")
async def test_a_local_name_is_reached_without_any_allowed_network() -> None:
    async with WebServer(good) as server:
        lab = Lab({}, port=server.port, allowed=(), local_names=("localhost", "*.localhost"))
        await lab.check("a.localhost")
        assert lab.resolver.asked == []


# --- what does not --------------------------------------------------------------------------------------


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


# --- server-side request forgery ------------------------------------------------------------------------


@pytest.mark.row("errors.dns")
@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.clause("RFC 8555 section 10.4")
@pytest.mark.must("rfc8555.10.4.ssrf")
async def test_a_name_that_points_inside_is_not_connected_to() -> None:
    async with WebServer(good) as server:
        lab = Lab({"www.example A": ["127.0.0.1", "10.0.0.1"], "www.example AAAA": ["::1"]}, allowed=())
        lab.tools = Tools(
            lab.resolver, lab.tools.dialer, AddressPolicy(), Ports(server.port, server.port), host_rule
        )
        problem, detail = await lab.refused()
    assert problem == "dns"
    assert "special-purpose" in detail
    assert server.connections == 0


async def test_of_several_addresses_the_first_allowed_one_is_used() -> None:
    async with WebServer(good) as server:
        lab = Lab({"www.example A": ["10.0.0.1", "127.0.0.1"]}, port=server.port)
        await lab.check()


@pytest.mark.row("errors.redirect")
@pytest.mark.row("attacks.odd-literals")
@pytest.mark.row("attacks.redirect-to-internal")
@pytest.mark.clause("RFC 8555 section 10.4")
@pytest.mark.must("rfc8555.10.4.ssrf")
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "inside.example",
        "www.example@127.0.0.1",
        "127.0.0.1\\@www.example",
        "127.0.0.1%00.example",
        "127。0。0。1",
    ],
)
async def test_a_redirect_inside_connects_nowhere(host: str) -> None:
    # The first server stands outside (127.0.0.2 plays a public address), the target inside.
    async with WebServer(good) as four, WebServer(good, "::1", port=four.port) as six:
        inside = {f"{name} A": ["127.0.0.1"] for name in ("inside.example", "localhost")}
        inside |= {f"{name} AAAA": ["::1"] for name in ("inside.example", "localhost")}
        async with WebServer(web.redirect(f"http://{host}/"), "127.0.0.2", port=four.port):
            lab = Lab({"www.example A": ["127.0.0.2"], **inside}, port=four.port, allowed=("127.0.0.2/32",))
            problem, _ = await lab.refused()
        assert problem == "connection"
        assert (four.connections, six.connections) == (0, 0)


async def test_a_redirect_from_elsewhere_to_a_local_name_connects_nowhere() -> None:
    async with WebServer(good) as inside:
        async with WebServer(web.redirect("http://a.localhost/"), "127.0.0.2", port=inside.port):
            lab = Lab(
                {"www.example A": ["127.0.0.2"]},
                port=inside.port,
                allowed=("127.0.0.2/32",),
                local_names=("localhost", "*.localhost"),
            )
            problem, detail = await lab.refused()
        assert (problem, inside.connections) == ("connection", 0)
        assert "local name" in detail


@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.row("attacks.rebinding")
async def test_rebinding_between_two_hops_meets_the_policy_again() -> None:
    class Rebinding(TableResolver):
        async def lookup(self, name, type):
            answer = await super().lookup(name, type)
            if type == Type.A:
                self.table["www.example A"] = ["127.0.0.1"]
            return answer

    async with WebServer(good) as inside:
        async with WebServer(web.redirect("/again"), "127.0.0.2", port=inside.port):
            lab = Lab({"www.example A": ["127.0.0.2"]}, port=inside.port, allowed=("127.0.0.2/32",))
            resolver = Rebinding({"www.example A": ["127.0.0.2"]})
            lab.tools = Tools(
                resolver, lab.tools.dialer, lab.tools.policy, lab.tools.ports, lab.tools.host_rule
            )
            problem, detail = await lab.refused()
        assert (problem, inside.connections) == ("connection", 0)
        assert "special-purpose" in detail


@pytest.mark.row("limits.http")
async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with WebServer(good) as server, WebServer(good) as proxy:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        await Lab(port=server.port).check()
        assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.row("limits.http")
async def test_an_endless_chain_of_slow_hops_ends_with_the_check() -> None:
    async def slow(text, reader, writer) -> None:
        await asyncio.sleep(0.2)
        number = len(server.requests)
        writer.write(web.head("302 Found", f"Location: /{number}", "Content-Length: 0"))

    async with WebServer(slow) as server:
        lab = Lab(port=server.port, limits=DialLimits(read=1, hop=1, check=0.5))
        problem, detail = await lab.refused()
    assert problem == "connection"
    assert "no answer within" in detail
