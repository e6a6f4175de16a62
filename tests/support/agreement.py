"""Whether all that relying parties can read says of every serial number what the register says.

Pure: it is given the register's rows, the CRLs, the OCSP answers and the manifest's lists, and says what
contradicts.  It shares no code with what made them.

RFC 5280 section 5.3; RFC 6960 section 2.2; BR 4.9.9, 4.9.10, 4.10.1, 7.2.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509 import ocsp

_SPOKEN = ("precertified", "issued", "lost")
REASONS = {
    None: 0,
    x509.ReasonFlags.unspecified: 0,
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What the register says; times are POSIX seconds."""

    serial: bytes
    issuer_id: str
    shard: int
    state: str
    not_after: int
    revoked_at: int | None
    reason: int


Word = tuple[str, int, int]
"""What somebody says of a serial: "nothing", "good" or "revoked", when, and why."""

NOTHING, GOOD = ("nothing", 0, 0), ("good", 0, 0)


def rows(database: object) -> list[Row]:
    """All of the register, read by a query of our own."""
    found = database.all(  # type: ignore[attr-defined]
        "SELECT c.serial, c.issuer_id, c.crl_shard, c.state, c.not_after, r.revoked_at, r.reason"
        " FROM certificates c LEFT JOIN revocations r USING (serial)"
    )
    return [Row(*tuple(row)[:6], row["reason"] or 0) for row in found]


def before(database: object, scopes: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """thisUpdate of the last CRL but one of each scope, where there is one."""
    found = {}
    for issuer_id, shard in scopes:
        row = database.one(  # type: ignore[attr-defined]
            "SELECT this_update FROM crls WHERE issuer_id = ? AND shard = ? AND sha256 != x''"
            " ORDER BY number DESC LIMIT 1 OFFSET 1",
            (issuer_id, shard),
        )
        if row is not None:
            found[issuer_id, shard] = row["this_update"]
    return found


def meant(row: Row) -> Word:
    """What is to be said of it."""
    if row.state not in _SPOKEN:
        return NOTHING
    return GOOD if row.revoked_at is None else ("revoked", row.revoked_at, row.reason)


def ocsp_word(der: bytes, serial: bytes) -> Word:
    """What an OCSP answer says of `serial`; an answer about another is a contradiction by itself."""
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
        return NOTHING
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return (response.response_status.name, 0, 0)
    if response.serial_number != int.from_bytes(serial):
        return ("of another serial", 0, 0)
    if response.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return GOOD
    return ("revoked", _seconds(response.revocation_time_utc), REASONS[response.revocation_reason])


def contradictions(
    register: Iterable[Row],
    answers: Mapping[str, Mapping[bytes, bytes]],
    crls: Mapping[tuple[str, int], bytes],
    responders: Iterable[str],
    before: Mapping[tuple[str, int], int],
) -> list[str]:
    """Every contradiction, as a sentence.

    `answers`: by the way in which was asked ("POST", "GET", "file"), the DER by serial; `crls`: by issuer and
    shard; `responders`: the issuers that have one; `before`: thisUpdate of the CRL before the public one, as
    what had not expired then is on it (RFC 5280 section 3.3).
    """
    known = {row.serial: row for row in register}
    found: list[str] = []
    having = set(responders)
    for way, said in answers.items():
        for serial, der in said.items():
            row = known.get(serial)
            wanted = NOTHING if row is None or row.issuer_id not in having else meant(row)
            word = ocsp_word(der, serial)
            if word != wanted:
                found.append(f"OCSP by {way} says {word} of {serial.hex()}, the register {wanted}")
    seen: set[bytes] = set()
    for scope, der in crls.items():
        crl = x509.load_der_x509_crl(der)
        for entry in crl:
            serial = entry.serial_number.to_bytes(entry.serial_number.bit_length() // 8 + 1)
            word = ("revoked", _seconds(entry.revocation_date_utc), REASONS[_reason(entry)])
            row = known.get(serial)
            if row is None or (row.issuer_id, row.shard) != scope:
                found.append(f"CRL {scope} lists {serial.hex()}, which is not of its scope")
            elif word != meant(row):
                found.append(f"CRL {scope} says {word} of {serial.hex()}, the register {meant(row)}")
            if serial in seen:
                found.append(f"{serial.hex()} is listed twice")
            seen.add(serial)
    for row in known.values():
        if meant(row)[0] != "revoked" or row.serial in seen:
            continue
        der = crls.get((row.issuer_id, row.shard), b"")
        if not der:
            found.append(f"there is no CRL of {row.issuer_id}-{row.shard}, which revokes {row.serial.hex()}")
        elif row.not_after >= before.get((row.issuer_id, row.shard), 0):
            found.append(f"CRL {row.issuer_id}-{row.shard} lacks {row.serial.hex()}, which is revoked")
    return found


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None


def _seconds(at: datetime | None) -> int:
    assert at is not None
    return int(at.timestamp())
