"""The authorization that a name needs: one that the account has already, or a new one.

A valid one serves later orders for `acme.authorization_reuse` after the oldest thing that its validation saw,
a pending one is shared by all orders that wait for the name.  Both within the rules of the day, so that a
limit that has become shorter binds what was validated before it.

Must never: hand on what another account showed, what was given up or revoked, or a base name's for its
wildcard.

RFC 8555 sections 7.1.3, 7.1.4, 7.4, 7.4.1; BR 4.2.1, 3.2.2.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from acme_server.objects import Account, Authorization, Challenge
from acme_server.problems import ErrorType, refusal
from acme_server.registration import limits
from acme_server.states import AUTHORIZATION, CHALLENGE
from acme_server.store import authorizations
from core.database import Rows, Transaction
from core.identifiers import is_address, split_wildcard
from core.methods import ISSUANCE, METHODS, Method, reuse
from core.randomness import Randomness, token
from core.requirements import DAY
from core.settings import Settings

LEFT = ISSUANCE
"""Seconds that a valid authorization must still have, to serve a new order: to finalize and to issue."""

ANY_TTL = 3650 * DAY
"""Where a record's TTL counts, the authorization's own `expires` has it in it."""


def for_name(
    tx: Transaction,
    account: Account,
    name: str,
    settings: Settings,
    randomness: Randomness,
    *,
    renewal: bool = False,
) -> Authorization:
    """Valid or pending; a new one is stored.  `renewal`: no limit is in its way.

    Raises `Problem` (rateLimited, rejectedIdentifier).
    """
    value, wildcard = split_wildcard(name)
    valid = held(tx, account.id, name, settings, tx.now)
    if valid is not None:
        return valid
    if not renewal:
        limits.must_not_back_off(tx, account.id, value, settings.limits)
    methods = offered(value, wildcard, settings)
    if not methods:
        raise refusal(ErrorType.REJECTED_IDENTIFIER, f"no validation method is offered here for {name}")
    waiting = _pending(tx, account.id, value, wildcard, methods, settings)
    if waiting is not None:
        return waiting
    lifetime = min(settings.acme.order_lifetime, settings.acme.authorization_lifetime)
    authorization = Authorization(
        id=token(randomness),
        account_id=account.id,
        status=AUTHORIZATION.initial,
        value=value,
        wildcard=wildcard,
        expires=tx.now + lifetime,
        method=None,
        adn=None,
        oldest_datum=None,
        attempt=None,
    )
    authorizations.insert(tx, authorization, _challenges(authorization, methods, randomness))
    return authorization


def offered(value: str, wildcard: bool, settings: Settings) -> list[str]:
    """The methods that can show control of such an identifier, "*." taken off."""
    return [each for each in settings.validation.methods if _shows(METHODS[each], value, wildcard)]


def held(rows: Rows, account_id: str, name: str, settings: Settings, now: int) -> Authorization | None:
    """The newest valid one that may be relied on for a new order."""
    if settings.acme.authorization_reuse == 0:
        return None
    value, wildcard = split_wildcard(name)
    since = now - settings.acme.authorization_reuse
    found = authorizations.reusable(rows, account_id, value, wildcard, since)
    if found is None or found.method not in settings.validation.methods:
        return None
    assert found.oldest_datum is not None
    until = min(found.expires, found.oldest_datum + reuse(found.method, ANY_TTL, now) - ISSUANCE)
    return found if until >= now + LEFT else None


def _pending(
    tx: Transaction, account_id: str, value: str, wildcard: bool, methods: Sequence[str], settings: Settings
) -> Authorization | None:
    """One that another order waits for, untried or under way, with at least half of its time left."""
    least = tx.now + settings.acme.order_lifetime // 2
    found = authorizations.waiting(tx, account_id, value, wildcard, least)
    if found is None:
        return None
    challenges = authorizations.challenges_of(tx, found.id)
    untried = all(each.error is None for each in challenges)
    return found if untried and [each.type for each in challenges] == list(methods) else None


def _challenges(
    authorization: Authorization, methods: Sequence[str], randomness: Randomness
) -> tuple[Challenge, ...]:
    return tuple(
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


def _shows(method: Method, value: str, wildcard: bool) -> bool:
    """Whether the method can show control of such an identifier (RFC 8738 section 7; BR 3.2.2.4)."""
    return (method.wildcard or not wildcard) and (method.address or not is_address(value))
