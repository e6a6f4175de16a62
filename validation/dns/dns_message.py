"""DNS messages in wire form: the query we send, and a strict reading of what comes back.

Pure: octets in, values out.  A message is read whole or not at all, and nothing in it is repaired.  Names are
kept in uncompressed wire form and lower case, so that two are equal when their octets are.  Record types that
validation does not ask for (NS, DNAME, RRSIG ...) are passed over by their length.

The tests hold it against dnspython: what that refuses is refused here.  Refused here alone: a class other
than IN, a pointer into the header, a second CNAME at one name (RFC 2181 section 10.1), too many records.

RFC 1035 section 4, RFC 6891 (OPT), RFC 8659 (CAA), RFC 8914 (extended errors), RFC 6840 section 5.7 (AD).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

A, NS, CNAME, SOA, TXT, AAAA, OPT, TSIG, CAA = 1, 2, 5, 6, 16, 28, 41, 250, 257

NOERROR, NXDOMAIN = 0, 3
AD, RA, TC = 0x0020, 0x0080, 0x0200

UDP_PAYLOAD = 1232
"""Octets (DNS Flag Day 2020): no fragments, hence no fragment spoofing; longer answers come over TCP."""

CNAMES = 16
"""The resolver does not bound the chain for us: Unbound was seen to hand on 16."""

RECORDS = 2000
"""In all sections: 64 KiB hold four thousand small ones, and a zone may have us read that at every level."""

_NAME_OCTETS = 255
_LABEL_OCTETS = 63
_POINTERS = 16
"""In one name. Each leads further back, so there is no loop; this bounds the work."""

_IN = 1
_TTL_MOST = 0x7FFFFFFF
_EXTENDED_ERROR = 15
_QUERY_FLAGS = 0x0100 | AD  # RD, and AD: "tell me whether you validated this"
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_PAIR = struct.Struct("!HH")
_OPT_OF_QUERY = b"\x00" + _RECORD.pack(OPT, UDP_PAYLOAD, 0, 0)
_RCODES = (
    *("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"),
    *("YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"),
)
_SPECIAL = b'"().;\\@$'


class Malformed(Exception):
    """Not a message, or not one that we take for an answer."""


class Record(NamedTuple):
    """One resource record of class IN.  `rdata` has no compression: of a CNAME it is the target's name."""

    owner: bytes
    type: int
    ttl: int
    rdata: bytes


class Message(NamedTuple):
    """A reply.  `errors` are the codes and texts of RFC 8914."""

    flags: int
    rcode: int
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    errors: tuple[tuple[int, bytes], ...]


class Chain(NamedTuple):
    """Where the answer section leads: `names` are the targets of aliases, `ttl` is the least in seconds."""

    records: tuple[bytes, ...]
    names: tuple[bytes, ...]
    ttl: int


def question(name: str, type: int) -> bytes:
    """The question section for `name`, which has no trailing dot.  Raises `Malformed` when it is no name."""
    return wire_name(name) + _PAIR.pack(type, _IN)


def wire_name(name: str) -> bytes:
    """`name` in wire form and lower case.  Raises `Malformed`."""
    try:
        labels = name.lower().encode("ascii").split(b".")
    except UnicodeEncodeError as error:
        raise Malformed("not an ASCII name") from error
    if not all(0 < len(label) <= _LABEL_OCTETS for label in labels):
        raise Malformed("a label is empty or too long")
    wire = b"".join([bytes((len(label),)) + label for label in labels]) + b"\x00"
    if len(wire) > _NAME_OCTETS:
        raise Malformed("the name is too long")
    return wire


def query(number: int, asked: bytes) -> bytes:
    """The query with the question section `asked` and the id `number`."""
    return _HEADER.pack(number, _QUERY_FLAGS, 1, 0, 0, 1) + asked + _OPT_OF_QUERY


def answers(wire: bytes, number: int, asked: bytes) -> bool:
    """Whether `wire` is a reply to this very query: id, QR, opcode, and the question octet for octet."""
    return (
        len(wire) >= _HEADER.size
        and wire[0] << 8 | wire[1] == number
        and wire[2] & 0xF8 == 0x80
        and wire[4:6] == b"\x00\x01"
        and wire.startswith(asked, _HEADER.size)
    )


def is_truncated(wire: bytes) -> bool:
    """Whether the reply's TC bit is set."""
    return bool(wire[2] & TC >> 8)


def read(wire: bytes, asked: bytes) -> Message:
    """The reply, of which `answers` holds.  Raises `Malformed`."""
    _, flags, _, answer_count, authority_count, additional_count = _HEADER.unpack_from(wire)
    if answer_count + authority_count + additional_count > RECORDS:
        raise Malformed(f"more than {RECORDS} records")
    answer, at = _section(wire, _HEADER.size + len(asked), answer_count)
    authority, at = _section(wire, at, authority_count)
    additional, at = _section(wire, at, additional_count)
    if at != len(wire):
        raise Malformed("octets follow the message")
    for record in answer + authority:
        if record.type == OPT:
            raise Malformed("OPT outside the additional section")
    options = [record for record in additional if record.type == OPT]
    if len(options) > 1 or any(record.owner != b"\x00" for record in options):
        raise Malformed("more than one OPT, or one that is not at the root")
    rcode = flags & 0xF
    errors: tuple[tuple[int, bytes], ...] = ()
    for record in options:
        rcode |= record.ttl >> 24 << 4
        errors = _extended_errors(record.rdata)
    return Message(flags, rcode, answer, authority, errors)


def follow(answer: Sequence[Record], asked: bytes) -> Chain:
    """The records that `answer` has for the question `asked`, behind at most `CNAMES` aliases.

    Raises: `Malformed` for a loop, too long a chain, a name with two aliases.
    """
    owner, (type, _) = asked[: -_PAIR.size], _PAIR.unpack(asked[-_PAIR.size :])
    aliases: dict[bytes, Record] = {}
    for record in answer:
        if record.type == CNAME and aliases.setdefault(record.owner, record) is not record:
            raise Malformed("two CNAMEs at one name")
    names: list[bytes] = []
    ttl = _TTL_MOST
    while True:
        found = [record for record in answer if record.type == type and record.owner == owner]
        if found or owner not in aliases:
            break
        if len(names) == CNAMES:
            raise Malformed(f"more than {CNAMES} CNAMEs, or a loop of them")
        alias = aliases[owner]
        owner, ttl = alias.rdata, min(ttl, alias.ttl)
        names.append(owner)
    # A set: a record that stands twice counts once (RFC 2181 section 5.5).
    records = tuple(dict.fromkeys(record.rdata for record in found))
    return Chain(records, tuple(names), min([ttl, *(record.ttl for record in found)]))


def negative_ttl(authority: Sequence[Record]) -> int:
    """How long "there is none" may be believed, in seconds (RFC 2308 section 5); 0 without an SOA."""
    spans = [
        min(record.ttl, int.from_bytes(record.rdata[-4:], "big"))
        for record in authority
        if record.type == SOA
    ]
    return min(spans, default=0)


def rcode_text(rcode: int) -> str:
    """The name of the RCODE."""
    return _RCODES[rcode] if rcode < len(_RCODES) else f"RCODE {rcode}"


def text(name: bytes) -> str:
    """The presentation form of a name in wire form, without trailing dot but for the root (RFC 4343)."""
    labels, at = [], 0
    while length := name[at]:
        labels.append("".join(map(_character, name[at + 1 : at + 1 + length])))
        at += 1 + length
    return ".".join(labels) or "."


def address_text(rdata: bytes) -> str:
    """The address in the RDATA of an A or AAAA record."""
    # By hand where it is easy: the objects of `ipaddress` cost ten times as much, and each check needs some.
    return "{}.{}.{}.{}".format(*rdata) if len(rdata) == 4 else str(IPv6Address(rdata))


def joined(rdata: bytes) -> bytes:
    """The character-strings of a TXT RDATA, joined (RFC 1035 section 3.3.14)."""
    text = b""
    while rdata:
        length = rdata[0]
        text += rdata[1 : 1 + length]
        rdata = rdata[1 + length :]
    return text


def _character(octet: int) -> str:
    if octet in _SPECIAL:
        return "\\" + chr(octet)
    return chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}"


def _section(wire: bytes, at: int, count: int) -> tuple[tuple[Record, ...], int]:
    """`count` records from `at`, and where they end."""
    records = []
    pointer, owner = b"", b""
    for _ in range(count):
        # The owner of a set is written once, and then pointed at: it need not be read for each record anew.
        if pointer and wire.startswith(pointer, at):
            at += 2
        else:
            pointer = wire[at : at + 2] if wire[at : at + 1] >= b"\xc0" else b""
            owner, at = _name(wire, at, len(wire))
        if at + _RECORD.size > len(wire):
            raise Malformed("cut off within a record")
        type, in_class, ttl, length = _RECORD.unpack_from(wire, at)
        at += _RECORD.size
        end = at + length
        if end > len(wire):
            raise Malformed("cut off within a record")
        if type != OPT:
            if in_class != _IN or type == TSIG:
                raise Malformed("a record of another class, or a TSIG")
            if ttl > _TTL_MOST:
                ttl = 0  # RFC 2181 section 8
        records.append(Record(owner, type, ttl, _rdata(wire, at, end, type)))
        at = end
    return tuple(records), at


def _rdata(wire: bytes, at: int, end: int, type: int) -> bytes:
    """The RDATA, its form checked where the type is one that we read."""
    rdata = wire[at:end]
    if type == CNAME:
        rdata, stop = _name(wire, at, end)
        sound = stop == end
    elif type in (A, AAAA):
        sound = len(rdata) == (4 if type == A else 16)
    elif type == CAA:
        # RFC 8659 section 4.1: a tag of letters and digits within the RDATA.
        tag = rdata[2 : 2 + rdata[1]] if len(rdata) > 2 else b""
        sound = tag.isalnum() and len(tag) == rdata[1]
    elif type == TXT:
        stop = at
        while stop < end:
            stop += 1 + wire[stop]
        sound = at < stop == end
    elif type == SOA:
        _, stop = _name(wire, at, end)
        _, stop = _name(wire, stop, end)
        sound = end - stop == 20
    else:
        sound = True
    if not sound:
        raise Malformed(f"the RDATA of a record of type {type} is malformed")
    return rdata


def _name(wire: bytes, at: int, end: int) -> tuple[bytes, int]:
    """The name at `at`, and where it ends, which is not beyond `end` (RFC 1035 section 4.1.4).

    A pointer leads to before all that was read so far, and what it leads to ends before that, too.
    """
    labels: list[bytes] = []
    total = 1
    start = at
    after = 0
    pointers = 0
    while True:
        if at >= end:
            raise Malformed("cut off within a name")
        length = wire[at]
        if length == 0:
            return b"".join(labels).lower() + b"\x00", after or at + 1
        if length <= _LABEL_OCTETS:
            following = at + 1 + length
            labels.append(wire[at:following])
            total += 1 + length
            if following > end or total > _NAME_OCTETS:
                raise Malformed("a name that is too long or cut off")
            at = following
        elif length >= 0xC0 and at + 1 < end:
            after = after or at + 2
            target = (length & 0x3F) << 8 | wire[at + 1]
            pointers += 1
            if not _HEADER.size <= target < start or pointers > _POINTERS:
                raise Malformed("a compression pointer that leads nowhere")
            start, end, at = target, start, target
        else:
            raise Malformed("an unknown label type")


def _extended_errors(options: bytes) -> tuple[tuple[int, bytes], ...]:
    """The EDE options in an OPT's RDATA."""
    errors, at = [], 0
    while at < len(options):
        if at + _PAIR.size > len(options):
            raise Malformed("an EDNS option is cut off")
        code, length = _PAIR.unpack_from(options, at)
        at += _PAIR.size
        data = options[at : at + length]
        if len(data) < length or (code == _EXTENDED_ERROR and length < 2):
            raise Malformed("an EDNS option is cut off")
        if code == _EXTENDED_ERROR:
            errors.append((data[0] << 8 | data[1], data[2:].rstrip(b"\x00")))
        at += length
    return tuple(errors)
