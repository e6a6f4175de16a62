"""Enters again what the register has forgotten of a serial number, with the time and reason that were public.

Must never: take a revocation back, or make it later or weaker.

BR 4.9.10, 7.2.2; CPS 5.7.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from core import certificates, remembered, revocations
from core.certificates import Reservation, State
from core.database import Database, Rows, Transaction
from status.restored.outside import Said

PAGE = 200
"""Entries in one transaction: others are served between two."""


async def enter(database: Database, said: Sequence[Said], source: str) -> int:
    """Put back what is missing of all that is `said`, page by page; how much that was."""
    cause = f"{source}, and the register had forgotten it"
    unknown = [each for each in said if is_missing(database.reader, each)]
    for start in range(0, len(unknown), PAGE):
        page = unknown[start : start + PAGE]
        await database.write(partial(put_all_back, said=page, cause=cause), at_any_time=True)
    return len(unknown)


def is_missing(rows: Rows, said: Said) -> bool:
    """Whether the register does not know it yet, or not yet of the key's compromise."""
    existing = revocations.of(rows, said.serial)
    if existing is None:
        return said.revoked_at is not None or revocations.status_of(rows, said.serial) is None
    compromised = said.reason == revocations.KEY_COMPROMISE
    return compromised and existing.reason != revocations.KEY_COMPROMISE


def put_all_back(tx: Transaction, said: Sequence[Said], cause: str) -> None:
    """Enter them all, in one transaction."""
    for each in said:
        put_back(tx, each, cause)


def put_back(tx: Transaction, said: Said, cause: str) -> None:
    """Enter the revocation, and the certificate where even that is unknown: it is issued and revoked then."""
    if not is_missing(tx, said):
        return
    _put_certificate_back(tx, said)
    if revocations.of(tx, said.serial) is None:
        revocations.revoke(tx, said.serial, said.reason, cause, revoked_at=said.revoked_at)
    else:
        revocations.upgrade_reason(tx, said.serial, cause)


def remember(tx: Transaction, said: Sequence[Said]) -> int:
    """Enter certificates of which somebody says no more than that they were issued; how many were unknown.

    Nothing is revoked: a person decides on that, or puts back a register that knows them (core/gaps.py).
    """
    count = 0
    for each in said:
        if revocations.status_of(tx, each.serial) is None:
            _put_certificate_back(tx, each)
            remembered.forgotten(tx, each.serial)
            count += 1
    return count


def complete(tx: Transaction, said: Said, spki_sha256: bytes, not_before: int, source: str) -> bool:
    """Give a row that was put back what its certificate says; False when there is nothing to complete."""
    row = certificates.by_id(tx, remembered.id_of(said.serial))
    if row is None or (row.spki_sha256, row.crl_shard) == (spki_sha256, said.shard):
        return False
    known = replace(_reservation(said, tx.now), spki_sha256=spki_sha256, not_before=not_before)
    return remembered.complete(tx, known, source)


def learn_key(tx: Transaction, serial: bytes, spki_sha256: bytes) -> None:
    """The key of a certificate that was put back without one, for nobody knew it."""
    learnt = tx.execute(
        "UPDATE certificates SET spki_sha256 = ? WHERE serial = ? AND spki_sha256 = x''",
        (spki_sha256, serial),
    )
    if learnt.rowcount:
        tx.audit("reconciled-key", "system", {"serial": serial.hex(), "spki_sha256": spki_sha256.hex()})


def _put_certificate_back(tx: Transaction, said: Said) -> None:
    row = certificates.by_serial(tx, said.serial)
    if row is None:
        remembered.enter(tx, _reservation(said, tx.now))
    elif row.state in (State.RESERVED, State.ABANDONED):
        remembered.count_as_issued(tx, said.serial, said.issuer_id)


def _reservation(said: Said, now: int) -> Reservation:
    return Reservation(
        id=remembered.id_of(said.serial),
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
