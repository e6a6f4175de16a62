"""A tiny DER writer, and the little reading that goes with it.

For the hot paths only (leaf certificates, CRLs, OCSP responses), where a general ASN.1 library costs 40 to
280 times as much (docs/adr/0003).  Everything rare is built by `cryptography`, which is also the test oracle.

ITU-T X.690; RFC 5280 section 4.1.2.5 (times).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL_TAG, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x0A, 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31

NULL = b"\x05\x00"
TRUE = b"\x01\x01\xff"

FIRST_GENERALIZED = 2524608000
"""2050-01-01T00:00:00Z: from here on GeneralizedTime, before it UTCTime (RFC 5280 section 4.1.2.5)."""


class Element(NamedTuple):
    """One element of a buffer: its tag octet, its whole encoding and its content.

    A tuple, since a frozen dataclass takes three times as long to make, and a leaf has forty.
    """

    tag: int
    encoding: bytes
    content: bytes


def tlv(tag: int, content: bytes) -> bytes:
    """`content` under `tag`, with a definite length in the shortest form."""
    length = len(content)
    if length < 0x80:  # the common case, without another call
        return bytes((tag, length)) + content
    return header(tag, length) + content


def header(tag: int, length: int) -> bytes:
    """What stands before `length` octets of content under `tag`."""
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of already encoded parts."""
    return tlv(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """SET OF already encoded parts, in the order that DER demands."""
    return tlv(SET, b"".join(sorted(parts)))


def explicit(number: int, content: bytes) -> bytes:
    """[number] EXPLICIT around one encoded value (number below 31)."""
    return tlv(0xA0 | number, content)


def implicit(number: int, content: bytes) -> bytes:
    """[number] IMPLICIT for a primitive type: the content octets alone (number below 31)."""
    return tlv(0x80 | number, content)


def integer(value: int) -> bytes:
    """INTEGER; negative numbers do not occur in our structures and raise ValueError."""
    return tlv(INTEGER, integer_content(value))


def integer_content(value: int) -> bytes:
    """The content octets of a non-negative INTEGER: no superfluous octet, a zero before a high bit."""
    if value < 0:
        raise ValueError("this writer encodes no negative numbers")
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def enumerated(value: int) -> bytes:
    """ENUMERATED."""
    return tlv(ENUMERATED, integer_content(value))


@cache
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    if not (0 <= first <= 2 and second >= 0 and (first == 2 or second < 40) and min(rest, default=0) >= 0):
        raise ValueError(f"{dotted} is not an object identifier")
    return tlv(OID, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def octet_string(content: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(OCTET_STRING, content)


def bit_string(octets: bytes) -> bytes:
    """BIT STRING of whole octets (a signature, a key)."""
    return tlv(BIT_STRING, b"\x00" + octets)


def named_bits(*positions: int) -> bytes:
    """A BIT STRING with a NamedBitList: trailing zero bits are left out (X.690 section 11.2.2)."""
    highest = max(positions, default=-1)
    octets = bytearray(highest // 8 + 1)
    for position in positions:
        octets[position // 8] |= 0x80 >> position % 8
    return tlv(BIT_STRING, bytes(((7 - highest % 8) if positions else 0,)) + octets)


def ia5_string(text: str) -> bytes:
    """IA5String; raises UnicodeEncodeError (a ValueError) for anything but ASCII."""
    return tlv(IA5_STRING, text.encode("ascii"))


@lru_cache(maxsize=4096)
def time(at: int) -> bytes:
    """Time of RFC 5280 from POSIX seconds: UTCTime until 2049, then GeneralizedTime.

    Raises ValueError before 1950, which UTCTime cannot say.
    """
    if at >= FIRST_GENERALIZED:
        return generalized_time(at)
    moment = datetime.fromtimestamp(at, UTC)
    if moment.year < 1950:
        raise ValueError("UTCTime knows no year before 1950")
    return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))


def generalized_time(at: int) -> bytes:
    """GeneralizedTime of RFC 5280 from POSIX seconds: UTC, no fraction."""
    return tlv(GENERALIZED_TIME, datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%SZ").encode("ascii"))


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    """AlgorithmIdentifier; `parameters` is encoded already, empty when absent."""
    return sequence(oid(dotted), parameters)


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """Extension of RFC 5280 section 4.1; the default `critical FALSE` is left out, as DER demands."""
    return sequence(oid(dotted), TRUE if critical else b"", octet_string(value))


def elements(buffer: bytes) -> Iterator[Element]:
    """The elements that lie side by side in `buffer`.

    Raises ValueError for anything but low tags with definite, shortest lengths that fill the buffer exactly.
    """
    at, end = 0, len(buffer)
    while at < end:
        if at + 2 > end or buffer[at] & 0x1F == 0x1F:
            raise ValueError("not DER: an element is cut off or has a high tag")
        start, length = at + 2, buffer[at + 1]
        if length >= 0x80:
            count = length & 0x7F
            length = int.from_bytes(buffer[start : start + count], "big")
            start += count
            if not 1 <= count <= 4 or start > end or length < 0x80 or length >> 8 * (count - 1) == 0:
                raise ValueError("not DER: a length is not in its shortest form")
        if start + length > end:
            raise ValueError("not DER: an element is longer than what holds it")
        yield Element(buffer[at], buffer[at : start + length], buffer[start : start + length])
        at = start + length


def only(buffer: bytes, tag: int) -> Element:
    """The single element of `buffer`, which must carry `tag`.  Raises ValueError otherwise."""
    found = list(elements(buffer))
    if len(found) != 1 or found[0].tag != tag:
        raise ValueError(f"not DER: expected one element of tag {tag:#04x}")
    return found[0]


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))
