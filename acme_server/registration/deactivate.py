"""What ends when an account or an authorization is deactivated (RFC 8555 sections 7.3.6, 7.5.2).

Certificates stay: deactivation revokes none.  An order that is processing was approved before and goes on
only if the issue job finds its account valid (registration/finalize.py).
"""

from __future__ import annotations

from acme_server import problems
from acme_server.objects import Account, Authorization
from acme_server.problems import unauthorized
from acme_server.states import ORDER, Event
from acme_server.store import accounts, authorizations, orders
from core.database import Transaction


def deactivate_account(tx: Transaction, account: Account) -> None:
    """The account, and every order and authorization of it that is still open.  Raises `IllegalMove`."""
    accounts.move(tx, account, Event.DEACTIVATED)
    error = problems.to_json(unauthorized("the account was deactivated"))
    for order in orders.open_of_account(tx, account.id):
        orders.move(tx, order, Event.DEACTIVATED, error)
    for authorization in authorizations.pending_of_account(tx, account.id):
        authorizations.move(tx, authorization, Event.DEACTIVATED)
    tx.audit("account.deactivated", f"account:{account.id}", {})


def deactivate_authorization(tx: Transaction, authorization: Authorization) -> None:
    """The authorization, and the orders that wait on it.  It is never reused.  Raises `IllegalMove`."""
    authorizations.move(tx, authorization, Event.DEACTIVATED)
    error = problems.to_json(unauthorized(f"the authorization of {authorization.name} was deactivated"))
    for order in orders.on_authorization(tx, authorization.id):
        if ORDER.allows(order.status, Event.DEACTIVATED):
            orders.move(tx, order, Event.DEACTIVATED, error)
    tx.audit(
        "authorization.deactivated",
        f"account:{authorization.account_id}",
        {"authorization": authorization.id, "name": authorization.name},
    )
