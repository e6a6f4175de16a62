"""The reader of DNS messages, with dnspython as the oracle: by example, and over mutated real messages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.world.world import World
from validation import dns_message
from validation.dns_message import Malformed

NAME = "www.example.com"
READ = {"A", "AAAA", "CNAME", "CAA", "TXT", "SOA", "OPT"}
"""The types whose RDATA we read; the oracle, too, takes the others as octets."""


def reply(*rrsets: str, asked: str = NAME, type: str = "CAA", ede: bytes | None = None) -> bytes:
    """An answer of dnspython's making; "-" stands between the sections."""
    message = dns.message.make_response(dns.message.make_query(asked, type), recursion_available=True)
    sections = iter((message.answer, message.authority, message.additional))
    section = next(sections)
    for rrset in rrsets:
        if rrset == "-":
            section = next(sections)
        else:
            name, kind, *data = rrset.split(" ", 2)
            section.append(dns.rrset.from_text(name, 60, "IN", kind, *data))
    if ede is not None:
        message.use_edns(0, options=[dns.edns.GenericOption(15, b"\x00\x06" + ede)])
    return message.to_wire()


def asked_in(wire: bytes) -> bytes:
    """The question section, which in these messages begins after the header, without compression."""
    at = 12
    while wire[at]:
        at += 1 + wire[at]
    return wire[12 : at + 5]


def read(wire: bytes) -> dns_message.Message:
    return dns_message.read(wire, asked_in(wire))


SAMPLES = [
    reply('www.example.com. CAA 0 issue "ca.example; accounturi=https://a.example/1"'),
    reply('a.example.com. TXT "one" "two"', 'a.example.com. TXT ""', asked="a.example.com", type="TXT"),
    reply("www.example.com. A 192.0.2.1", "www.example.com. A 192.0.2.2", type="A"),
    reply("www.example.com. AAAA 2001:db8::1", type="AAAA", ede=b"stale"),
    reply(
        "www.example.com. CNAME WWW.other.example.",
        "www.other.example. CNAME x.example.com.",
        'x.example.com. CAA 128 issuewild ";"',
    ),
    reply("example.com. DNAME example.net.", "www.example.com. CNAME www.example.net.", type="A"),
    reply("-", "example.com. SOA ns.example.com. hostmaster.example.com. 1 2 3 4 5"),
    reply("-", "example.com. NS ns.example.com.", "-", "ns.example.com. A 192.0.2.53"),
]


@pytest.fixture(scope="module")
def oracle() -> Iterator[None]:
    """dnspython, reading as octets what we do not read: other types, and the insides of EDNS options."""
    with pytest.MonkeyPatch.context() as patch:
        known = dns.rdata.get_rdata_class

        def some(rdclass, rdtype, *others, **named):
            text = dns.rdatatype.to_text(rdtype)
            return known(rdclass, rdtype, *others, **named) if text in READ else dns.rdata.GenericRdata

        patch.setattr(dns.rdata, "get_rdata_class", some)
        patch.setattr(dns.edns, "get_option_class", lambda otype: dns.edns.GenericOption)
        yield


def oracle_says(wire: bytes) -> tuple | None:
    """(rcode, records, aliases, TTL) by dnspython, or None when it refuses."""
    try:
        message = dns.message.from_wire(wire)
        if not isinstance(message, dns.message.QueryMessage):
            return None
        chain = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError):
        return None
    records = {rdata.to_wire() for rdata in chain.answer or ()}
    names = [target(rrset) for rrset in chain.cnames]
    return message.rcode(), records, names, chain.minimum_ttl


def target(rrset: dns.rrset.RRset) -> str:
    return rrset[0].target.to_text(omit_final_dot=True).lower()


def we_say(wire: bytes) -> tuple | None:
    asked = asked_in(wire)
    try:
        message = dns_message.read(wire, asked)
        chain = dns_message.follow(message.answer, asked)
    except Malformed:
        return None
    if message.rcode == dns_message.NXDOMAIN and chain.records:
        return None  # as validation.resolver refuses it
    names = [dns_message.text(name) for name in chain.names]
    return message.rcode, set(chain.records), names, chain.ttl


def stricter(wire: bytes) -> bool:
    """Whether only we refuse: another class, a pointer into the header, two CNAMEs at one name."""
    try:
        read(wire)
    except Malformed as error:
        return any(word in str(error) for word in ("another class", "pointer"))
    with pytest.raises(Malformed, match="two CNAMEs"):
        dns_message.follow(read(wire).answer, asked_in(wire))
    return True


def compare(wire: bytes) -> None:
    ours, theirs = we_say(wire), oracle_says(wire)
    if ours is None:
        assert theirs is None or stricter(wire)
        return
    assert theirs is not None
    assert ours[:3] == theirs[:3]
    if ours[1]:
        assert ours[3] == theirs[3]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with a few octets after the question changed, taken out or put in, its counts kept or not."""
    wire = bytearray(draw(st.sampled_from(SAMPLES)))
    start = 12 + len(asked_in(wire))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        kind = draw(
            st.sampled_from(["set"] * 5 + ["flags"] * 2 + ["pointer", "cut", "insert", "count", "copy"])
        )
        at = draw(st.integers(start, max(start, len(wire) - 1)))
        if kind == "set":
            wire[at : at + 1] = bytes([draw(st.one_of(st.integers(0, 255), st.sampled_from(b"\0\1\5\xc0")))])
        elif kind == "pointer":
            wire[at : at + 2] = (0xC000 | draw(st.integers(0, len(wire)))).to_bytes(2, "big")
        elif kind == "cut":
            del wire[at : at + draw(st.integers(1, 20))]
        elif kind == "insert":
            wire[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "count":
            wire[draw(st.sampled_from([7, 9, 11]))] = draw(st.integers(0, 4))
        elif kind == "copy":
            wire[at:at] = wire[start : start + draw(st.integers(1, 60))]
        else:
            wire[2] = 0x80 | draw(st.integers(0, 7))  # QR, opcode QUERY: `answers` has seen to these
            wire[3] = draw(st.integers(0, 255))
    return bytes(wire)


@pytest.mark.usefixtures("oracle")
@settings(max_examples=1500)
@given(mutated())
@example(SAMPLES[0].replace(b"\x05issue", b"\x05iss-e"))
@example(SAMPLES[0][:-1])
@example(SAMPLES[0] + b"\x00")
def test_a_mutated_message_is_read_as_dnspython_reads_it_or_refused(wire: bytes) -> None:
    compare(wire)


@pytest.mark.long
@pytest.mark.usefixtures("oracle")
@settings(max_examples=20_000)
@given(mutated())
def test_many_mutated_messages_are_read_as_dnspython_reads_them_or_refused(wire: bytes) -> None:
    compare(wire)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    wire = SAMPLES[0][: 12 + len(asked_in(SAMPLES[0]))] + octets
    we_say(wire)


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("wire", SAMPLES)
def test_a_sound_message_is_read_as_dnspython_reads_it(wire: bytes) -> None:
    assert we_say(wire) is not None
    compare(wire)


@pytest.mark.usefixtures("oracle")
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
    wire = b"\x12\x34" + reply()[2:]
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


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=5))
def test_a_name_is_shown_as_dnspython_shows_it(labels: list[bytes]) -> None:
    name = dns.name.Name([*labels, b""])
    assert dns_message.text(name.to_wire()) == name.to_text(omit_final_dot=True)
