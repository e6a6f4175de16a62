"""The world is what it says: a signed tree, and every way in which a zone can be wrong."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from tests.world.world import World


@pytest.mark.parametrize("name", ["www.example.com", "never-written.example.com"])
def test_a_name_of_the_secure_zone_is_answered_as_authentic(world: World, name: str) -> None:
    reply = world.ask(name, "A")
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AD


def test_a_name_that_does_not_exist_is_denied_authentically(world: World) -> None:
    reply = world.ask("no-such-zone.com", "A")
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.flags & dns.flags.AD


def test_an_insecure_delegation_is_answered_without_authenticity(world: World) -> None:
    reply = world.ask("www.insecure-example.com", "A")
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert not reply.flags & dns.flags.AD


@pytest.mark.parametrize(("zone", "code"), [("tampered", 6), ("expired", 7), ("stripped", 9)])
def test_a_zone_with_broken_dnssec_fails_with_its_extended_error(world: World, zone: str, code: int) -> None:
    reply = world.ask(f"www.{zone}-example.com", "A")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [int(error.code) for error in reply.extended_errors()] == [code]


def test_records_can_be_set_and_taken_away_while_it_runs(world: World) -> None:
    world.set_txt("_acme-challenge.change.example.com", "first", "second")
    seen = world.ask("_acme-challenge.change.example.com", "TXT")
    assert sorted(str(record) for record in seen.answer[0]) == ['"first"', '"second"']
    assert seen.flags & dns.flags.AD
    world.clear("_acme-challenge.change.example.com")
