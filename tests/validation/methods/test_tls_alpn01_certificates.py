"""tls-alpn-01: certificates that do not answer the challenge (RFC 8737 section 3)."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.support import tls
from tests.support.tls import TlsServer, acme_identifier, certificate, context, der, names
from tests.validation.methods.tls_alpn01_lab import (
    ACCOUNT,
    CHALLENGE,
    IDENTIFIER,
    NAME,
    RIGHT,
    THUMBPRINT,
    TOKEN,
    Lab,
)
from validation.challenge import Challenge

pytestmark = pytest.mark.timeout(30)


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
