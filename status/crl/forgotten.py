"""Revocations that the public CRL holds and the register has forgotten: it was restored from an older backup.

Whoever met the public CRL knows them, and a CRL or an OCSP answer that took one back would make a revoked
certificate good again.  So they are entered once more, with their time and reason, before the next CRL.

Must never: decide a revocation; believe a file that the issuer's key did not sign.

RFC 5280 section 5.3; BR 4.9.10, 4.10.1 (entries stay until the certificate has expired), 7.2.2.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core import revocations
from core.database import Rows, Transaction
from core.unreadable import UNREADABLE
from repo_static.store import NotPublished

_CODES = {
    x509.ReasonFlags.unspecified: 0,
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
}
"""RFC 5280 section 5.3.1, as far as the vault puts reasons into CRLs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a CRL says of a serial number; `revoked_at` in POSIX seconds."""

    serial: bytes
    revoked_at: int
    reason: int


def published(der: bytes, issuer_certificate: bytes) -> tuple[Entry, ...]:
    """The entries of a CRL, none when it is damaged or not this issuer's.  Half a second for 100 000."""
    key = x509.load_der_x509_certificate(issuer_certificate).public_key()
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    try:
        crl = x509.load_der_x509_crl(der)
        return tuple(entries_of(crl)) if crl.is_signature_valid(key) else ()
    except UNREADABLE as error:
        _log.critical("the public CRL tells nothing any more, and is issued anew: %s", error)
        return ()


def entries_of(crl: x509.CertificateRevocationList) -> Iterator[Entry]:
    """The entries of a CRL, whoever signed it."""
    for each in crl:
        number = each.serial_number
        try:
            flag = each.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            flag = x509.ReasonFlags.unspecified
        yield Entry(
            number.to_bytes(number.bit_length() // 8 + 1),
            int(each.revocation_date_utc.timestamp()),
            code_of(flag),
        )


def code_of(flag: x509.ReasonFlags | None) -> int:
    """The reason's number, 0 where there is none."""
    return 0 if flag is None else _CODES.get(flag, 0)


def missing(rows: Rows, entries: tuple[Entry, ...]) -> list[Entry]:
    """Those of which the register has no revocation, or has not yet heard of the key's compromise.

    Raises `NotPublished` when it does not even know the certificate: no CRL without the entry may follow.
    """
    found = []
    for entry in entries:
        existing = revocations.of(rows, entry.serial)
        if existing is None and revocations.status_of(rows, entry.serial) is None:
            raise NotPublished(
                f"the public CRL revokes {entry.serial.hex()}, of which the register knows nothing: the "
                "vault's journal brings it back within a minute, or restore a newer backup"
            )
        if existing is None or (
            entry.reason == revocations.KEY_COMPROMISE and existing.reason != revocations.KEY_COMPROMISE
        ):
            found.append(entry)
    return found


def enter(tx: Transaction, entries: list[Entry], name: str) -> None:
    """Write the revocations again that stand in the public CRL `name`."""
    cause = f"it stands in the public {name}, and the register had forgotten it"
    for entry in missing(tx, tuple(entries)):
        if revocations.of(tx, entry.serial) is None:
            revocations.revoke(tx, entry.serial, entry.reason, cause, revoked_at=entry.revoked_at)
        else:
            revocations.upgrade_reason(tx, entry.serial, cause)
