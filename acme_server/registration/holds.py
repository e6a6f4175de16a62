"""Orders for high-risk names wait for a person between finalize and issuance (BR 4.2.1).

The row in `holds` takes the place of the issuance: the order is processing, its job is put off until the
order has ended, and refuses to issue while nobody has decided.  An approval brings the job forward in its
transaction; a refusal, or the order's end, makes the order invalid.  Every order is held by itself: no
approval, and no authorization, serves another one.

Must never: tell the subscriber what a person noted; approve for longer than the order lives.
"""

from __future__ import annotations

from collections.abc import Mapping

from acme_server import problems
from acme_server.objects import Order
from acme_server.problems import ErrorType, refusal
from acme_server.registration.rates import refused
from acme_server.states import AccountStatus, Event, OrderStatus
from acme_server.store import accounts, holds, orders
from acme_server.store.holds import Decision
from core import jobs
from core.database import Rows, Transaction
from core.errors import Problem, Refused, TransientError
from core.settings import Settings

RETRY_AFTER = 3600
"""Seconds that a client is asked to wait before it looks again: people take hours."""

LIMIT = "orders-held"

MOST = 100
"""Orders of one account that may wait: else one subscriber with a wildcard zone could bury all others' under
his own, and whoever has to read them with them."""

MARGIN = 60
"""Seconds after an order's expiry in which its job leaves it to the approval that may be under way."""

ISSUE = "issue"
"""The kind of job that issues (registration/finalize.py)."""


def hold(tx: Transaction, order: Order, found: Mapping[str, str]) -> None:
    """Let an order wait that has just been finalized; `found` are its high-risk names with their patterns.

    Raises `Problem` (rateLimited) when `MOST` of its account wait already, unless it renews by ARI in time.
    """
    if not order.renewal and len(holds.waiting_of_account(tx, order.account_id)) >= MOST:
        raise refused(
            LIMIT,
            f"{MOST} orders of this account wait for a person already; finalize this one when they have been"
            " looked at",
            RETRY_AFTER,
        )
    why = ", ".join(f"{name} ({pattern})" for name, pattern in found.items())
    holds.insert(tx, order.id, why)
    jobs.add(tx, ISSUE, order.id, order.expires + MARGIN)
    tx.audit("order.held", f"account:{order.account_id}", {"order": order.id, "why": why})


def must_be_decided(rows: Rows, order: Order, settings: Settings, now: int) -> None:
    """The order was never held, or a person has approved it.

    Raises `TransientError` while it waits, and `Problem` when it has waited for too long.
    """
    if not holds.is_waiting(rows, order.id):
        return  # a refused order is not processing any more
    if now < order.expires + MARGIN:
        raise TransientError(f"order {order.id} waits for a person: acme-server holds list")
    raise _refusal("nobody has looked at the order in time", settings)


def end(tx: Transaction, order: Order) -> None:
    """The order has become invalid by another cause: nobody need decide any more."""
    holds.decide(tx, order.id, Decision.ENDED, "the CA", "the order ended first")


def end_of_account(tx: Transaction, account_id: str) -> None:
    """The account is no longer valid: its waiting orders end as soon as their jobs look."""
    for order_id in holds.waiting_of_account(tx, account_id):
        jobs.add(tx, ISSUE, order_id)


def approve(tx: Transaction, order_id: str, note: str, *, actor: str) -> Order:
    """Let the order be issued.  Wake the job runner afterwards.  Raises `Refused`."""
    order = _waiting(tx, order_id)
    account = accounts.by_id(tx, order.account_id)
    if account is None or account.status is not AccountStatus.VALID:
        raise Refused("hold.ended", "its account has ended, and the order ends with it")
    if tx.now >= order.expires:
        raise Refused("hold.ended", "the order has expired: its subscriber can place a new one")
    _decide(tx, order, Decision.APPROVED, note, actor)
    jobs.add(tx, ISSUE, order.id)
    return order


def refuse(tx: Transaction, order_id: str, note: str, settings: Settings, *, actor: str) -> Order:
    """Make the order invalid.  Wake the job runner afterwards.  Raises `Refused`."""
    order = _waiting(tx, order_id)
    _decide(tx, order, Decision.REFUSED, note, actor)
    told = _refusal("the CA does not certify these names without more ado", settings)
    orders.move(tx, order, Event.REFUSED, problems.to_json(told))
    jobs.add(tx, ISSUE, order.id)  # it finds an order that has ended, and is done
    return order


def _waiting(tx: Transaction, order_id: str) -> Order:
    order = orders.by_id(tx, order_id)
    known = holds.of_order(tx, order_id)
    if order is None or known is None:
        raise Refused("hold.unknown", f"no order {order_id} was held: acme-server holds list shows them")
    if known.decision is not None:
        raise Refused("hold.decided", f"it is {known.decision} already, by {known.decided_by}")
    if order.status is not OrderStatus.PROCESSING:
        raise Refused("hold.ended", f"the order is {order.status}: its subscriber can place a new one")
    return order


def _decide(tx: Transaction, order: Order, decision: Decision, note: str, actor: str) -> None:
    holds.decide(tx, order.id, decision, actor, note)
    tx.audit(f"order.hold-{decision}", actor, {"order": order.id, "names": order.names, "note": note})


def _refusal(why: str, settings: Settings) -> Problem:
    contact = settings.ca.contact.removeprefix("mailto:")
    return refusal(
        ErrorType.REJECTED_IDENTIFIER, f"{why} (high-risk names, BR 4.2.1): write to {contact} and ask"
    )
