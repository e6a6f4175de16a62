"""A CRL taken apart by its lengths alone: the frame, and the entries, of which there may be a million.

Must never: share code with whoever encodes entries; trust a length.

RFC 5280 section 5.1; X.690 section 8.1.3 (lengths).
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from cryptography import x509

from core import der
from core.errors import Refused

Entry = tuple[bytes, int, int]
"""Serial number (the INTEGER's content), time of revocation in POSIX seconds, reason code or 0."""

_REASON_OCTETS = 14
"""crlEntryExtensions with a reasonCode alone."""

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x02, 0x17, 0x18


class Parts(NamedTuple):
    """Views on a CRL, in its order; `entries` is empty when it has none."""

    tbs: memoryview
    """The TBSCertList with tag and length."""
    head: memoryview
    """Its fields from version to nextUpdate."""
    entries: memoryview
    """What lies in revokedCertificates."""
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


def taken_apart(content: bytes) -> Parts:
    """The parts.  Raises ValueError for what is not a CRL of version 2 in DER."""
    octets = memoryview(content)
    tag, at, end = _element(octets, 0, len(octets))
    if tag != _SEQUENCE or end != len(octets):
        raise ValueError("not one SEQUENCE")
    begin = at
    tag, at, tbs_end = _element(octets, at, end)
    if tag != _SEQUENCE:
        raise ValueError("no TBSCertList")
    head = at
    for _ in range(5):  # version, signature, issuer, thisUpdate, nextUpdate
        _, _, at = _element(octets, at, tbs_end)
    head_end, entries = at, (at, at)
    tag, inside, after = _element(octets, at, tbs_end)
    if tag == _SEQUENCE:
        entries, at = (inside, after), after
    if _element(octets, at, tbs_end)[::2] != (0xA0, tbs_end):
        raise ValueError("after the entries stand no crlExtensions alone")
    return Parts(
        octets[begin:tbs_end],
        octets[head:head_end],
        octets[slice(*entries)],
        octets[at:tbs_end],
        octets[tbs_end:],
    )


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
        stamp = octets[middle:when]
        revoked_at = _midnights[stamp[:-7]] + _seconds[stamp[-7:]]
        yield octets[begin:middle], revoked_at, 0 if when == after else _codes()[octets[when:after]]
        at = after


def must_say(octets: bytes, wanted: Sequence[Entry]) -> None:
    """Require that the entries are these and no others, in this order.  Raises `Refused`."""
    try:
        found = _said_alike(octets, len(wanted[0][0])) if wanted else []
        if found is None:
            found = list(said(octets))
    except (ValueError, LookupError) as error:
        raise Refused("status.crl-mismatch", f"entries that were encoded cannot be read: {error}") from error
    if found != list(wanted):
        raise Refused("status.crl-mismatch", "entries that were encoded do not say what the register says")


def _said_alike(octets: bytes, serial: int) -> list[Entry] | None:
    """As `said`, of entries whose serial numbers all have so many octets, before 2050; None for others.

    Twice as fast: a full build looks at a million.
    """
    codes = _codes()
    found = [
        (number, _midnights[date] + _seconds[time_of_day], codes[reason] if reason else 0)
        for _, number, date, time_of_day, reason in _alike(serial).findall(octets)
    ]
    with_reason = sum(1 for _, _, reason in found if reason)
    # What the expression does not know it skips: the lengths tell whether it skipped anything.
    return found if len(octets) == len(found) * (19 + serial) + with_reason * _REASON_OCTETS else None


@cache
def _alike(serial: int) -> re.Pattern[bytes]:
    """Groups: there is a reason; serial number; tag, length and date; time of day; crlEntryExtensions."""
    plain = 17 + serial
    return re.compile(
        rb"\x30(?:(\x%02x)|\x%02x)\x02\x%02x(.{%d})(\x17\x0d[0-9]{6})([0-9]{6}Z)(?(1)(\x30\x0c.{12})|)"
        % (plain + _REASON_OCTETS, plain, serial, serial),
        re.DOTALL,
    )


class _Kept(dict[bytes, int]):
    """What `read` makes of some octets, read once."""

    def __init__(self, read: Callable[[bytes], int]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, octets: bytes) -> int:
        self[octets] = value = self._read(octets)
        return value


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


def _second(text: bytes) -> int:
    if len(text) != 7 or not text[:6].isdigit() or text[6:] != b"Z":
        raise ValueError("no time of day")
    hours, minutes, seconds = int(text[:2]), int(text[2:4]), int(text[4:6])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no time of day")
    return hours * 3600 + minutes * 60 + seconds


@cache
def _codes() -> dict[bytes, int]:
    """The crlEntryExtensions that hold a reason alone, by `cryptography`'s own word for it."""
    flags = {
        1: x509.ReasonFlags.key_compromise,
        3: x509.ReasonFlags.affiliation_changed,
        4: x509.ReasonFlags.superseded,
        5: x509.ReasonFlags.cessation_of_operation,
        9: x509.ReasonFlags.privilege_withdrawn,
    }
    values = {code: x509.CRLReason(flag).public_bytes() for code, flag in flags.items()}
    return {der.sequence(der.extension("2.5.29.21", value)): code for code, value in values.items()}


# Dates are few, and a day has 86,400 seconds: both stay small.
_midnights, _seconds = _Kept(_midnight), _Kept(_second)
