"""The keys of external accounts, without their secrets (RFC 8555 section 7.3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.database import Row, Rows, Transaction

_COLUMNS = "kid, label, reusable, uses, secret, created_at, expires_at, withdrawn_at"


class KeyState(StrEnum):
    """What keeps a key from making an account; GOOD: nothing."""

    GOOD = "good"
    USED = "used"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class BindingKey:
    """A key that an external account was given.  Times are POSIX seconds; `secret` is a fingerprint."""

    kid: str
    label: str
    reusable: bool
    uses: int
    secret: str
    created_at: int
    expires_at: int | None
    withdrawn_at: int | None

    def state_at(self, now: int) -> KeyState:
        """Whether it can make an account, or why not."""
        if self.withdrawn_at is not None:
            return KeyState.WITHDRAWN
        if self.uses and not self.reusable:
            return KeyState.USED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.GOOD


def insert(tx: Transaction, key: BindingKey) -> None:
    """A new key."""
    tx.execute(
        f"INSERT INTO binding_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.kid,
            key.label,
            int(key.reusable),
            key.uses,
            key.secret,
            key.created_at,
            key.expires_at,
            key.withdrawn_at,
        ),
    )


def by_kid(rows: Rows, kid: str) -> BindingKey | None:
    """The key."""
    row = rows.one(f"SELECT {_COLUMNS} FROM binding_keys WHERE kid = ?", (kid,))
    return None if row is None else _key(row)


def page(rows: Rows, after: str | None, count: int) -> list[BindingKey]:
    """The next `count` keys after the key `after`, the oldest first."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM binding_keys"
        " WHERE rowid > COALESCE((SELECT rowid FROM binding_keys WHERE kid = ?), 0) ORDER BY rowid LIMIT ?",
        (after, count),
    )
    return [_key(row) for row in found]


def use(tx: Transaction, kid: str) -> bool:
    """Count one more account; False, and nothing is changed, when the key may make none.

    Compare-and-set: of two accounts that are made with a single-use key at once one gets it.
    """
    changed = tx.execute(
        "UPDATE binding_keys SET uses = uses + 1 WHERE kid = ? AND withdrawn_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > ?) AND (reusable OR uses = 0)",
        (kid, tx.now),
    )
    return changed.rowcount == 1


def withdraw(tx: Transaction, kid: str) -> bool:
    """It makes no account from now on; False when it was withdrawn before, or never was."""
    changed = tx.execute(
        "UPDATE binding_keys SET withdrawn_at = ? WHERE kid = ? AND withdrawn_at IS NULL", (tx.now, kid)
    )
    return changed.rowcount == 1


def valid_accounts(rows: Rows, kid: str) -> int:
    """How many valid accounts there are of the key."""
    row = rows.one("SELECT COUNT(*) FROM accounts WHERE binding_kid = ? AND status = 'valid'", (kid,))
    assert row is not None
    return int(row[0])


def orphans(rows: Rows, fingerprint: str, now: int) -> int:
    """How many keys could make an account, had they not been derived from another secret."""
    row = rows.one(
        "SELECT COUNT(*) FROM binding_keys WHERE secret <> ? AND withdrawn_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > ?) AND (reusable OR uses = 0)",
        (fingerprint, now),
    )
    assert row is not None
    return int(row[0])


def _key(row: Row) -> BindingKey:
    kid, label, reusable, *rest = row
    return BindingKey(kid, label, bool(reusable), *rest)
