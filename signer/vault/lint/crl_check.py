"""Our own lint of a TBSCertList: every octet is what the request and the rules allow, and nothing is skipped.

pkilint needs 0.1 ms and 10 KiB for an entry, minutes and gigabytes for a million.  So every entry is compared
here, octet by octet, with what it must be, for less than the template costs; and pkilint judges the
*specimen*: the same list with one entry of each shape.  What a shape leaves open (the number, the time) is
judged here as pkilint judges it.  Tests compare the two over whole CRLs.

Must never: share code with the template that it checks (crl.py).

RFC 5280 section 5; BR 7.2 (extensions), 7.2.2 (reason codes); docs/adr/0011.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import gmtime, strftime

from cryptography import x509

from core import der
from core.errors import Refused
from signer.api import CrlEntry
from signer.vault.templates.authority import Issuer

REASONS = {
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}
"""BR 7.2.2: what a subscriber certificate's entry may say.  0 is said by silence, 6 never."""

CA_REASONS = REASONS | {2: x509.ReasonFlags.ca_compromise}

SERIAL_OCTETS = 20
"""RFC 5280 section 4.1.2.2."""

_DAY = 86400
_FIRST, _LAST = timegm((1950, 1, 1, 0, 0, 0)), timegm((9999, 12, 31, 23, 59, 59))
_GENERALIZED = timegm((2050, 1, 1, 0, 0, 0))
_REASON_OID, _VERSION_2 = "2.5.29.21", b"\x02\x01\x01"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a CRL shall say: the issuer's request.  `url` is the shard's, None for a full CRL; times in POSIX
    seconds; `of_cas` for a root's CRL of CA certificates."""

    issuer: Issuer
    number: int
    this_update: int
    next_update: int
    entries: Sequence[CrlEntry]
    url: str | None
    of_cas: bool = False


def check(tbs: bytes, wanted: Wanted) -> bytes:
    """Require that the TBSCertList says what is wanted, in DER, and that the rules let it.

    Returns the specimen for pkilint: the TBSCertList with one entry of each shape.  Raises `Refused`.
    """
    head = _head(wanted)
    tail = der.explicit(0, der.sequence(*_extensions(wanted)))
    at, end = _inside(tbs, 0)
    _must(
        end == len(tbs) and tbs.startswith(head, at), "crl-lint.head", "the fields before the entries differ"
    )
    at += len(head)
    specimens: list[bytes] = []
    if wanted.entries:
        at, end = _inside(tbs, at)
        specimens = _check_entries(tbs, at, end, wanted)
        at = end
    _must(tbs[at:] == tail, "crl-lint.extensions", "the extensions, or what follows the entries, differ")
    return der.sequence(head, der.sequence(*specimens) if specimens else b"", tail)


def _check_entries(tbs: bytes, at: int, end: int, wanted: Wanted) -> list[bytes]:
    """Compare what lies between `at` and `end`; an entry of each shape."""
    latest = wanted.this_update
    days: dict[int, bytes] = {}
    extensions = _reason_extensions(CA_REASONS if wanted.of_cas else REASONS)
    heads: dict[tuple[int, int, int], bytes] = {}
    specimens: list[bytes] = []
    before, ascending = b"", True
    for entry in wanted.entries:
        serial, revoked_at, reason = entry.serial, entry.revoked_at, entry.reason or 0
        if not _FIRST <= revoked_at <= latest:
            raise Refused("crl-lint.revoked-at", "a revocation lies after thisUpdate, or before 1950")
        extension = extensions.get(reason)
        if extension is None:
            raise Refused("crl-lint.reason", f"reason code {reason} may not stand in this CRL (BR 7.2.2)")
        length = len(serial)
        # A positive INTEGER in its shortest form (X.690 section 8.3.2).
        if not 0 < length <= SERIAL_OCTETS or not (0 < serial[0] < 0x80 or _has_a_needed_zero(serial)):
            raise Refused(
                "crl-lint.serial", f"serial number {serial.hex()} is not positive, short and in DER"
            )
        day, second = divmod(revoked_at, _DAY)
        date = days.get(day)
        if date is None:
            date = days[day] = _day(day)
        tail = date + _second(second) + extension
        shape = length, len(tail), reason
        head = heads.get(shape)
        if head is None:
            head = heads[shape] = _entry_head(length, len(tail))
            specimens.append(head + serial + tail)
        if not tbs.startswith(head + serial + tail, at):
            raise Refused(
                "crl-lint.entry", f"the entry of serial number {serial.hex()} is not what it must be"
            )
        at += 4 + length + len(tail)
        ascending = ascending and before < serial
        before = serial
    _must(at == end, "crl-lint.entry", "there are more entries than were asked for, or fewer octets")
    # The register sorts them, and then no two are the same.
    if not ascending:
        serials = {entry.serial for entry in wanted.entries}
        _must(len(serials) == len(wanted.entries), "crl-lint.serial", "a serial number occurs twice")
    return specimens


def _day(day: int) -> bytes:
    """Tag, length and date of a Time: GeneralizedTime from 2050 on (RFC 5280 section 5.1.2.4)."""
    if day * _DAY < _GENERALIZED:
        return b"\x17\x0d" + strftime("%y%m%d", gmtime(day * _DAY)).encode()
    return b"\x18\x0f" + strftime("%Y%m%d", gmtime(day * _DAY)).encode()


@cache
def _second(second: int) -> bytes:
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}Z".encode()


def _entry_head(serial: int, rest: int) -> bytes:
    """Up to the serial number's content; both lengths in octets.  All of an entry is below 128 octets."""
    return bytes((0x30, 2 + serial + rest, 0x02, serial))


def _has_a_needed_zero(serial: bytes) -> bool:
    return serial[0] == 0 and serial[1:2] >= b"\x80"


def _reason_extensions(reasons: dict[int, x509.ReasonFlags]) -> dict[int, bytes]:
    """crlEntryExtensions by reason code, never critical; 0 for none at all."""
    encoded = {code: x509.CRLReason(flag).public_bytes() for code, flag in reasons.items()}
    return {0: b""} | {
        code: der.sequence(der.extension(_REASON_OID, value)) for code, value in encoded.items()
    }


def _head(wanted: Wanted) -> bytes:
    issuer, this_update, next_update = wanted.issuer, wanted.this_update, wanted.next_update
    _must(
        _FIRST <= this_update < next_update <= _LAST,
        "crl-lint.validity",
        "nextUpdate is not after thisUpdate, or no Time can say it",
    )
    times = [_day(moment // _DAY) + _second(moment % _DAY) for moment in (this_update, next_update)]
    return b"".join((_VERSION_2, issuer.algorithm.identifier, issuer.name, *times))


def _extensions(wanted: Wanted) -> list[bytes]:
    """AKI and CRLNumber, and for a shard a critical IDP with its URL alone (BR 7.2.2, 7.2.2.1)."""
    _must(0 <= wanted.number < 1 << 159, "crl-lint.number", "a CRL number is below 2^159 (BR 7.2.2)")
    values: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier(wanted.issuer.key_id, None, None), False),
        (x509.CRLNumber(wanted.number), False),
    ]
    if wanted.url is not None:
        name = x509.UniformResourceIdentifier(wanted.url)
        values.append((x509.IssuingDistributionPoint([name], None, False, False, None, False, False), True))
    return [
        der.extension(value.oid.dotted_string, value.public_bytes(), critical=critical)
        for value, critical in values
    ]


def _inside(octets: bytes, at: int) -> tuple[int, int]:
    """Where the content of the SEQUENCE at `at` begins and ends, without copying it."""
    _must(octets[at : at + 1] == b"\x30" and at + 2 <= len(octets), "crl-lint.encoding", "no SEQUENCE")
    length, start = octets[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(octets[at + 2 : start], "big")
    header = b"\x30" + _length(length)
    _must(octets[at:start] == header, "crl-lint.encoding", "a length is not in its shortest form")
    _must(start + length <= len(octets), "crl-lint.encoding", "an element is longer than what holds it")
    return start, start + length


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _must(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Refused(code, detail)
