"""The facts that the checks leave: what was asked, dialled and answered, in the world's real DNS."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core import facts
from core.clock import FakeClock
from core.evidence import PerspectiveKey
from core.facts import Dnssec, Facts
from core.randomness import SystemRandomness
from core.settings import Settings, Validation
from tests.support.tls import TlsServer, certificate, context, der, names
from tests.world.world import World
from validation.api import CheckRequest
from validation.dns.resolver import StubResolver, Upstream
from validation.perspective import make_checker

KEY = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
ACCOUNT = "https://ca.example/acme/account/1"
TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"

pytestmark = pytest.mark.timeout(60)


async def seen(world: World, name: str, method: str, **validation: Any) -> Facts:
    """The facts of one check by a perspective that asks the world's Unbound."""
    settings = Settings(validation=Validation(allowed_networks=("127.0.0.0/8",), **validation))
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    checker = make_checker(settings, "local", KEY, resolver, FakeClock(1_800_000_000))
    looked = await checker.check(CheckRequest(name, ACCOUNT, "attempt", method, "", TOKEN, THUMBPRINT))
    read = facts.decode(looked.facts)
    assert read is not None
    assert world.resolver not in repr(read)
    return read


@pytest.mark.row("dns.stub")
@pytest.mark.parametrize(
    ("name", "dnssec"),
    [
        ("www.example.com", Dnssec.SECURE),
        ("www.insecure-example.com", Dnssec.INSECURE),
        ("www.expired-example.com", Dnssec.BOGUS),
    ],
)
async def test_each_lookup_says_whether_dnssec_proved_it(world: World, name: str, dnssec: Dnssec) -> None:
    read = await seen(world, name, "http-01", http_port=1)
    assert {each.type: each.dnssec for each in read.lookups} == {"A": dnssec, "AAAA": dnssec}
    assert all(bool(each.failure) is (dnssec is Dnssec.BOGUS) for each in read.lookups)


async def test_the_aliases_that_were_followed_are_told(world: World) -> None:
    world.set_records("facts.example.com", "CNAME", ["target.facts-zone.example.com."])
    world.set_records("target.facts-zone.example.com", "A", ["127.0.0.1"])
    read = await seen(world, "facts.example.com", "http-01", http_port=1)
    found = next(each for each in read.lookups if each.type == "A")
    assert (found.aliases, found.records) == (("target.facts-zone.example.com",), ("127.0.0.1",))
    (refused,) = read.fetches
    assert (refused.address, refused.port, refused.status) == ("127.0.0.1", 1, 0)
    assert "connection refused" in refused.failure


@pytest.mark.clause("RFC 8659 section 3")
async def test_the_climb_names_every_level_with_its_answer(world: World) -> None:
    read = await seen(world, "caa-deny.example.com", "dns-01")
    levels = {each.name: (each.count > 0, each.dnssec) for each in read.caa}
    assert set(levels) == {"caa-deny.example.com", "example.com", "com"}
    assert levels["caa-deny.example.com"] == (True, Dnssec.SECURE)


async def test_a_txt_record_is_shown_in_part_and_escaped(world: World) -> None:
    world.set_txt("_acme-challenge.facts-txt.example.com", "stale\x1b", "x" * 200, "c", "d", "e", "f")
    (read,) = (await seen(world, "facts-txt.example.com", "dns-01")).lookups
    assert read.count == 6
    assert len(read.records) == 4
    assert all(len(each) <= 80 and each.isprintable() for each in read.records)


@pytest.mark.clause("RFC 8737 section 3")
async def test_a_handshake_tells_protocol_and_certificate(world: World) -> None:
    world.set_records("facts-tls.example.com", "A", ["127.0.0.1"])
    shown = certificate(names("other.example"))
    async with TlsServer(context(der(shown))) as server:
        read = await seen(world, "facts-tls.example.com", "tls-alpn-01", tls_alpn_port=server.port)
    (shook,) = read.handshakes
    assert (shook.server_name, shook.address) == ("facts-tls.example.com", "127.0.0.1")
    assert (shook.protocol, len(shook.certificate), shook.names) == ("acme-tls/1", 64, ("other.example",))
    assert shook.failure == ""
