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


@pytest.mark.row("attacks.fragmentation")
def test_a_set_that_fits_no_datagram_comes_whole_over_tcp(world: World) -> None:
    reply = world.ask("caa-sixty.example.com", "CAA")
    assert len(reply.answer[0]) == 60
    assert reply.flags & dns.flags.AD


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("caa-padded.example.com", "CAA"),
        ("www.truncated-example.com", "CAA"),
        ("loop.chain-example.com", "A"),
        ("self.chain-example.com", "A"),
        ("x.spin.chain-example.com", "A"),
        ("x.grow.chain-example.com", "A"),
        ("www.keytrap-example.com", "A"),
        ("www.refused-example.com", "A"),
    ],
)
def test_what_cannot_be_answered_whole_fails_at_once(world: World, name: str, kind: str) -> None:
    assert world.ask(name, kind, timeout=2).rcode() == dns.rcode.SERVFAIL


@pytest.mark.clause("RFC 9276 section 3.2")
def test_denial_that_costs_too_many_hashes_is_not_authentic(world: World) -> None:
    assert not world.ask("www.iterated-example.com", "AAAA", timeout=2).flags & dns.flags.AD


@pytest.mark.clause("RFC 6672 section 2.3")
def test_a_dname_leads_to_the_other_tree(world: World) -> None:
    reply = world.ask("www.moved.chain-example.com", "A")
    assert [str(rrset.name) for rrset in reply.answer][-1] != "www.moved.chain-example.com."
    assert reply.flags & dns.flags.AD


def test_a_server_that_changes_the_case_of_a_question_is_understood(world: World) -> None:
    assert world.ask("www.lower-example.com", "A").answer


def test_a_rebinding_name_turns_and_is_not_kept(world: World) -> None:
    before = str(world.ask("www.rebind-example.com", "A").answer[0][0])
    world.scripted.turn()
    assert str(world.ask("www.rebind-example.com", "A").answer[0][0]) != before


def test_records_can_be_set_and_taken_away_while_it_runs(world: World) -> None:
    world.set_txt("_acme-challenge.change.example.com", "first", "second")
    seen = world.ask("_acme-challenge.change.example.com", "TXT")
    assert sorted(str(record) for record in seen.answer[0]) == ['"first"', '"second"']
    assert seen.flags & dns.flags.AD
    world.clear("_acme-challenge.change.example.com")
