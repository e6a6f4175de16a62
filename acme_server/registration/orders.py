"""newOrder: an order and the authorizations that it needs (RFC 8555 section 7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acme_server.objects import Account, Order
from acme_server.registration import authorizations, still_valid
from acme_server.registration import replacement as replacing
from acme_server.registration.new_order import Wanted
from acme_server.states import ORDER, AuthorizationStatus, Event
from acme_server.store import orders
from core.database import Transaction
from core.randomness import Randomness, token
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Placement:
    """An order and the ids of its authorizations; `again` when it was there before."""

    order: Order
    authorization_ids: list[str]
    again: bool


def place(
    tx: Transaction,
    account: Account,
    wanted: Wanted,
    settings: Settings,
    randomness: Randomness,
) -> Placement:
    """Store a new order.

    One that would replace what an open order of the same content does is that order; one that renews in time
    meets no rate limit.  Raises `Problem`.
    """
    still_valid.must_be_valid(tx, account.id)
    replacement = replacing.find(tx, account, wanted, settings, tx.now)
    if replacement is not None and replacement.again is not None:
        return Placement(replacement.again, orders.authorization_ids(tx, replacement.again.id), again=True)
    renewal = replacement is not None and replacement.in_time
    expires = tx.now + settings.acme.order_lifetime
    needed = [
        authorizations.for_name(tx, account, name, settings, randomness, renewal=renewal)
        for name in wanted.names
    ]
    all_valid = all(each.status is AuthorizationStatus.VALID for each in needed)
    order = Order(
        id=token(randomness),
        account_id=account.id,
        status=ORDER.move(ORDER.initial, Event.ALL_AUTHORIZED) if all_valid else ORDER.initial,
        names=wanted.names,
        profile=wanted.profile,
        expires=min(expires, *(each.expires for each in needed)),
        created_at=tx.now,
        error=None,
        csr=None,
        certificate_id=None,
        not_before=wanted.not_before,
        not_after=wanted.not_after,
        replaces=None if wanted.replaces is None else str(wanted.replaces),
        renewal=renewal,
        predecessor=None if replacement is None else replacement.predecessor,
    )
    ids = [each.id for each in needed]
    orders.insert(tx, order, ids)
    told: dict[str, Any] = {"order": order.id, "names": wanted.names}
    if order.predecessor is not None:
        told["replaces"] = order.predecessor
    tx.audit("order.created", f"account:{account.id}", told)
    return Placement(order, ids, again=False)
