r"""Our own lint of CRL entries: a block is entries that the rules allow, side by side, and nothing else.

Whoever asks for a CRL sends its entries in DER, some thousand at a time, and each block is judged once.  The
grammar of an entry stands here as a regular expression: X.690 leaves one encoding for each value, so it
describes octets.

    SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions { reasonCode } OPTIONAL }

Must never: share code with whoever encodes the entries; let a block pass of which it did not see all octets.

RFC 5280 sections 5.1.2.6, 5.3.1; BR 7.2.2 (reason codes); docs/adr/0035.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from operator import lt
from time import strptime

from core.errors import Refused
from signer.api import CrlEntry

SERIAL_OCTETS = 20
"""RFC 5280 section 4.1.2.2."""

MAX_BLOCK = 1024 * 1024
"""Octets: some 20 000 entries, which take the event loop ten milliseconds."""

_UTC, _GENERALIZED = 0x17, 0x18
_FORMS = {_UTC: (rb"\x17\x0d", rb"[0-9]{6}", 15), _GENERALIZED: (rb"\x18\x0f", rb"[0-9]{8}", 17)}
"""By the tag of a Time: its first octets, its date, and how long it is."""

_TIME_OF_DAY = rb"(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z"
_REASON_EXTENSION = rb"\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01"
_REASON_OCTETS = 14
_REASONS = rb"[\x01\x03\x04\x05\x09]"
"""BR 7.2.2: what a subscriber certificate's entry may say.  0 is said by silence, 6 never."""

_FIRST_GENERALIZED = timegm((2050, 1, 1, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Block:
    """Entries that were judged; `first` and `last` serial number, `latest` revocation in POSIX seconds.

    `specimens` holds an entry of each shape (length of the serial number, kind of time, reason).
    """

    octets: bytes
    count: int
    first: bytes
    last: bytes
    latest: int
    specimens: tuple[tuple[tuple[int, int, int], CrlEntry], ...]


def judged(octets: bytes) -> Block:
    """The block, if it is entries with ascending serial numbers and nothing else.  Raises `Refused`."""
    if not 0 < len(octets) <= MAX_BLOCK:
        raise Refused("crl-lint.block", f"a block of entries has 1 to {MAX_BLOCK} octets: send smaller ones")
    serials: list[bytes] = []
    latest, at = -(1 << 62), 0
    specimens: dict[tuple[int, int, int], CrlEntry] = {}
    while at < len(octets):
        length, tag, run = _run(octets, at)
        found = _fields(length, tag).findall(octets, at, run)
        _, numbers, dates, times, reasons = zip(*found, strict=True)
        serials += numbers
        days = {date: _day(date) for date in set(dates)}
        newest = max(days, key=days.__getitem__)
        of_that_day = (time for date, time in zip(dates, times, strict=True) if date == newest)
        latest = max(latest, days[newest] + _second(max(of_that_day)))
        for reason in set(reasons):
            index, code = reasons.index(reason), reason[0] if reason else 0
            revoked_at = days[dates[index]] + _second(times[index])
            specimens.setdefault((length, tag, code), CrlEntry(numbers[index], revoked_at, code or None))
        at = run
    if not all(map(lt, serials, islice(serials, 1, None))):
        raise Refused("crl-lint.serial", "serial numbers in a block do not ascend, or one occurs twice")
    return Block(octets, len(serials), serials[0], serials[-1], latest, tuple(specimens.items()))


def _run(octets: bytes, at: int) -> tuple[int, int, int]:
    """Length of serial numbers and tag of times of the entries at `at`, and where others of theirs begin."""
    head = octets[at : at + 4]
    if len(head) == 4 and head[0] == 0x30 and head[2] == 0x02 and 0 < head[3] <= SERIAL_OCTETS:
        length = head[3]
        tag = octets[at + 4 + length] if at + 4 + length < len(octets) else 0
        if tag in _FORMS:
            run = _entries(length, tag).match(octets, at)
            if run is not None:
                return length, tag, run.end()
    raise Refused(
        "crl-lint.entry",
        f"no entry that may stand in a CRL: a positive serial number of at most {SERIAL_OCTETS} octets in "
        "its shortest form, a time of day in UTC, and no reason or one of 1, 3, 4, 5, 9 (BR 7.2.2): "
        f"{octets[at : at + 60].hex()}",
    )


@cache
def _entries(length: int, tag: int) -> re.Pattern[bytes]:
    """As many of them as there are, none given back."""
    first, date, _ = _FORMS[tag]
    with_reason, plain = _heads(length, tag)
    middle = rb"%b%b%b%b" % (_serial(length), first, date, _TIME_OF_DAY)
    with_reason += middle + _REASON_EXTENSION + _REASONS
    return re.compile(rb"(?:%b|%b)++" % (with_reason, plain + middle), re.DOTALL)


@cache
def _fields(length: int, tag: int) -> re.Pattern[bytes]:
    """Where the fields of an entry stand that `_entries` has passed.

    Groups: there is a reason; serial number; date; time of day; reason code.
    """
    with_reason, plain = _heads(length, tag)
    date = _FORMS[tag][2] - 9  # without tag, length and hhmmssZ
    return re.compile(
        rb"(?:(%b)|%b)(.{%d})..(.{%d})(.{7})(?(1).{%d}(.)|)"
        % (with_reason, plain, length, date, _REASON_OCTETS - 1),
        re.DOTALL,
    )


def _heads(length: int, tag: int) -> tuple[bytes, bytes]:
    """SEQUENCE and INTEGER with their lengths: of an entry with a reason, and of one without."""
    plain = 2 + length + _FORMS[tag][2]
    with_reason, without = (
        rb"\x30%b\x02%b" % (_octet(octets), _octet(length)) for octets in (plain + _REASON_OCTETS, plain)
    )
    return with_reason, without


def _serial(length: int) -> bytes:
    """Positive, and no superfluous zero in front (X.690 section 8.3.2)."""
    return rb"[\x01-\x7f]" if length == 1 else rb"(?=[\x01-\x7f]|\x00[\x80-\xff]).{%d}" % length


def _octet(value: int) -> bytes:
    return rb"\x%02x" % value


@lru_cache(maxsize=1 << 14)
def _day(date: bytes) -> int:
    """Midnight, of YYMMDD (1950 to 2049) or YYYYMMDD (from 2050 on: RFC 5280 section 5.1.2.6)."""
    text = date.decode("ascii")
    if len(text) == 6:
        text = ("19" if text >= "5" else "20") + text
    try:
        midnight = timegm(strptime(text, "%Y%m%d"))
    except ValueError as error:
        raise Refused("crl-lint.revoked-at", f"{text} is no date") from error
    if len(date) == 8 and midnight < _FIRST_GENERALIZED:
        raise Refused("crl-lint.revoked-at", f"{text} is to be said by UTCTime: it is before 2050")
    return midnight


def _second(time: bytes) -> int:
    return int(time[:2]) * 3600 + int(time[2:4]) * 60 + int(time[4:6])
