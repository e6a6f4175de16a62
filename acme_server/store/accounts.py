"""Accounts and the history of their keys (RFC 8555 sections 7.1.2, 7.3)."""

from __future__ import annotations

import json

import msgspec

from acme_server.jws import PublicKey
from acme_server.objects import Account
from acme_server.states import ACCOUNT, AccountStatus, Event
from core.database import Row, Rows, Transaction

MAX_KEY_CHANGES = 20
"""Changes of an account's key that the vault is shown; what an older key has proven is proven again."""

_contact = msgspec.json.Decoder(tuple[str, ...]).decode
_COLUMNS = "a.id, a.url, a.status, a.contact, a.terms_version, a.created_at, a.binding_kid, a.binding"


def insert(tx: Transaction, account: Account, key: PublicKey) -> None:
    """A new account and its first key.  Raises sqlite3.IntegrityError when the key is in use."""
    tx.execute(
        "INSERT INTO accounts (id, url, status, contact, terms_version, terms_agreed_at, created_at,"
        " binding_kid, binding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account.id,
            account.url,
            account.status,
            json.dumps(account.contact),
            account.terms_version,
            account.created_at if account.terms_version is not None else None,
            account.created_at,
            account.binding_kid,
            account.binding,
        ),
    )
    insert_key(tx, account.id, key)


def insert_key(tx: Transaction, account_id: str, key: PublicKey, change: bytes | None = None) -> None:
    """The account's current key from now on; `change` is the keyChange request that made it that."""
    tx.execute(
        "INSERT INTO account_keys (thumbprint, account_id, jwk, spki_sha256, valid_from, change)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (key.thumbprint, account_id, key.json, key.spki_sha256, tx.now, change),
    )


def replace_key(tx: Transaction, account_id: str, key: PublicKey, change: bytes) -> None:
    """The current key ends now, and the new one begins.  Raises sqlite3.IntegrityError when it is in use."""
    tx.execute(
        "UPDATE account_keys SET valid_until = ? WHERE account_id = ? AND valid_until IS NULL",
        (tx.now, account_id),
    )
    insert_key(tx, account_id, key, change)


def key_changes(rows: Rows, account_id: str, count: int) -> list[tuple[int, bytes]]:
    """When, and by which keyChange request, the account's key changed: the last `count`, newest first."""
    found = rows.all(
        "SELECT valid_from, change FROM account_keys WHERE account_id = ? AND change IS NOT NULL"
        " ORDER BY valid_from DESC, rowid DESC LIMIT ?",
        (account_id, count),
    )
    return [(row["valid_from"], row["change"]) for row in found]


def older_keys(rows: Rows, account_id: str) -> list[str]:
    """The thumbprints of the account's earlier keys, the newest first: as far back as the vault follows."""
    found = rows.all(
        "SELECT thumbprint FROM account_keys WHERE account_id = ? AND valid_until IS NOT NULL"
        " ORDER BY valid_from DESC, rowid DESC LIMIT ?",
        (account_id, MAX_KEY_CHANGES),
    )
    return list(dict.fromkeys(row["thumbprint"] for row in found))


def by_thumbprint(rows: Rows, thumbprint: str) -> Account | None:
    """The account whose current key has this thumbprint."""
    row = rows.one(
        f"SELECT {_COLUMNS} FROM account_keys k JOIN accounts a ON a.id = k.account_id"
        " WHERE k.thumbprint = ? AND k.valid_until IS NULL",
        (thumbprint,),
    )
    return None if row is None else _account(row)


def with_key(rows: Rows, account_id: str) -> tuple[Account, str, str] | None:
    """The account, its current key's thumbprint and JWK (JSON); one look-up for each request."""
    row = rows.one(
        f"SELECT {_COLUMNS}, k.thumbprint, k.jwk FROM accounts a"
        " JOIN account_keys k ON k.account_id = a.id AND k.valid_until IS NULL WHERE a.id = ?",
        (account_id,),
    )
    return None if row is None else (_account(row), row["thumbprint"], row["jwk"])


def by_key(rows: Rows, spki_sha256: bytes) -> Account | None:
    """The account whose current key has this SubjectPublicKeyInfo."""
    row = rows.one(
        f"SELECT {_COLUMNS} FROM account_keys k JOIN accounts a ON a.id = k.account_id"
        " WHERE k.spki_sha256 = ? AND k.valid_until IS NULL",
        (spki_sha256,),
    )
    return None if row is None else _account(row)


def by_id(rows: Rows, account_id: str) -> Account | None:
    """The account."""
    row = rows.one(f"SELECT {_COLUMNS} FROM accounts a WHERE a.id = ?", (account_id,))
    return None if row is None else _account(row)


def valid_of_binding(rows: Rows, kid: str, count: int) -> list[Account]:
    """The first `count` valid accounts that were made with the binding key."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM accounts a WHERE a.binding_kid = ? AND a.status = 'valid' LIMIT ?",
        (kid, count),
    )
    return [_account(row) for row in found]


def is_account_key(rows: Rows, spki_sha256: bytes) -> bool:
    """Whether the key is, or ever was, any account's (section 11.1)."""
    return rows.one("SELECT 1 FROM account_keys WHERE spki_sha256 = ? LIMIT 1", (spki_sha256,)) is not None


def set_contact(tx: Transaction, account_id: str, contact: tuple[str, ...]) -> None:
    """Replace the contacts."""
    tx.execute("UPDATE accounts SET contact = ? WHERE id = ?", (json.dumps(contact), account_id))


def set_terms(tx: Transaction, account_id: str, version: str) -> None:
    """The account agrees to this version of the terms, now."""
    tx.execute(
        "UPDATE accounts SET terms_version = ?, terms_agreed_at = ? WHERE id = ?",
        (version, tx.now, account_id),
    )


def move(tx: Transaction, account: Account, event: Event) -> AccountStatus:
    """The status after `event`.  Raises `IllegalMove`."""
    after = ACCOUNT.move(account.status, event)
    tx.execute("UPDATE accounts SET status = ? WHERE id = ?", (after, account.id))
    return after


def _account(row: Row) -> Account:
    return Account(
        id=row["id"],
        url=row["url"],
        status=AccountStatus(row["status"]),
        contact=_contact(row["contact"]),
        terms_version=row["terms_version"],
        created_at=row["created_at"],
        binding_kid=row["binding_kid"],
        binding=row["binding"],
    )
