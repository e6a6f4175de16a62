"""Certificates of which the register has only what others remember: their row is made after a restore.

A CRL, an OCSP answer or a daily list tells of a serial number and not of all the rest.  Whoever knows more
(the vault's journal, the certificate itself) completes the row, above all the CRL shard in which relying
parties look for it.

Must never: take a revocation back, or change a row that the register made itself.

CPS 5.7.4; BR 4.9.9, 4.9.10.
"""

from __future__ import annotations

import msgspec

from core import certificates, gaps, revocations
from core.certificates import Reservation
from core.database import Rows, Transaction

COMPLETED = "reconciled-certificate"
"""The kind of the audit record that holds the revocation version which that took, if any."""

_PREFIX = "restored:"

_UNKNOWN = (
    "certificates that were issued after the backup are in the register without their orders, accounts and "
    "evidence",
    "restore a newer backup that has them; else accept, and they are revoked",
)


def id_of(serial: bytes) -> str:
    """The id of such a row."""
    return f"{_PREFIX}{serial.hex()}"


def is_one(rows: Rows, serial: bytes) -> bool:
    """Whether the register has such a row of this serial."""
    return certificates.by_id(rows, id_of(serial)) is not None


def enter(tx: Transaction, reservation: Reservation) -> None:
    """It may have been issued; nobody knows any more for whom."""
    certificates.reserve(tx, reservation)
    count_as_issued(tx, reservation.serial, reservation.issuer_id)


def count_as_issued(tx: Transaction, serial: bytes, issuer_id: str) -> None:
    """A serial number that somebody has met."""
    tx.execute("UPDATE certificates SET state = 'lost' WHERE serial = ?", (serial,))
    tx.audit("reconciled", "system", {"serial": serial.hex(), "issuer": issuer_id})


def forgotten(tx: Transaction, serial: bytes) -> None:
    """It is good as far as anybody knows: only a person has it revoked, or finds who asked for it."""
    gaps.found(tx, gaps.CERTIFICATES, *_UNKNOWN, {"last": serial.hex()})


def complete(tx: Transaction, known: Reservation, source: str) -> bool:
    """Give such a row what is `known` of its certificate; False when there is nothing to complete."""
    row = certificates.by_id(tx, id_of(known.serial))
    if row is None or row.issuer_id != known.issuer_id:
        return False
    names = msgspec.json.encode(known.names or row.names).decode()
    tx.execute(
        "UPDATE certificates SET id = ?, crl_shard = ?, names = ?, spki_sha256 = ?, not_before = ?,"
        " not_after = ? WHERE id = ?",
        (
            *(known.id, known.crl_shard, names, known.spki_sha256, known.not_before, known.not_after),
            row.id,
        ),
    )
    told = {"id": known.id, "serial": known.serial.hex(), "shard": known.crl_shard, "source": source}
    if revocations.of(tx, known.serial) is not None:
        # Another shard's CRL has to tell of it, and readers follow the versions.
        told["version"] = revocations.version(tx) + 1
        tx.execute(
            "UPDATE revocations SET crl_shard = ?, not_after = ?, version = ?, changed_at = ?,"
            " published_at = NULL WHERE serial = ?",
            (known.crl_shard, known.not_after, told["version"], tx.now, known.serial),
        )
    tx.audit(COMPLETED, "system", told)
    return True
