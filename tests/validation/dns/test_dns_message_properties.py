"""The reader of DNS messages against dnspython: whole answers made up, sound ones broken, and bombs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dns.edns
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.dns_oracle import NAME, SAMPLES, as_octets, asked_in, compare, we_say
from validation.dns import dns_message


@pytest.fixture(scope="module")
def oracle() -> Iterator[None]:
    with as_octets():
        yield


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
@settings(max_examples=20_000, derandomize=False)
@given(mutated())
def test_many_mutated_messages_are_read_as_dnspython_reads_them_or_refused(wire: bytes) -> None:
    compare(wire)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    wire = SAMPLES[0][: 12 + len(asked_in(SAMPLES[0]))] + octets
    we_say(wire)


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=5))
def test_a_name_is_shown_as_dnspython_shows_it(labels: list[bytes]) -> None:
    name = dns.name.Name([*labels, b""])
    assert dns_message.text(name.to_wire()) == name.to_text(omit_final_dot=True)


LABELS = st.sampled_from(["a", "B", "www", "example", "COM", "x" * 63, "_acme-challenge", "*", "-"])
NAMES = st.one_of(st.just(NAME), st.lists(LABELS, max_size=3).map(lambda labels: ".".join(labels) or "."))
TEXTS = st.lists(st.binary(max_size=40), min_size=1, max_size=3)


def caa_rdata(flags: int, tag: str, value: bytes) -> bytes:
    return bytes((flags, len(tag))) + tag.encode() + value


def wire_of(name: str) -> bytes:
    return dns.name.from_text(name).to_wire()


RDATA = st.one_of(
    st.tuples(st.just("A"), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just("AAAA"), st.binary(min_size=16, max_size=16)),
    st.tuples(
        st.just("TXT"), TEXTS.map(lambda texts: b"".join(bytes((len(text),)) + text for text in texts))
    ),
    st.tuples(
        st.just("CAA"),
        st.builds(
            caa_rdata,
            st.integers(0, 255),
            st.sampled_from(["issue", "IssueWild", "a1"]),
            st.binary(max_size=30),
        ),
    ),
    st.tuples(st.just("CNAME"), NAMES.map(wire_of)),
    st.tuples(
        st.just("SOA"), st.builds(lambda one, other: wire_of(one) + wire_of(other) + bytes(20), NAMES, NAMES)
    ),
    st.tuples(st.sampled_from(["NS", "DNAME"]), NAMES.map(wire_of)),
    # Passed over by their length: whatever stands in them is no matter.
    st.tuples(st.sampled_from(["RRSIG", "NSEC3", "DNSKEY", "TYPE65280"]), st.binary(max_size=30)),
)
RRSETS = st.lists(st.tuples(NAMES, st.integers(0, 2**31 - 1), RDATA), max_size=4)


@st.composite
def made(draw: st.DrawFn) -> bytes:
    """A whole answer of dnspython's making, names compressed."""
    asked = draw(st.sampled_from(["A", "AAAA", "CAA", "TXT"]))
    answer = dns.message.make_response(
        dns.message.make_query(NAME, asked, id=0x1234), recursion_available=True
    )
    for section in (answer.answer, answer.authority, answer.additional):
        for name, ttl, (kind, octets) in draw(RRSETS):
            number = dns.rdatatype.from_text(kind)
            rrset = dns.rrset.RRset(dns.name.from_text(name), dns.rdataclass.IN, number)
            rrset.add(dns.rdata.from_wire(dns.rdataclass.IN, number, octets, 0, len(octets)), ttl)
            section.append(rrset)
    if draw(st.booleans()):
        options = st.tuples(st.sampled_from([10, 12, 15, 65001]), st.binary(min_size=2, max_size=12))
        answer.use_edns(
            0, options=[dns.edns.GenericOption(*pair) for pair in draw(st.lists(options, max_size=2))]
        )
    answer.set_rcode(draw(st.sampled_from([0, 0, 0, 2, 3, 5])))
    return answer.to_wire()


@pytest.mark.usefixtures("oracle")
@settings(max_examples=150)
@given(made())
def test_a_made_up_answer_of_every_type_is_read_as_dnspython_reads_it(wire: bytes) -> None:
    compare(wire)


@pytest.mark.usefixtures("oracle")
@settings(max_examples=150)
@given(made(), st.integers(0, 10_000), st.integers(1, 255))
def test_a_made_up_answer_with_one_octet_changed_is_read_alike_or_refused(
    wire: bytes, place: int, change: int
) -> None:
    start = 12 + len(asked_in(wire))
    if start < len(wire):
        at = start + place % (len(wire) - start)
        compare(wire[:at] + bytes((wire[at] ^ change,)) + wire[at + 1 :])


QUESTION = asked_in(SAMPLES[0])


def bomb(records: bytes, count: int) -> bytes:
    """A reply whose answer section holds `records`."""
    header = b"\0\0\x81\x80\0\1" + min(count, 0xFFFF).to_bytes(2, "big") + bytes(4)
    return header + QUESTION + records


def pointer(at: int) -> bytes:
    return (0xC000 | at).to_bytes(2, "big")


BEGIN = 12 + len(QUESTION)
LONGEST = b"\1a" * 126 + b"\0"
"""A name of 253 octets in as many labels as can be."""

ENTRY = b"\x03\xe8\0\1\0\0\0\1\0\0"
"""A record of a type that nobody reads, after its name, without RDATA: ten octets."""

CHAIN = b"".join(b"\1a" + pointer(BEGIN + (step - 1) * 14 if step else 12) + ENTRY for step in range(200))
BOMBS = {
    "the longest name, pointed to by all": LONGEST + ENTRY + (pointer(BEGIN) + ENTRY) * 5300,
    "every name leads to the one before": CHAIN,
    "records without anything": (b"\0" + ENTRY) * 5900,
    "the longest name, again and again": (LONGEST + ENTRY) * 240,
    "CNAMEs without end": (pointer(12) + b"\0\5\0\1\0\0\0\1\0\2" + pointer(12)) * 4600,
    "text of empty strings": b"\0\0\x10\0\1\0\0\0\1" + (60_000).to_bytes(2, "big") + bytes(60_000),
    "options without end": b"\0\0\x29\4\xd0\0\0\0\0" + (60_000).to_bytes(2, "big") + bytes(60_000),
}


@pytest.mark.parametrize("records", BOMBS.values(), ids=BOMBS.keys())
def test_a_message_made_to_be_expensive_is_read_or_refused_in_bounded_time(records: bytes) -> None:
    wire = bomb(records, 5301 if records.startswith(LONGEST + ENTRY + b"\xc0") else len(records) // 12)
    assert len(wire) <= 0xFFFF
    begun = time.process_time()
    for count in (wire[6:8], b"\xff\xff", b"\0\1"):
        we_say(wire[:6] + count + wire[8:])
    # Thrice; on a quiet machine together less than half a second.
    assert time.process_time() - begun < 6
