"""Keys that are never certified again, by the SHA-256 of their SubjectPublicKeyInfo.

A row is made when a compromise is proven, in the transaction of that act, and is never deleted.
BR 6.1.1.3 (4), 4.9.12.
"""

from __future__ import annotations

from core.database import Rows, Transaction


def block(tx: Transaction, spki_sha256: bytes, reason: str, *, actor: str = "system") -> bool:
    """Never certify this key again (BR 6.1.1.3); False when it was blocked before, for the first reason."""
    inserted = tx.execute(
        "INSERT INTO blocked_keys (spki_sha256, reason, blocked_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (spki_sha256, reason, tx.now),
    )
    if inserted.rowcount:
        tx.audit("key-blocked", actor, {"spki_sha256": spki_sha256.hex(), "reason": reason})
    return inserted.rowcount == 1


def is_blocked(rows: Rows, spki_sha256: bytes) -> bool:
    """Whether the key is blocked for ever."""
    return rows.one("SELECT 1 FROM blocked_keys WHERE spki_sha256 = ?", (spki_sha256,)) is not None
