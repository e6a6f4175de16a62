"""newOrder, undone: what it would say and make, by its own code in a transaction that is rolled back.

So a dry run cannot differ from the order, and no row, no record of the audit log and no limit tells of it.

Must never: be kept.  RFC 8555 section 7.4.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.context import Context
from acme_server.objects import Account, Authorization, Order
from acme_server.registration import orders as rules
from acme_server.registration import replacement as replacing
from acme_server.registration import standing
from acme_server.registration.new_order import Wanted
from acme_server.store import authorizations
from core.database import Transaction


@dataclass(frozen=True, slots=True)
class Placed:
    """The order that would be there, with its authorizations in the order of its names.

    `known` are the ids of those that are there already.
    """

    order: Order
    authorizations: tuple[Authorization, ...]
    known: frozenset[str] = frozenset()


class _Undone(Exception):
    """Carries the result past the roll-back."""

    def __init__(self, order: Order, needed: tuple[Authorization, ...]) -> None:
        super().__init__()
        self.order, self.needed = order, needed


async def place(context: Context, account: Account, wanted: Wanted) -> Placed:
    """What newOrder would do now.  Raises: what newOrder would raise."""
    settings, now = context.settings, context.clock.now()
    replacement = await context.database.read(
        lambda reader: replacing.find(reader, account, wanted, settings, now)
    )
    # What is open already costs nothing once more, and what renews in time meets no limit.
    free = replacement is not None and (replacement.in_time or replacement.again is not None)

    def unit(tx: Transaction) -> None:
        order = rules.place(tx, account, wanted, settings, context.randomness).order
        needed = tuple(authorizations.of_order(tx, order.id))
        raise _Undone(order, needed)

    if not free:
        refusal = (await standing.of_account(context, account.id, wanted.names)).refusal
        if refusal is not None:
            raise refusal
    try:
        await context.database.write(unit)
    except _Undone as undone:
        order, needed = undone.order, undone.needed
        known = await context.database.read(
            lambda reader: frozenset(each.id for each in needed if authorizations.by_id(reader, each.id))
        )
        return Placed(order, needed, known)
    raise AssertionError("a dry run was kept")
