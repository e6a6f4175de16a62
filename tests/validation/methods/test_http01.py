"""http-01: what passes (RFC 8555 section 8.3)."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import web
from tests.support.fake_dns import failure
from tests.support.web import WebServer
from tests.validation.methods.http01_lab import KEY_AUTHORIZATION, PATH, TOKEN, Lab, good
from validation.dns.resolver import Type

pytestmark = pytest.mark.timeout(30)


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
