"""The account of a request, looked at once more in the transaction of what the request does.

Between the look that authenticated a request and its transaction others are done: the account may have ended,
or have another key, whose old one its holder has just taken out of a thief's hands.

Must never: let an account that has ended begin something, or a key that it had decide who follows it.

RFC 8555 sections 7.3.5, 7.3.6.
"""

from __future__ import annotations

from acme_server.objects import Account
from acme_server.problems import malformed, unauthorized
from acme_server.states import AccountStatus
from acme_server.store import accounts
from core.database import Transaction


def must_be_valid(tx: Transaction, account_id: str) -> Account:
    """The account as it is now.  Raises `Problem` (unauthorized)."""
    account = accounts.by_id(tx, account_id)
    assert account is not None
    if account.status is not AccountStatus.VALID:
        raise unauthorized(f"this account is {account.status}; use another one", status=401)
    return account


def must_have_key(tx: Transaction, account_id: str, thumbprint: str) -> None:
    """It is valid, and this is its key now.  Raises `Problem` (unauthorized, malformed)."""
    must_be_valid(tx, account_id)
    found = accounts.with_key(tx, account_id)
    assert found is not None
    if found[1] != thumbprint:
        raise malformed("oldKey must be the key that the account has now, and it has just got another one")
