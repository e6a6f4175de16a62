"""Routes that lead to an attacker: what one region, or the primary, is told, and what all of them say of it.

A hijack is a more specific route in a perspective's network.  Behind it the attacker has a web server and a
name server that say what suits him.  Coordinator and perspectives are the real ones, and
the perspectives are asked both ways: by their sockets, and by mutual TLS from network to network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.clock import SystemClock
from core.evidence import Result
from core.outcome import Outcome
from core.randomness import SystemRandomness
from tests.world.applicant import ATTACKER, THUMBPRINT
from tests.world.internet import Internet, ask_everywhere
from tests.world.namespaces import Namespaces

pytestmark = [pytest.mark.timeout(120), pytest.mark.clause("BR 3.2.2.9")]

Ask = Callable[..., Outcome]

PRIMARY = "tokyo"
REGION = ("oregon", "virginia")
VICTIM = "www.hostile.com"


@contextmanager
def hijacked(internet: Internet, address: str, *codes: str) -> Iterator[None]:
    net = internet.namespaces
    assert isinstance(net, Namespaces)
    for code in codes:
        net.hijack(code, address)
    try:
        yield
    finally:
        for code in codes:
            net.release(code, address)


@pytest.fixture(params=["sockets", "mutual TLS"])
def ask(internet: Internet, request: pytest.FixtureRequest) -> Ask:
    """All perspectives asked by the real coordinator; by TLS it is at the primary's place, they elsewhere."""
    by_tls = request.param == "mutual TLS"
    settings = internet.elsewhere if by_tls else internet.settings

    def everywhere(name: str, method: str = "http-01", thumbprint: str = THUMBPRINT) -> Outcome:
        clock, randomness = SystemClock(), SystemRandomness()

        def run() -> Outcome:
            return asyncio.run(
                ask_everywhere(internet.data, settings, clock, randomness, name, method, thumbprint)
            )

        return internet.net.inside(PRIMARY, run) if by_tls else run()

    return everywhere


def test_without_an_attack_the_honest_pass_and_the_attacker_does_not(ask: Ask, internet: Internet) -> None:
    assert ask(VICTIM).result == Result.PASS
    refused = ask(VICTIM, thumbprint=ATTACKER)
    assert (refused.result, refused.problem) == (Result.FAIL, "unauthorized")


@pytest.mark.row("attacks.bgp-region")
def test_a_region_that_is_led_astray_does_not_keep_the_honest_from_their_certificate(
    ask: Ask,
    internet: Internet,
) -> None:
    with hijacked(internet, internet.net.addresses.web, *REGION):
        outcome = ask(VICTIM)
    assert outcome.result == Result.PASS


@pytest.mark.row("attacks.bgp-region")
@pytest.mark.row("errors.secondary")
def test_a_region_and_the_primary_led_astray_are_no_quorum(ask: Ask, internet: Internet) -> None:
    with hijacked(internet, internet.net.addresses.web, PRIMARY, *REGION):
        outcome = ask(VICTIM, thumbprint=ATTACKER)
    assert (outcome.result, outcome.problem) == (Result.FAIL, "unauthorized")
    assert outcome.detail.startswith("During secondary validation: ")


@pytest.mark.row("attacks.bgp-primary")
def test_the_primary_led_astray_alone_gets_no_agreement(ask: Ask, internet: Internet) -> None:
    with hijacked(internet, internet.net.addresses.web, PRIMARY):
        outcome = ask(VICTIM, thumbprint=ATTACKER)
    assert (outcome.result, outcome.problem) == (Result.FAIL, "unauthorized")


@pytest.mark.row("attacks.bgp-primary")
def test_what_the_primary_does_not_see_no_remote_makes_good(ask: Ask, internet: Internet) -> None:
    remotes = [code for code in internet.codes if code != PRIMARY]
    with hijacked(internet, internet.net.addresses.web, *remotes):
        outcome = ask(VICTIM, thumbprint=ATTACKER)
    assert (outcome.result, outcome.problem) == (Result.FAIL, "unauthorized")
    assert "secondary" not in outcome.detail


@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.row("attacks.stripping")
def test_a_false_name_server_cannot_speak_for_a_signed_zone(ask: Ask, internet: Internet) -> None:
    with hijacked(internet, internet.net.addresses.leaf, *internet.codes):
        outcome = ask("stolen.example.com", "dns-01", ATTACKER)
    assert (outcome.result, outcome.problem) == (Result.FAIL, "dns")


@pytest.mark.row("attacks.bgp-region")
@pytest.mark.parametrize("method", ["http-01", "dns-01"])
def test_a_false_name_server_of_an_unsigned_zone_is_outvoted(
    ask: Ask, internet: Internet, method: str
) -> None:
    with hijacked(internet, internet.net.addresses.leaf, PRIMARY, *REGION):
        outcome = ask(f"stolen-{method}.insecure-example.com", method, ATTACKER)
    assert outcome.result == Result.FAIL
    assert outcome.detail.startswith("During secondary validation: ")


def test_only_everybody_led_astray_believes_the_attacker(ask: Ask, internet: Internet) -> None:
    """What remains: an attack on all at once.  It also shows that the attacker's servers do work."""
    with hijacked(internet, internet.net.addresses.leaf, *internet.codes):
        outcome = ask("everybody.insecure-example.com", "dns-01", ATTACKER)
    assert outcome.result == Result.PASS
