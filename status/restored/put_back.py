"""Enters again what the register has forgotten of a serial number, with the time and reason that were public.

Must never: take a revocation back, or make it later or weaker.

BR 4.9.10, 7.2.2; CPS 5.7.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from core import certificates
from core.certificates import Reservation, State
from core.database import Rows, Transaction
from status.restored.outside import Said


def is_missing(rows: Rows, said: Said) -> bool:
    """Whether the register does not know it yet, or not yet of the key's compromise."""
    existing = certificates.revocation_of(rows, said.serial)
    if existing is None:
        return said.revoked_at is not None or certificates.status_of(rows, said.serial) is None
    compromised = said.reason == certificates.KEY_COMPROMISE
    return compromised and existing.reason != certificates.KEY_COMPROMISE


def put_all_back(tx: Transaction, said: Sequence[Said], cause: str) -> None:
    """Enter them all, in one transaction."""
    for each in said:
        put_back(tx, each, cause)


def put_back(tx: Transaction, said: Said, cause: str) -> None:
    """Enter the revocation, and the certificate where even that is unknown: it is issued and revoked then."""
    if not is_missing(tx, said):
        return
    row = certificates.by_serial(tx, said.serial)
    if row is None:
        certificates.reserve(tx, _reservation(said, tx.now))
    if row is None or row.state in (State.RESERVED, State.ABANDONED):
        tx.execute("UPDATE certificates SET state = 'lost' WHERE serial = ?", (said.serial,))
        tx.audit("reconciled", "system", {"serial": said.serial.hex(), "issuer": said.issuer_id})
    if certificates.revocation_of(tx, said.serial) is None:
        certificates.revoke(tx, said.serial, said.reason, cause, revoked_at=said.revoked_at)
    else:
        certificates.upgrade_reason(tx, said.serial, cause)


def learn_key(tx: Transaction, serial: bytes, spki_sha256: bytes) -> None:
    """The key of a certificate that was put back without one, for nobody knew it."""
    learnt = tx.execute(
        "UPDATE certificates SET spki_sha256 = ? WHERE serial = ? AND spki_sha256 = x''",
        (spki_sha256, serial),
    )
    if learnt.rowcount:
        tx.audit("reconciled-key", "system", {"serial": serial.hex(), "spki_sha256": spki_sha256.hex()})


def _reservation(said: Said, now: int) -> Reservation:
    return Reservation(
        id=f"restored:{said.serial.hex()}",
        serial=said.serial,
        issuer_id=said.issuer_id,
        crl_shard=said.shard,
        request_id=None,
        account_url=None,
        profile=said.profile,
        names=said.names,
        spki_sha256=b"",
        not_before=now if said.revoked_at is None else said.revoked_at,
        not_after=said.until,
        versions={},
    )
