"""Incidents: certificates that must be renewed now, and what became of each (RFC 9773 section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.database import Row, Rows, Transaction

_COLUMNS = "id, title, explanation_url, renew_by, opened_at, opened_by, total, closed_at"


class Fate(StrEnum):
    """What became of a certificate of an incident: the first that holds."""

    REPLACED = "replaced"  # an order that names it in `replaces` has its certificate
    REVOKED = "revoked"
    EXPIRED = "expired"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Incident:
    """`renew_by`: when its certificates must be replaced; `explanation_url` "" for none; `total` of them."""

    id: str
    title: str
    explanation_url: str
    renew_by: int
    opened_at: int
    opened_by: str
    total: int
    closed_at: int | None


def insert(tx: Transaction, incident: Incident) -> None:
    """A new incident, without certificates yet."""
    i = incident
    tx.execute(
        "INSERT INTO incidents (id, title, explanation_url, renew_by, opened_at, opened_by, total)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        (i.id, i.title, i.explanation_url, i.renew_by, i.opened_at, i.opened_by),
    )


def by_id(rows: Rows, incident_id: str) -> Incident | None:
    """The incident."""
    row = rows.one(f"SELECT {_COLUMNS} FROM incidents WHERE id = ?", (incident_id,))
    return None if row is None else Incident(*row)


def newest(rows: Rows, count: int) -> list[Incident]:
    """The open ones first, the most urgent of them before the others; then the closed, the newest first."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM incidents ORDER BY closed_at IS NOT NULL,"
        " CASE WHEN closed_at IS NULL THEN renew_by ELSE -opened_at END, id LIMIT ?",
        (count,),
    )
    return [Incident(*row) for row in found]


def add(tx: Transaction, incident_id: str, serials: Sequence[bytes]) -> int:
    """Put certificates in; how many were not there before."""
    before = tx.one("SELECT total FROM incidents WHERE id = ?", (incident_id,))
    assert before is not None
    added = 0
    for serial in serials:
        added += tx.execute(
            "INSERT OR IGNORE INTO incident_serials (serial, incident_id, added_at) VALUES (?, ?, ?)",
            (serial, incident_id, tx.now),
        ).rowcount
    tx.execute("UPDATE incidents SET total = total + ? WHERE id = ?", (added, incident_id))
    return added


def close(tx: Transaction, incident_id: str) -> None:
    """It is over: its certificates have their usual windows."""
    tx.execute("UPDATE incidents SET closed_at = ? WHERE id = ?", (tx.now, incident_id))


def fates(rows: Rows, incident_id: str, after: bytes, count: int, now: int) -> list[tuple[bytes, Fate]]:
    """The next certificates behind the serial `after` (b"" at first), and what became of each."""
    found = rows.all(
        "SELECT c.serial, c.not_after, r.serial IS NOT NULL AS revoked,"
        " EXISTS (SELECT 1 FROM orders o WHERE o.predecessor = c.id AND o.status = 'valid') AS replaced"
        " FROM incident_serials s JOIN certificates c ON c.serial = s.serial"
        " LEFT JOIN revocations r ON r.serial = s.serial"
        " WHERE s.incident_id = ? AND s.serial > ? ORDER BY s.serial LIMIT ?",
        (incident_id, after, count),
    )
    return [(row["serial"], _fate(row, now)) for row in found]


def _fate(row: Row, now: int) -> Fate:
    if row["replaced"]:
        return Fate.REPLACED
    if row["revoked"]:
        return Fate.REVOKED
    return Fate.EXPIRED if row["not_after"] < now else Fate.LEFT
