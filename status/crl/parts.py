"""A CRL taken apart by its lengths alone: the frame, and the entries, of which there may be a million.

The entries may be a *hole*, of which only the length is known, as their blocks lie elsewhere.  So a CRL of
45 MB is made, checked, published and looked at without ever lying in memory as a whole.

Must never: share code with whoever encodes entries; trust a length.

RFC 5280 section 5.1; X.690 section 8.1.3 (lengths).
"""

from __future__ import annotations

import os
import re
import time
from calendar import timegm
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO, NamedTuple

from cryptography import x509

from core import der
from core.errors import Refused
from status.crl.kept import Kept

Entry = tuple[bytes, int, int]
"""Serial number (the INTEGER's content), time of revocation in POSIX seconds, reason code or 0."""

_REASON_OCTETS = 14
"""crlEntryExtensions with a reasonCode alone."""

_LONGEST_FRAME = 1 << 16
"""Octets before the entries of a CRL, and after them: a hundred times what they are."""

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x02, 0x17, 0x18


class Parts(NamedTuple):
    """Views on a CRL, in its order."""

    begin: memoryview
    """The TBSCertList from its tag to where the hole begins, or to its end."""
    head: memoryview
    """Its fields from version to nextUpdate."""
    entries: memoryview
    """What lies in revokedCertificates: nothing when it has none, or they are the hole."""
    rest: memoryview
    """What of the TBSCertList follows the hole; nothing where there is none."""
    tail: memoryview
    """crlExtensions."""
    end: memoryview
    """Signature algorithm and signature."""

    def frame(self) -> x509.CertificateRevocationList:
        """The CRL as `cryptography` reads it, without its entries; so its signature does not verify.

        Raises ValueError.
        """
        tbs = der.sequence(bytes(self.head), bytes(self.tail))
        try:
            return x509.load_der_x509_crl(der.sequence(tbs, bytes(self.end)))
        except x509.InvalidVersion as error:
            raise ValueError(str(error)) from error


def taken_apart(before: bytes, hole: int = 0, after: bytes = b"") -> Parts:
    """The parts of a CRL, or of what stands before and after so many octets of entries.

    Raises ValueError or IndexError for what is not a CRL of version 2 in DER.
    """
    if after and not hole:
        before, after = before + after, b""
    octets, size = memoryview(before), len(before) + hole + len(after)
    head, head_end, tbs_end = _opened(octets, size)
    tag, inside, at = _element(octets, head_end, tbs_end)
    entries, rest, rest_end = octets[:0], octets[:0], 0
    if hole:
        if (tag, inside, at) != (_SEQUENCE, len(before), len(before) + hole):
            raise ValueError("the entries are not what fills their place")
        rest, rest_end = memoryview(after), tbs_end - at
        tail, end = rest[:rest_end], rest[rest_end:]
    else:
        if tag == _SEQUENCE:
            entries = octets[inside:at]
        else:
            at = head_end
        tail, end = octets[at:tbs_end], octets[tbs_end:]
    if _element(tail, 0, len(tail))[::2] != (0xA0, len(tail)):
        raise ValueError("after the entries stand no crlExtensions alone")
    begin = _element(octets, 0, size)[1]
    return Parts(octets[begin:tbs_end], octets[head:head_end], entries, rest[:rest_end], tail, end)


def of_file(file: BinaryIO) -> Parts:
    """The parts of the CRL in a file, its entries a hole when they are long.  Raises as `taken_apart`."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_LONGEST_FRAME)
    if len(start) == size:
        return taken_apart(start)
    octets = memoryview(start)
    _, head_end, tbs_end = _opened(octets, size)
    _, inside, after = _element(octets, head_end, tbs_end)
    file.seek(after)
    return taken_apart(start[:inside], after - inside, file.read(_LONGEST_FRAME))


def _opened(octets: memoryview, size: int) -> tuple[int, int, int]:
    """Of a CRL of `size` octets: where version begins, where nextUpdate ends, where the TBSCertList ends."""
    tag, at, end = _element(octets, 0, size)
    if tag != _SEQUENCE or end != size:
        raise ValueError("not one SEQUENCE")
    tag, at, tbs_end = _element(octets, at, end)
    if tag != _SEQUENCE:
        raise ValueError("no TBSCertList")
    head = at
    for _ in range(5):  # version, signature, issuer, thisUpdate, nextUpdate
        _, _, at = _element(octets, at, tbs_end)
    return head, at, tbs_end


def said(octets: bytes) -> Iterator[Entry]:
    """What entries that lie side by side say.  Raises ValueError, KeyError or IndexError for anything odd."""
    at, end = 0, len(octets)
    while at < end:
        if octets[at] != _SEQUENCE or octets[at + 2] != _INTEGER:
            raise ValueError("no entry")
        begin = at + 4
        middle, after = begin + octets[at + 3], at + 2 + octets[at + 1]
        when = middle + 2 + octets[middle + 1]
        if after > end or when > after or octets[at + 1] >= 0x80:
            raise ValueError("an entry is longer than what holds it")
        yield octets[begin:middle], _time(octets[middle:when]), _codes()[octets[when:after]]
        at = after


def must_say(octets: bytes, wanted: list[Entry]) -> None:
    """Require that the entries are these and no others, in this order.  Raises `Refused`."""
    try:
        found = _said_alike(octets, len(wanted[0][0])) if wanted else []
    except (ValueError, LookupError):
        try:
            found = list(said(octets))
        except (ValueError, LookupError) as error:
            raise Refused(
                "status.crl-mismatch", f"entries that were encoded cannot be read: {error}"
            ) from error
    if found != wanted:
        raise Refused("status.crl-mismatch", "entries that were encoded do not say what the register says")


def _said_alike(octets: bytes, serial: int) -> list[Entry]:
    """As `said`, of entries whose serial numbers all have so many octets, before 2050; raises for others.

    A third of the time: a full build looks at a million.
    """
    midnights, hours, seconds, codes = _midnights, _hours, _seconds, _codes()
    return [
        (number, midnights[date] + hours[hour] + seconds[second], codes[reason])
        for _, number, date, hour, second, reason in _alike(serial).findall(octets)
    ]


@cache
def _alike(serial: int) -> re.Pattern[bytes]:
    """Groups: there is a reason; serial number; tag, length and date; hhmm; ssZ; crlEntryExtensions.

    An octet that belongs to no entry is found by itself, with empty groups, which no Time knows.
    """
    plain = 17 + serial
    return re.compile(
        rb"\x30(?:(\x%02x)|\x%02x)\x02\x%02x(.{%d})(\x17\x0d.{6})(.{4})(.{3})(?(1)(.{%d})|)|."
        % (plain + _REASON_OCTETS, plain, serial, serial, _REASON_OCTETS),
        re.DOTALL,
    )


def _element(octets: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """Tag, begin of the content and end of the element at `at`, which ends at `end` at the latest."""
    if at + 2 > end:
        raise ValueError("cut off")
    tag, length, begin = octets[at], octets[at + 1], at + 2
    if length >= 0x80:
        begin += length & 0x7F
        length = int.from_bytes(octets[at + 2 : begin])
        if bytes(octets[at:begin]) != der.header(tag, length):
            raise ValueError("a length is not in its shortest form")
    if begin + length > end:
        raise ValueError("an element is longer than what holds it")
    return tag, begin, begin + length


def _midnight(date: bytes) -> int:
    """Of a Time's tag, length and date."""
    text = date[2:].decode("ascii")
    # `strptime` would take blanks for digits.
    if text.isdigit() and tuple(date[:2]) == (_UTC_TIME, 13):
        return timegm(time.strptime(("20" if text < "5" else "19") + text, "%Y%m%d"))
    if text.isdigit() and tuple(date[:2]) == (_GENERALIZED_TIME, 15):
        return timegm(time.strptime(text, "%Y%m%d"))
    raise ValueError("no Time")


def _minute(text: bytes) -> int:
    """Of hhmm, in seconds."""
    if len(text) != 4 or not text.isdigit() or text[:2] > b"23" or text[2:] > b"59":
        raise ValueError("no time of day")
    return int(text[:2]) * 3600 + int(text[2:]) * 60


def _second(text: bytes) -> int:
    """Of ssZ."""
    if len(text) != 3 or not text[:2].isdigit() or text[:2] > b"59" or text[2:] != b"Z":
        raise ValueError("no time of day")
    return int(text[:2])


def _time(octets: bytes) -> int:
    """Of a Time with tag and length."""
    return _midnights[octets[:-7]] + _hours[octets[-7:-3]] + _seconds[octets[-3:]]


@cache
def _codes() -> dict[bytes, int]:
    """The crlEntryExtensions that hold a reason alone, by `cryptography`'s own word for it; none is 0."""
    flags = {
        1: x509.ReasonFlags.key_compromise,
        3: x509.ReasonFlags.affiliation_changed,
        4: x509.ReasonFlags.superseded,
        5: x509.ReasonFlags.cessation_of_operation,
        9: x509.ReasonFlags.privilege_withdrawn,
    }
    values = {code: x509.CRLReason(flag).public_bytes() for code, flag in flags.items()}
    said = {der.sequence(der.extension("2.5.29.21", value)): code for code, value in values.items()}
    return said | {b"": 0}


# Few dates, and the minutes of a day: small tables, as in entries.py.
_midnights, _hours, _seconds = Kept(_midnight), Kept(_minute), Kept(_second)
