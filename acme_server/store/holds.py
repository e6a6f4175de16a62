"""Orders that wait for a person, and what became of them (BR 4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.database import Row, Rows, Transaction

_COLUMNS = "order_id, why, held_at, decision, decided_by, decided_at, note"


class Decision(StrEnum):
    """What a person decided; ENDED: nobody did, and the order ended by itself."""

    APPROVED = "approved"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Hold:
    """An order that was held.  `why` names the patterns; times are POSIX seconds."""

    order_id: str
    why: str
    held_at: int
    decision: Decision | None = None
    decided_by: str | None = None
    decided_at: int | None = None
    note: str | None = None


def insert(tx: Transaction, order_id: str, why: str) -> None:
    """The order waits from now on."""
    tx.execute("INSERT INTO holds (order_id, why, held_at) VALUES (?, ?, ?)", (order_id, why, tx.now))


def of_order(rows: Rows, order_id: str) -> Hold | None:
    """The hold of an order; None for one that never was held."""
    row = rows.one(f"SELECT {_COLUMNS} FROM holds WHERE order_id = ?", (order_id,))
    return None if row is None else _hold(row)


def is_waiting(rows: Rows, order_id: str) -> bool:
    """Whether the order waits for a person."""
    row = rows.one("SELECT 1 FROM holds WHERE order_id = ? AND decision IS NULL", (order_id,))
    return row is not None


def waiting(rows: Rows, after: tuple[int, str], count: int) -> list[Hold]:
    """Those without a decision, the oldest first, after (`held_at`, `order_id`); (0, "") for the first."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM holds WHERE decision IS NULL AND (held_at, order_id) > (?, ?)"
        " ORDER BY held_at, order_id LIMIT ?",
        (*after, count),
    )
    return [_hold(row) for row in found]


def waiting_of_account(rows: Rows, account_id: str) -> list[str]:
    """The account's orders that wait."""
    found = rows.all(
        "SELECT h.order_id FROM holds h JOIN orders o ON o.id = h.order_id"
        " WHERE h.decision IS NULL AND o.account_id = ?",
        (account_id,),
    )
    return [row["order_id"] for row in found]


def count(rows: Rows) -> tuple[int, int | None]:
    """How many wait, and since when the oldest does."""
    row = rows.one("SELECT COUNT(*) AS n, MIN(held_at) AS oldest FROM holds WHERE decision IS NULL")
    assert row is not None
    return row["n"], row["oldest"]


def decide(tx: Transaction, order_id: str, decision: Decision, by: str, note: str) -> bool:
    """Write the decision; False when there was nothing to decide (any more)."""
    changed = tx.execute(
        "UPDATE holds SET decision = ?, decided_by = ?, decided_at = ?, note = ?"
        " WHERE order_id = ? AND decision IS NULL",
        (decision, by, tx.now, note, order_id),
    )
    return changed.rowcount == 1


def _hold(row: Row) -> Hold:
    id, why, held_at, decision, *rest = row
    return Hold(id, why, held_at, None if decision is None else Decision(decision), *rest)
