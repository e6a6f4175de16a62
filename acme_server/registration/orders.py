"""newOrder: an order and the authorizations that it needs (RFC 8555 section 7.4)."""

from __future__ import annotations

from typing import Any

from acme_server.objects import Account, Authorization, Challenge, Order
from acme_server.problems import ErrorType, refusal
from acme_server.registration import limits
from acme_server.registration import replacement as replacing
from acme_server.registration.new_order import Wanted
from acme_server.states import AUTHORIZATION, CHALLENGE, ORDER, AuthorizationStatus, Event
from acme_server.store import authorizations, orders
from core.database import Transaction
from core.identifiers import is_address, split_wildcard
from core.methods import METHODS, Method
from core.randomness import Randomness, token
from core.settings import Settings


def place(
    tx: Transaction,
    account: Account,
    wanted: Wanted,
    settings: Settings,
    randomness: Randomness,
) -> tuple[Order, list[str]]:
    """Store a new order; it and the ids of its authorizations.

    One that would replace what an open order of the same content does is that order; one that renews in time
    meets no rate limit.  Raises `Problem`.
    """
    replacement = replacing.find(tx, account, wanted, settings, tx.now)
    if replacement is not None and replacement.again is not None:
        return replacement.again, orders.authorization_ids(tx, replacement.again.id)
    renewal = replacement is not None and replacement.in_time
    expires = tx.now + settings.acme.order_lifetime
    needed = [
        _authorization(tx, account, name, expires, settings, randomness, renewal=renewal)
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
    return order, ids


def _authorization(
    tx: Transaction,
    account: Account,
    name: str,
    expires: int,
    settings: Settings,
    randomness: Randomness,
    *,
    renewal: bool,
) -> Authorization:
    value, wildcard = split_wildcard(name)
    if settings.acme.authorization_reuse > 0:
        since = tx.now - settings.acme.authorization_reuse
        found = authorizations.reusable(tx, account.id, value, wildcard, since)
        if found is not None and found.status_at(tx.now) is AuthorizationStatus.VALID:
            return found
    if not renewal:
        limits.must_not_back_off(tx, account.id, value, settings.limits)
    methods = [each for each in settings.validation.methods if _shows(METHODS[each], value, wildcard)]
    if not methods:
        raise refusal(ErrorType.REJECTED_IDENTIFIER, f"no validation method is offered here for {name}")
    authorization = Authorization(
        id=token(randomness),
        account_id=account.id,
        status=AUTHORIZATION.initial,
        value=value,
        wildcard=wildcard,
        expires=min(expires, tx.now + settings.acme.authorization_lifetime),
        method=None,
        adn=None,
        oldest_datum=None,
        attempt=None,
    )
    challenges = tuple(
        Challenge(
            id=token(randomness),
            authorization_id=authorization.id,
            type=method,
            status=CHALLENGE.initial,
            token=token(randomness) if METHODS[method].key_authorization else "",
            validated=None,
            error=None,
            attempts=0,
        )
        for method in methods
    )
    authorizations.insert(tx, authorization, challenges)
    return authorization


def _shows(method: Method, value: str, wildcard: bool) -> bool:
    """Whether the method can show control of such an identifier (RFC 8738 section 7; BR 3.2.2.4)."""
    return (method.wildcard or not wildcard) and (method.address or not is_address(value))
