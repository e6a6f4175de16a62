"""Revokes all that an issuing CA signed, in pages: when its key is compromised, or for the yearly test of it.

A page is one unit of work, so the CA goes on serving between two of them, and a crash loses no page that was
answered.  Repeating from the start changes nothing that was done.

Must never: revoke the vault's own OCSP responders, which have to say "revoked" of all the others; give a
subscriber certificate the reason keyCompromise, for the subscribers' keys are sound.

BR 4.9.1.1, 5.7.1.2 (mass revocation), 7.2.2; CPS 5.7.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import certificates
from core.database import Transaction
from core.issuers import issuer_by_id

PAGE = 500
"""Certificates in one transaction: a tenth of a second in which nobody else writes."""


@dataclass(frozen=True, slots=True)
class Page:
    """How many were `revoked`, where to go on (`after`), and whether there is nothing more (`done`)."""

    revoked: int
    after: int
    done: bool


def revoke_page(
    tx: Transaction, issuer_id: str, after: int, reason: int, cause: str, *, actor: str, limit: int = PAGE
) -> Page:
    """Revoke the next certificates of an issuer that are valid now; begin with `after` = 0.

    Raises: `UnknownCertificate` for an issuer that is none of ours, ValueError for a reason that BR 7.2.2 or
    the above forbids; nothing changes.
    """
    if issuer_by_id(tx, issuer_id) is None:
        raise certificates.UnknownCertificate(f"the register knows no issuing CA {issuer_id!r}")
    if reason == certificates.KEY_COMPROMISE:
        raise ValueError("keyCompromise says that the subscriber's key is compromised: use superseded")
    rows = tx.all(
        "SELECT c.rowid AS row, c.serial FROM certificates c"
        " LEFT JOIN revocations r ON r.serial = c.serial"
        " WHERE c.rowid > ? AND c.issuer_id = ? AND c.not_after >= ? AND r.serial IS NULL"
        # A colon marks the vault's own names: OCSP responders.
        " AND c.state NOT IN ('reserved', 'abandoned') AND instr(c.id, ':') = 0"
        " ORDER BY c.rowid LIMIT ?",
        (after, issuer_id, tx.now, limit),
    )
    for row in rows:
        certificates.revoke(tx, row["serial"], reason, cause, actor=actor)
    if rows:
        tx.audit("mass-revocation", actor, {"issuer": issuer_id, "revoked": len(rows), "cause": cause})
    return Page(len(rows), rows[-1]["row"] if rows else after, len(rows) < limit)
