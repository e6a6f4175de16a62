"""Keys that are never certified again, by the SHA-256 of their SubjectPublicKeyInfo.

A row is made when a compromise is proven, in the transaction of that act, and is never deleted.
BR 6.1.1.3 (4), 4.9.12.
"""

from __future__ import annotations

from core import jobs
from core.database import Rows, Transaction

KIND = "block-key"
"""The job that tells the vault; its subject is the hash in hexadecimal."""


def block(tx: Transaction, spki_sha256: bytes, reason: str, *, actor: str = "system") -> bool:
    """Never certify this key again (BR 6.1.1.3); False when it was blocked before, for the first reason.

    The vault learns of it by a job, in this same transaction: call `JobRunner.wake` after the commit.
    """
    inserted = tx.execute(
        "INSERT INTO blocked_keys (spki_sha256, reason, blocked_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (spki_sha256, reason, tx.now),
    )
    if inserted.rowcount:
        jobs.add(tx, KIND, spki_sha256.hex())
        tx.audit("key-blocked", actor, {"spki_sha256": spki_sha256.hex(), "reason": reason})
    return inserted.rowcount == 1


def all_blocked(rows: Rows) -> list[tuple[bytes, str, int]]:
    """(SHA-256 of the SubjectPublicKeyInfo, reason, POSIX seconds) of every blocked key, the oldest first."""
    found = rows.all("SELECT * FROM blocked_keys ORDER BY blocked_at, spki_sha256")
    return [(row["spki_sha256"], row["reason"], row["blocked_at"]) for row in found]


def is_blocked(rows: Rows, spki_sha256: bytes) -> bool:
    """Whether the key is blocked for ever."""
    return rows.one("SELECT 1 FROM blocked_keys WHERE spki_sha256 = ?", (spki_sha256,)) is not None
