"""A certificate taken apart: the octets that a profile repeats, and the fields that are a certificate's own.

Strict: anything but version 3, low tags, shortest definite lengths and lengths that fill exactly what holds
them is `Unusual`, and is left to pkilint alone.  So the same key means the same structure around the fields.

RFC 5280 section 4.1; X.690 section 10.1.
"""

from __future__ import annotations

from collections.abc import Set

SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
SUBJECT_KEY_ID = bytes.fromhex("0603551d0e")
SCT_LIST = bytes.fromhex("060a2b06010401d679020402")
"""OBJECT IDENTIFIERs 2.5.29.17, 2.5.29.14 and 1.3.6.1.4.1.11129.2.4.2 in DER."""

DOTTED = {SUBJECT_ALT_NAME: "2.5.29.17", SUBJECT_KEY_ID: "2.5.29.14", SCT_LIST: "1.3.6.1.4.1.11129.2.4.2"}

VARYING = frozenset(DOTTED)
"""Extensions whose values differ from certificate to certificate."""

NOT_BEFORE = 1
"""Where notBefore stands among the varying fields."""

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_EXTENSIONS = 0xA3
_TRUE = b"\x01\x01\xff"
_VERSION_3 = bytes.fromhex("a003020102")

Key = tuple[bytes, ...]
"""The octets of all that is not varying, cut where a varying field was; for a varying extension its OID and
criticality, for a time its tag.  The pieces cannot be confused: those of constant extensions begin with 0x30,
those of varying ones with 0x06."""


class Unusual(Exception):
    """Not a certificate of the one shape that is understood here."""


def split(certificate: bytes, varying: Set[bytes]) -> tuple[Key, list[bytes]]:
    """The key and the encodings of the varying fields: serialNumber, notBefore, notAfter, subjectPublicKey,
    the extnValues of the extensions whose OID is among `varying`, in order, and signatureValue.

    Raises `Unusual`.
    """
    try:
        return _split(certificate, varying)
    except IndexError:
        raise Unusual("cut off") from None


def _split(octets: bytes, varying: Set[bytes]) -> tuple[Key, list[bytes]]:
    at, end = inside(octets, 0, SEQUENCE, len(octets))
    if end != len(octets):
        raise Unusual("octets after the certificate")
    tbs, tbs_end = inside(octets, at, SEQUENCE, end)
    serial = tbs + len(_VERSION_3)
    if octets[tbs:serial] != _VERSION_3:
        raise Unusual("another version")
    algorithm = inside(octets, serial, INTEGER, tbs_end)[1]
    issuer = inside(octets, algorithm, SEQUENCE, tbs_end)[1]
    validity = inside(octets, issuer, SEQUENCE, tbs_end)[1]
    not_before, subject = inside(octets, validity, SEQUENCE, tbs_end)
    not_after = inside(octets, not_before, octets[not_before], subject)[1]
    _filled(inside(octets, not_after, octets[not_after], subject)[1], subject)
    times = octets[not_before : not_before + 1] + octets[not_after : not_after + 1]
    spki = inside(octets, subject, SEQUENCE, tbs_end)[1]
    key_algorithm, spki_end = inside(octets, spki, SEQUENCE, tbs_end)
    key_bits = inside(octets, key_algorithm, SEQUENCE, spki_end)[1]
    _filled(inside(octets, key_bits, BIT_STRING, spki_end)[1], spki_end)
    explicit, extensions_end = inside(octets, spki_end, _EXTENSIONS, tbs_end)
    _filled(extensions_end, tbs_end)
    first, last = inside(octets, explicit, SEQUENCE, extensions_end)
    _filled(last, extensions_end)
    signature = inside(octets, tbs_end, SEQUENCE, end)[1]
    _filled(inside(octets, signature, BIT_STRING, end)[1], end)

    key = [octets[algorithm:validity], times, octets[subject:spki], octets[key_algorithm:key_bits]]
    fields = [octets[serial:algorithm], octets[not_before:not_after], octets[not_after:subject]]
    fields.append(octets[key_bits:spki_end])
    constant_from = first
    while first < last:
        oid, after = inside(octets, first, SEQUENCE, last)
        critical = inside(octets, oid, OID, after)[1]
        if octets[oid:critical] in varying:
            value = critical + 3 if octets[critical : critical + 3] == _TRUE else critical
            _filled(inside(octets, value, OCTET_STRING, after)[1], after)
            key += octets[constant_from:first], octets[oid:value]
            fields.append(octets[value:after])
            constant_from = after
        first = after
    key += octets[constant_from:last], octets[tbs_end:signature]
    fields.append(octets[signature:end])
    return tuple(key), fields


def inside(octets: bytes, at: int, tag: int, limit: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends; it ends the element, too."""
    if octets[at] != tag or tag & 0x1F == 0x1F:
        raise Unusual("another field")
    length = octets[at + 1]
    start = at + 2
    if length >= 0x80:
        count = length & 0x7F
        start += count
        length = int.from_bytes(octets[at + 2 : start], "big")
        if not 1 <= count <= 3 or length < 0x80 or length >> 8 * (count - 1) == 0:
            raise Unusual("a length that is not the shortest")
    if start + length > limit:
        raise Unusual("an element longer than what holds it")
    return start, start + length


def _filled(end: int, expected: int) -> None:
    if end != expected:
        raise Unusual("a field too many")
