"""tls-alpn-01: real TLS servers on loopback, good and hostile; names from a table."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from core.errors import TransientError
from tests.support import tls
from tests.support.fake_dns import TableResolver, failure
from tests.support.tls import RawServer, TlsServer, acme_identifier, certificate, context, der, names
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import LocalNames, Type
from validation.hosts.dialer import DialLimits, GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import tls_alpn01
from validation.verdict import CheckFailed, Trace

NAME = "www.example"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
ACCOUNT = "https://ca.example/acme/account/1"
CHALLENGE = Challenge.of(NAME, False, ACCOUNT, TOKEN, THUMBPRINT)
IDENTIFIER = (acme_identifier(CHALLENGE.digest), True)
RIGHT = certificate(names(NAME), IDENTIFIER)
QUICK = DialLimits(connect_v6=0.5, connect=0.5, tls_alpn=0.6)
"""For hosts that keep us waiting: what is expected of them holds on a slow machine, too."""

pytestmark = pytest.mark.timeout(30)


class Lab:
    """The method under test with its surroundings."""

    def __init__(
        self,
        port: int,
        table: dict | None = None,
        *,
        allowed: Iterable[str] = ("127.0.0.1/32", "::1/128"),
        limits: DialLimits | None = None,
        local_names: tuple[str, ...] = (),
    ) -> None:
        self.resolver = TableResolver({f"{NAME} A": ["127.0.0.1"]} if table is None else table)
        self.trace = Trace()
        self.tools = Tools(
            LocalNames(self.resolver, local_names),
            GuardedDialer(limits),
            AddressPolicy.parse(allowed),
            Ports(1, 1, port),
            lambda host: host,
            local_names,
        )

    async def check(self, name: str = NAME) -> None:
        challenge = Challenge.of(name, False, ACCOUNT, TOKEN, THUMBPRINT)
        await tls_alpn01.check(challenge, self.tools, self.trace)

    async def refused(self, name: str = NAME) -> tuple[str, str]:
        with pytest.raises(CheckFailed) as raised:
            await self.check(name)
        assert raised.value.detail.isprintable()
        assert name in raised.value.detail
        return raised.value.problem, raised.value.detail


# --- what passes ----------------------------------------------------------------------------------------


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


# --- certificates that do not answer the challenge --------------------------------------------------------


def twice() -> bytes:
    """A certificate with the acmeIdentifier twice, which no honest library makes."""
    neighbour = acme_identifier(CHALLENGE.digest, "1.3.6.1.5.5.7.1.32")
    made = der(certificate(names(NAME), IDENTIFIER, (neighbour, True)))
    return made.replace(bytes.fromhex("2b06010505070120"), bytes.fromhex("2b0601050507011f"))


def forged() -> bytes:
    """Self-signed by its names, and by another key in truth."""
    return der(certificate(names(NAME), IDENTIFIER, signed_by=tls.OTHER_KEY))


def wrong_digest() -> tuple[x509.ExtensionType, bool]:
    return acme_identifier(Challenge.of(NAME, False, ACCOUNT, TOKEN[::-1], THUMBPRINT).digest), True


FAULTS = {
    "no subjectAltName": (der(certificate((), IDENTIFIER)), "has no subjectAltName"),
    "another name": (der(certificate(names("other.example"), IDENTIFIER)), "other.example"),
    "a second name": (der(certificate(names(NAME, "other.example"), IDENTIFIER)), "no other name"),
    "the name twice": (der(certificate(names(NAME, NAME), IDENTIFIER)), "no other name"),
    "an address besides": (der(certificate(names(NAME, "127.0.0.1"), IDENTIFIER)), "no other name"),
    "an e-mail address besides": (der(certificate(names(NAME, f"a@{NAME}"), IDENTIFIER)), "no other name"),
    "an address instead": (der(certificate(names("127.0.0.1"), IDENTIFIER)), "127.0.0.1"),
    "a wildcard": (der(certificate(names("*.example"), IDENTIFIER)), "*.example"),
    "a trailing dot": (der(certificate(names(NAME + "."), IDENTIFIER)), "no other name"),
    "the name as a URI": (
        der(certificate((x509.UniformResourceIdentifier(NAME),), IDENTIFIER)),
        "no other name",
    ),
    "no acmeIdentifier": (der(certificate(names(NAME))), "no acmeIdentifier"),
    "the OID of the drafts": (
        der(certificate(names(NAME), (acme_identifier(CHALLENGE.digest, "1.3.6.1.5.5.7.1.30.1"), True))),
        "no acmeIdentifier",
    ),
    "not critical": (
        der(certificate(names(NAME), (acme_identifier(CHALLENGE.digest), False))),
        "not critical",
    ),
    "another digest": (der(certificate(names(NAME), wrong_digest())), "key authorization"),
    "digest without OCTET STRING": (
        der(certificate(names(NAME), (tls.octets(CHALLENGE.digest), True))),
        "key authorization",
    ),
    "digest in hex": (
        der(certificate(names(NAME), (acme_identifier(CHALLENGE.digest.hex().encode()), True))),
        "key authorization",
    ),
    "octets after the digest": (
        der(certificate(names(NAME), (tls.octets(b"\x04\x20" + CHALLENGE.digest + b"\x00"), True))),
        "key authorization",
    ),
    "an empty acmeIdentifier": (der(certificate(names(NAME), (tls.octets(b""), True))), "key authorization"),
    "acmeIdentifier twice": (twice(), "1.3.6.1.5.5.7.1.31 twice"),
    "signed by a CA": (
        der(certificate(names(NAME), IDENTIFIER, signed_by=tls.OTHER_KEY, issuer="Some CA")),
        "not signed by its own key",
    ),
    "signed by another key of the same name": (forged(), "not signed by its own key"),
}


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.must("rfc8737.3.extensions", "rfc8737.3.one-name", "rfc8737.3.digest", "rfc8737.3.critical")
@pytest.mark.row("methods.tls-alpn-01", "errors.alpn-unauthorized")
@pytest.mark.parametrize(("shown", "says"), FAULTS.values(), ids=FAULTS)
async def test_a_certificate_that_says_anything_else_is_unauthorized(shown: bytes, says: str) -> None:
    async with TlsServer(context(shown)) as server:
        problem, detail = await Lab(server.port).refused()
    assert problem == "unauthorized"
    assert says in detail


@pytest.mark.clause("RFC 8738 section 6")
@pytest.mark.must("rfc8738.6.san")
@pytest.mark.row("methods.tls-alpn-01-ip")
@pytest.mark.parametrize(
    "san",
    [
        names("127.0.0.2"),
        names("127.0.0.1", "127.0.0.2"),
        names("127.0.0.1", NAME),
        names("1.0.0.127.in-addr.arpa"),
        (x509.DNSName("127.0.0.1"),),
        names("::ffff:127.0.0.1"),
    ],
)
async def test_an_address_needs_its_own_ipaddress_and_no_name(san: tuple[x509.GeneralName, ...]) -> None:
    async with TlsServer(context(der(certificate(san, IDENTIFIER)))) as server:
        problem, detail = await Lab(server.port).refused("127.0.0.1")
    assert (problem, "iPAddress 127.0.0.1" in detail) == ("unauthorized", True)


@pytest.mark.row("attacks.token-confusion")
async def test_the_certificate_of_another_accounts_challenge_does_not_count() -> None:
    theirs = Challenge.of(NAME, False, ACCOUNT, TOKEN, THUMBPRINT[::-1])
    shown = certificate(names(NAME), (acme_identifier(theirs.digest), True))
    async with TlsServer(context(der(shown))) as server:
        assert (await Lab(server.port).refused())[0] == "unauthorized"


@pytest.mark.row("attacks.default-vhost-alpn")
@pytest.mark.parametrize("alpn", [("acme-tls/1", "h2"), ("h2", "http/1.1"), ()])
async def test_a_shared_host_that_answers_any_name_shows_no_control(alpn: tuple[str, ...]) -> None:
    """ALPN alone, the name alone, the digest alone: none is enough, and it says which is missing."""
    vhost = certificate(names("default.example", "www.default.example"))
    for shown in (vhost, certificate(names(NAME)), certificate(names("default.example"), IDENTIFIER)):
        async with TlsServer(context(der(shown), alpn=alpn)) as server:
            assert (await Lab(server.port).refused())[0] == "unauthorized"
            assert server.asked == [NAME]


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.must("rfc8737.3.server-hello")
@pytest.mark.row("errors.alpn-unauthorized")
async def test_a_server_that_ignores_alpn_is_unauthorized_although_its_certificate_is_right() -> None:
    async with TlsServer(context(der(RIGHT), alpn=())) as server:
        problem, detail = await Lab(server.port).refused()
    assert problem == "unauthorized"
    assert "instead of acme-tls/1" in detail


@pytest.mark.row("attacks.log-injection")
async def test_what_a_certificate_says_is_escaped_and_capped() -> None:
    hostile = "\x1b[31mred\r\nfake log line" + "z" * 40
    shown = certificate(names(NAME), IDENTIFIER, signed_by=tls.OTHER_KEY, subject=hostile, issuer=NAME)
    async with TlsServer(context(der(shown))) as server:
        lab = Lab(server.port)
        _, detail = await lab.refused()
    assert "\\x1b[31mred\\x0d\\x0afake" in detail
    assert all(line.isprintable() for line in lab.trace.lines())
    many = certificate(names(*(f"name-{number}.example" for number in range(500))), IDENTIFIER)
    async with TlsServer(context(der(many))) as server:
        assert len((await Lab(server.port).refused())[1]) <= 400


# --- hosts that shake no hands ----------------------------------------------------------------------------

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


# --- OpenSSL's own server, which says what Python's does not -----------------------------------------------


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
