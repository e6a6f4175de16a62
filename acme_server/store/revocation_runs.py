"""Revocations in bulk: what was decided, and which certificates are done (BR 4.9.1.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from acme_server.store.selection import Selection
from core.causes import RULES, Cause
from core.database import Row, Rows, Transaction

_selection = msgspec.json.Decoder(Selection).decode
_ADD = "INSERT OR IGNORE INTO revocation_targets (run_id, serial) VALUES (?, ?)"
_encode = msgspec.json.Encoder().encode


class Phase(StrEnum):
    """How far a run is."""

    GATHERING = "gathering"  # serial numbers are being named; nothing is done until somebody says so
    SELECTING = "selecting"
    REVOKING = "revoking"
    ENDED = "ended"


class Outcome(StrEnum):
    """What became of a certificate of a run."""

    REVOKED = "revoked"
    UPGRADED = "upgraded"  # it was revoked, and its reason is keyCompromise now
    ALREADY = "already"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Run:
    """A revocation in bulk; `selection` None when serial numbers are named.  Times are POSIX seconds."""

    id: str
    cause: Cause
    reason: int
    note: str
    selection: Selection | None
    learned_at: int
    began_at: int
    began_by: str
    phase: Phase
    cursor: int
    until: int
    ended_at: int | None = None

    @property
    def revoke_by(self) -> int:
        """When all of it must be on published CRLs (BR 4.9.5)."""
        return self.learned_at + RULES[self.cause].within

    @property
    def told(self) -> str:
        """The cause as it stands in the register with each revocation."""
        note = f": {self.note}" if self.note else ""
        return f"{self.cause}, {RULES[self.cause].clause}; run {self.id} by {self.began_by}{note}"


@dataclass(frozen=True, slots=True)
class Counts:
    """Certificates of a run: `total` found so far, and what became of those that are done."""

    total: int
    revoked: int
    upgraded: int
    already: int
    expired: int

    @property
    def left(self) -> int:
        """Those that are not done."""
        return self.total - self.revoked - self.upgraded - self.already - self.expired


def insert(tx: Transaction, run: Run) -> None:
    """A new run."""
    tx.execute(
        "INSERT INTO revocation_runs (id, cause, reason, note, selection, learned_at, began_at, began_by,"
        " phase, cursor, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.id,
            run.cause,
            run.reason,
            run.note,
            None if run.selection is None else _encode(run.selection).decode(),
            run.learned_at,
            run.began_at,
            run.began_by,
            run.phase,
            run.cursor,
            run.until,
        ),
    )


def by_id(rows: Rows, run_id: str) -> Run | None:
    """The run."""
    row = rows.one("SELECT * FROM revocation_runs WHERE id = ?", (run_id,))
    return None if row is None else _run(row)


def newest(rows: Rows, count: int) -> list[Run]:
    """The last runs, the newest first."""
    found = rows.all("SELECT * FROM revocation_runs ORDER BY began_at DESC, id LIMIT ?", (count,))
    return [_run(row) for row in found]


def add(tx: Transaction, run_id: str, serials: Sequence[bytes]) -> None:
    """Certificates to revoke; one that is in the run already changes nothing."""
    added = sum(tx.execute(_ADD, (run_id, serial)).rowcount for serial in serials)
    tx.execute("UPDATE revocation_runs SET total = total + ? WHERE id = ?", (added, run_id))


def selected(tx: Transaction, run: Run, cursor: int) -> None:
    """It was selected up to this row; the last one begins the revoking."""
    phase = Phase.SELECTING if cursor < run.until else Phase.REVOKING
    tx.execute("UPDATE revocation_runs SET cursor = ?, phase = ? WHERE id = ?", (cursor, phase, run.id))


def started(tx: Transaction, run_id: str) -> None:
    """All serial numbers have been named."""
    tx.execute("UPDATE revocation_runs SET phase = ? WHERE id = ?", (Phase.REVOKING, run_id))


def forget(tx: Transaction, run_id: str, serial: bytes) -> None:
    """The serial number became no certificate."""
    tx.execute("DELETE FROM revocation_targets WHERE run_id = ? AND serial = ?", (run_id, serial))
    tx.execute("UPDATE revocation_runs SET total = total - 1 WHERE id = ?", (run_id,))


def left(rows: Rows, run_id: str, count: int) -> list[bytes]:
    """The next certificates to revoke, but for those that are being signed."""
    found = rows.all(
        "SELECT t.serial FROM revocation_targets t JOIN certificates c ON c.serial = t.serial"
        " WHERE t.run_id = ? AND t.done_at IS NULL AND c.state <> 'reserved' ORDER BY t.serial LIMIT ?",
        (run_id, count),
    )
    return [row["serial"] for row in found]


def done(tx: Transaction, run_id: str, outcomes: Mapping[bytes, Outcome]) -> None:
    """What became of some of its certificates."""
    for serial, outcome in outcomes.items():
        tx.execute(
            "UPDATE revocation_targets SET done_at = ?, outcome = ? WHERE run_id = ? AND serial = ?",
            (tx.now, outcome, run_id, serial),
        )
    for outcome, number in Counter(outcomes.values()).items():
        # A column for each outcome, by the same name.
        tx.execute(f"UPDATE revocation_runs SET {outcome} = {outcome} + ? WHERE id = ?", (number, run_id))


def ended(tx: Transaction, run_id: str) -> None:
    """Nothing is left."""
    tx.execute(
        "UPDATE revocation_runs SET phase = ?, ended_at = ? WHERE id = ?", (Phase.ENDED, tx.now, run_id)
    )


def counts(rows: Rows, run_id: str) -> Counts:
    """How far the run is."""
    row = rows.one(
        "SELECT total, revoked, upgraded, already, expired FROM revocation_runs WHERE id = ?", (run_id,)
    )
    assert row is not None
    return Counts(*row)


def _run(row: Row) -> Run:
    return Run(
        id=row["id"],
        cause=Cause(row["cause"]),
        reason=row["reason"],
        note=row["note"],
        selection=None if row["selection"] is None else _selection(row["selection"]),
        learned_at=row["learned_at"],
        began_at=row["began_at"],
        began_by=row["began_by"],
        phase=Phase(row["phase"]),
        cursor=row["cursor"],
        until=row["until"],
        ended_at=row["ended_at"],
    )
