"""dnspython as the oracle of our own reader of DNS messages, and messages of its making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dns.edns
import dns.exception
import dns.message
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest

from validation.dns import dns_message
from validation.dns.dns_message import Malformed

NAME = "www.example.com"
READ = {"A", "AAAA", "CNAME", "CAA", "TXT", "SOA", "OPT"}
"""The types whose RDATA we read; the oracle, too, takes the others as octets."""


def reply(*rrsets: str, asked: str = NAME, type: str = "CAA", ede: bytes | None = None) -> bytes:
    """An answer of dnspython's making; "-" stands between the sections."""
    message = dns.message.make_response(
        dns.message.make_query(asked, type, id=0x1234), recursion_available=True
    )
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


@contextmanager
def as_octets() -> Iterator[None]:
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
