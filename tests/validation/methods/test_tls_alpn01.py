"""tls-alpn-01: what passes (RFC 8737; RFC 8738 section 6), with OpenSSL's own server, too."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.support import tls
from tests.support.tls import RawServer, TlsServer, certificate, context, der, names
from tests.validation.methods.tls_alpn01_lab import IDENTIFIER, NAME, RIGHT, Lab
from validation.methods import tls_alpn01

pytestmark = pytest.mark.timeout(30)


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.must("rfc8737.3.closed", "rfc8737.4.silent", "rfc8737.3.client-hello")
@pytest.mark.row("methods.tls-alpn-01")
async def test_the_right_certificate_behind_acme_tls_passes_and_no_word_follows_the_handshake() -> None:
    async with TlsServer(context(der(RIGHT))) as server:
        lab = Lab(server.port)
        await lab.check()
    assert server.asked == [NAME]
    assert server.read == b""
    lines = lab.trace.lines()
    assert f"TLS handshake acme-tls/1 for {NAME} at 127.0.0.1 port {server.port}" in lines
    assert lines[-1].startswith("ALPN acme-tls/1, certificate SHA-256 ")


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.must("rfc8737.3.case")
@pytest.mark.row("methods.tls-alpn-01")
@pytest.mark.parametrize(
    ("shown", "key"),
    [
        (certificate(names(NAME), IDENTIFIER, age=3000), tls.KEY),
        (certificate(names(NAME), IDENTIFIER, age=-30), tls.KEY),
        (certificate(names(NAME.upper()), IDENTIFIER), tls.KEY),
        (certificate(names(NAME), IDENTIFIER, subject=""), tls.KEY),
        (
            certificate(names(NAME), IDENTIFIER, (x509.BasicConstraints(ca=True, path_length=None), True)),
            tls.KEY,
        ),
        *(
            (certificate(names(NAME), IDENTIFIER, key=key), key)
            for key in (rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate())
        ),
    ],
    ids=["expired", "of tomorrow", "capitals", "no subject", "a CA", "RSA-1024", "Ed25519"],
)
async def test_expiry_strength_and_ornaments_are_no_matter(shown: x509.Certificate, key: tls.Key) -> None:
    async with TlsServer(context(der(shown), key)) as server:
        await Lab(server.port).check()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_12_and_13_both_serve(version: ssl.TLSVersion) -> None:
    tls_context = context(der(RIGHT), alpn=("h2", "http/1.1", "acme-tls/1"))
    tls_context.minimum_version = tls_context.maximum_version = version
    tls_context.verify_mode = ssl.CERT_OPTIONAL  # it may ask for a certificate of ours, and gets none
    async with TlsServer(tls_context) as server:
        await Lab(server.port).check()


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.must("rfc8737.3.client-hello")
@pytest.mark.row("methods.tls-alpn-01")
async def test_acme_tls_is_the_only_protocol_that_is_offered() -> None:
    async with RawServer([], then="close") as server:
        await Lab(server.port).refused()
    assert b"\x00\x10\x00\x0d\x00\x0b\x0aacme-tls/1" in server.hello
    assert b"\x03\x02" not in server.hello[-40:]
    supported = server.hello.index(b"\x00\x2b\x00")
    assert server.hello[supported + 5 : supported + 9] == b"\x03\x04\x03\x03"  # TLS 1.3 and 1.2, no other


@pytest.mark.clause("RFC 8738 section 6")
@pytest.mark.must("rfc8738.6.sni", "rfc8738.4.no-resolution")
@pytest.mark.row("methods.tls-alpn-01-ip", "methods.ip")
@pytest.mark.parametrize(
    ("address", "host", "sni"),
    [
        ("127.0.0.1", "127.0.0.1", "1.0.0.127.in-addr.arpa"),
        ("::1", "::1", "1." + "0." * 31 + "ip6.arpa"),
    ],
)
async def test_an_address_is_asked_for_by_its_reverse_name(address: str, host: str, sni: str) -> None:
    shown = der(certificate(names(address), IDENTIFIER))
    async with TlsServer(context(shown), host) as server:
        lab = Lab(server.port, {})
        await lab.check(address)
    assert server.asked == [sni]
    assert lab.resolver.asked == []


@pytest.mark.clause("RFC 8738 section 6")
@pytest.mark.must("rfc8738.6.sni")
@pytest.mark.row("methods.tls-alpn-01-ip")
def test_the_reverse_names_of_the_rfc() -> None:
    assert tls_alpn01.server_name("203.0.113.9") == "9.113.0.203.in-addr.arpa"
    expected = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    assert tls_alpn01.server_name("2001:db8::1") == expected


async def test_ipv4_is_tried_only_after_ipv6_did_not_connect() -> None:
    table = {f"{NAME} A": ["127.0.0.1"], f"{NAME} AAAA": ["::1"]}
    async with TlsServer(context(der(RIGHT))) as four:
        lab = Lab(four.port, table)
        await lab.check()
        assert any("connect failed" in line for line in lab.trace.lines())
        wrong = context(der(certificate(names("other.example"), IDENTIFIER)))
        async with TlsServer(wrong, "::1", four.port) as six:
            assert (await Lab(four.port, table).refused())[0] == "unauthorized"
            assert (len(six.asked), len(four.asked)) == (1, 1)


@pytest.mark.clause("RFC 6761 section 6.3")
async def test_a_local_name_is_reached_without_any_allowed_network() -> None:
    async with TlsServer(context(der(certificate(names("a.localhost"), IDENTIFIER)))) as server:
        lab = Lab(server.port, {}, allowed=(), local_names=("*.localhost",))
        await lab.check("a.localhost")


@asynccontextmanager
async def s_server(directory: Path, *arguments: str) -> AsyncIterator[int]:
    """`openssl s_server` with the right certificate; its port."""
    program = shutil.which("openssl")
    assert program is not None
    file = directory / "server.pem"
    file.write_bytes(tls.pem(der(RIGHT), tls.KEY))
    process = await asyncio.create_subprocess_exec(
        program, "s_server", "-accept", "127.0.0.1:0", "-cert", str(file), "-naccept", "1",
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        await process.stdout.readuntil(b"ACCEPT 127.0.0.1:")
        yield int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.clause("RFC 7301 section 3.2")
@pytest.mark.row("errors.tls")
async def test_the_alert_that_alpn_has_no_overlap_is_a_tls_problem(tmp_path: Path) -> None:
    async with s_server(tmp_path, "-alpn", "h2,http/1.1") as port:
        problem, detail = await Lab(port).refused()
    assert problem == "tls"
    assert "does not speak acme-tls/1" in detail


@pytest.mark.row("methods.tls-alpn-01")
async def test_openssls_own_server_passes(tmp_path: Path) -> None:
    async with s_server(tmp_path, "-alpn", "acme-tls/1") as port:
        await Lab(port).check()


@pytest.mark.row("errors.tls")
@pytest.mark.parametrize("version", ["-tls1_1", "-tls1"])
async def test_openssls_alert_of_an_old_version_is_a_tls_problem(tmp_path: Path, version: str) -> None:
    async with s_server(tmp_path, version, "-cipher", "DEFAULT:@SECLEVEL=0", "-alpn", "acme-tls/1") as port:
        assert (await Lab(port).refused())[0] == "tls"
