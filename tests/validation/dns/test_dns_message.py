"""The reader of DNS messages, by example; test_dns_message_properties.py has what is made up."""

from __future__ import annotations

import struct
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.support.dns_oracle import NAME, SAMPLES, as_octets, asked_in, compare, read, reply, we_say
from tests.world.world import World
from validation.dns import dns_message
from validation.dns.dns_message import Malformed


@pytest.mark.parametrize("wire", SAMPLES)
def test_a_sound_message_is_read_as_dnspython_reads_it(wire: bytes) -> None:
    assert we_say(wire) is not None
    with as_octets():
        compare(wire)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("www.example.com", "A"),
        ("alias.example.com", "A"),
        ("caa-deny.example.com", "CAA"),
        ("nowhere.nothing-example.com", "TXT"),
        ("www.expired-example.com", "A"),
    ],
)
def test_what_unbound_answers_with_signatures_is_read_as_dnspython_reads_it(
    world: World, name: str, kind: str
) -> None:
    wire = world.ask(name, kind).wire
    assert wire is not None
    assert we_say(wire) is not None
    with as_octets():
        compare(wire)


def test_the_query_is_what_dnspython_would_send() -> None:
    query = dns.message.make_query(NAME, "CAA", use_edns=0, payload=dns_message.UDP_PAYLOAD)
    query.flags |= dns.flags.AD
    asked = dns_message.question(NAME, dns_message.CAA)
    assert dns_message.query(query.id, asked) == query.to_wire()


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a.", "x" * 64, ".".join(["x" * 63] * 4), "münchen.example"]
)
def test_a_name_that_cannot_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        dns_message.question(name, dns_message.A)


@pytest.mark.row("dns.stub")
@pytest.mark.clause("RFC 5452 section 9.1")
@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda wire: wire, True),
        (lambda wire: b"\xff\xff" + wire[2:], False),
        (lambda wire: wire[:2] + b"\x01" + wire[3:], False),  # QR
        (lambda wire: wire[:2] + bytes([wire[2] | 0x28]) + wire[3:], False),  # opcode
        (lambda wire: wire[:5] + b"\x00" + wire[6:], False),  # QDCOUNT
        (lambda wire: wire.replace(b"\x03www", b"\x03Www", 1), False),
        (lambda wire: wire.replace(b"\x01\x01\x00\x01", b"\x00\x01\x00\x01", 1), False),  # the type
        (lambda wire: wire[:11], False),
        (lambda wire: b"", False),
    ],
)
def test_a_reply_counts_by_id_kind_and_question(change, counts: bool) -> None:
    wire = reply()
    asked = dns_message.question(NAME, dns_message.CAA)
    assert dns_message.answers(change(wire), 0x1234, asked) is counts


@pytest.mark.row("attacks.cname-loops")
@pytest.mark.row("dns.stub")
@pytest.mark.parametrize(("aliases", "read_whole"), [(16, True), (17, False)])
def test_sixteen_aliases_are_followed_and_no_more(aliases: int, read_whole: bool) -> None:
    hops = [NAME, *(f"h{number}.example.com" for number in range(1, aliases + 1))]
    wire = reply(
        *(f"{hop}. CNAME {following}." for hop, following in pairwise(hops)),
        f"{hops[-1]}. A 192.0.2.1",
        type="A",
    )
    seen = we_say(wire)
    assert (seen is not None) is read_whole
    assert seen is None or seen[2] == hops[1:]


def test_pointers_that_lead_in_a_circle_are_refused() -> None:
    wire = bytearray(reply("www.example.com. A 192.0.2.1", type="A"))
    at = 12 + len(asked_in(wire))
    for target in (at, at + 2, 0):  # itself, forward, the header
        wire[at : at + 2] = (0xC000 | target).to_bytes(2, "big")
        with pytest.raises(Malformed, match="pointer"):
            read(bytes(wire))


@pytest.mark.row("limits.dns")
def test_a_message_of_more_records_than_any_check_uses_is_not_read_at_all() -> None:
    asked = dns_message.question(NAME, dns_message.CAA)
    record = b"\xc0\x0c" + struct.pack("!HHIH", dns_message.CAA, 1, 60, 3) + b"\x00\x01a"

    def message(count: int) -> bytes:
        return struct.pack("!6H", 1, 0x8180, 1, count, 0, 0) + asked + record * count

    assert len(dns_message.read(message(dns_message.RECORDS), asked).answer) == dns_message.RECORDS
    with pytest.raises(Malformed, match="more than 2000 records"):
        dns_message.read(message(dns_message.RECORDS + 1), asked)


def test_records_of_another_class_are_refused() -> None:
    wire = reply("www.example.com. A 192.0.2.1", type="A")
    with pytest.raises(Malformed, match="class"):
        read(wire.replace(b"\xc0\x0c\x00\x01\x00\x01", b"\xc0\x0c\x00\x01\x00\x03"))


@pytest.mark.clause("RFC 2181 section 10.1")
def test_two_aliases_at_one_name_are_refused() -> None:
    wire = reply("www.example.com. CNAME a.example.", "WWW.example.com. CNAME b.example.", type="A")
    with pytest.raises(Malformed, match="two CNAMEs"):
        dns_message.follow(read(wire).answer, asked_in(wire))


def test_extended_errors_and_rcodes_are_told() -> None:
    message = read(reply(ede=b"expired"))
    assert message.errors == ((6, b"expired"),)
    assert dns_message.rcode_text(dns.rcode.BADVERS) == "RCODE 16"


@pytest.mark.clause("RFC 2308 section 5")
def test_an_soa_says_how_long_there_is_none() -> None:
    assert dns_message.negative_ttl(read(SAMPLES[6]).authority) == 5
    assert dns_message.negative_ttl(()) == 0
