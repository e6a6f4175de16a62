"""What ends with an account or an authorization (RFC 8555 sections 7.1.6, 7.3.6, 7.5.2).

Certificates stay: deactivation revokes none.  An order that is processing was approved before and goes on
only if the issue job finds its account valid (registration/finalize.py).
"""

from __future__ import annotations

from acme_server import problems
from acme_server.objects import Account, Authorization
from acme_server.problems import unauthorized
from acme_server.registration import holds
from acme_server.states import Event
from acme_server.store import accounts, authorizations, orders
from core.database import Transaction


def deactivate_account(tx: Transaction, account: Account) -> None:
    """By its owner, with every order and authorization that is still open.  Raises `IllegalMove`."""
    _end(tx, account, Event.DEACTIVATED, "the account was deactivated")
    tx.audit("account.deactivated", f"account:{account.id}", {})


def revoke_account(tx: Transaction, account: Account, why: str, *, actor: str) -> None:
    """The same by us (RFC 8555 section 7.1.6): `why` is for the audit log.  Raises `IllegalMove`."""
    _end(tx, account, Event.REVOKED, "the account was ended by the CA")
    tx.audit("account.revoked", actor, {"account": account.id, "why": why})


def deactivate_authorization(tx: Transaction, authorization: Authorization) -> None:
    """The authorization, and the orders that wait on it.  It is never reused.  Raises `IllegalMove`."""
    authorizations.move(tx, authorization, Event.DEACTIVATED)
    error = problems.to_json(unauthorized(f"the authorization of {authorization.name} was deactivated"))
    orders.end_on(tx, authorization.id, Event.DEACTIVATED, error)
    tx.audit(
        "authorization.deactivated",
        f"account:{authorization.account_id}",
        {"authorization": authorization.id, "name": authorization.name},
    )


def revoke_authorization(tx: Transaction, authorization: Authorization, why: str, *, actor: str) -> None:
    """The same by us, of a valid one: it should not be relied upon (RFC 8555 section 7.1.6).

    `why` is for the audit log.  Raises `IllegalMove`.
    """
    authorizations.move(tx, authorization, Event.REVOKED)
    error = problems.to_json(
        unauthorized(f"the authorization of {authorization.name} was revoked by the CA; place a new order")
    )
    orders.end_on(tx, authorization.id, Event.DEACTIVATED, error)
    tx.audit(
        "authorization.revoked",
        actor,
        {"authorization": authorization.id, "name": authorization.name, "why": why},
    )


def _end(tx: Transaction, account: Account, event: Event, told: str) -> None:
    accounts.move(tx, account, event)
    error = problems.to_json(unauthorized(told))
    # At one stroke: whoever means harm has ten thousands of them, and everybody else waits.
    orders.end_open(tx, account.id, error)
    holds.end_of_account(tx, account.id)
    authorizations.deactivate_pending(tx, account.id)
