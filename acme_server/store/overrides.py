"""Exceptions from rate limits that operators made, for an account or for a binding key."""

from __future__ import annotations

from dataclasses import dataclass

from core.database import Row, Rows, Transaction

_COLUMNS = "subject, bucket, count, period, note"


@dataclass(frozen=True, slots=True)
class Override:
    """`limit` is `count` in `period` seconds for `subject` ("account:ID", "binding:KID"); 0 turns it off."""

    subject: str
    limit: str
    count: int
    period: int
    note: str


def of_account(rows: Rows, account_id: str) -> dict[str, Override]:
    """By limit: the account's own, else that of the key that the account is bound to."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM overrides WHERE subject IN ('account:' || ?,"
        " (SELECT 'binding:' || binding_kid FROM accounts WHERE id = ?)) ORDER BY subject DESC",
        (account_id, account_id),
    )
    return {each.limit: each for each in map(_override, found)}  # "account:" comes last and wins


def of_binding(rows: Rows, kid: str) -> dict[str, Override]:
    """By limit: those of a binding key."""
    found = rows.all(f"SELECT {_COLUMNS} FROM overrides WHERE subject = 'binding:' || ?", (kid,))
    return {each.limit: each for each in map(_override, found)}


def all_of_them(rows: Rows) -> list[Override]:
    """Every one, by subject."""
    return [_override(row) for row in rows.all(f"SELECT {_COLUMNS} FROM overrides ORDER BY subject, bucket")]


def put(tx: Transaction, override: Override) -> None:
    """Make it, in place of the one that was there."""
    tx.execute(
        f"INSERT OR REPLACE INTO overrides ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        (override.subject, override.limit, override.count, override.period, override.note),
    )


def remove(tx: Transaction, subject: str, limit: str) -> bool:
    """End it; False when there was none."""
    gone = tx.execute("DELETE FROM overrides WHERE subject = ? AND bucket = ?", (subject, limit))
    return gone.rowcount == 1


def _override(row: Row) -> Override:
    return Override(*row)
